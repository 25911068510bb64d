"""Answers on disk, so that a question is asked once."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from prismaudio.errors import MediaError, PrismAudioError, reason
from prismaudio.media import replacing
from prismaudio.untrusted import load_json, read_small
from prismaudio_vlm.chat import Answer

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from prismaudio_vlm.chat import Question


ADVICE = "set PRISMAUDIO_CACHE to another folder, or set cache: false for the planner"


class AnswerCache:
    """Answers by the content of their questions and the identity of the model; each is a small JSON file.

    Args:
        folder: The folder; it is made when the first answer is stored.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self) -> None:
        """Make the folder, before anything is asked.

        Raises:
            PrismAudioError: It cannot be made or written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PrismAudioError(f"cannot write {self.folder}: {reason(error)}; {ADVICE}") from error
        if not os.access(self.folder, os.W_OK):
            raise PrismAudioError(f"cannot write {self.folder}: no permission; {ADVICE}")

    def find(self, identity: str, question: Question) -> Answer | None:
        """The answer to a question; None if there is none, or its file is damaged."""
        try:
            found = load_json(read_small(self._path(identity, question)))
            return Answer(**found) if isinstance(found, dict) and isinstance(found.get("text"), str) else None
        except (OSError, ValueError, TypeError):
            return None

    def store(self, identity: str, question: Question, answer: Answer) -> None:
        """Store an answer.

        Raises:
            PrismAudioError: It cannot be written.
        """
        path = self._path(identity, question)
        try:
            with replacing(path, ADVICE) as part:
                part.write_text(json.dumps(asdict(answer)), encoding="utf-8")
        except MediaError as error:  # it is not about a clip
            raise PrismAudioError(str(error)) from error

    def _path(self, identity: str, question: Question) -> Path:
        digest = hashlib.sha256()
        views = [(view.label, view.times_s, tuple(view.frames.shape)) for view in question.views]
        digest.update(repr((identity, question.system, question.text, question.corrections, views)).encode())
        for view in question.views:
            digest.update(_bytes(view.frames))
        if question.audio is not None:
            digest.update(_bytes(question.audio))
        name = digest.hexdigest()
        return self.folder / name[:2] / f"{name}.json"


def _bytes(tensor: Tensor) -> bytes:
    return tensor.cpu().contiguous().numpy().tobytes()
