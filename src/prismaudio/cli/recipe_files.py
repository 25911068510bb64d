"""Recipes are YAML from anybody: looked over before they are built, so that small files do not become large values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonargparse
import yaml

from prismaudio.errors import DataError, RecipeError
from prismaudio.untrusted import MAX_DEPTH, MAX_TEXT_BYTES, check_file

MAX_VALUES = 20_000
"""Values in a recipe, where one that an alias repeats counts each time."""


def read_recipe(path: Path) -> dict[str, Any]:
    """The mapping in a recipe.

    Raises:
        RecipeError: The file cannot be read, is no YAML, no mapping, or would take much room.
    """
    try:
        check_file(path, MAX_TEXT_BYTES)
        text = path.read_text(encoding="utf-8")
        check_yaml(text, str(path))
        content = yaml.safe_load(text)
    except OSError as error:
        raise RecipeError(f"cannot read {path}: {error.strerror}") from None
    except DataError as error:
        raise RecipeError(str(error)) from None
    except (yaml.YAMLError, ValueError) as error:
        raise RecipeError(f"{path} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise RecipeError(f"{path} is not a recipe: it must be a mapping with keys such as model, data and trainer")
    return content


def check_yaml(text: str, where: str) -> None:
    r"""Count what YAML text would become, without building it.

    Args:
        text: The text.
        where: Where it comes from, for the error.

    Raises:
        RecipeError: It would be too large or too deep, or hold itself.
        yaml.YAMLError: It is no YAML.

    Example:
        >>> check_yaml("a: &a [x, y]\nb: [*a, *a]", "here")
        >>> check_yaml("a: &a [*a]", "here")
        Traceback (most recent call last):
        prismaudio.errors.RecipeError: here: 'a' is part of itself
    """
    found = _Found()
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        found.add(event, where)
        if found.n_values > MAX_VALUES:
            raise RecipeError(f"{where}: it would become more than {MAX_VALUES} values")
        if len(found.around) > MAX_DEPTH:
            raise RecipeError(f"{where}: it is nested more than {MAX_DEPTH} levels deep")


@dataclass
class _Found:
    """What was found in YAML so far.

    Args:
        n_values: Values.
        sizes: Values below each anchor.
        around: Anchor of each collection that is not closed yet, and values before it.
    """

    n_values: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    around: list[tuple[str | None, int]] = field(default_factory=list)

    def add(self, event: yaml.Event, where: str) -> None:
        """Count an event."""
        if isinstance(event, yaml.AliasEvent):
            if any(event.anchor == anchor for anchor, _ in self.around):
                raise RecipeError(f"{where}: {event.anchor!r} is part of itself")
            self.n_values += self.sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            self.around.append((event.anchor, self.n_values))
            self.n_values += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = self.around.pop()
            self.sizes |= {anchor: self.n_values - before} if anchor else {}
        elif isinstance(event, yaml.ScalarEvent):
            self.n_values += 1


def bound_values(on_text: Callable[[str], None] = lambda _: None) -> None:
    """Let jsonargparse look over every YAML text in the same way: recipes, files that they name, and options.

    Args:
        on_text: Called with each text before it is read.
    """
    load = jsonargparse.get_loader("yaml")
    load = getattr(load, "unbounded", load)

    def bounded(text: str) -> Any:
        shown = " ".join(text[:40].split())
        if len(text) > MAX_TEXT_BYTES:
            raise RecipeError(f"{shown!r}…: a value of {len(text)} characters; expected {MAX_TEXT_BYTES} at most")
        check_yaml(text, f"{shown!r}…" if len(text) > len(shown) else repr(text))
        on_text(text)
        return load(text)

    bounded.unbounded = load  # type: ignore[attr-defined]
    jsonargparse.set_loader("yaml", bounded, (yaml.YAMLError,))
