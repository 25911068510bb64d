"""The chain of thought: sections, plans and the events that they state, in any vocabulary. Text only, no torch."""

from prismaudio.plan.plan import CORE, Plan

__all__ = ["CORE", "Plan"]
