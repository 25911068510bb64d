"""Checks that third parties can run on what they wrote: one line in a test file judges a component.

Example:
    >>> import torch
    >>> from prismaudio.rewards.base import Reward
    >>> from prismaudio.testing import check_reward
    >>> class LevelReward(Reward):
    ...     "How loud the sound is."
    ...     dimension, range = "aesthetic", (0.0, 1.0)
    ...     def score(self, audio, sample_rate_hz, caches):
    ...         return audio.square().mean((1, 2)).sqrt()
    >>> check_reward(LevelReward())
    >>> class RankReward(LevelReward):
    ...     "How loud the sound is, next to what else is in the batch."
    ...     def score(self, audio, sample_rate_hz, caches):
    ...         return audio.abs().mean((1, 2)) / audio.abs().mean((1, 2)).amax().clamp(min=1e-3)
    >>> check_reward(RankReward())
    Traceback (most recent call last):
    prismaudio.testing.check.NonconformingError: RankReward: rows scored in a batch differ from each scored alone ...
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prismaudio.testing.check import NonconformingError
    from prismaudio.testing.rewards import check_reward

__all__ = ["NonconformingError", "check_reward"]

_PLACES = {"NonconformingError": "check", "check_reward": "rewards"}


def __getattr__(name: str) -> Any:
    if name in _PLACES:  # they import torch, so only when asked for
        return getattr(import_module(f"prismaudio.testing.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
