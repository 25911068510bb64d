"""Rewards: how good a sound is in one dimension. The contract is :class:`prismaudio.rewards.base.Reward`."""

from prismaudio.rewards.base import Cache, Reward
from prismaudio.rewards.preparing import prepare

__all__ = ["Cache", "Reward", "prepare"]
