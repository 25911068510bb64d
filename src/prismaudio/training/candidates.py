"""Prompts and candidates of an update of Fast-GRPO."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prismaudio.types import Conditions, Features

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future

    from prismaudio.rewards.base import Cache
    from prismaudio.samplers.rollout import Rollout
    from prismaudio.training.grpo.windows import Window


@dataclass(frozen=True, eq=False)
class Prompts:
    """The clips of an update.

    Args:
        ids: Their names.
        n_frames: Latent frames of each.
        durations_s: Their durations in seconds.
        conditions: Their conditions.
        caches: Prepared caches of each clip, by reward.
    """

    ids: list[str]
    n_frames: list[int]
    durations_s: list[float]
    conditions: Conditions
    caches: Sequence[Mapping[str, Cache | None]]

    def batches(self, windows: Sequence[Window], max_size: int | None, max_padding: float) -> list[list[int]]:
        """Batches of clips that are sampled together, longest clips first; their windows have one length.

        Args:
            windows: The window of each clip.
            max_size: Maximum number of clips of a batch; None for all.
            max_padding: Maximum share of the frames of a clip's row that is padding, 0 .. 1.
        """
        found: list[list[int]] = []
        for row in sorted(range(len(windows)), key=lambda row: (len(windows[row]), -self.n_frames[row])):
            first = found[-1][0] if found else row
            fits = self.n_frames[row] >= (1 - max_padding) * self.n_frames[first]
            same = len(windows[row]) == len(windows[first])
            if not found or not fits or not same or len(found[-1]) == max_size:
                found.append([])
            found[-1].append(row)
        return found

    def to(self, device: torch.device | str) -> Prompts:
        """Copy the conditions to another device."""
        return replace(self, conditions=self.conditions.to(device))

    def gather(self, device: torch.device) -> Prompts:
        """The clips of all processes, in the order of their ranks; every process must call this."""
        found: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(found, self.to("cpu"))
        return Prompts.cat(found).to(device)

    @staticmethod
    def cat(several: Sequence[Prompts]) -> Prompts:
        """Concatenate the clips of several prompts with the same streams."""
        streams = {
            name: Features.pad([row for some in several for row in some.conditions[name].rows()])
            for name in several[0].conditions
        }
        return Prompts(
            [name for some in several for name in some.ids],
            [n_frames for some in several for n_frames in some.n_frames],
            [seconds for some in several for seconds in some.durations_s],
            Conditions(streams),
            [caches for some in several for caches in some.caches],
        )


@dataclass(frozen=True, eq=False)
class Candidates:
    """Candidates that were sampled together; those of a branch are consecutive.

    Args:
        ids: Name of the clip of each row.
        rollout: The rollout that sampled them.
        conditions: Conditions of each row.
        scores: Future scores of consecutive rows, by reward.
    """

    ids: list[str]
    rollout: Rollout
    conditions: Conditions
    scores: list[dict[str, Future[Tensor]]]

    def clone(self) -> Candidates:
        """The same candidates in memory of their own, without scores."""
        return Candidates(self.ids, self.rollout.clone(), self.conditions.map(lambda x: x.map(Tensor.clone)), [])

    @property
    def groups(self) -> Tensor:
        """Group of each row, ``(rows,)``: candidates of one clip have the same number in all processes."""
        numbers = [hashlib.blake2b(name.encode(), digest_size=7).digest() for name in self.ids]
        return torch.tensor([int.from_bytes(number, "little") for number in numbers])


@dataclass(frozen=True, eq=False)
class ScoredCandidates:
    """Candidates of a clip with their rewards, to be listened to.

    Args:
        clip_id: Name of the clip.
        audio: Their audio ``(candidates, 2, samples)``, on the CPU.
        sample_rate_hz: Its sample rate.
        rewards: Reward of each candidate, ``(candidates,)``, by name, higher is better; NaN where there is none.
        weights: Weight of each reward.
    """

    clip_id: str
    audio: Tensor
    sample_rate_hz: int
    rewards: Mapping[str, Tensor]
    weights: Mapping[str, float]

    def total(self) -> Tensor:
        """Weighted sum of the rewards of each candidate, ``(candidates,)``; missing rewards count as 0."""
        return torch.stack([self.weights[name] * reward.nan_to_num() for name, reward in self.rewards.items()]).sum(0)


def entropy(candidates: Sequence[Candidates]) -> float:
    """Differential entropy of an element of the latents in nats, mean over the stochastic steps of all candidates."""
    each = [some.rollout.kernel.entropy(some.rollout.bounds[:-1], some.rollout.bounds[1:]) for some in candidates]
    return float(torch.cat([steps.flatten() for steps in each]).mean())
