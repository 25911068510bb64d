"""Classes that are not installed, in recipes that a later ``--config`` or option replaces.

jsonargparse resolves the classes of each ``--config`` when it reads it. A recipe whose plugins are not installed could
then not be the base of one that replaces their classes. Here such a class is left out of the earlier recipe, and after
all sources are merged it is checked that none of what was left out was needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from prismaudio.cli.recipe_files import check_yaml, read_text
from prismaudio.errors import RecipeError

CONFIG_OPTIONS = ("--config", "-c")
PRINT_CONFIG = "--print_config"

Keys = tuple[str, ...]


class UnknownClassError(RecipeError):
    """A recipe names a class that cannot be imported.

    Args:
        text: The message.
        name: The name of the class in the recipe.
    """

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self.name = name


@dataclass
class Source:
    """A recipe of ``--config``, or an option.

    Args:
        content: What it sets, nested.
        text: The text of the recipe; None for an option.
        key: The keys of the option; empty for a recipe.
    """

    content: Any
    text: str | None = None
    key: Keys = ()

    def sets(self) -> dict[Keys, Any]:
        """Each value that it sets, by its keys, in which ``init_args`` is left out."""
        return {node.keys: node.value for node in nodes(self.content) if node.keys[: len(self.key)] == self.key}


@dataclass
class Node:
    """A value in a recipe.

    Args:
        keys: Where it is.
        value: The value.
        container: The mapping or list that contains it.
        key: Its key in the container.
    """

    keys: Keys
    value: Any
    container: Any
    key: Any

    @property
    def class_name(self) -> Any:
        """The class that it names, if it is a class."""
        return self.value.get("class_path") if isinstance(self.value, dict) else self.value


@dataclass
class LeftOut:
    """A class that was left out of a recipe.

    Args:
        index: Number of the source.
        keys: Where it is.
        error: What is wrong with it.
    """

    index: int
    keys: Keys
    error: UnknownClassError


def nodes(content: Any, above: Keys = ()) -> Iterator[Node]:
    """Every value below the keys of a recipe, without ``class_path`` and ``init_args`` as keys of their own."""
    items = list(content.items() if isinstance(content, dict) else enumerate(content))
    for key, value in items:
        if isinstance(content, dict) and key == "class_path":
            continue
        names = tuple(name for name in str(key).split(".") if name != "init_args")
        if names:
            yield Node(above + names, value, content, key)
        if isinstance(value, dict | list):
            yield from nodes(value, above + names)


def sources_of(words: Sequence[str]) -> list[Source]:
    """The recipes and options of a command line, in order.

    Args:
        words: The words of the command line, in which recipes are paths.
    """
    found = []
    rest = iter(words)
    for word in rest:
        option, equals, value = word.partition("=")
        if not option.startswith("-") or option == PRINT_CONFIG:
            continue
        value = value if equals else next(rest, "")
        if option in CONFIG_OPTIONS:
            text = read_text(Path(value))
            found.append(Source(yaml.safe_load(text), text))
        else:
            names = option.removeprefix("--").split(".")
            content = parsed(value)
            for name in reversed(names):
                content = {name: content}
            found.append(Source(content, key=tuple(name for name in names if name != "init_args")))
    return found


@dataclass
class Merging:
    """Parses a command line and leaves out classes that cannot be imported and are replaced.

    Args:
        sources: The recipes and options, once a class cannot be imported.
        edited: Content of each recipe from which a class was left out, by its text.
        left_out: What was left out.
    """

    sources: list[Source] = field(default_factory=list)
    edited: dict[str, Any] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)

    def parse(self, parse_args: Callable[[list[str]], Namespace], words: list[str], subcommand: str) -> Namespace:
        """Parse the command line.

        Args:
            parse_args: Parses words, with :attr:`edited` in place of the texts of recipes; raises
                :class:`UnknownClassError`.
            words: The words, the subcommand first.
            subcommand: The subcommand.

        Raises:
            RecipeError: The recipe is not valid, or a class cannot be imported and is not replaced.
        """
        silent = [word for word in words if not word.startswith(PRINT_CONFIG)]
        while True:
            try:
                config = parse_args(silent if self.left_out else words)
                break
            except UnknownClassError as error:
                self.sources = self.sources or sources_of(words[1:])
                self.leave_out(error)
            except RecipeError as error:
                for missing in self.left_out:
                    if repr(missing.keys[-1]) in str(error):  # an argument that is required
                        raise missing.error from None
                raise
        for missing in self.left_out:
            if not self.is_replaced(missing, config[subcommand]):
                raise missing.error
        return parse_args(words) if silent != words and self.left_out else config

    def leave_out(self, error: UnknownClassError) -> None:
        """Leave a class out of each recipe that a later source may replace.

        Raises:
            UnknownClassError: A recipe or option names the class and none after it can replace it.
        """
        found = [
            (i, node)
            for i, source in enumerate(self.sources)
            for node in nodes(source.content)
            if node.class_name == error.name and node.keys[: len(source.key)] == source.key
        ]
        if not found:
            raise error
        for i, node in found:
            keys = tuple(name.removesuffix("+") for name in node.keys)
            source = self.sources[i]
            if source.text is None or not any(self.may_replace(later, keys) for later in self.sources[i + 1 :]):
                raise error
            if isinstance(node.value, dict) and node.value.get("init_args"):
                rank_zero_warn(
                    f"{'.'.join(keys)}: {error.name} cannot be imported; it is left out with its arguments "
                    f"{', '.join(node.value['init_args'])}, for it is replaced"
                )
            if isinstance(node.container, dict):
                node.container.pop(node.key, None)  # an alias of YAML may have been there before
            else:
                node.container[:] = [value for value in node.container if value is not node.value]
            self.edited[source.text] = source.content
            self.left_out.append(LeftOut(i, keys, error))

    @staticmethod
    def may_replace(source: Source, keys: Keys) -> bool:
        """Whether a source sets the value at ``keys``, or one that contains it."""
        sets = source.sets()
        if keys in sets:
            value = sets[keys]
            return not isinstance(value, dict) or "class_path" in value
        return any(keys[:n] in sets for n in range(1, len(keys)))

    def is_replaced(self, missing: LeftOut, config: Namespace) -> bool:
        """Whether the merged recipe has none of what was left out.

        Groups of options and arguments of classes are merged. A mapping, such as that of rewards, and a list are
        replaced as a whole by a later recipe.

        Args:
            missing: What was left out.
            config: The merged recipe.
        """
        later = [source.sets() for source in self.sources[missing.index + 1 :]]
        value: Any = config
        for n, name in enumerate(missing.keys):
            if isinstance(value, Namespace) and "class_path" in value:
                value = value.get("init_args", Namespace())
            if isinstance(value, Namespace) and name not in value:
                return True  # the class was replaced by one that has no such argument
            found = any(missing.keys[: n + 1] in sets for sets in later)
            value = value.get(name) if isinstance(value, dict | Namespace) else None
            if found and (not isinstance(value, Namespace) or n + 1 == len(missing.keys)):
                return True
        return False


def parsed(text: str) -> Any:
    """The value of an option, as YAML if it is."""
    try:
        check_yaml(text, text)
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecipeError):
        return text
