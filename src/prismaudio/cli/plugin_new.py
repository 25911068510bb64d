"""``prismaudio plugins new``: write a small working plugin from a template."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from prismaudio import __version__
from prismaudio.errors import DuplicateNameError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from prismaudio.registry import Registry

TEMPLATE_KINDS = ("reward", "metric", "gate", "benchmark", "command")
SCORER_KINDS = ("reward", "metric")
"""Kinds that score a dimension."""
CHECKED_KINDS = (*SCORER_KINDS, "gate")
"""Kinds whose contract a check of :mod:`prismaudio.testing` tests."""
_BLOCK = re.compile(r"^\[\[ (\w+)\n(.*?)^\]\]\n", re.MULTILINE | re.DOTALL)


def new_plugin(registry: Registry, name: str, dimension: str | None, kinds: Sequence[str], folder: Path) -> Path:
    """Write a plugin.

    Args:
        registry: The installed plugins, whose names must not be reused.
        name: Name of the plugin: lower-case letters and digits, words joined by ``-``; the prefix ``prismaudio-`` is
            optional.
        dimension: Name of the dimension that it scores, installed or new; None for kinds that score none.
        kinds: Kinds of components to write, of :data:`TEMPLATE_KINDS`.
        folder: Parent of the plugin's folder.

    Returns:
        The plugin's folder.

    Raises:
        UnknownNameError: A name is not valid.
        DuplicateNameError: The folder exists, or a component of that name is installed.
    """
    stem = _stem(name.removeprefix("prismaudio-"))
    scored = sorted({*kinds} & {*SCORER_KINDS})
    if dimension is None and scored:
        raise UnknownNameError(f"a {scored[0]} needs a dimension to score; add --dimension NAME")
    if dimension is not None and not re.fullmatch(r"[a-z][a-z0-9_]*", dimension):
        raise UnknownNameError(
            f"dimension {dimension!r} is not valid; expected one lower-case word, such as 'loudness'"
        )
    checked = sorted({*kinds} & {*CHECKED_KINDS})
    thing = "".join(word.capitalize() for word in stem.split("_"))
    command = stem.replace("_", "-")
    for kind in kinds:
        component = command if kind == "command" else f"{thing}{kind.capitalize()}"
        if component in registry.names(f"{kind}s"):
            raise DuplicateNameError(f"a {kind} {component} is already installed; choose another name")
    is_new = dimension is not None and dimension not in registry.names("dimensions")
    blocks = {*kinds, *["dimension"] * is_new, *["scored"] * bool(scored), *["checked"] * bool(checked)}
    imports = {"Component": {*kinds} - {"command"}, "Command": {*kinds} & {"command"}, "Dimension": is_new}
    classes = [f"{thing}{kind.capitalize()}" for kind in kinds if kind != "command"]
    functions = ["main"] * ("command" in kinds) + ["measure"] + ["planned"] * bool(scored)
    major, minor = __version__.split(".")[:2]
    words = {
        "distribution": f"prismaudio-{stem.replace('_', '-')}",
        "module": f"prismaudio_{stem}",
        "stem": stem,
        "thing": thing,
        "title": stem.replace("_", " ").capitalize(),
        "dimension": dimension or "",
        "version": f"{major}.{minor}",
        "below": f"{major}.{int(minor) + 1}",
        "command": command,
        "imports": ", ".join([*sorted(name for name, wanted in imports.items() if wanted), "hookimpl"]),
        "names": ", ".join([*sorted(classes), *functions]),
        "checks": ", ".join(f"check_{kind}" for kind in checked),
    }
    target = folder / words["distribution"]
    if target.exists():
        raise DuplicateNameError(f"{target} exists; choose another name or --output")
    for path, template in _files(stem, blocks).items():
        text = _BLOCK.sub(lambda block: block[2] if block[1] in blocks else "", template)
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(Template(text).substitute(words), encoding="utf-8")
    return target


def _stem(name: str) -> str:
    """The name as a Python identifier."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise UnknownNameError(
            f"{name!r} is not a plugin name; expected lower-case letters, digits and -, as in 'room-tone'"
        )
    return name.replace("-", "_")


def _files(stem: str, blocks: Collection[str]) -> dict[str, str]:
    """Template text of each file, by its path in the plugin."""
    places = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"src/prismaudio_{stem}/__init__.py": "hooks.py",
        f"src/prismaudio_{stem}/{stem}.py": "module.py",
        f"tests/test_{stem}.py": "test.py",
    }
    if "metric" in blocks:
        places[f"src/prismaudio_{stem}/recipes/smoke/{stem}.yaml"] = "recipe.yaml"
    folder = files("prismaudio") / "plugin_template"
    return {path: (folder / f"{name}.in").read_text(encoding="utf-8") for path, name in places.items()}
