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
"""What a reward prepares for a clip: CPU tensors by name, stored on disk and shared by all candidates."""


class Reward(Configured, ABC):
    """Scores audio in one perceptual dimension.

    A reward is a plain object: its weights, if any, are not part of the ``state_dict`` of the trained model, and it
    moves them to the device of the audio that it scores. The clip passed to ``prepare`` holds the frames and, as
    ``clip.audio``, the reference; the candidates are passed to ``score``.

    Attributes:
        dimension: The perceptual dimension that it scores; it reads that section of the plan.
        needs: Inputs that a clip must have to be scored.
        range: The lowest and the highest score.
        higher_is_better: Whether higher scores are better; training negates the scores otherwise.
        groupwise: Whether a score depends on the other candidates of the same clip (rows that share a cache).
            Otherwise each score depends on its own row only, whatever the batch.

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
        """Inputs that ``prepare`` reads: those that it needs, and optional ones that it uses if present."""
        return self.needs

    @property
    def identity(self) -> str | None:
        """Identifies everything in this reward that ``prepare`` depends on; caches of another identity are not reused.

        A reward with weights adds their hash. None if it cannot be identified, for example because an argument is not
        a :class:`prismaudio.checkpoints.Configured`; its caches are then not stored.
        """
        try:
            return f"{_name(self)} {json.dumps(dict(self.config), sort_keys=True, default=_argument_identity)}"
        except TypeError:
            return None

    @property
    def networks(self) -> Sequence[nn.Module]:
        """The networks used for scoring; their weights are part of the identity of the scores."""
        return ()

    def prepare(self, clip: Clip, plan: Plan) -> Cache:
        """Compute what ``score`` needs for a clip, once for all its candidates.

        Call it through :func:`prismaudio.rewards.preparing.prepare`, which checks the inputs and stores the result.

        Args:
            clip: The clip, with its frames and, as ``clip.audio``, the reference.
            plan: The plan of the clip.

        Raises:
            NotApplicableError: This clip cannot be scored; the message states the reason.
        """
        return {}

    @abstractmethod
    def score(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Cache]) -> Tensor:
        """Scores float32 ``(batch,)`` on the device of the audio, without file access or device synchronization.

        Audio of any length, silence included, is scored as a whole; finite audio has a finite score.

        Args:
            audio: Candidates float32 ``(batch, 2, samples)`` in -1 .. 1.
            sample_rate_hz: Their sample rate.
            caches: Results of ``prepare``, one per row; candidates of the same clip share the object.
        """


def _name(thing: object) -> str:
    return f"{type(thing).__module__}:{type(thing).__qualname__}"


def _argument_identity(argument: object) -> dict[str, object]:
    """The class, weights and arguments that identify an argument that is an object.

    Raises:
        TypeError: It is not a :class:`Configured`.
    """
    if not isinstance(argument, Configured):
        raise TypeError(f"{_name(argument)} is not Configured")
    weights = fingerprint(argument) if isinstance(argument, nn.Module) else ""
    return {"class": _name(argument), "weights": weights, "config": dict(argument.config)}


def plan_text(plan: Plan, dimension: str | None, text: Literal["section", "plan"] = "section") -> str:
    """The text that audio is compared with: the section of one dimension, or the whole plan without its tags.

    Args:
        plan: The plan.
        dimension: The dimension whose section is used.
        text: ``"section"`` for the section of the dimension, ``"plan"`` for all sections.

    Raises:
        NotApplicableError: The plan has no such text.

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
