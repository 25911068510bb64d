"""Errors that a user can act on. The command line prints their text as one line and exits with code 2."""

MOST_CHARACTERS = 1_000
"""Of the text of an error; a longer one is shortened in the middle."""


def shortened(text: str, most_characters: int = MOST_CHARACTERS) -> str:
    """A text of at most so many characters, whose beginning and end are kept.

    Example:
        >>> shortened("abcdefghijklmnopqrstuvwxyz", 11)
        'abcde…vwxyz'
    """
    if len(text) <= most_characters:
        return text
    tail = (most_characters - 1) // 2
    return f"{text[: most_characters - 1 - tail]}…{text[len(text) - tail :]}"


class PrismAudioError(Exception):
    """What was wrong, what was expected and what to do, in one line that can be read.

    Args:
        text: The line; what is longer than :data:`MOST_CHARACTERS`, by what it quotes, is shortened in the middle.
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
