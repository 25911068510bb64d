"""Benchmark: does each reward fall when its own dimension is degraded, and only then?"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor
from torch.nn.functional import pad

from prismaudio.benchmarks import Benchmark, Report
from prismaudio.cli.arguments import positive, seed
from prismaudio.errors import NotApplicableError
from prismaudio.registry import discover
from prismaudio.rewards.preparing import prepare
from prismaudio.types import Clip
from prismaudio_studio.benchmark.stage import RATE_HZ
from prismaudio_studio.narration import narrate
from prismaudio_studio.words import CLASSES, LASTING
from prismaudio_studio.world.audio import render_audio
from prismaudio_studio.world.sampling import sample_scene

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from prismaudio.rewards.base import Cache, Reward
    from prismaudio_studio.world.scene import Scene, Thing

LATE_S, HISS_DB = 0.3, -42.0
CORE = ("SemanticReward", "TemporalReward", "AestheticReward", "SpatialReward")
WHOLE = "whole"
DEGRADATIONS = ("other_class", "late", "noisy", "swapped")
"""Degradations of the semantic, temporal, aesthetic and spatial dimension."""
SHIFTS = tuple(f"{name}_by" for name in DEGRADATIONS)
COLUMNS = (WHOLE, *DEGRADATIONS, *SHIFTS)
Step = Callable[[int, int], None]


@dataclass(frozen=True)
class DegradationBenchmark(Benchmark):
    """Measures whether each reward falls when its own dimension is degraded, and only then.

    ``other_class``: the same times, directions, levels, room and quality, but every source is of a class that is not in
    the plan. ``late``: delayed by 0.3 s. ``noisy``: white noise at -42 dB, for plans that do not state noise.
    ``swapped``: left and right channels swapped.

    Args:
        seed: Seed of the held-out clips.
        limit: Number of clips.
        split: ``"plain"`` or ``"randomised"``.
        batch_size: Clips per batch.
    """

    seed: int = 0
    limit: int = 200
    split: str = "plain"
    batch_size: int = 16

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of ``prismaudio bench degradation``."""
        parser.add_argument("--seed", type=seed, default=0, help="seed of the held-out clips")
        parser.add_argument("--limit", type=positive, default=200, help="number of clips")
        parser.add_argument(
            "--split", choices=("plain", "randomised"), default="plain", help="visual variation of the clips"
        )
        parser.add_argument("--rewards", default=",".join(CORE), help="rewards to evaluate, separated by commas")

    @classmethod
    def measure(cls, options: argparse.Namespace) -> Report:
        """Evaluate the rewards that the options name."""
        registry = discover()
        rewards = {name: registry.load("rewards", name)() for name in options.rewards.split(",")}
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task("degradation")
            benchmark = cls(options.seed, options.limit, options.split)
            return benchmark.run(rewards, lambda done, total: progress.update(task, completed=done, total=total))

    @classmethod
    def show(cls, report: Report, options: argparse.Namespace, console: Console) -> None:
        """Print a table with one column per reward."""
        console.print(report.table(f"{options.limit} held-out clips, {options.split}"))

    def run(self, rewards: Mapping[str, Reward], on_step: Step = lambda *_: None) -> Report:
        """Score unchanged and degraded clips.

        Args:
            rewards: Rewards by name; clips to which a reward does not apply are skipped.
            on_step: Called with (clips scored, total).

        Returns:
            For each reward the scores of unchanged and of degraded clips and, under ``..._by``, the decrease: means and
            standard deviations over the clips.
        """
        start_s = time.monotonic()
        report = Report(COLUMNS, {name: {} for name in rewards})
        for start in range(0, self.limit, self.batch_size):
            indices = range(start, min(start + self.batch_size, self.limit))
            scenes = [sample_scene(index, self.seed, self.split, held_out=True) for index in indices]
            versions = degraded(scenes)
            for name, reward in rewards.items():
                _add(report, name, reward, scenes, versions)
            on_step(indices.stop, self.limit)
        settings = {"seed": self.seed, "limit": self.limit, "split": self.split}
        report.meta = {**settings, "seconds": round(time.monotonic() - start_s, 1)}
        return report


def degraded(scenes: list[Scene]) -> dict[str, Tensor]:
    """Audio of scenes ``(batch, 2, samples)`` at 16 kHz: unchanged, and degraded in one dimension."""
    whole = torch.stack([_audio(scene) for scene in scenes])
    hiss = torch.randn(whole.shape, generator=torch.Generator().manual_seed(0))
    return {
        WHOLE: whole,
        "other_class": torch.stack([_audio(replace(scene, things=_with_other_classes(scene))) for scene in scenes]),
        "late": pad(whole, (round(LATE_S * RATE_HZ), 0))[..., : whole.shape[-1]],
        "noisy": whole + 10 ** (HISS_DB / 20) * hiss,
        "swapped": whole.flip(1),
    }


def _audio(scene: Scene) -> Tensor:
    return torch.as_tensor(render_audio(scene, RATE_HZ)).float()


def _with_other_classes(scene: Scene) -> tuple[Thing, ...]:
    """The same things with classes that are not in the scene; sustained classes stay sustained."""
    free = [what for what in CLASSES if what not in {thing.what for thing in scene.things}]
    return tuple(
        replace(thing, what=next(w for w in free[k:] + free if (w in LASTING) == (thing.what in LASTING)))
        for k, thing in enumerate(scene.things)
    )


def _add(report: Report, name: str, reward: Reward, scenes: list[Scene], versions: dict[str, Tensor]) -> None:
    """Add the scores of a batch of clips to a report."""
    rows: list[int] = []
    caches: list[Cache] = []
    for row, scene in enumerate(scenes):
        clip = Clip(scene.id, scene.duration_s, audio=versions[WHOLE][row], sample_rate_hz=RATE_HZ)
        try:
            caches.append(prepare(reward, clip, narrate(scene.story)))
        except NotApplicableError:
            continue
        rows.append(row)
    if not rows:
        return
    scores = {version: reward.score(audio[rows], RATE_HZ, caches).tolist() for version, audio in versions.items()}
    for k, row in enumerate(rows):
        for version in versions:
            if version == "noisy" and scenes[row].quality == "noisy":
                continue
            report.add(name, version, scores[version][k])
            if version != WHOLE:
                report.add(name, f"{version}_by", scores[WHOLE][k] - scores[version][k])
