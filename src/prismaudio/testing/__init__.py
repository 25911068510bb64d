"""Contract checks for components of plugins: one line in a test file checks one component.

Example:
    >>> import torch
    >>> from prismaudio.rewards.base import Reward
    >>> from prismaudio.testing import check_reward
    >>> class LevelReward(Reward):
    ...     "RMS level of the audio."
    ...     dimension, range = "aesthetic", (0.0, 1.0)
    ...     def score(self, audio, sample_rate_hz, caches):
    ...         return audio.square().mean((1, 2)).sqrt()
    >>> check_reward(LevelReward())
    >>> class RankReward(LevelReward):
    ...     "Peak level relative to the loudest row of the batch."
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
    from prismaudio.testing.autoencoders import check_autoencoder
    from prismaudio.testing.check import NonconformingError, NotTriedError
    from prismaudio.testing.encoders import check_encoder
    from prismaudio.testing.gates import check_gate
    from prismaudio.testing.kernels import check_kernel
    from prismaudio.testing.metrics import check_metric
    from prismaudio.testing.planners import check_planner
    from prismaudio.testing.rewards import check_reward
    from prismaudio.testing.samplers import check_sampler

__all__ = [
    "NonconformingError",
    "NotTriedError",
    "check_autoencoder",
    "check_encoder",
    "check_gate",
    "check_kernel",
    "check_metric",
    "check_planner",
    "check_reward",
    "check_sampler",
]

_MODULES = {
    "NonconformingError": "check",
    "NotTriedError": "check",
    "check_autoencoder": "autoencoders",
    "check_encoder": "encoders",
    "check_gate": "gates",
    "check_kernel": "kernels",
    "check_metric": "metrics",
    "check_planner": "planners",
    "check_reward": "rewards",
    "check_sampler": "samplers",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:  # lazy, since they import torch
        return getattr(import_module(f"prismaudio.testing.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
