"""Whether each reward falls when its own dimension is degraded, and only then."""

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
"""What is degraded: semantic, temporal, aesthetic, spatial."""
SHIFTS = tuple(f"{name}_by" for name in DEGRADATIONS)
COLUMNS = (WHOLE, *DEGRADATIONS, *SHIFTS)
Step = Callable[[int, int], None]


@dataclass(frozen=True)
class DegradationBenchmark(Benchmark):
    """Measures whether each reward falls when its own dimension is degraded, and only then.

    Other class: the same times, places, levels, room and recording, but every thing is of a class that is not in the
    plan. Late: by 0.3 s. Noisy: hiss at -42 dB, for plans that do not ask for noise. Swapped: left for right.

    Args:
        seed: Seed of the held-out clips.
        limit: Number of clips.
        split: ``"plain"`` or ``"randomised"``.
        batch_size: Clips that are scored together.
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
            "--split", choices=("plain", "randomised"), default="plain", help="how varied the clips are"
        )
        parser.add_argument("--rewards", default=",".join(CORE), help="rewards to try, separated by commas")

    @classmethod
    def measure(cls, options: argparse.Namespace) -> Report:
        """Score with the rewards that the options name."""
        registry = discover()
        rewards = {name: registry.load("rewards", name)() for name in options.rewards.split(",")}
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task("degradation")
            benchmark = cls(options.seed, options.limit, options.split)
            return benchmark.run(rewards, lambda done, total: progress.update(task, completed=done, total=total))

    @classmethod
    def show(cls, report: Report, options: argparse.Namespace, console: Console) -> None:
        """Print a column for each reward."""
        console.print(report.table(f"{options.limit} held-out clips, {options.split}"))

    def run(self, rewards: Mapping[str, Reward], on_step: Step = lambda *_: None) -> Report:
        """Score clips.

        Args:
            rewards: What scores, by name; each leaves out the clips that it cannot judge.
            on_step: Called with (clips scored, clips in all).

        Returns:
            For each reward the scores of whole and of degraded clips and, under ``..._by``, by how much they fall:
            means and standard deviations over the clips.
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
    """The sounds of scenes ``(batch, 2, samples)`` at 16 kHz: whole, and degraded in one dimension."""
    whole = torch.stack([_sound(scene) for scene in scenes])
    hiss = torch.randn(whole.shape, generator=torch.Generator().manual_seed(0))
    return {
        WHOLE: whole,
        "other_class": torch.stack([_sound(replace(scene, things=_other_things(scene))) for scene in scenes]),
        "late": pad(whole, (round(LATE_S * RATE_HZ), 0))[..., : whole.shape[-1]],
        "noisy": whole + 10 ** (HISS_DB / 20) * hiss,
        "swapped": whole.flip(1),
    }


def _sound(scene: Scene) -> Tensor:
    return torch.as_tensor(render_audio(scene, RATE_HZ)).float()


def _other_things(scene: Scene) -> tuple[Thing, ...]:
    """The same things, each of another class that is not in the scene and lasts if it does."""
    free = [what for what in CLASSES if what not in {thing.what for thing in scene.things}]
    return tuple(
        replace(thing, what=next(w for w in free[k:] + free if (w in LASTING) == (thing.what in LASTING)))
        for k, thing in enumerate(scene.things)
    )


def _add(report: Report, name: str, reward: Reward, scenes: list[Scene], versions: dict[str, Tensor]) -> None:
    """Put the scores of some clips into a report."""
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
