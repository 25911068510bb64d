"""Planners generate the chain-of-thought plan. The contract is :class:`prismaudio.planners.base.Planner`."""

from prismaudio.planners.base import Planner, TrainablePlanner

__all__ = ["Planner", "TrainablePlanner"]
