"""Data classes that hooks of :mod:`prismaudio.hookspecs` return: they refer to classes without importing them."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Stream:
    """The stream of features that an encoder with default arguments computes.

    Args:
        name: The usual name of the stream in recipes, such as ``video``.
        dim: Feature dim; None if a required argument determines it.
        rate_hz: Features per second; None for a stream without a time axis, such as text.
    """

    name: str
    dim: int | None = None
    rate_hz: float | None = None


@dataclass(frozen=True)
class Component:
    """A class that a plugin provides.

    Args:
        target: Import path of the class, ``"package.module:ClassName"``. Its name in recipes is ``ClassName``.
        summary: One-line description, shown by ``prismaudio plugins list``.
        dimension: Name of the perceptual dimension that it scores, if any.
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
        """The class name, which recipes use."""
        return self.target.rpartition(":")[2]


@dataclass(frozen=True)
class Dimension:
    """A perceptual dimension: one aspect of audio, with a section in every plan.

    Args:
        name: One lower-case word, which is also the tag of its section (``loudness`` is written ``<Loudness>``).
        question: The question that its section of the chain of thought answers; planners prompt their model with it.
        default_section: Section to use if the planner does not write one; empty to omit the section.
        prompt: A YAML file with what a language model is told about the form of the section, see
            :class:`prismaudio.planners.prompts.SectionPrompt`; None for the question alone.
    """

    name: str
    question: str
    default_section: str = ""
    prompt: Path | None = None


@dataclass(frozen=True)
class Pretrained:
    """A pretrained model that a plugin provides, selected by ``--model NAME`` or ``pretrained: NAME``.

    Args:
        name: Lower-case name.
        source: The model folder, or the repository on the Hugging Face hub, ``"owner/model"``.
        summary: One-line description, shown by ``prismaudio plugins list``.
    """

    name: str
    source: Path | str
    summary: str


@dataclass(frozen=True)
class Command:
    """A subcommand of ``prismaudio`` that a plugin provides.

    Args:
        name: Lower-case name.
        target: Import path of the function, ``"package.module:function"``; it is called with the list of arguments
            after the name and returns an exit code. A :class:`prismaudio.errors.PrismAudioError` is printed as one
            line.
        summary: Its line in ``prismaudio --help``.
    """

    name: str
    target: str
    summary: str
