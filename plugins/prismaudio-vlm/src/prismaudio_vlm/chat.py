"""The contract between planners and the models that answer their questions."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prismaudio.checkpoints import Configured
from prismaudio.errors import PrismAudioError
from prismaudio.planners.base import Described

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

AUDIO_RATE_HZ = 16_000
"""Sample rate of the audio of a question."""


@dataclass(frozen=True, eq=False)
class View:
    """Frames that a model is shown.

    Args:
        frames: RGB frames, uint8 ``(time, 3, height, width)``.
        times_s: Their presentation times in the clip, in seconds, ascending.
        label: What they are, such as ``"The whole clip"``.
    """

    frames: Tensor
    times_s: tuple[float, ...]
    label: str = ""


@dataclass(frozen=True, eq=False)
class Question:
    """One question about a clip, answered independently of others.

    Args:
        system: The system text.
        views: The frames, in the order in which they are shown.
        text: The question, asked after the frames.
        audio: The existing audio of the clip, mono at 16 kHz, float32 ``(samples,)``; None to answer from the frames.
        corrections: Earlier answers, each with what was wrong with it.
    """

    system: str
    views: tuple[View, ...]
    text: str
    audio: Tensor | None = None
    corrections: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Answer:
    """An answer of a model.

    Args:
        text: Its text, without special tokens.
        prompt_tokens: Number of tokens of the question, those of frames included; 0 if not known.
        tokens: Number of tokens of the answer; 0 if not known.
        is_complete: Whether the model ended the answer itself; False if it was cut off at the maximum length.
    """

    text: str
    prompt_tokens: int = 0
    tokens: int = 0
    is_complete: bool = True


class Chat(Configured, Described):
    """A model that answers questions about frames and audio.

    Attributes:
        model: Name of the model.
        batch_size: Number of questions of one call of :meth:`answer`; their answers are kept before the next call.
    """

    model: str
    batch_size: int = 1

    @property
    def model_name(self) -> str:
        """The name of the model that is recorded, without a path of this machine."""
        return self.model

    @property
    @abstractmethod
    def identity(self) -> str:
        """Names the model, its weights and its settings: two chats of one identity give the same answers."""

    @abstractmethod
    def answer(self, questions: Sequence[Question]) -> list[Answer | PrismAudioError]:
        """Answer questions, each independently of the others.

        Returns:
            The answer to each question, or the error why it has none; the others are answered all the same.

        Raises:
            PrismAudioError: No question can be answered: there are no weights, no key or no endpoint.
        """


def without_thinking(answer: str, prompt_end: str = "") -> str:
    """An answer without what a model thinks before it.

    Args:
        answer: The answer; all of it is thought if no thought ends in it.
        prompt_end: The end of the prompt, in which some templates begin a thought.

    Example:
        >>> without_thinking("<think>A dog?</think>A dog barks."), without_thinking("Is it a dog", "<think>")
        ('A dog barks.', '')
    """
    begun = "</think>" not in prompt_end.rpartition("<think>")[2] and "<think>" in prompt_end
    if "</think>" in answer:
        return answer.rpartition("</think>")[2].strip()
    return "" if begun else answer.partition("<think>")[0].strip()
