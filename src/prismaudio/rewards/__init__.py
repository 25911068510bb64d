"""Rewards score audio in one perceptual dimension. The contract is :class:`prismaudio.rewards.base.Reward`."""

from prismaudio.rewards.base import Cache, Reward
from prismaudio.rewards.function import FunctionReward
from prismaudio.rewards.preparing import prepare

__all__ = ["Cache", "FunctionReward", "Reward", "prepare"]
