"""Errors that a user can act on. The command line prints their message as one line and exits with code 2."""

from __future__ import annotations

import os
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_CHARACTERS = 1_000
"""Maximum length of an error message; a longer one is truncated in the middle."""


def truncated(text: str, max_characters: int = MAX_CHARACTERS) -> str:
    """Truncate a text in the middle to at most ``max_characters``.

    Example:
        >>> truncated("abcdefghijklmnopqrstuvwxyz", 11)
        'abcde…vwxyz'
    """
    if len(text) <= max_characters:
        return text
    tail = (max_characters - 1) // 2
    return f"{text[: max_characters - 1 - tail]}…{text[len(text) - tail :]}"


def first_of(names: Sequence[str], limit: int) -> str:
    """The first of some names, and the number of the others.

    Example:
        >>> first_of(["a", "b", "c"], 2), first_of(["a", "b"], 2)
        ('a, b and 1 more', 'a, b')
    """
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{', '.join(names[:limit])}{more}"


def one_line(error: BaseException, max_characters: int | None = None) -> str:
    r"""The message of an error in one line; the name of its class if the message is empty.

    Args:
        error: The error.
        max_characters: Maximum length; None for no limit.

    Example:
        >>> one_line(ValueError("no\n  number")), one_line(KeyError())
        ('no number', 'KeyError')
    """
    return " ".join(str(error).split())[:max_characters] or type(error).__name__


def with_class(error: BaseException, max_characters: int | None = None) -> str:
    """The message of an error in one line, with the class name in front unless it is a :class:`PrismAudioError`.

    Example:
        >>> with_class(KeyError("a")), with_class(KeyError()), with_class(PrismAudioError("no such file"))
        ("KeyError: 'a'", 'KeyError', 'no such file')
    """
    text, name = one_line(error, max_characters), type(error).__name__
    return text if isinstance(error, PrismAudioError) or text == name else f"{name}: {text}"


def print_traceback(error: BaseException) -> None:
    """Print the traceback of an error if the environment variable ``PRISMAUDIO_TRACEBACK`` is set."""
    if os.environ.get("PRISMAUDIO_TRACEBACK"):
        traceback.print_exception(error)


def reason(error: BaseException) -> str:
    """The first line of the operating system's error message, in lower case.

    Example:
        >>> reason(PermissionError(13, "Permission denied", "/private/x"))
        'permission denied'
    """
    message = getattr(error, "strerror", None) or str(error)  # errors of PyAV have strerror, but are not OSError
    text = message.splitlines()[0] if message else type(error).__name__
    return text[:1].lower() + text[1:]


class PrismAudioError(Exception):
    """Base class of errors whose message is one line: what was wrong, what was expected, and what to do.

    Args:
        text: The message; one longer than :data:`MAX_CHARACTERS` is truncated in the middle.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(truncated(text))


class UnknownNameError(PrismAudioError):
    """A recipe, option or section refers to an unknown name."""


class DuplicateNameError(PrismAudioError):
    """Two plugins, sections or files have the same name."""


class BrokenPluginError(PrismAudioError):
    """A required plugin could not be loaded."""


class RecipeError(PrismAudioError):
    """A recipe is not valid."""


class PlanError(PrismAudioError):
    """A chain-of-thought plan cannot be read."""


class MediaError(PrismAudioError):
    """A video or audio file cannot be read or written."""


class DataError(PrismAudioError):
    """A manifest, or the features that it lists, cannot be used for training."""


class CheckpointError(PrismAudioError):
    """A checkpoint does not fit the model, or is damaged."""


class NotApplicableError(PrismAudioError):
    """A reward or a metric cannot score a clip, because a required input is missing."""


class TrainingError(PrismAudioError):
    """A training run cannot continue because its values are not finite."""
