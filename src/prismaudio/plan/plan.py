"""The plan of a clip: its chain of thought, one section for each perceptual dimension."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from prismaudio.components import Dimension
from prismaudio.errors import PlanError, reason
from prismaudio.plan import cropping, reading, sections, writing
from prismaudio.plan.sections import CORE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prismaudio.plan.nouns import Nouns
    from prismaudio.plan.story import Story

__all__ = ["CORE", "Plan"]

_HEADER = """\
# A plan: one section for each dimension, each introduced by its tag. Lines that begin with # are ignored.
# Times are written "at 0.66 s" or "from 0.50 s to 2.30 s", directions "on the right (azimuth +24°)".
"""
MAX_CHARACTERS = 4_000_000
"""Maximum number of characters of a plan file."""


def _line(text: str) -> str:
    """Join a text to one line of valid Unicode without control characters; an unpaired surrogate becomes U+FFFD."""
    line = "".join(letter for letter in " ".join(text.split()) if unicodedata.category(letter) != "Cc")
    try:
        line.encode()
    except UnicodeEncodeError:
        return line.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return line


class Plan(Mapping[str, str]):
    """Section texts by dimension name, in order; ``str(plan)`` is the text that :meth:`parse` reads.

    Args:
        texts: The text of each section.
        warnings: Messages for the user about how the plan was created, one line each.
        origins: Who wrote each section, as data for JSON files: ``planner`` is the class of the planner, ``"user"`` or
            ``"default"``; a planner that asks a model adds how often it ``asked`` and what it records about the model.
        unanswered: Errors because of which sections are missing, by name: the model has not answered, and another run
            may get the answer.

    Example:
        >>> plan = Plan.parse("<Semantic> A dog barks. <Temporal> The dog sounds at 0.66 s.")
        >>> plan["semantic"]
        'A dog barks.'
        >>> plan.story.sources[0].onsets_s
        (0.66,)
        >>> print(plan)
        <Semantic> A dog barks. <Temporal> The dog sounds at 0.66 s.
    """

    def __init__(
        self,
        texts: Mapping[str, str],
        warnings: Sequence[str] = (),
        origins: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
        unanswered: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.warnings = tuple(warnings)
        self.unanswered = dict(unanswered)
        self._texts = {name.lower(): _line(text) for name, text in texts.items()}
        self.origins = {name: dict(origins[name]) for name in self._texts if name in origins}

    @classmethod
    def parse(cls, text: str, dimensions: Iterable[str | Dimension] = CORE) -> Plan:
        """Parse a plan from its text.

        Args:
            text: Sections, each introduced by its tag, in any order; some may be missing. Lines that begin with ``#``
                are ignored.
            dimensions: The dimensions (or their names) that may have a section.

        Raises:
            PlanError: The text has no tag, or a malformed, unknown or duplicate one.
        """
        names = (d.name if isinstance(d, Dimension) else d for d in dimensions)
        return cls(sections.split_sections(text, tuple(name.lower() for name in names)))

    @classmethod
    def load(cls, path: str | Path, dimensions: Iterable[str | Dimension] = CORE) -> Plan:
        """Load a plan from a file written by :meth:`save` or by hand.

        Args:
            path: A text file; lines that begin with ``#`` are ignored.
            dimensions: The dimensions (or their names) that may have a section.

        Raises:
            PlanError: The file cannot be read, or is not a valid plan.
        """
        try:
            with Path(path).open(encoding="utf-8-sig") as file:
                text = file.read(MAX_CHARACTERS + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not a text file"
            raise PlanError(f"cannot read the plan {path}: {reason}; expected a text file with sections") from error
        if len(text) > MAX_CHARACTERS:
            raise PlanError(f"cannot read the plan {path}: it has more than {MAX_CHARACTERS} characters")
        try:
            return cls.parse(text, dimensions)
        except PlanError as error:
            raise PlanError(f"{path}: {error}") from error

    def save(self, path: str | Path) -> None:
        """Write the plan as an editable text file, one section per paragraph, with the origins as comments.

        Raises:
            PlanError: The file cannot be written.
        """
        paragraphs = "\n\n".join(f"{sections.tag(name)}\n{sections.escape_markup(text)}" for name, text in self.items())
        try:
            Path(path).write_text(f"{_HEADER}{self._authors()}\n{paragraphs}\n", encoding="utf-8")
        except (OSError, ValueError) as error:
            raise PlanError(f"cannot write the plan {path}: {reason(error)}") from error

    def _authors(self) -> str:
        """Comments that say who wrote each section."""
        keys = ("planner", "model", "prompt")
        authors = {name: [str(origin[key]) for key in keys if key in origin] for name, origin in self.origins.items()}
        return "".join(f"# {name}: {_line(', '.join(author))}\n" for name, author in authors.items())

    @cached_property
    def story(self) -> Story:
        """The events and attributes parsed from the sections; text that is not understood is ignored."""
        return reading.read(self._texts)

    def read(self, nouns: Nouns) -> Story:
        """Parse the sections with a set of known nouns, which are found wherever they occur.

        Args:
            nouns: The known nouns.
        """
        return reading.read(self._texts, nouns)

    def check(self, duration_s: float) -> None:
        """Check that all times lie within the clip.

        Raises:
            PlanError: A time lies beyond the end of the clip, or a sound ends before it begins.
        """
        for source in self.story.sources:
            times = (*source.onsets_s, *(() if source.end_s is None else (source.end_s,)))
            for time_s in times:
                if time_s > duration_s + 0.005:
                    raise PlanError(
                        f"the plan has the {source.what} at {time_s:.2f} s, but the clip lasts {duration_s:.2f} s; "
                        "move or remove that time"
                    )
            if source.end_s is not None and source.onsets_s and source.end_s <= source.onsets_s[-1]:
                raise PlanError(
                    f"in the plan the {source.what} ends at {source.end_s:.2f} s, "
                    f"but begins at {source.onsets_s[-1]:.2f} s; swap these times"
                )

    def crop(self, start_s: float, end_s: float) -> Plan:
        """Return the plan of a segment of the clip, with times relative to the start of the segment.

        The semantic section keeps the sentences about sources in the segment, with corrected counts; times and
        directions are regenerated. Sections without events, and those of other dimensions, are kept verbatim.

        Args:
            start_s: Start of the segment in seconds.
            end_s: End of the segment in seconds.
        """
        story = self.story
        if not any(source.onsets_s for source in story.sources):
            return Plan(self)
        part = cropping.crop(story, start_s, end_s)
        texts = writing.describe(part)
        if part.sources and "semantic" in self:
            texts["semantic"] = cropping.crop_text(self["semantic"], story, part) or texts["semantic"]
        rewritten = {name: texts.get(name, "") for name in ("semantic", "temporal", "spatial") if name in self}
        return self.replace(rewritten)

    def replace(self, texts: Mapping[str, str]) -> Plan:
        """Return a copy with some sections replaced or added; a plan's sections bring their origins."""
        given = texts.origins if isinstance(texts, Plan) else {}
        kept = {name: origin for name, origin in self.origins.items() if name not in texts}
        return Plan({**self._texts, **texts}, self.warnings, {**kept, **given})

    def __str__(self) -> str:
        return " ".join(f"{sections.tag(name)} {sections.escape_markup(text)}".strip() for name, text in self.items())

    def __repr__(self) -> str:
        return f"Plan({self._texts!r})"

    def __getitem__(self, name: str) -> str:
        return self._texts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)
