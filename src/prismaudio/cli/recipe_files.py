"""Reading of untrusted YAML recipes, with limits that are checked before small files expand to large values."""

from __future__ import annotations

import atexit
import copy
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonargparse
import yaml

from prismaudio.errors import DataError, RecipeError
from prismaudio.untrusted import MAX_DEPTH, MAX_TEXT_BYTES, check_file

MAX_VALUES = 20_000
"""Maximum number of values in a recipe, where a value that an alias repeats counts each time."""


def read_recipe(path: Path, name: str) -> dict[str, Any]:
    """The mapping in a recipe.

    Args:
        path: The file.
        name: What the user calls it, for errors.

    Raises:
        RecipeError: The file cannot be read, is not YAML, is not a mapping, or is too large when expanded.
    """
    try:
        content = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, ValueError) as error:
        raise RecipeError(f"{name} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise RecipeError(f"{name} is not a recipe; expected a mapping with keys such as model, data and trainer")
    return content


def read_text(path: Path) -> str:
    """The text of a recipe, whose size when expanded is checked.

    Raises:
        RecipeError: The file cannot be read, or is too large when expanded.
        yaml.YAMLError: The text is not YAML.
        ValueError: The text is not UTF-8.
    """
    try:
        check_file(path, MAX_TEXT_BYTES)
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"cannot read {path}: {error.strerror}") from None
    except DataError as error:
        raise RecipeError(str(error)) from None
    check_yaml(text, str(path))
    return text


def keep_pipe(path: Path) -> Path:
    """Copy what a pipe contains, such as that of ``--config <(command)``, to a file until this process ends.

    A pipe can be read once, but a recipe is read by each process of a run.

    Raises:
        RecipeError: It has more bytes than a recipe may have.
    """
    with path.open("rb") as pipe:
        content = pipe.read(MAX_TEXT_BYTES + 1)
    if len(content) > MAX_TEXT_BYTES:
        raise RecipeError(f"{path} has more than {MAX_TEXT_BYTES} bytes; expected a recipe")
    with tempfile.NamedTemporaryFile(prefix="prismaudio-", suffix=".yaml", delete=False) as kept:
        kept.write(content)
    atexit.register(Path(kept.name).unlink, missing_ok=True)
    return Path(kept.name)


def check_yaml(text: str, where: str) -> None:
    r"""Count the values in YAML text, without building them.

    Args:
        text: The text.
        where: Its origin, for the error.

    Raises:
        RecipeError: The value is too large, too deep, or contains itself.
        yaml.YAMLError: The text is not YAML.

    Example:
        >>> check_yaml("a: &a [x, y]\nb: [*a, *a]", "here")
        >>> check_yaml("a: &a [*a]", "here")
        Traceback (most recent call last):
        prismaudio.errors.RecipeError: here: 'a' is part of itself
    """
    found = _YamlCounter()
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        found.add(event, where)
        if found.n_values > MAX_VALUES:
            raise RecipeError(f"{where}: the YAML expands to more than {MAX_VALUES} values; expected fewer")
        if len(found.open_collections) > MAX_DEPTH:
            raise RecipeError(f"{where}: the YAML is nested more than {MAX_DEPTH} levels deep; expected fewer")


@dataclass
class _YamlCounter:
    """Counts the values of a YAML event stream.

    Args:
        n_values: Number of values so far.
        sizes: Number of values below each anchor.
        open_collections: Anchor of each collection that is not closed yet, and number of values before it.
    """

    n_values: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    open_collections: list[tuple[str | None, int]] = field(default_factory=list)

    def add(self, event: yaml.Event, where: str) -> None:
        """Count an event."""
        if isinstance(event, yaml.AliasEvent):
            if any(event.anchor == anchor for anchor, _ in self.open_collections):
                raise RecipeError(f"{where}: {event.anchor!r} is part of itself")
            self.n_values += self.sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            self.open_collections.append((event.anchor, self.n_values))
            self.n_values += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = self.open_collections.pop()
            self.sizes |= {anchor: self.n_values - before} if anchor else {}
        elif isinstance(event, yaml.ScalarEvent):
            self.n_values += 1


def bound_values(on_text: Callable[[str], None] = lambda _: None, edited: Mapping[str, Any] | None = None) -> None:
    """Make jsonargparse check every YAML text: recipes, files that they refer to, and options.

    Args:
        on_text: Called with each text before it is parsed.
        edited: Content of some texts that is used instead of their own.
    """
    edited = {} if edited is None else edited
    load = jsonargparse.get_loader("yaml")
    load = getattr(load, "unbounded", load)

    def bounded(text: str) -> Any:
        shown = " ".join(text[:40].split())
        if len(text) > MAX_TEXT_BYTES:
            raise RecipeError(f"{shown!r}…: a value of {len(text)} characters; expected {MAX_TEXT_BYTES} at most")
        check_yaml(text, f"{shown!r}…" if len(text) > len(shown) else repr(text))
        on_text(text)
        return copy.deepcopy(edited[text]) if text in edited else load(text)

    bounded.unbounded = load  # type: ignore[attr-defined]
    jsonargparse.set_loader("yaml", bounded, (yaml.YAMLError,))
