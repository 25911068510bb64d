"""Ontologies of sound classes: that of AudioSet, or the labels of clips as they are."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from prismaudio.errors import DataError, first_of, reason, truncated
from prismaudio.untrusted import is_text, load_json, read_small

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

EXPECTED = 'expected the ontology.json of AudioSet: a list of {"id", "name", "child_ids"}'
NO_CLASS = ("abstract", "blacklist")
"""Restrictions of nodes that group classes and are no classes of sounds themselves."""
MAX_BYTES = 64 << 20
NAMED = 3


@dataclass(frozen=True)
class Ontology:
    """Sound classes, of which each may have narrower ones.

    Args:
        names: Name of each class by its id.
        children: Ids of the narrower classes of a class; one may be narrower than several.
        groups: Ids of nodes that only group classes.

    Example:
        >>> animals = Ontology({"a": "Animal", "d": "Dog", "b": "Bark"}, {"a": ("d",), "d": ("b",)})
        >>> sorted(animals.below("d")), animals.narrowest({"a", "b"})
        (['b', 'd'], {'b'})
    """

    names: Mapping[str, str]
    children: Mapping[str, Sequence[str]] = field(default_factory=dict)
    groups: frozenset[str] = frozenset()

    @classmethod
    def of_labels(cls, labels: Iterable[str]) -> Ontology:
        """The labels themselves as classes, whose spelling differs in more than case."""
        found: dict[str, str] = {}
        for label in sorted(labels):
            found.setdefault(label.casefold(), label)
        return cls({label: label for label in found.values()})

    @classmethod
    def read(cls, path: Path) -> Ontology:
        """Read a file in the form of AudioSet's.

        Raises:
            DataError: It cannot be read, has another form, names classes that it lacks, or a class is below itself.
        """
        try:
            nodes = load_json(read_small(path, MAX_BYTES))
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read the ontology {path}: {reason(error)}; {EXPECTED}") from error
        if not isinstance(nodes, list) or not nodes:
            raise DataError(f"{path} is no ontology; {EXPECTED}")
        names: dict[str, str] = {}
        children: dict[str, tuple[str, ...]] = {}
        groups = set()
        for number, node in enumerate(nodes, 1):
            identifier, name, below, limits = _checked(f"{path}, entry {number}", node)
            if identifier in names:
                raise DataError(f"{path}, entry {number}: the id {identifier!r} is there twice; expected each once")
            names[identifier], children[identifier] = name, below
            if set(NO_CLASS) & set(limits):
                groups.add(identifier)
        if unknown := sorted({child for below in children.values() for child in below} - names.keys()):
            raise DataError(
                f"{path} has no entry for {first_of(unknown, NAMED)}, which other entries have as child_ids; {EXPECTED}"
            )
        found = cls(names, children, frozenset(groups))
        if cycle := found._cycle():
            shown = " > ".join(names[identifier] for identifier in cycle)
            raise DataError(f"{path} has classes below themselves: {truncated(shown, 200)}; expected no cycle")
        return found

    def _cycle(self) -> list[str]:
        """A chain of classes that ends where it begins; empty if there is none."""
        done: set[str] = set()
        for start in self.names:
            path: list[str] = []
            stack = [(start, iter(self.children.get(start, ())))] if start not in done else []
            while stack:
                identifier, rest = stack[-1]
                if len(path) < len(stack):
                    path.append(identifier)
                child = next(rest, None)
                if child is None:
                    done.add(identifier)
                    stack.pop()
                    path.pop()
                elif child in path:
                    return [*path[path.index(child) :], child]
                elif child not in done:
                    stack.append((child, iter(self.children.get(child, ()))))
        return []

    def below(self, identifier: str) -> set[str]:
        """A class and all that are narrower."""
        found, waiting = set(), [identifier]
        while waiting:
            if (one := waiting.pop()) not in found:
                found.add(one)
                waiting += self.children.get(one, ())
        return found

    def narrowest(self, identifiers: set[str]) -> set[str]:
        """Those of some classes that none of the others is narrower than: a *Bark* is a *Dog* too."""
        wider = {one for one in identifiers if len(identifiers & self.below(one)) > 1}
        return identifiers - wider

    def matching(self, pattern: str) -> set[str]:
        """The classes of an id, a name or a pattern such as ``*singing*``, each with all that are narrower."""
        wanted = pattern.casefold()
        named = {one for one, name in self.names.items() if one == pattern or fnmatchcase(name.casefold(), wanted)}
        return {below for one in named for below in self.below(one)}


@dataclass(frozen=True)
class Labels:
    """Finds the classes of labels.

    Args:
        ontology: The classes.

    Example:
        >>> labels = Labels(Ontology({"/m/1": "Dog", "/m/2": "Hiss, steam"}))
        >>> labels.split(["/m/1,/m/2"]), labels.split(["dog; Hiss, steam"]), labels.find("dog")
        (['/m/1', '/m/2'], ['dog', 'Hiss, steam'], ['/m/1'])
    """

    ontology: Ontology
    _found: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for identifier, name in self.ontology.names.items():
            self._found.setdefault(name.casefold(), []).append(identifier)

    def find(self, label: str) -> list[str]:
        """Ids of the classes of a label, an id or a name; several if the name is that of several."""
        return [label] if label in self.ontology.names else self._found.get(label.casefold(), [])

    def split(self, texts: Iterable[str]) -> list[str]:
        """The labels of a cell: separated by ``;``, or, where a part is no class, by commas if all its parts are."""
        found = []
        for part in labels_of(texts):
            smaller = [piece.strip() for piece in part.split(",") if piece.strip()]
            is_list = not self.find(part) and len(smaller) > 1 and all(map(self.find, smaller))
            found += smaller if is_list else [part]
        return found

    def check(self, labels: Mapping[str, int], where: str) -> None:
        """Check that labels are classes.

        Args:
            labels: Number of clips by label.
            where: The file that has them, for the error.

        Raises:
            DataError: Some are not, or the name of a label is that of several classes.
        """
        if unknown := {label: n for label, n in labels.items() if not self.find(label)}:
            ordered = sorted(unknown, key=lambda label: (-unknown[label], label))
            named = first_of([f"{label!r} ({unknown[label]} clips)" for label in ordered], NAMED)
            near = get_close_matches(ordered[0].casefold(), self._found, n=1)
            hint = f"; did you mean {self.ontology.names[self._found[near[0]][0]]!r}?" if near else ""
            are = "label that is" if len(unknown) == 1 else "labels that are"
            raise DataError(f"{where} has {len(unknown)} {are} no class of the ontology: {named}{hint}")
        if twice := next((label for label in labels if len(self.find(label)) > 1), None):
            raise DataError(
                f"{where}: several classes have the name {twice!r}: {', '.join(self.find(twice))}; give the id instead"
            )


def labels_of(texts: Iterable[str]) -> list[str]:
    """The labels of a cell that are separated by ``;``, without quotes around them.

    Example:
        >>> labels_of(["Dog; Bird song", '"/m/0bt9lr"'])
        ['Dog', 'Bird song', '/m/0bt9lr']
    """
    parts = (part.strip().strip('"').strip() for text in texts for part in text.split(";"))
    return [re.sub(r"\s+", " ", part) for part in parts if part]


def _checked(where: str, node: Any) -> tuple[str, str, tuple[str, ...], list[Any]]:
    """Id, name, ids of children and restrictions of an entry."""
    values = node if isinstance(node, dict) else {}
    identifier, name, below = values.get("id"), values.get("name"), values.get("child_ids")
    fits = all(isinstance(text, str) and text.strip() and is_text(text) for text in (identifier, name))
    if not fits or not isinstance(below, list) or not all(isinstance(child, str) for child in below):
        raise DataError(f"{where} is {truncated(repr(node), 80)}; {EXPECTED}")
    limits = values.get("restrictions")
    return str(identifier), str(name).strip(), tuple(below), limits if isinstance(limits, list) else []
