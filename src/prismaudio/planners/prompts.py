"""What language models are told about the sections of a plan: data files, with a version."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

import yaml

from prismaudio.errors import PlanError, one_line, reason
from prismaudio.untrusted import read_small

if TYPE_CHECKING:
    from pathlib import Path

    from prismaudio.components import Dimension

Views = Literal["whole", "moments"]
"""What a model sees: the whole clip at a low frame rate, or besides its moments of change at a high one."""


@dataclass(frozen=True)
class SectionPrompt:
    """What a language model is told about the section of one dimension.

    Args:
        version: Version of the text; a change of the text gets a new one.
        answer: How the section is written.
        examples: Sections as they should be written.
        views: ``"whole"`` if the frames of the whole clip suffice, ``"moments"`` if the model also needs the moments of
            change at a high frame rate.
        hash: The first 8 digits of the SHA-256 hash of the file; empty without a file.
    """

    version: int = 1
    answer: str = ""
    examples: tuple[str, ...] = ()
    views: Views = "whole"
    hash: str = ""

    @classmethod
    def of(cls, dimension: Dimension) -> SectionPrompt:
        """The prompt that a dimension brings; for one without a file, its default section is the example."""
        if dimension.prompt is not None:
            return cls.load(dimension.prompt)
        return cls(examples=(dimension.default_section,) if dimension.default_section else ())

    @classmethod
    def load(cls, path: Path) -> SectionPrompt:
        """Load a prompt from its YAML file.

        Raises:
            PlanError: The file cannot be read, or has other keys or types.

        Example:
            >>> from prismaudio.builtin import CORE_DIMENSIONS
            >>> SectionPrompt.of(CORE_DIMENSIONS[1]).views
            'moments'
        """
        known = [field.name for field in fields(cls) if field.name != "hash"]
        values, digest = read_prompt(path, known)
        types = {"version": int, "answer": str, "examples": list, "views": str}
        for name, value in values.items():
            if not isinstance(value, types[name]) or isinstance(value, bool):
                raise PlanError(f"{path}: {name} is {value!r}; expected {types[name].__name__}")
        if values.get("views", "whole") not in get_args(Views):
            raise PlanError(f"{path}: views is {values['views']!r}; expected {' or '.join(get_args(Views))}")
        examples = tuple(str(example).strip() for example in values.pop("examples", ()))
        return cls(**{**values, "answer": str(values.get("answer", "")).strip()}, examples=examples, hash=digest)


def read_prompt(path: Path, known: list[str]) -> tuple[dict[str, Any], str]:
    """Read a YAML file of prompts: its values by name, and the first 8 digits of its hash.

    Args:
        path: The file.
        known: The names that it may have.

    Raises:
        PlanError: The file cannot be read, is not YAML, or has other names.
    """
    try:
        data = read_small(path)
        values = yaml.safe_load(data.decode("utf-8-sig"))
    except OSError as error:
        raise PlanError(f"cannot read the prompt {path}: {reason(error)}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise PlanError(f"the prompt {path} is not YAML in UTF-8: {one_line(error, 120)}") from error
    if not isinstance(values, dict) or (unknown := [name for name in values if name not in known]):
        wrong = f"has {unknown[0]!r}" if isinstance(values, dict) else "has no names"
        raise PlanError(f"the prompt {path} {wrong}; expected {', '.join(known)}")
    return values, hashlib.sha256(data).hexdigest()[:8]
