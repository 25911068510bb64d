"""The footage benchmark: plans of real videos against their own sound, beside plans of other videos."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean, median
from typing import TYPE_CHECKING

import torch
from rich.table import Table

from prismaudio.benchmarks import Benchmark
from prismaudio.benchmarks.plans import unique_names
from prismaudio.benchmarks.report import Report
from prismaudio.cli import arguments
from prismaudio.cli.building import add_planners, make_planner
from prismaudio.devices import find_device
from prismaudio.errors import MediaError, PrismAudioError
from prismaudio.evaluation.intervals import MeanInterval, difference_interval, mean_interval
from prismaudio.inference import Settings
from prismaudio.media import probe, read_audio_track, read_clip
from prismaudio.metrics.onset import match_onsets
from prismaudio.metrics.plans import PlanReference
from prismaudio.paths import AUDIO_SUFFIXES, VIDEO_SUFFIXES, expanded
from prismaudio.plan import CORE
from prismaudio.pretrained import find
from prismaudio.registry import discover
from prismaudio.types import FrameSpec
from prismaudio_footage.families import UNKNOWN, nouns, sounding
from prismaudio_footage.listening import TOP, listener
from prismaudio_footage.planner import FootagePlanner

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from rich.console import Console
    from torch import Tensor

    from prismaudio.components import Dimension
    from prismaudio.plan import Plan
    from prismaudio.planners.base import Planner

RATE_HZ = 44_100
TOLERANCE_S, SIDE_DEG = 0.1, 8.0
"""Tolerance of an onset; least direction of a sound that is not in front."""
MEASURES = ("family", "onset_f1", "side")
COLUMNS = tuple(name for measure in MEASURES for name in (measure, f"{measure}_shuffled", f"{measure}_gain"))
PLANNER_SIZE = 256
"""Shorter side in pixels of the frames of planners that are no part of a model."""


@dataclass(frozen=True)
class Heard:
    """What the sound of a video has.

    Args:
        top: Its classes of YAMNet, the most probable first.
        onsets_s: Its onsets.
        azimuth_deg: Median direction of its onsets; None for mono sound and for sound in front.
    """

    top: tuple[int, ...]
    onsets_s: tuple[float, ...]
    azimuth_deg: float | None


@dataclass(frozen=True)
class Stated:
    """What a plan, or the sound of a system, states about a video.

    Args:
        sources: Classes of YAMNet that count as hearing each source that it names.
        onsets_s: Its onsets.
        azimuth_deg: Mean direction of its sources; None if it states none.
    """

    sources: tuple[tuple[int, ...], ...]
    onsets_s: tuple[float, ...]
    azimuth_deg: float | None


Listen = Callable[["Tensor"], tuple[int, ...]]


class FootageBenchmark(Benchmark):
    """Measures plans of real videos against their own sound, beside plans of other videos."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of ``prismaudio bench footage``."""
        parser.add_argument("--videos", nargs="+", required=True, metavar="FILE|DIR", help="real videos with sound")
        parser.add_argument(
            "--audio", metavar="DIR", help="sound that a system made for them, files of the same names: one more row"
        )
        parser.add_argument("--limit", type=arguments.positive, help="maximum number of videos")
        parser.add_argument("--model", metavar="NAME|DIR|ID", help="model whose planner is measured, too")
        arguments.add_revision(parser)
        add_planners(parser, "a planner to measure in place of FootagePlanner; may be given several times")
        parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto")

    @classmethod
    def measure(cls, options: argparse.Namespace) -> Report:
        """Measure the planners that the options name."""
        listen, classes_of = _yamnet()
        files = [file for text in options.videos for file in _files(expanded(text), VIDEO_SUFFIXES)][: options.limit]
        heard, named, skipped = _heard(files, listen)
        rows: dict[str, dict[str, Stated | None]] = {}
        failures: dict[str, list[str]] = {}
        dimensions = [dimension for dimension in discover().dimensions() if dimension.name in CORE]
        plans: dict[str, dict[str, str]] = {}
        for name, (planner, spec) in _planners(options).items():
            rows[name], failures[name], plans[name] = {}, [], {}
            for video, file in named.items():
                sys.stderr.write(f"{name}: {video}\n")
                plan = _plan(planner, spec, file, dimensions)
                if isinstance(plan, PrismAudioError):
                    failures[name].append(f"{video}: {plan}")
                    rows[name][video] = None
                else:
                    rows[name][video], plans[name][video] = _stated(plan, classes_of), str(plan)
        if options.audio:
            rows["audio"] = _made(expanded(options.audio), named, listen)
        report = Report(COLUMNS)
        report.meta = {"videos": list(heard), "skipped": skipped, "plans": plans, "intervals": {}}
        report.meta["failures"] = {name: reasons for name, reasons in failures.items() if reasons}
        for name, stated in rows.items():
            found = compare(heard, stated)
            report.meta["intervals"][name] = {column: vars(interval) for column, interval in found.items()}
            for column, interval in found.items():
                report.add(name, column, math.nan if interval.mean is None else interval.mean)
        return report

    @classmethod
    def show(cls, report: Report, options: argparse.Namespace, console: Console) -> None:  # noqa: ARG003
        """Print a table with one line per measure and one column per planner, with bootstrap intervals."""
        intervals = report.meta["intervals"]
        table = Table(title=f"plans of {len(report.meta['videos'])} real videos, against their sound")
        table.add_column("measure", no_wrap=True)
        for name in intervals:
            table.add_column(name, justify="right")
        for column in COLUMNS:
            table.add_row(column, *(_shown(MeanInterval(**of[column])) for of in intervals.values()))
        console.print(table)
        for text in (*report.meta["skipped"], *(r for reasons in report.meta["failures"].values() for r in reasons)):
            console.print(text, highlight=False, markup=False)


def compare(heard: Mapping[str, Heard], stated: Mapping[str, Stated | None]) -> dict[str, MeanInterval]:
    """Means over videos, with bootstrap intervals, of what plans get right.

    ``family``: the share of videos whose plan names a source that is among the five most probable classes of YAMNet in
    the true sound. ``onset_f1``: F1 of the planned onsets within 100 ms of the true ones. ``side``: the share of
    videos whose sound comes from a side whose plan has it on that side. ``…_shuffled`` is the mean of the same for the
    plans of all other videos, ``…_gain`` the paired difference. A video without a plan counts as wrong.

    Args:
        heard: The true sound of each video.
        stated: What the plan of each video states; None if there is none.
    """
    values: dict[str, dict[str, float]] = {column: {} for column in COLUMNS}
    for video, truth in heard.items():
        others = [_right(truth, other) for name, other in stated.items() if name != video]
        for measure, value in _right(truth, stated[video]).items():
            values[measure][video] = value
            if others:
                values[f"{measure}_shuffled"][video] = fmean(other[measure] for other in others)
    found = {}
    for measure in MEASURES:
        own, shuffled = values[measure], values[f"{measure}_shuffled"]
        found[measure] = mean_interval(own.values())
        found[f"{measure}_shuffled"] = mean_interval(shuffled.values())
        found[f"{measure}_gain"] = difference_interval(own, shuffled)
    return found


def _right(truth: Heard, stated: Stated | None) -> dict[str, float]:
    """Values of one video; a measure that does not exist for its sound is NaN."""
    stated = stated or Stated((), (), None)
    top = set(truth.top[:TOP])
    family = float(any(top.intersection(source) for source in stated.sources))
    onset_f1 = side = math.nan
    if truth.onsets_s:
        n = len(truth.onsets_s) + len(stated.onsets_s)
        onset_f1 = 2 * match_onsets(stated.onsets_s, truth.onsets_s, TOLERANCE_S) / n
    if truth.azimuth_deg is not None:
        side = float(stated.azimuth_deg is not None and stated.azimuth_deg * truth.azimuth_deg > 0)
    return {"family": family, "onset_f1": onset_f1, "side": side}


def _shown(interval: MeanInterval) -> str:
    if interval.mean is None:
        return "-"
    within = f" [{interval.low:.3f}, {interval.high:.3f}]" if interval.low is not None else ""
    return f"{interval.mean:.3f}{within} n={interval.clips}"


def _yamnet() -> tuple[Listen, Callable[[str], list[list[int]]]]:
    """What YAMNet hears in audio, and the classes of the sources that a text names.

    Raises:
        BrokenPluginError: The plugin is not installed.
    """
    heard = listener()
    from prismaudio_yamnet.labels import named_classes

    own = {noun: family.heard_as for family in sounding() for noun in (family.name, *family.words)}
    return lambda audio: heard.hear(audio, RATE_HZ), partial(
        named_classes, labels=heard.labels, own=own | {UNKNOWN: ()}
    )


def _heard(files: Sequence[Path], listen: Listen) -> tuple[dict[str, Heard], dict[str, Path], list[str]]:
    """The true sound of the videos that have some, their files, and why others are left out.

    Raises:
        MediaError: None of them has sound.
    """
    heard, named, skipped = {}, {}, []
    for name, file in zip(unique_names(file.stem for file in files), files, strict=True):
        try:
            info = probe(file)
            audio = read_audio_track(file, RATE_HZ, info.duration_s, info.start_s)
        except PrismAudioError as error:
            skipped.append(str(error))
            continue
        if audio is None or float(audio.abs().max()) < 1e-4:
            skipped.append(f"{file} has no sound to compare a plan with")
            continue
        heard[name], named[name] = _listened(audio, listen), file
    if not heard:
        raise MediaError(f"none of the {len(files)} videos can be measured ({skipped[0]}); expected videos with sound")
    return heard, named, skipped


def _listened(audio: Tensor, listen: Listen) -> Heard:
    events = PlanReference.from_audio(audio, RATE_HZ).events
    places = [event.azimuth_deg for event in events if event.azimuth_deg is not None]
    azimuth = median(places) if places else 0.0
    onsets_s = tuple(event.start_s for event in events)
    return Heard(listen(audio), onsets_s, azimuth if abs(azimuth) >= SIDE_DEG else None)


def _made(folder: Path, named: Mapping[str, Path], listen: Listen) -> dict[str, Stated | None]:
    """What the sound of a system has; its most probable class is what it states.

    Raises:
        MediaError: The folder has no sound of any of the videos.
    """
    sounds = {file.stem: file for file in _files(folder, AUDIO_SUFFIXES | VIDEO_SUFFIXES)}
    found: dict[str, Stated | None] = {}
    for name, video in named.items():
        file = sounds.get(video.stem)
        audio = None if file is None else read_audio_track(file, RATE_HZ)
        heard = None if audio is None else _listened(audio, listen)
        found[name] = None if heard is None else Stated((heard.top[:1],), heard.onsets_s, heard.azimuth_deg)
    if not any(found.values()):
        raise MediaError(f"{folder} has no sound of these videos; expected names such as {next(iter(named))}.wav")
    return found


def _stated(plan: Plan, classes_of: Callable[[str], list[list[int]]]) -> Stated:
    story = plan.read(nouns())
    onsets_s = tuple(sorted({t for source in story.sources for t in source.onsets_s}))
    places = [fmean(source.azimuth_deg) for source in story.sources if source.azimuth_deg is not None]
    sources = tuple(tuple(source) for source in classes_of(plan.get("semantic", "")))
    return Stated(sources, onsets_s, fmean(places) if places else None)


def _plan(planner: Planner, spec: FrameSpec, file: Path, dimensions: Sequence[Dimension]) -> Plan | PrismAudioError:
    try:
        with torch.no_grad():
            return planner.plan(replace(read_clip(file, spec)), dimensions)
    except PrismAudioError as error:
        return error


def _planners(options: argparse.Namespace) -> dict[str, tuple[Planner, FrameSpec]]:
    """The planners to measure, and the frames that they are given."""
    device = find_device(options.device)
    found: list[tuple[str, Planner, FrameSpec]] = []
    large = FrameSpec(16.0, PLANNER_SIZE, keep_aspect_ratio=True)
    planners = [make_planner(text, device) for text in options.planner] or [FootagePlanner()]
    found += [(type(planner).__name__, planner, large) for planner in planners]
    if options.model:
        parts = find(options.model, options.revision).factories()
        if "planner" not in parts:
            raise PrismAudioError(f"the model {options.model} has no planner to measure")
        settings = parts["settings"]() if "settings" in parts else Settings()
        found.append((f"{options.model}", parts["planner"](), settings.frame_spec))
    names = unique_names(name for name, _, _ in found)
    return {name: (planner, spec) for name, (_, planner, spec) in zip(names, found, strict=True)}


def _files(path: Path, suffixes: frozenset[str]) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(f for f in path.iterdir() if f.suffix.lower() in suffixes and not f.name.startswith("."))
    if not found:
        raise MediaError(f"no files in {path} that can be read; expected videos or audio")
    return found
