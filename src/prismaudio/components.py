"""What the hooks of :mod:`prismaudio.hookspecs` return: data that names classes without importing them."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Stream:
    """The stream of features that an encoder computes, as it is made with its defaults.

    Args:
        name: The name that recipes usually give it, such as ``video``.
        dim: Dim of a feature; None where an argument without a default decides it.
        rate_hz: Features per second; None for a stream that does not run along time, such as text.
    """

    name: str
    dim: int | None = None
    rate_hz: float | None = None


@dataclass(frozen=True)
class Component:
    """A class that a plugin provides.

    Args:
        target: Where the class lives, ``"package.module:ClassName"``. Its name in recipes is ``ClassName``.
        summary: One line that says what it is, shown by ``prismaudio plugins list``.
        dimension: Name of the perceptual dimension that it serves, if it serves one.
        stream: The stream that it computes, for an encoder.

    Example:
        >>> Component("prismaudio_loudness:LoudnessReward", "Distance to a target loudness.", "loudness").name
        'LoudnessReward'
    """

    target: str
    summary: str
    dimension: str | None = None
    stream: Stream | None = None

    @property
    def name(self) -> str:
        """The class name, which is the name in recipes."""
        return self.target.rpartition(":")[2]


@dataclass(frozen=True)
class Dimension:
    """A perceptual dimension: one aspect of sound that a plan has a section for.

    Args:
        name: One lower-case word, which is also the tag of its section (``loudness`` is written ``<Loudness>``).
        question: What its section of the chain of thought answers; planners put it to their model.
        default_section: Section to use when no planner can answer the question; empty to leave the section out.
    """

    name: str
    question: str
    default_section: str = ""


@dataclass(frozen=True)
class Pretrained:
    """A model that a plugin brings, which ``--model NAME`` and ``pretrained: NAME`` mean.

    Args:
        name: Its name, in lower case.
        source: Its folder, or where it is on the Hugging Face hub, ``"owner/model"``.
        summary: One line that says what it is, shown by ``prismaudio plugins list``.
    """

    name: str
    source: Path | str
    summary: str


@dataclass(frozen=True)
class Command:
    """A subcommand of ``prismaudio`` that a plugin brings.

    Args:
        name: Its name, in lower case.
        target: The function that runs it, ``"package.module:function"``; it is called with the list of arguments after
            the name and returns an exit code. A :class:`prismaudio.errors.PrismAudioError` is printed as one line.
        summary: Its line in ``prismaudio --help``.
    """

    name: str
    target: str
    summary: str
