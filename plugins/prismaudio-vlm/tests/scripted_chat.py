"""A model whose answers are written by a test."""

from __future__ import annotations

from typing import Any

from prismaudio.errors import PrismAudioError
from prismaudio_vlm.chat import Answer, Chat
from prismaudio_vlm.planner import ChatPlanner

ANSWERS = {
    "semantic": "A small dog barks twice.",
    "temporal": "The dog sounds at 0.20 s and 0.60 s.",
    "aesthetic": "A clean recording. Room acoustics.",
    "spatial": "The dog is on the right (azimuth +24°).",
}


class ScriptedChat(Chat):
    """Answers with what a function returns for a question: a text, an :class:`Answer` or an error; keeps questions."""

    model = "scripted"
    identity = "scripted, settings"

    def __init__(self, script: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.script = script or self.by_section
        self.questions: list[Any] = []
        self.batches: list[int] = []

    def answer(self, questions):
        self.batches.append(len(questions))
        self.questions += questions
        made = [self.script(question) for question in questions]
        return [Answer(one, 100, len(one.split())) if isinstance(one, str) else one for one in made]

    @staticmethod
    def by_section(question):
        name = section_of(question)
        return ANSWERS.get(name, f"The {name} is as usual.")


def section_of(question: Any) -> str:
    """The section that a question asks for."""
    return str(question.text.split("Write the ")[-1].split()[0])


class ScriptedPlanner(ScriptedChat, ChatPlanner):
    """A planner that asks the script."""


def failing(text: str) -> PrismAudioError:
    """The error of one question."""
    return PrismAudioError(text)
