"""Planners that ask a model about a clip, one question for each dimension or one for all."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from prismaudio.checkpoints import within
from prismaudio.downloads import cache_home
from prismaudio.paths import expanded
from prismaudio.planners.base import Annotation, Annotator, Decoupler, Planner
from prismaudio_vlm.asking import Prompts
from prismaudio_vlm.cache import AnswerCache
from prismaudio_vlm.chat import Answer, Chat
from prismaudio_vlm.drafting import Draft, SectionRequest, Thought
from prismaudio_vlm.viewing import Viewing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prismaudio.components import Dimension
    from prismaudio.errors import PrismAudioError
    from prismaudio.plan import Plan
    from prismaudio.types import Clip
    from prismaudio_vlm.chat import Question


class ChatPlanner(Chat, Planner, Annotator, Decoupler):
    """Base class of planners that ask a model, in the order of the dimensions; each question shows what is written.

    It also annotates, with one question for the whole chain of thought of a clip, and splits such a text into sections.

    The answers are checked (:func:`prismaudio.plan.checking.section_problems`); a wrong one is sent back with what is
    wrong with it. A section that stays wrong is left out, and a warning of the plan says why.

    A subclass combines it with a model: ``class MyPlanner(MyChat, ChatPlanner)``, where the constructor of ``MyChat``
    passes further arguments on.

    Args:
        ask: ``"each"`` for one question for each section, ``"together"`` for one for all: faster, and less exact.
        hear: Whether the model hears the existing audio of the clip.
        retries: How often a wrong answer is sent back.
        prompts: Folder with prompts that replace those of the package and of the dimensions, see ``prismaudio
            prompts``; or texts of its ``planner.yaml`` by name.
        cache: Whether answers are kept in ``$PRISMAUDIO_CACHE/answers``, so that the same question about the same
            frames is answered from there.
        fps: Frames per second of the whole clip.
        moment_fps: Frames per second of the moments of change, which only some sections need; 0 to show none.
        max_frames: Maximum number of frames of each of both in a segment; the whole of a longer one is shown at a lower
            rate.
        moment_s: Length of a moment of change in seconds.
        frame_size: Maximum of the shorter side of a frame in pixels.
        segment_s: Length in seconds from which a clip is planned in segments, which begin at a new shot if possible.
        max_segments: Maximum number of segments; those of a longer clip are longer.
    """

    def __init__(
        self,
        ask: Literal["each", "together"] = "each",
        hear: bool = False,  # noqa: FBT001, FBT002 - a recipe names it
        retries: int = 1,
        prompts: str | dict[str, str] | None = None,
        cache: bool = True,  # noqa: FBT001, FBT002
        fps: float = 2.0,
        moment_fps: float = 8.0,
        max_frames: int = 32,
        moment_s: float = 1.0,
        frame_size: int = 336,
        segment_s: float = 30.0,
        max_segments: int = 16,
    ) -> None:
        super().__init__()
        within(0, 10, retries=retries)
        within(0.01, 100, fps=fps, moment_s=moment_s)
        within(0, 100, moment_fps=moment_fps)
        within(1, 4096, max_frames=max_frames, frame_size=frame_size, max_segments=max_segments)
        within(0.2, 36_000, segment_s=segment_s)
        if ask not in ("each", "together"):
            raise ValueError(f"ask is {ask!r}; expected each or together")
        self.ask, self.hear, self.retries = ask, hear, retries
        self.prompts = Prompts.load(expanded(prompts)) if isinstance(prompts, str) else Prompts.load(changes=prompts)
        self.cache = AnswerCache(cache_home() / "answers") if cache else None
        self.viewing = Viewing(fps, moment_fps or fps, max_frames, moment_s, frame_size, segment_s, max_segments)
        self.shows_moments = moment_fps > 0

    def description(self) -> dict[str, Any]:
        """The model, what it is told and shown, and what is made of its answers."""
        return {
            "class": type(self).__name__,
            "model": self.identity,
            "ask": self.ask,
            "hear": self.hear,
            "retries": self.retries,
            "prompts": self.prompts.description(),
            "viewing": asdict(self.viewing) | {"shows_moments": self.shows_moments},
        }

    def plan(self, clip: Clip, dimensions: Sequence[Dimension], given: str | Plan | None = None) -> Plan:
        """Write the sections that are not given.

        Raises:
            PlanError: There are neither frames nor a prompt or plan.
            PrismAudioError: The model cannot answer any question: it has no weights, or the endpoint no key.
        """
        return self.plan_batch([clip], dimensions, [given])[0]

    def plan_batch(
        self,
        clips: Sequence[Clip],
        dimensions: Sequence[Dimension],
        given: Sequence[str | Plan | None] | None = None,
    ) -> list[Plan]:
        """Write the plans of several clips, whose questions are asked together."""
        drafts = self.drafts(clips, dimensions, [None] * len(clips) if given is None else given)
        for group in self.groups(dimensions):
            self._write(
                [
                    SectionRequest(draft, number, missing)
                    for draft in drafts
                    if (missing := [dimension for dimension in group if dimension in draft.missing])
                    for number in range(len(draft.segments))
                ]
            )
        return [draft.plan() for draft in drafts]

    def drafts(
        self, clips: Sequence[Clip], dimensions: Sequence[Dimension], given: Sequence[str | Plan | None]
    ) -> list[Draft]:
        """The plans of clips before anything is asked."""
        return [Draft(clip, dimensions, one, self) for clip, one in zip(clips, given, strict=True)]

    def groups(self, dimensions: Sequence[Dimension]) -> list[list[Dimension]]:
        """The dimensions of each question."""
        return [list(dimensions)] if self.ask == "together" else [[dimension] for dimension in dimensions]

    def annotate_batch(
        self, clips: Sequence[Clip], dimensions: Sequence[Dimension], captions: Sequence[str] | None = None
    ) -> list[Annotation]:
        """Write the chain of thought of each clip as one text; see the base class."""
        thoughts = [
            Thought(clip, dimensions, caption, self)
            for clip, caption in zip(clips, [""] * len(clips) if captions is None else captions, strict=True)
        ]
        self._ask(thoughts)
        return [thought.annotation() for thought in thoughts]

    def decouple_batch(
        self, texts: Sequence[str], clips: Sequence[Clip], dimensions: Sequence[Dimension]
    ) -> list[Plan]:
        """Split chains of thought into sections, with one question for each that shows the text alone."""
        drafts = [Draft(clip, dimensions, None, self, cot) for cot, clip in zip(texts, clips, strict=True)]
        self._write([SectionRequest(draft, 0, list(dimensions)) for draft in drafts])
        return [draft.plan() for draft in drafts]

    def _write(self, requests: Sequence[SectionRequest]) -> None:
        """Ask for sections, and note why some are left out."""
        self._ask(requests)
        for request in requests:
            request.give_up()

    def _ask(self, requests: Sequence[SectionRequest | Thought]) -> None:
        """Ask questions, and again those whose answer is wrong."""
        for turn in range(self.retries + 1):
            waiting = [request for request in requests if request.is_waiting]
            if not waiting:
                break
            answers = self._answers([request.question() for request in waiting])
            for request, (answer, seconds) in zip(waiting, answers, strict=True):
                request.accept(answer, seconds, is_last=turn == self.retries)

    def _answers(self, questions: Sequence[Question]) -> Iterator[tuple[Answer | PrismAudioError, float]]:
        """The answer to each question with the seconds that it took, 0 for one from the cache."""
        identity = self.identity
        if self.cache is not None:
            self.cache.prepare()
        found = [None if self.cache is None else self.cache.find(identity, question) for question in questions]
        missing = [index for index, answer in enumerate(found) if answer is None]
        given: dict[int, tuple[Answer | PrismAudioError, float]] = {}
        for first in range(0, len(missing), self.batch_size):
            part = missing[first : first + self.batch_size]
            start_s = time.perf_counter()
            answers = self.answer([questions[index] for index in part])
            seconds = (time.perf_counter() - start_s) / len(part)
            for index, answer in zip(part, answers, strict=True):
                given[index] = answer, seconds
                if self.cache is not None and isinstance(answer, Answer) and answer.is_complete and answer.text.strip():
                    self.cache.store(identity, questions[index], answer)
        for index, known in enumerate(found):
            yield given[index] if known is None else (known, 0.0)
