"""Errors that a user can act on. The command line prints their text as one line and exits with code 2."""

from __future__ import annotations

import os
import traceback

MAX_CHARACTERS = 1_000
"""Of the text of an error; a longer one is shortened in the middle."""


def shortened(text: str, most_characters: int = MAX_CHARACTERS) -> str:
    """A text of at most so many characters, whose beginning and end are kept.

    Example:
        >>> shortened("abcdefghijklmnopqrstuvwxyz", 11)
        'abcde…vwxyz'
    """
    if len(text) <= most_characters:
        return text
    tail = (most_characters - 1) // 2
    return f"{text[: most_characters - 1 - tail]}…{text[len(text) - tail :]}"


def one_line(error: BaseException, most_characters: int | None = None) -> str:
    r"""What an error says, in one line; the name of its class if it says nothing.

    Args:
        error: The error.
        most_characters: Where the text is cut off; None for all of it.

    Example:
        >>> one_line(ValueError("no\n  number")), one_line(KeyError())
        ('no number', 'KeyError')
    """
    return " ".join(str(error).split())[:most_characters] or type(error).__name__


def with_class(error: BaseException, most_characters: int | None = None) -> str:
    """What an error says, in one line that begins with the name of its class, unless it is a :class:`PrismAudioError`.

    Example:
        >>> with_class(KeyError("a")), with_class(KeyError()), with_class(PrismAudioError("no such file"))
        ("KeyError: 'a'", 'KeyError', 'no such file')
    """
    text, name = one_line(error, most_characters), type(error).__name__
    return text if isinstance(error, PrismAudioError) or text == name else f"{name}: {text}"


def print_traceback(error: BaseException) -> None:
    """Print where an error comes from, if the user asks for it by the variable ``PRISMAUDIO_TRACEBACK``."""
    if os.environ.get("PRISMAUDIO_TRACEBACK"):
        traceback.print_exception(error)


def reason(error: BaseException) -> str:
    """What the operating system says about an error, in a few words.

    Example:
        >>> reason(PermissionError(13, "Permission denied", "/private/x"))
        'permission denied'
    """
    said = (error.strerror if isinstance(error, OSError) else None) or str(error)
    text = said.splitlines()[0] if said else type(error).__name__
    return text[:1].lower() + text[1:]


class PrismAudioError(Exception):
    """What was wrong, what was expected and what to do, in one line that can be read.

    Args:
        text: The line; what is longer than :data:`MAX_CHARACTERS`, by what it quotes, is shortened in the middle.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(shortened(text))


class UnknownNameError(PrismAudioError):
    """A recipe, option or section names something that nobody provides."""


class DuplicateNameError(PrismAudioError):
    """Two plugins, sections or files claim one name."""


class BrokenPluginError(PrismAudioError):
    """A plugin that is needed could not be loaded."""


class RecipeError(PrismAudioError):
    """A recipe is not valid."""


class PlanError(PrismAudioError):
    """A chain-of-thought plan cannot be read."""


class MediaError(PrismAudioError):
    """A video or audio file cannot be read or written."""


class DataError(PrismAudioError):
    """A manifest, or the features that it names, cannot be trained on."""


class CheckpointError(PrismAudioError):
    """A checkpoint does not belong to the model, or is damaged."""


class NotApplicableError(PrismAudioError):
    """A reward or a metric cannot judge a clip, because something that it needs is not there."""


class TrainingError(PrismAudioError):
    """A run cannot go on: what it computes is no number any more."""
