"""Questions about a clip, and the sections in a model's answers."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import yaml

from prismaudio.errors import PlanError
from prismaudio.plan.sections import tag
from prismaudio.planners.prompts import SectionPrompt, read_prompt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prismaudio.components import Dimension
    from prismaudio_vlm.viewing import Segment

FOLDER = Path(__file__).with_name("prompts")
FILE = "planner.yaml"
_NAMES = {
    "system": "",
    "clip": "duration",
    "segment": "duration start end",
    "blind": "",
    "hearing": "",
    "given": "sections",
    "section": "name tag question answer example",
    "together": "sections form",
    "together_section": "name tag question answer example",
    "example": "examples",
    "correction": "problems",
    "annotate": "questions",
    "annotate_question": "name question answer",
    "caption": "caption",
    "decouple": "duration cot sections form",
}
"""The texts of the file, and the names that each of them may use."""
_NEEDED = {
    **dict.fromkeys(("section", "together_section"), "name tag question answer"),
    "together": "sections",
    "correction": "problems",
    "annotate": "questions",
    "decouple": "cot",
}
"""Texts that ask for nothing unless they use one of these names."""


@dataclass(frozen=True)
class Prompts:
    """What a model is told, from data files.

    Args:
        texts: The texts of ``planner.yaml`` by name.
        version: Version of that file.
        label: Version and hash of that file.
        folder: Folder with files that replace those of the dimensions; None for none.
    """

    texts: Mapping[str, str]
    version: Any
    label: str
    folder: Path | None = None
    _sections: dict[str, SectionPrompt] = field(default_factory=dict, init=False)

    @classmethod
    def load(cls, folder: Path | None = None, changes: Mapping[str, str] | None = None) -> Prompts:
        """Load the prompts of this package, or those of a folder, which may lack files.

        Args:
            folder: A folder with ``planner.yaml`` and a file for each dimension, such as ``temporal.yaml``.
            changes: Texts that replace those of ``planner.yaml``, by name.

        Raises:
            PlanError: The folder does not exist, or a file is damaged or uses an unknown name.
        """
        if folder is not None and not folder.is_dir():
            raise PlanError(f"no folder {folder} with prompts; make one with: prismaudio prompts {folder}")
        path = folder / FILE if folder is not None and (folder / FILE).is_file() else FOLDER / FILE
        values, digest = read_prompt(path, ["version", *_NAMES])
        texts, own = {}, path == FOLDER / FILE
        defaults = values if own else read_prompt(FOLDER / FILE, ["version", *_NAMES])[0]
        if changes:
            if unknown := sorted(changes.keys() - _NAMES.keys()):
                raise PlanError(f"prompts has {unknown[0]}; expected some of {', '.join(_NAMES)}")
            values |= changes
            digest = hashlib.sha256(json.dumps([digest, sorted(changes.items())]).encode()).hexdigest()[:8]
        for name, allowed in _NAMES.items():
            text = values.get(name, defaults[name])
            if not isinstance(text, str):
                raise PlanError(f"{path}: {name} is {text!r}; expected a text")
            template = Template(text)
            if not template.is_valid() or (
                unknown := [n for n in template.get_identifiers() if n not in allowed.split()]
            ):
                fault = "a $ without a name (write $$)" if not template.is_valid() else f"${unknown[0]}"
                known = ", ".join(f"${n}" for n in allowed.split()) or "no name"
                raise PlanError(f"{path}: {name} has {fault}; it may use {known}")
            needed = _NEEDED.get(name, "").split()
            if needed and not set(needed) & set(template.get_identifiers()):
                one_of = " or ".join(f"${n}" for n in needed)
                raise PlanError(f"{path}: {name} does not say what is asked for; expected {one_of} in it")
            texts[name] = text.strip()
        version = values.get("version", 1)
        return cls(texts, version, f"planner {version} ({digest})", folder)

    def save(self, folder: Path, dimensions: Sequence[Dimension]) -> None:
        """Write all that a model is told to a new folder, from which :meth:`load` reads it again.

        Args:
            folder: The folder.
            dimensions: The dimensions whose prompts are written.
        """
        folder.mkdir(parents=True)
        texts = {"version": self.version, **self.texts}
        (folder / FILE).write_text(yaml.safe_dump(texts, sort_keys=False, width=120), encoding="utf-8")
        for dimension in dimensions:
            own = None if self.folder is None else self.folder / f"{dimension.name}.yaml"
            source = own if own is not None and own.is_file() else dimension.prompt
            if source is not None:
                shutil.copyfile(source, folder / f"{dimension.name}.yaml")

    def description(self) -> str:
        """Version and hash of the texts, and the hash of each file that replaces one of a dimension."""
        paths = [] if self.folder is None else sorted(self.folder.glob("*.yaml"))
        others = [(path.stem, SectionPrompt.load(path).hash) for path in paths if path.name != FILE]
        return ", ".join([self.label, *(f"{name} ({digest})" for name, digest in others)])

    def section(self, dimension: Dimension) -> SectionPrompt:
        """The prompt of a dimension: that of the folder, or else its own."""
        name = dimension.name
        if name not in self._sections:
            path = None if self.folder is None else self.folder / f"{name}.yaml"
            has_file = path is not None and path.is_file()
            self._sections[name] = SectionPrompt.load(path) if path and has_file else SectionPrompt.of(dimension)
        return self._sections[name]

    def label_of(self, *dimensions: Dimension) -> str:
        """Version and hash of everything that a model is told about some sections."""
        labels = [self.label]
        for dimension in dimensions:
            prompt = self.section(dimension)
            labels.append(f"{dimension.name} {prompt.version}" + (f" ({prompt.hash})" if prompt.hash else ""))
        return ", ".join(labels)

    def question(
        self,
        dimensions: Sequence[Dimension],
        written: Mapping[str, str],
        duration_s: float,
        segment: Segment | None,
        *,
        sees: bool,
        hears: bool,
    ) -> str:
        """The question for one section, or for several together.

        Args:
            dimensions: The dimensions of the sections.
            written: Sections that are already written, by name.
            duration_s: Length of the clip in seconds.
            segment: The part of the clip that is shown; None for the whole.
            sees: Whether frames are shown.
            hears: Whether the existing audio is heard.
        """
        lines = self._situation(duration_s, segment, sees=sees, hears=hears)
        if written:
            lines.append(
                self._fill("given", sections="\n".join(f"{tag(name)} {text}" for name, text in written.items()))
            )
        if len(dimensions) == 1:
            lines.append(self._about("section", dimensions[0]))
        else:
            lines.append(self._fill("together", **self._form(dimensions)))
        return "\n".join(lines)

    def annotation(
        self, dimensions: Sequence[Dimension], caption: str, duration_s: float, *, sees: bool, hears: bool
    ) -> str:
        """The question for the chain of thought of a clip as one text.

        Args:
            dimensions: The dimensions that it covers.
            caption: What is known about the clip; empty for nothing.
            duration_s: Length of the clip in seconds.
            sees: Whether frames are shown.
            hears: Whether the existing audio is heard.
        """
        lines = self._situation(duration_s, None, sees=sees, hears=hears)
        lines += [self._fill("caption", caption=caption)] if caption else []
        questions = "\n".join(self._about("annotate_question", dimension) for dimension in dimensions)
        return "\n".join([*lines, self._fill("annotate", questions=questions)])

    def decoupling(self, dimensions: Sequence[Dimension], cot: str, duration_s: float) -> str:
        """The question for the sections of a chain of thought.

        Args:
            dimensions: The dimensions of the sections.
            cot: The chain of thought.
            duration_s: Length of the clip in seconds.
        """
        return self._fill("decouple", duration=f"{duration_s:.2f}", cot=cot, **self._form(dimensions))

    def _situation(self, duration_s: float, segment: Segment | None, *, sees: bool, hears: bool) -> list[str]:
        """Lines about what is shown."""
        if segment is None:
            lines = [self._fill("clip", duration=f"{duration_s:.2f}")]
        else:
            start, end = f"{segment.start_s:.2f}", f"{segment.end_s:.2f}"
            lines = [self._fill("segment", duration=f"{duration_s:.2f}", start=start, end=end)]
        lines += [] if sees else [self._fill("blind")]
        return [*lines, self._fill("hearing")] if hears else lines

    def _form(self, dimensions: Sequence[Dimension]) -> dict[str, str]:
        """What an answer with several sections looks like."""
        return {
            "sections": "\n".join(self._about("together_section", dimension) for dimension in dimensions),
            "form": " ".join(f"{tag(dimension.name)} ..." for dimension in dimensions),
        }

    def correction(self, problems: Sequence[str]) -> str:
        """What a model is told about an answer that cannot be used."""
        return self._fill("correction", problems="; ".join(problems))

    def _about(self, name: str, dimension: Dimension) -> str:
        prompt = self.section(dimension)
        text = self._fill(
            name,
            name=dimension.name,
            tag=tag(dimension.name),
            question=dimension.question,
            answer=" ".join(prompt.answer.split()),
            example=self._fill("example", examples=" / ".join(prompt.examples)) if prompt.examples else "",
        )
        return "\n".join(line for line in text.splitlines() if line.strip())

    def _fill(self, name: str, /, **values: str) -> str:
        return Template(self.texts[name]).substitute(values)


_FENCE = re.compile(r"^\s*```\w*\s*$", re.MULTILINE)
_ITEM = r"(?:[-*•–]|\d{1,2}[.)])[ \t]+"
_BULLET = re.compile(rf"^\s*{_ITEM}")
_EMPHASIS = re.compile(r"(\*\*|__)(.+?)\1|(?<![\w*])\*([^*\n]+)\*(?![\w*])")
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "`": "`"}


def read_sections(text: str, names: Sequence[str], expected: Sequence[str]) -> dict[str, str]:
    """The sections in an answer, cleaned of the markup that models add.

    Tags, markdown headings, "Temporal:" and a JSON object all introduce sections; an answer to a question for one
    section may be its text alone.

    Args:
        text: The answer.
        names: Names of all dimensions.
        expected: The dimensions that were asked for; others are dropped.

    Example:
        >>> read_sections("**Temporal:** The dog sounds at 1 s.", ["semantic", "temporal"], ["temporal"])
        {'temporal': 'The dog sounds at 1 s.'}
    """
    some = "|".join(map(re.escape, names))
    text = re.sub(rf"<\s*/\s*(?:{some})\s*>", "\n", _FENCE.sub("", text), flags=re.IGNORECASE).strip()
    found = _from_json(text, names)
    if not found:
        heading = re.compile(
            rf"[#*_ \t]*<\s*(?P<tag>{some})\s*>[*_:\s]*"
            rf"|^[ \t]*(?:{_ITEM})?[#*_ \t]*(?P<word>{some})(?:[ \t]+section)?[*_ \t]*"
            r"(?:[:：][*_ \t]*|(?<=[*_])[ \t]*$|(?=\n))",
            re.IGNORECASE | re.MULTILINE,
        )
        marks = list(heading.finditer(text))
        for mark, following in zip(marks, [*marks, None][1:], strict=True):
            name = (mark["tag"] or mark["word"]).lower()
            found.setdefault(name, text[mark.end() : following.start() if following else len(text)])
        if len(expected) == 1 and expected[0] not in found:
            if not marks:
                found = {expected[0]: text}
            elif marks[0]["word"] and (lead := text[: marks[0].start()].strip()):  # "Loudness: ..." after the answer
                found[expected[0]] = lead
    return {name: tidy(body) for name, body in found.items() if name in expected}


def _from_json(text: str, names: Sequence[str]) -> dict[str, str]:
    """The sections in the first JSON object of a text."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return {}
    try:
        value = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return {}
    by_name = {str(name).lower(): body for name, body in value.items()}
    return {name: by_name[name] for name in names if isinstance(by_name.get(name), str)}


def tidy(text: str) -> str:
    """A text in one line: without code fences, quotes around it, list marks and emphasis."""
    lines = []
    text = "".join(letter for letter in text if letter in "\n\t" or unicodedata.category(letter) not in ("Cc", "Cf"))
    for line in _FENCE.sub("", text).splitlines():
        bare = _BULLET.sub("", line).strip()
        if bare:
            is_item = bare != line.strip() and bare[-1] not in ".;:!?,"
            lines.append(f"{bare}." if is_item else bare)
    whole = _EMPHASIS.sub(lambda match: match[2] or match[3], " ".join(lines)).strip()
    while len(whole) > 1 and _QUOTES.get(whole[0]) == whole[-1] and whole[0] not in whole[1:-1]:
        whole = whole[1:-1].strip()
    return whole
