"""Whether each reward falls when its own dimension is damaged, and only then."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from prismaudio.benchmarks.report import Report
from prismaudio.benchmarks.stage import RATE_HZ
from prismaudio.errors import NotApplicableError
from prismaudio.plan.narration import narrate
from prismaudio.plan.words import CLASSES, LASTING
from prismaudio.rewards.preparing import prepare
from prismaudio.studio.audio import render_audio
from prismaudio.studio.sampling import sample_scene
from prismaudio.types import Clip

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prismaudio.rewards.base import Cache, Reward
    from prismaudio.studio.scene import Scene, Thing

LATE_S, HISS_DB = 0.3, -42.0
WHOLE = "whole"
DAMAGES = ("other_class", "late", "noisy", "swapped")
"""What is damaged: semantic, temporal, aesthetic, spatial."""
SHIFTS = tuple(f"{name}_by" for name in DAMAGES)
COLUMNS = (WHOLE, *DAMAGES, *SHIFTS)
Step = Callable[[int, int], None]


@dataclass(frozen=True)
class DamageBenchmark:
    """Scores of held-out studio clips, whole and damaged in one dimension.

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

    def run(self, rewards: Mapping[str, Reward], on_step: Step = lambda *_: None) -> Report:
        """Score clips.

        Args:
            rewards: What scores, by name; each leaves out the clips that it cannot judge.
            on_step: Called with (clips scored, clips in all).

        Returns:
            For each reward the scores of whole and of damaged clips and, under ``..._by``, by how much they fall: means
            and standard deviations over the clips.
        """
        start_s = time.monotonic()
        report = Report(COLUMNS, {name: {} for name in rewards})
        for start in range(0, self.limit, self.batch_size):
            indices = range(start, min(start + self.batch_size, self.limit))
            scenes = [sample_scene(index, self.seed, self.split, held_out=True) for index in indices]
            versions = damaged(scenes)
            for name, reward in rewards.items():
                _add(report, name, reward, scenes, versions)
            on_step(indices.stop, self.limit)
        settings = {"seed": self.seed, "limit": self.limit, "split": self.split}
        report.meta = {**settings, "seconds": round(time.monotonic() - start_s, 1)}
        return report


def damaged(scenes: list[Scene]) -> dict[str, Tensor]:
    """The sounds of scenes ``(batch, 2, samples)`` at 16 kHz: whole, and damaged in one dimension."""
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
