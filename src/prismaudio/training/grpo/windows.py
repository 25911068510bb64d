"""Windows, the stochastic steps of a trajectory, which are the trained ones, and their schedules.

A schedule is a function of (seed, update, group) alone, so processes agree without communication, and a resumed run
continues unchanged.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from prismaudio.checkpoints import Configured
from prismaudio.errors import PrismAudioError
from prismaudio.flow.randomness import generator


@dataclass(frozen=True)
class Window:
    """The stochastic steps ``start .. stop - 1``; those before and after are deterministic.

    Example:
        >>> list(Window(5, 7)), len(Window(0, 0))
        ([5, 6], 0)
    """

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.stop))


class WindowSchedule(Configured, ABC):
    """Position of the window. It never holds the last step of a trajectory: see ``stochastic_last_step`` of kernels."""

    @abstractmethod
    def window(self, steps: int, seed: int, update: int, group: int | str = 0) -> Window:
        """The window of a group of candidates.

        Args:
            steps: Steps of the trajectory, the last one included.
            seed: Seed of the run.
            update: Completed updates.
            group: Number or name of the group of candidates.

        Raises:
            PrismAudioError: The trajectory is too short for the window.
        """


class RandomWindow(WindowSchedule):
    """A window of fixed length at a random position: Fast-GRPO.

    Args:
        length: Number of steps, at least 1.
        earliest: Earliest start, as a share of all steps.
        latest: Latest start, as a share of all steps: 1 in the paper (the last start with room for the window), 0.5 in
            the released code; early windows learn faster.
        per: Whether each group has its own window, or all groups of an update the same one.

    Example:
        >>> RandomWindow(2).window(24, seed=0, update=3)
        Window(start=16, stop=18)
    """

    def __init__(
        self, length: int = 2, earliest: float = 0.0, latest: float = 1.0, per: Literal["group", "update"] = "group"
    ) -> None:
        if not 0 <= earliest <= latest <= 1:
            raise PrismAudioError(
                f"a window cannot start between {earliest} and {latest}; expected 0 <= earliest <= latest <= 1"
            )
        self.length, self.earliest, self.latest, self.per = _at_least_one(length), earliest, latest, per

    def window(self, steps: int, seed: int, update: int, group: int | str = 0) -> Window:
        """See :meth:`WindowSchedule.window`."""
        last = _last_start(steps, self.length)
        low, high = (min(math.floor(share * steps + 1e-9), last) for share in (self.earliest, self.latest))
        key = (seed, "window", update) if self.per == "update" else (seed, "window", update, group)
        start = int(torch.randint(low, high + 1, (), generator=generator(*key)))
        return Window(start, start + self.length)


class SlidingWindow(WindowSchedule):
    """A window that moves from the first to the last steps during training, then starts again: MixGRPO.

    Args:
        length: Number of steps, at least 1.
        every: Updates between moves, at least 1.
        stride: Steps of a move, at least 1.

    Source:
        MixGRPO (2507.21802), the progressive strategy.

    Example:
        >>> [SlidingWindow(4, every=25).window(24, 0, update).start for update in (0, 24, 25, 25 * 20)]
        [0, 0, 1, 0]
    """

    def __init__(self, length: int = 4, every: int = 25, stride: int = 1) -> None:
        self.length, self.every, self.stride = _at_least_one(length), _at_least_one(every), _at_least_one(stride)

    def window(self, steps: int, seed: int, update: int, group: int | str = 0) -> Window:
        """See :meth:`WindowSchedule.window`."""
        start = update // self.every * self.stride % (_last_start(steps, self.length) + 1)
        return Window(start, start + self.length)


class AllSteps(WindowSchedule):
    """All steps but the last: Flow-GRPO."""

    def window(self, steps: int, seed: int, update: int, group: int | str = 0) -> Window:
        """See :meth:`WindowSchedule.window`."""
        return Window(0, _last_start(steps, 1) + 1)


def _at_least_one(number: int) -> int:
    if number < 1:
        raise PrismAudioError(f"a length, interval or stride of a window schedule is {number}; expected 1 or more")
    return number


def _last_start(steps: int, length: int) -> int:
    last = steps - 1 - length
    if last < 0:
        raise PrismAudioError(
            f"{steps} steps are too few for a window of {length} and a last step; make {length + 1} or more"
        )
    return last
