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

    def batches(self, windows: Sequence[Window], max_size: int) -> list[tuple[list[int], Window]]:
        """Batches of clips that can be sampled together, of one window and one length, and their window.

        Args:
            windows: The window of each clip.
            max_size: Maximum number of clips of a batch.
        """
        found: dict[tuple[Window, int, float], list[int]] = {}
        for row, key in enumerate(zip(windows, self.n_frames, self.durations_s, strict=True)):
            found.setdefault(key, []).append(row)
        return [
            (rows[first : first + max_size], window)
            for (window, *_), rows in found.items()
            for first in range(0, len(rows), max_size)
        ]

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
        scores: Future scores ``(rows,)`` by reward.
    """

    ids: list[str]
    rollout: Rollout
    conditions: Conditions
    scores: Future[dict[str, Tensor]]

    @property
    def groups(self) -> Tensor:
        """Group of each row, ``(rows,)``: candidates of one clip have the same number in all processes."""
        numbers = [hashlib.blake2b(name.encode(), digest_size=7).digest() for name in self.ids]
        return torch.tensor([int.from_bytes(number, "little") for number in numbers])
