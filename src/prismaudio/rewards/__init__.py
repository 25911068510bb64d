"""Rewards: how good a sound is in one dimension. The contract is :class:`prismaudio.rewards.base.Reward`."""

from prismaudio.rewards.base import Reward

__all__ = ["Reward"]
