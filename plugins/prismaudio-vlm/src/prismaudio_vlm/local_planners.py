"""Planners whose language model runs on this machine and can be fine-tuned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prismaudio.errors import PlanError
from prismaudio.planners.base import Annotator
from prismaudio_vlm.drafting import Draft
from prismaudio_vlm.tuning import TrainableChatPlanner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.components import Dimension
    from prismaudio.plan import Plan
    from prismaudio.types import Clip


class VlmPlanner(TrainableChatPlanner):
    """Asks a vision-language model of transformers about a clip, on this machine.

    Example:
        >>> planner = VlmPlanner("Qwen/Qwen3-VL-4B-Instruct", fps=1.0)
        >>> planner.config["fps"], planner.config["model"]
        (1.0, 'Qwen/Qwen3-VL-4B-Instruct')
    """


class LlmPlanner(TrainableChatPlanner):
    """Lets a language model that sees nothing write the sections from what another part says about a clip.

    The text of the annotator takes the place of the frames: the model is asked what ``decouple`` in ``planner.yaml``
    asks, for each section or for all together.

    Args:
        model: A folder in transformers' layout with safetensors weights, or ``owner/name`` on the Hugging Face hub.
        annotator: What sees the clip and describes it.
        kwargs: See :class:`prismaudio_vlm.tuning.TrainableChatPlanner`.
    """

    needs_frames = False
    annotator: Annotator

    def __init__(self, model: str, annotator: Annotator, **kwargs: Any) -> None:
        super().__init__(model=model, **kwargs)
        if self.ask == "each" and not any(name in self.prompts.texts["decouple"] for name in ("$sections", "$form")):
            raise ValueError("ask: each needs $sections or $form in the prompt decouple, which say what is asked for")
        object.__setattr__(self, "annotator", annotator)  # whose weights, if it has any, are not trained
        self._texts: dict[str, str] = {}

    def description(self) -> dict[str, Any]:
        """The model, what it is told, and what it reads."""
        return {**super().description(), "annotator": self.annotator.description()}

    def drafts(
        self, clips: Sequence[Clip], dimensions: Sequence[Dimension], given: Sequence[str | Plan | None]
    ) -> list[Draft]:
        """The plans of clips before anything is asked, with what the annotator says; see the base class.

        Raises:
            PlanError: The annotator says nothing about a clip.
        """
        texts = self._annotations(clips, dimensions)
        return [Draft(clip, dimensions, one, self, text) for clip, one, text in zip(clips, given, texts, strict=True)]

    def _annotations(self, clips: Sequence[Clip], dimensions: Sequence[Dimension]) -> list[str]:
        """What the annotator says about each clip; in training, where clips come again, it is asked once."""
        known = self._texts if self.training_began else {}
        new = [clip for clip in clips if clip.id not in known]
        found = dict(known)
        for clip, annotation in zip(new, self.annotator.annotate_batch(new, dimensions) if new else [], strict=True):
            if not annotation.text:
                why = annotation.unanswered or "; ".join(annotation.warnings) or "it sees nothing"
                raise PlanError(f"{type(self.annotator).__name__} says nothing about clip {clip.id}: {why}")
            found[clip.id] = annotation.text
        if self.training_began:
            self._texts = found
        return [found[clip.id] for clip in clips]
