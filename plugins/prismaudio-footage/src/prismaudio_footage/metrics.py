"""The metric of what is heard: whether a listening network hears the family that the plan names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prismaudio.errors import NotApplicableError
from prismaudio.metrics.base import Share
from prismaudio_footage.families import family_of
from prismaudio_footage.listening import listener

if TYPE_CHECKING:
    from torch import Tensor

    from prismaudio.metrics.target import Target


class FamilyHeard(Share):
    """Share of the clips with a single source whose family YAMNet hears: it is among its five most probable classes.

    YAMNet does not hear the right family in many real recordings: compare with the value of recorded sound.
    ``heard_as`` of ``prismaudio_footage.families`` says which of its classes count.
    """

    dimension, needs = "semantic", frozenset({"plan"})

    def is_correct(self, audio: Tensor, sample_rate_hz: int, target: Target) -> bool:
        """Whether the family of the single source of the target story is heard in audio ``(2, samples)``."""
        nouns = [source.what for source in target.story.sources]
        if len(nouns) != 1:
            raise NotApplicableError(f"the metric needs a plan with one source, and this one has {len(nouns)}")
        family = family_of(nouns[0])
        if family is None:
            raise NotApplicableError(f"{nouns[0]} is of no family of prismaudio_footage.families")
        return bool(set(family.heard_as) & set(listener().classes_heard(audio, sample_rate_hz)))
