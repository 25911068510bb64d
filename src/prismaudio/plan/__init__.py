"""Chain-of-thought plans: section texts and the events parsed from them, for any vocabulary. Does not import torch."""

from prismaudio.plan.plan import CORE, Plan

__all__ = ["CORE", "Plan"]
