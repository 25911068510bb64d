"""The plan benchmark: planners on held-out clips of the procedural world, or on videos with sound."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.progress import Progress

from prismaudio.benchmarks import Benchmark
from prismaudio.benchmarks.plans import (
    KnownPlans,
    PlanCase,
    PlanQuality,
    PlanRow,
    noun_embedder,
    shuffled,
    unique_names,
)
from prismaudio.cli import arguments
from prismaudio.cli.building import add_planners, build, is_class, make_planner, on_device
from prismaudio.devices import find_device
from prismaudio.errors import MediaError, PrismAudioError
from prismaudio.inference import Settings
from prismaudio.media import probe, read_audio_track, read_clip, write_video
from prismaudio.metrics.plans import PlanReference
from prismaudio.paths import VIDEO_SUFFIXES, expanded
from prismaudio.plan import CORE, Plan
from prismaudio.plan.reading import UNNAMED
from prismaudio.plan.story import Source, Story
from prismaudio.plan.writing import describe
from prismaudio.pretrained import find
from prismaudio.registry import discover
from prismaudio.types import Clip, FrameSpec
from prismaudio_studio.narration import narrate
from prismaudio_studio.words import NOUNS
from prismaudio_studio.world.sampling import sample_scene
from prismaudio_studio.world.video import render_video

if TYPE_CHECKING:
    import argparse

    from prismaudio.benchmarks.report import Report
    from prismaudio_studio.world.scene import Scene

RATE_HZ = 44_100
"""Sample rate at which the sound of videos is measured."""
MEASURES = (
    "a planner to measure: a class, a model with a planner, or a YAML file with class_path and init_args; may be given "
    "several times"
)


class PlanBenchmark(Benchmark):
    """Measures plans of held-out clips of the procedural world, or of videos with sound."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of ``prismaudio bench plan``."""
        parser.add_argument("--seed", type=arguments.seed, default=0, help="seed of the held-out clips")
        parser.add_argument("--limit", type=arguments.positive, default=100, help="maximum number of clips")
        parser.add_argument("--split", choices=("plain", "randomised"), default="plain", help="visual variation")
        parser.add_argument(
            "--picture",
            choices=("training", "filmed"),
            help="frames of training, or of a rendered file; by default filmed for randomised clips only",
        )
        parser.add_argument(
            "--videos",
            nargs="+",
            metavar="FILE|DIR",
            help="measure plans of these videos against the onsets and directions of their sound instead",
        )
        parser.add_argument("--model", metavar="NAME|DIR|ID", help="model whose planner is measured")
        arguments.add_revision(parser)
        add_planners(parser, MEASURES)
        parser.add_argument(
            "--frame-size",
            type=arguments.whole(16, 4096),
            default=256,
            help="shorter side in pixels of the frames of planners that are no part of a model",
        )
        parser.add_argument("--text-encoder", metavar="CLASS", help="text encoder that compares the nouns of sources")
        parser.add_argument("--batch-size", type=arguments.positive, default=1, help="clips planned together")
        parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto")

    @classmethod
    def measure(cls, options: argparse.Namespace) -> Report:
        """Measure the planners that the options name."""
        device = find_device(options.device)
        dimensions = [dimension for dimension in discover().dimensions() if dimension.name in CORE]
        encoder = build("encoders", options.text_encoder, "--text-encoder") if options.text_encoder else None
        embed = None if encoder is None else noun_embedder(on_device(encoder, device))
        with TemporaryDirectory() as folder:
            stage = _films(options) if options.videos else _studio(options, Path(folder))
            planners, described = _planners(options, device)
            rows = {name: PlanRow(KnownPlans(plans)) for name, plans in stage.known.items()} | planners
            quality = PlanQuality(dimensions, None if options.videos else NOUNS, embed, options.batch_size)
            with Progress(console=Console(stderr=True)) as progress:
                task = progress.add_task("plans")
                report = quality.run(
                    rows, stage.cases, lambda done, total: progress.update(task, completed=done, total=total)
                )
        report.meta |= {
            **{name: getattr(options, name) for name in ("seed", "limit", "split", "picture", "model", "text_encoder")},
            "reference": "sound" if options.videos else "truth",
            "planners": described,
            "frames": {name: vars(row.frames) for name, row in planners.items()},
            "skipped": stage.skipped,
            "device": str(device),
        }
        return report

    @classmethod
    def show(cls, report: Report, options: argparse.Namespace, console: Console) -> None:
        """Print a table with one line per metric and one column per planner, then the failures."""
        of = "videos" if options.videos else f"{options.split} held-out clips"
        console.print(report.table(f"plans of {report.meta['clips']} {of}", single=True))
        if options.videos:
            console.print("compared with the detected onsets and measured directions of their sound")
        for name, reasons in report.meta["failures"].items():
            for reason in reasons:
                console.print(f"{name} failed on {reason}", highlight=False, markup=False)


@dataclass
class _Stage:
    """The clips to plan, known plans of them by row and clip, and the files that cannot be used."""

    cases: list[PlanCase]
    known: dict[str, dict[str, Plan]]
    skipped: list[str]


def _studio(options: argparse.Namespace, folder: Path) -> _Stage:
    """Held-out clips with their truth."""
    filmed = options.split == "randomised" if options.picture is None else options.picture == "filmed"
    cases, plans = [], {}
    for index in range(options.limit):
        scene = sample_scene(index, options.seed, options.split, held_out=True)
        plans[scene.id] = narrate(scene.story, random.Random(index))
        read = _SceneReader(scene, folder if filmed else None)
        cases.append(PlanCase(scene.id, PlanReference.from_story(scene.story, scene.duration_s), read))
    known = {"truth": plans}
    if len(plans) > 1:
        known["shuffled"] = shuffled(plans)
    return _Stage(cases, known, [])


@dataclass(frozen=True)
class _SceneReader:
    """Renders a scene at a frame rate and size: directly, or by a video file at the scene's own, which is decoded."""

    scene: Scene
    folder: Path | None

    def __call__(self, spec: FrameSpec) -> Clip:
        scene = self.scene
        if self.folder is None:
            frames = torch.as_tensor(render_video(scene, spec.size, spec.fps))
            return Clip(scene.id, scene.duration_s, frames, spec.fps)
        file = self.folder / f"{scene.id}.mp4"
        if not file.exists():
            write_video(torch.as_tensor(render_video(scene, scene.look.size_px, scene.look.fps)), scene.look.fps, file)
        return replace(read_clip(file, spec), id=scene.id)


def _films(options: argparse.Namespace) -> _Stage:
    """Videos with sound, and plans of the onsets of other ones.

    Raises:
        MediaError: There are no videos with sound.
    """
    files = [file for text in options.videos for file in _files(expanded(text))][: options.limit]
    cases, plans, skipped = [], {}, []
    for name, file in zip(unique_names(file.stem for file in files), files, strict=True):
        try:
            info = probe(file)
            audio = read_audio_track(file, RATE_HZ, info.duration_s, info.start_s)
        except PrismAudioError as error:
            skipped.append(str(error))
            continue
        if audio is None:
            skipped.append(f"{file} has no sound to compare a plan with")
            continue
        reference = replace(PlanReference.from_audio(audio, RATE_HZ), duration_s=info.duration_s)
        cases.append(PlanCase(name, reference, _FileReader(file, name)))
        onsets_s = tuple(event.start_s for event in reference.events)
        plans[name] = Plan(describe(Story((Source(UNNAMED, onsets_s),))))
    sys.stderr.writelines(f"warning: {text}\n" for text in skipped)
    if not cases:
        raise MediaError(f"none of the {len(files)} videos can be measured; expected videos with sound")
    return _Stage(cases, {"shuffled": shuffled(plans)} if len(plans) > 1 else {}, skipped)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(f for f in path.iterdir() if f.suffix.lower() in VIDEO_SUFFIXES and not f.name.startswith("."))
    if not found:
        raise MediaError(f"no videos in {path}; expected files such as {path / 'clip.mp4'}")
    return found


@dataclass(frozen=True)
class _FileReader:
    """Reads a video file at a frame rate and size."""

    file: Path
    name: str

    def __call__(self, spec: FrameSpec) -> Clip:
        return replace(read_clip(self.file, spec), id=self.name)


def _planners(options: argparse.Namespace, device: torch.device) -> tuple[dict[str, PlanRow], dict[str, str]]:
    """The planner of the model and those of ``--planner``, and how each of them was named."""
    found: list[tuple[str, PlanRow, str]] = []
    own = find(options.model, options.revision).factories()
    frames = _frame_spec(own)
    if "planner" in own:
        found.append(("model", PlanRow(on_device(own["planner"](), device), frames), options.model or "installed"))
    for text in options.planner:
        planner = make_planner(text, device)
        spec = FrameSpec(frames.fps, options.frame_size, keep_aspect_ratio=True)
        if not is_class(text):
            spec = _frame_spec(find(text).factories())
        found.append((type(planner).__name__, PlanRow(planner, spec), text))
    names = unique_names(name for name, _, _ in found)
    return (
        {name: row for name, (_, row, _) in zip(names, found, strict=True)},
        {name: text for name, (_, _, text) in zip(names, found, strict=True)},
    )


def _frame_spec(factories: Any) -> FrameSpec:
    """Frame rate and size of a model."""
    settings: Settings = factories["settings"]() if "settings" in factories else Settings()
    return settings.frame_spec
