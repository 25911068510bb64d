"""The JSON schema of recipes for ``prismaudio fit --config`` in this environment, for editors."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import jsonargparse
from lightning.pytorch import LightningDataModule, LightningModule, Trainer

from prismaudio.cli.fit import IMPORTABLE, Known, Provenance, quiet
from prismaudio.components import Component
from prismaudio.registry import discover

SIMPLE: dict[Any, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    NoneType: "null",
    Path: "string",
}


def schema_text() -> str:
    """The schema as JSON."""
    quiet()
    registry = discover()
    Known.of(registry).import_all()
    targets = [entry.item.target for entry in registry.entries if isinstance(entry.item, Component)]
    writer = SchemaWriter({*IMPORTABLE, *(target.partition(":")[0].partition(".")[0] for target in targets)})
    return json.dumps(writer.recipe(), indent=1) + "\n"


class SchemaWriter:
    """Writes the schema of every class that a recipe can use.

    Args:
        packages: Packages whose classes a recipe may use.
    """

    def __init__(self, packages: set[str]) -> None:
        self.packages = packages - {"torch"}
        self.definitions: dict[str, Any] = {}

    def recipe(self) -> dict[str, Any]:
        """The schema of a whole recipe."""
        keys = {
            "seed_everything": {"type": ["integer", "boolean"], "description": "Seed of all random number generators."},
            "trainer": self.arguments(Trainer),
            "model": self.component(LightningModule),
            "data": self.component(LightningDataModule),
            "plugins": {"type": ["array", "null"], "description": "The plugins of the run that saved the recipe."},
            "ckpt_path": {"type": ["string", "null"], "description": "Checkpoint to resume from."},
            "weights_only": {"type": ["boolean", "null"]},
        }
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "PrismAudio recipe",
            "type": "object",
            "properties": keys,
            "additionalProperties": False,
            "$defs": self.definitions,
        }

    def component(self, base: type) -> dict[str, Any]:
        """Schema of a subclass of ``base``: its bare name, its full path, or either with arguments."""
        name = f"any-{base.__name__}"
        if name not in self.definitions:
            self.definitions[name] = {}  # set first, for a class may have arguments of its own kind
            classes = self.subclasses(base)
            names = [spelling for cls in classes for spelling in spellings(cls)]
            references = [{"$ref": f"#/$defs/{self.define(cls)}"} for cls in classes]
            self.definitions[name] = {"anyOf": [{"enum": names}, *references]} if names else {}
        return {"$ref": f"#/$defs/{name}"}

    def define(self, cls: type) -> str:
        """Write the definition of a class and return its key."""
        key = f"{cls.__module__}.{cls.__qualname__}"
        if key not in self.definitions:
            self.definitions[key] = {}
            self.definitions[key] = {
                "type": "object",
                "description": (inspect.getdoc(cls) or cls.__name__).partition("\n")[0],
                "properties": {"class_path": {"enum": spellings(cls)}, "init_args": self.arguments(cls)},
                "required": ["class_path"],
            }
        return key

    def arguments(self, cls: type) -> dict[str, Any]:
        """Schema of the arguments of a class, as jsonargparse resolves them."""
        parser = jsonargparse.ArgumentParser(exit_on_error=False)
        try:
            parser.add_class_arguments(cls, fail_untyped=False)
        except ValueError:  # arguments that jsonargparse cannot resolve
            return {"type": "object"}
        properties = {}
        for action in parser._actions:  # noqa: SLF001  (argparse has no other way to list them)
            if action.dest in ("help", "print_config", "config") or "." in action.dest:
                continue
            text = {"description": action.help} if action.help else {}
            properties[action.dest] = self.value(getattr(action, "_typehint", Any)) | text
        return {"type": "object", "properties": properties, "additionalProperties": False}

    def value(self, hint: Any) -> dict[str, Any]:
        """Schema of a type; empty, which allows any value, for types without a JSON equivalent."""
        origin, parts = get_origin(hint), get_args(hint)
        if hint in SIMPLE:
            return {"type": SIMPLE[hint]}
        if origin in (Union, UnionType):
            return {"anyOf": [self.value(part) for part in parts]}
        if origin is Literal:
            return {"enum": list(parts)}
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.value(parts[1])}
        if isinstance(origin, type) and issubclass(origin, Sequence) and origin is not tuple:
            return {"type": "array", "items": self.value(parts[0])}
        if isinstance(hint, type) and top(hint) in self.packages:
            return self.component(hint)
        return {}

    def subclasses(self, base: type) -> list[type]:
        """Concrete public subclasses of a class, including the class itself, sorted by name."""
        found, open_ = set(), [base]
        while open_:
            cls = open_.pop()
            open_ += cls.__subclasses__()
            public = cls.__name__[0] != "_" and "._" not in cls.__module__ and top(cls) in self.packages
            if public and not inspect.isabstract(cls) and cls not in (LightningModule, LightningDataModule, Provenance):
                found.add(cls)
        return sorted(found, key=lambda cls: (cls.__name__, cls.__module__))


def spellings(cls: type) -> list[str]:
    """The names of a class in a recipe."""
    return [cls.__name__, f"{cls.__module__}.{cls.__qualname__}"]


def top(cls: type) -> str:
    """The top-level package of a class."""
    return cls.__module__.partition(".")[0]
