"""Benchmark: how well does each reward score sounds made to fool it, and which metric catches them?"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch.nn.functional import pad

from prismaudio import __version__
from prismaudio.audio.onsets import detect_onsets
from prismaudio.audio.spectral import decibels
from prismaudio.benchmarks import Benchmark, Report
from prismaudio.benchmarks.plans import unique_names
from prismaudio.cli import arguments
from prismaudio.errors import MediaError, PrismAudioError
from prismaudio.evaluation.files import installed_scorers
from prismaudio.media import probe, read_audio_track
from prismaudio.paths import VIDEO_SUFFIXES, expanded
from prismaudio.scorers import MetricScorer, Scorer, Segment, evaluate
from prismaudio.types import Clip
from prismaudio_studio.benchmark.cheat_sounds import Sounds, scene_cheats, sound_cheats
from prismaudio_studio.benchmark.stage import RATE_HZ
from prismaudio_studio.narration import narrate
from prismaudio_studio.world.audio import render_audio
from prismaudio_studio.world.sampling import sample_scene

if TYPE_CHECKING:
    import argparse

    from prismaudio.plan import Plan

TRUTH, MONO, OTHER = CONTROLS = ("truth", "mono", "other_clip")
"""The true sound, the mean of its channels in both, and the true sound of another clip: for comparison, no cheats."""
PARTS = 3
"""A metric counts only if it agrees with itself in this many parts of the clips."""
MIN_CLIPS = 2 * PARTS
CAUGHT = 0.5
"""Smallest fall of a metric that catches a cheat: half the way from the truth to the sound of another clip."""
VIDEO_RATE_HZ = 44_100
STEREO_DB = -20.0
"""Side energy relative to the total from which a reference has sides that can be told."""
Step = Callable[[int, int], None]
Values = dict[str, dict[str, list[float]]]
"""Values of a metric by row and name: of all clips, then of each part of them; NaN for nothing to measure."""


@dataclass(frozen=True, eq=False)
class Case:
    """A clip to cheat on.

    Args:
        clip: The clip; its audio is the truth.
        plan: Its true plan; None for a video.
        sounds: Its cheats.
    """

    clip: Clip
    plan: Plan | None
    sounds: Sounds


class CheatsBenchmark(Benchmark):
    """Scores sounds made to fool the rewards, and names the metric that catches the best of each reward."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of ``prismaudio bench cheats``."""
        parser.add_argument("--seed", type=arguments.seed, default=0, help="seed of the held-out clips")
        parser.add_argument(
            "--limit", type=arguments.whole(MIN_CLIPS, 100_000), default=60, help="maximum number of clips"
        )
        parser.add_argument("--split", choices=("plain", "randomised"), default="plain", help="variation of the clips")
        parser.add_argument(
            "--videos",
            nargs="+",
            metavar="FILE|DIR",
            help="cheat on the sound of these videos instead: without plans, with the cheats that need none",
        )
        parser.add_argument("--rewards", metavar="A,B", help="rewards to fool; all that are installed if not given")
        parser.add_argument("--metrics", metavar="A,B", help="metrics that may catch; all that are installed")
        parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps or auto")

    @classmethod
    def measure(cls, options: argparse.Namespace) -> Report:
        """Score the truth and the cheats with the rewards and metrics that the options name."""
        start_s = time.monotonic()
        rewards, metrics = (text and [*dict.fromkeys(text.split(","))] for text in (options.rewards, options.metrics))
        with TemporaryDirectory() as folder, Progress(console=Console(stderr=True)) as progress:
            scorers = installed_scorers(rewards, metrics, options.device, Path(folder))
            cases = video_cases(options.videos, options.limit) if options.videos else studio_cases(options)
            task = progress.add_task("cheats")
            report = run(cases, scorers, lambda done, total: progress.update(task, completed=done, total=total))
        report.meta |= {
            **{name: getattr(options, name) for name in ("seed", "limit", "split", "device")},
            "reference": "sound" if options.videos else "truth",
            "versions": {"prismaudio": __version__, "torch": torch.__version__},
            "seconds": round(time.monotonic() - start_s, 1),
        }
        return report

    @classmethod
    def show(cls, report: Report, options: argparse.Namespace, console: Console) -> None:
        """Print the scores, then for each reward its best cheat and the metric that catches it."""
        of = "videos" if options.videos else f"{options.split} held-out clips"
        console.print(report.table(f"{report.meta['clips']} {of}", single=True))
        table = Table(title="the best cheat of each reward")
        for head in ("reward", "best cheat", "score", "truth", "share", "caught by"):
            table.add_column(
                head, no_wrap=head == "reward", justify="left" if " " in head or head == "reward" else "right"
            )
        for name, found in report.meta["rewards"].items():
            share = "-" if found["share"] is None else f"{found['share']:.0%}"
            numbers = f"{found['score']:.3f}", f"{found['truth']:.3f}", share
            caught = ", ".join(f"{metric} {fall:.2f}" for metric, fall in found["caught_by"].items())
            table.add_row(name, found["best_cheat"].replace("_", " "), *numbers, caught or "none")
        console.print(table)
        console.print(
            "fall: 0 at the truth, 1 at the true sound of another clip; a metric catches from "
            f"{CAUGHT} on, in each of {PARTS} parts of the clips"
        )
        wide = sum(side_db >= STEREO_DB for side_db in report.meta["side_db"].values())
        console.print(
            f"{wide} of the {report.meta['clips']} true sounds have {STEREO_DB:.0f} dB or more of their energy in the "
            "difference of the channels; where there is less, mono sound scores like the truth in direction"
        )
        for name, reason in report.meta["without_score"].items():
            console.print(f"{name} has no value: {reason}", highlight=False, markup=False)


def studio_cases(options: argparse.Namespace) -> list[Case]:
    """Held-out clips of the world with their true plans."""
    cases = []
    for index in range(options.limit):
        scene = sample_scene(index, options.seed, options.split, held_out=True)
        audio = torch.as_tensor(render_audio(scene, RATE_HZ)).float()
        clip = Clip(scene.id, scene.duration_s, audio=audio, sample_rate_hz=RATE_HZ)
        cases.append(Case(clip, narrate(scene.story), scene_cheats(scene, audio, RATE_HZ)))
    return cases


def video_cases(texts: Sequence[str], limit: int) -> list[Case]:
    """Videos with sound; their onsets are those that are detected in it.

    Raises:
        MediaError: There are too few videos with sound.
    """
    cases = []
    files = [file for text in texts for file in _files(expanded(text))][:limit]
    for name, file in zip(unique_names(file.stem for file in files), files, strict=True):
        try:
            info = probe(file)
            audio = read_audio_track(file, VIDEO_RATE_HZ, info.duration_s, info.start_s)
        except PrismAudioError as error:
            sys.stderr.write(f"warning: {error}\n")
            continue
        if audio is None:
            sys.stderr.write(f"warning: {file} has no sound\n")
            continue
        duration_s = audio.shape[-1] / VIDEO_RATE_HZ
        clip = Clip(name, duration_s, audio=audio, sample_rate_hz=VIDEO_RATE_HZ)
        cases.append(Case(clip, None, sound_cheats(audio, VIDEO_RATE_HZ, detect_onsets(audio, VIDEO_RATE_HZ))))
    if len(cases) < MIN_CLIPS:
        raise MediaError(f"{len(cases)} videos have sound that can be read; expected at least {MIN_CLIPS}")
    return cases


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(f for f in path.iterdir() if f.suffix.lower() in VIDEO_SUFFIXES and not f.name.startswith("."))


def run(cases: Sequence[Case], scorers: Sequence[Scorer], on_step: Step = lambda *_: None) -> Report:
    """Score the truth, the true sound of another clip, and each cheat.

    Args:
        cases: The clips.
        scorers: Rewards and metrics.
        on_step: Called with (sounds scored, total).

    Returns:
        By sound and scorer: for a reward the score of each clip, for a metric its value of all clips. ``meta`` has, for
        each reward, its best cheat and the metric that catches it, and all falls.
    """
    rows = [*CONTROLS, *cases[0].sounds]
    report = Report([scorer.name for scorer in scorers], {row: {} for row in rows})
    values: Values = {}
    missing: dict[str, str] = {}
    done = count(1)
    for row in rows:
        values[row], reasons = _score(cases, row, scorers, report, lambda: on_step(next(done), len(rows) * len(cases)))
        missing = missing if row != TRUTH else reasons
    metrics = [scorer for scorer in scorers if isinstance(scorer, MetricScorer)]
    falls = {
        row: {scorer.name: _falls(values, row, scorer) for scorer in metrics}
        for row in rows
        if row not in (TRUTH, OTHER)
    }
    rewards = [
        scorer
        for scorer in scorers
        if scorer.kind == "rewards"
        and report.cell(TRUTH, scorer.name)
        and any(report.cell(row, scorer.name) for row in cases[0].sounds)
    ]
    report.meta = {
        "clips": len(cases),
        "side_db": {case.clip.id: _side_db(case.clip) for case in cases},
        "rewards": {scorer.name: _best(report, scorer, falls) for scorer in rewards},
        "falls": {row: {name: _rounded(each) for name, each in found.items()} for row, found in falls.items()},
        "without_score": missing,
    }
    return report


def _score(
    cases: Sequence[Case], row: str, scorers: Sequence[Scorer], report: Report, on_clip: Callable[[], None]
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Score a row and add it to the report.

    Returns:
        For each metric its value of all clips and of each part, and for each scorer without a value the reason.
    """
    metrics = [scorer for scorer in scorers if isinstance(scorer, MetricScorer)]
    values: dict[str, list[float]] = {scorer.name: [] for scorer in metrics}
    states: dict[str, list[Any]] = {scorer.name: [] for scorer in metrics}
    reasons: dict[str, str] = {}
    for part in range(PARTS):
        for scorer in metrics:
            scorer.forget()
        segments = ([_segment(cases, index, row)] for index in range(part, len(cases), PARTS))
        for scores in evaluate(segments, scorers):
            on_clip()
            for each in scorers:
                score = scores[each.name]
                reasons.setdefault(each.name, score.reason)
                if score.value is not None and each.kind == "rewards":
                    report.add(row, each.name, score.value)
        for scorer in metrics:
            states[scorer.name].append(scorer.all)
            values[scorer.name].append(_number(scorer.total().value))
    for scorer in metrics:
        scorer.forget()
        for state in states[scorer.name]:
            if state is not None:
                scorer.add(state)
        total = scorer.total()
        values[scorer.name].insert(0, _number(total.value))
        report.add(row, scorer.name, _number(total.value))
    lost = [scorer.name for scorer in scorers if report.cell(row, scorer.name) is None]
    return values, {name: reasons.get(name) or "it is computed over more clips" for name in lost}


def _segment(cases: Sequence[Case], index: int, row: str) -> Segment:
    """The sound of a row for a clip, as long as the clip."""
    case = cases[index]
    clip = cases[(index + 1) % len(cases)].clip if row == OTHER else case.clip
    audio, own = clip.audio, case.clip.audio
    if audio is None or own is None or clip.sample_rate_hz is None:
        raise TypeError(f"the clip {case.clip.id} has no audio")
    if row == MONO:
        audio = audio.mean(0, keepdim=True).repeat(2, 1)
    elif row in case.sounds:
        audio = case.sounds[row]()
    length = own.shape[-1]
    audio = pad(audio, (0, max(0, length - audio.shape[-1])))[..., :length]
    return Segment(audio, clip.sample_rate_hz, case.clip, case.plan)


def _side_db(clip: Clip) -> float:
    """Energy of the difference of the channels relative to the total, in dB, at least -120."""
    left, right = torch.zeros(2, 1) if clip.audio is None else clip.audio.double()
    side, middle = (left - right).square().sum(), (left + right).square().sum()
    return round(float(decibels(side / (side + middle).clamp(min=1e-12), -120.0)), 1)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _falls(values: Values, row: str, scorer: Scorer) -> list[float] | None:
    """How far a metric falls from the truth to a row, in units of its fall to the true sound of another clip.

    Returns:
        The fall over all clips, then of each part; None if the metric does not put the truth above the other clip in
        all of them, or cannot measure the row.
    """
    if scorer.higher_is_better is None:
        return None
    sign = 1 if scorer.higher_is_better else -1
    found = []
    for truth, other, value in zip(*(values[name][scorer.name] for name in (TRUTH, OTHER, row)), strict=True):
        if not sign * (truth - other) > 0 or math.isnan(value):
            return None
        found.append((truth - value) / (truth - other))
    return found


def _rounded(falls: list[float] | None) -> float | None:
    return None if falls is None else round(falls[0], 4)


def _best(report: Report, scorer: Scorer, falls: Mapping[str, Mapping[str, list[float] | None]]) -> dict[str, Any]:
    """The best cheat of a reward, its share of the score of the truth, and the metric that catches it."""
    sign = -1 if scorer.higher_is_better is False else 1
    scores = {row: cell["mean"] for row in report.values if (cell := report.cell(row, scorer.name)) is not None}
    best = max((row for row in scores if row not in CONTROLS), key=lambda row: sign * scores[row])
    worst = scorer.range[0 if sign > 0 else 1]
    span = scores[TRUTH] - worst
    share = (scores[best] - worst) / span if math.isfinite(span) and span else None
    caught = {name: each[0] for name, each in falls[best].items() if each is not None and min(each) >= CAUGHT}
    return {
        "dimension": scorer.dimension,
        "truth": scores[TRUTH],
        "best_cheat": best,
        "score": scores[best],
        "share": None if share is None else round(share, 4),
        "caught_by": {name: round(caught[name], 4) for name in sorted(caught, key=caught.__getitem__, reverse=True)},
    }
