"""The contract of a reward."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from torch import Tensor, nn

from prismaudio.checkpoints import Configured
from prismaudio.errors import NotApplicableError
from prismaudio.weight_files import fingerprint

if TYPE_CHECKING:
    from prismaudio.plan import Plan
    from prismaudio.types import Clip, Need

Cache = Mapping[str, Tensor]
"""What a reward knows of a clip: tensors by name, on the CPU. They are kept on disk, and shared by all candidates."""


class Reward(Configured, ABC):
    """Scores sound in one perceptual dimension.

    A reward is a plain object: its weights, if it has any, stay out of the ``state_dict`` of what is trained, and it
    moves them to the device of what it scores. The clip that ``prepare`` sees holds the frames and, as its sound,
    the reference; the sounds to score come later, to ``score``.

    Attributes:
        dimension: The dimension that it scores, whose section of the plan it reads.
        needs: What a clip must have to be judged at all.
        range: The lowest and the highest score.
        higher_is_better: Whether a higher score is a better sound; training turns the sign of the others.
        groupwise: Whether a score depends on the other candidates of the same clip (rows that share a cache). The
            score of all other rewards depends on its own row only, whatever the batch.

    Example:
        >>> import torch
        >>> class PeakReward(Reward):
        ...     "Height of the largest sample."
        ...     dimension, range = "aesthetic", (0.0, 1.0)
        ...     def score(self, audio, sample_rate_hz, caches):
        ...         return audio.abs().amax(dim=(1, 2))
        >>> PeakReward().score(torch.full((3, 2, 100), 0.5), 16_000, [{}, {}, {}])
        tensor([0.5000, 0.5000, 0.5000])
    """

    dimension: ClassVar[str | None] = None
    needs: frozenset[Need] = frozenset()
    range: tuple[float, float] = (-math.inf, math.inf)
    higher_is_better: bool = True
    groupwise: ClassVar[bool] = False

    @property
    def reads(self) -> frozenset[Need]:
        """What ``prepare`` looks at, more than what it needs if it makes use of what happens to be there."""
        return self.needs

    @property
    def identity(self) -> str | None:
        """Everything about this reward that ``prepare`` depends on: what was prepared by another is not reused.

        One with weights adds what tells these from others. None where nothing tells it from others, as with an
        argument that is no :class:`prismaudio.checkpoints.Configured`: then nothing that it prepares is kept.
        """
        try:
            return f"{_name(self)} {json.dumps(dict(self.config), sort_keys=True, default=_told)}"
        except TypeError:
            return None

    @property
    def networks(self) -> Sequence[nn.Module]:
        """The networks that it scores with; scores by other weights are not taken for those by these."""
        return ()

    def prepare(self, clip: Clip, plan: Plan) -> Cache:
        """What ``score`` needs to know of a clip, computed once and shared by all its candidates.

        Call it through :func:`prismaudio.rewards.preparing.prepare`, which checks what is needed and keeps the result.

        Args:
            clip: Its frames and, as its sound, the reference.
            plan: Its plan.

        Raises:
            NotApplicableError: This clip cannot be judged; the text says why.
        """
        return {}

    @abstractmethod
    def score(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Cache]) -> Tensor:
        """Scores float32 ``(batch,)``, on the device of the sound; without files, and without waiting for the device.

        Sound of any length is scored whole, silence too: a finite score for finite sound.

        Args:
            audio: Candidates float32 ``(batch, 2, samples)`` in -1 .. 1.
            sample_rate_hz: Their sample rate.
            caches: What ``prepare`` returned, one per row; candidates of one clip share the object.
        """


def _name(thing: object) -> str:
    return f"{type(thing).__module__}:{type(thing).__qualname__}"


def _told(argument: object) -> dict[str, object]:
    """What tells an argument that is an object from others of its kind.

    Raises:
        TypeError: Nothing does.
    """
    if not isinstance(argument, Configured):
        raise TypeError(f"{_name(argument)} is not Configured")
    weights = fingerprint(argument) if isinstance(argument, nn.Module) else ""
    return {"class": _name(argument), "weights": weights, "config": dict(argument.config)}


def plan_text(plan: Plan, dimension: str | None, text: Literal["section", "plan"] = "section") -> str:
    """The text that a reward compares sound with: the section of its dimension, or the whole plan without its tags.

    Args:
        plan: The plan.
        dimension: The dimension.
        text: ``"section"`` for that of the dimension, ``"plan"`` for all of them.

    Raises:
        NotApplicableError: There is no such text.

    Example:
        >>> from prismaudio.plan import Plan
        >>> plan = Plan.parse("<Semantic> A dog barks. <Spatial> It is on the left.")
        >>> plan_text(plan, "spatial"), plan_text(plan, "spatial", "plan")
        ('It is on the left.', 'A dog barks. It is on the left.')
    """
    found = plan.get(dimension or "", "") if text == "section" else " ".join(plan.values())
    if not found.strip():
        missing = f"no <{(dimension or '').capitalize()}> section" if text == "section" else "no text"
        raise NotApplicableError(f"the plan has {missing}")
    return found
