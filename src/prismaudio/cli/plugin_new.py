"""``prismaudio plugins new``: write a small working plugin from a template."""

from __future__ import annotations

import keyword
import re
import shlex
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from prismaudio import __version__
from prismaudio.errors import DuplicateNameError, UnknownNameError
from prismaudio.plan import CORE

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from prismaudio.registry import Registry

SCORER_KINDS = ("reward", "metric")
"""Kinds that score a dimension."""
DIMENSION_KINDS = (*SCORER_KINDS, "planner")
"""Kinds that read or write the section of a dimension."""
MODULE_KINDS = ("encoder", "planner", "sampler", "autoencoder")
"""Kinds with a module of their own; the others share one that measures audio."""
CHECKED_KINDS = (*SCORER_KINDS, *MODULE_KINDS, "gate")
"""Kinds whose contract a check of :mod:`prismaudio.testing` tests."""
RECIPE_KINDS = ("metric", "encoder", "sampler", "autoencoder")
"""Kinds that the smoke recipe of the plugin uses."""
TEMPLATE_KINDS = (*CHECKED_KINDS, "benchmark", "command")
_BLOCK = re.compile(r"^\[\[ (\w+)\n(.*?)^\]\]\n", re.MULTILINE | re.DOTALL)


def next_steps(folder: Path) -> str:
    """The commands that install the plugin in a folder, with what its tests need, and that check it."""
    return (
        f"pip install -e {shlex.quote(f'{folder}[test]')} && pytest {shlex.quote(str(folder))} && "
        f"prismaudio plugins check {folder.name}"
    )


def new_plugin(registry: Registry, name: str, dimension: str | None, kinds: Sequence[str], folder: Path) -> Path:
    """Write a plugin.

    Args:
        registry: The installed plugins, whose names must not be reused.
        name: Name of the plugin: lower-case letters and digits, words joined by ``-``; the prefix ``prismaudio-`` is
            optional.
        dimension: Name of the dimension that rewards and metrics score and planners write, installed or new; None for
            kinds that have none.
        kinds: Kinds of components to write, of :data:`TEMPLATE_KINDS`.
        folder: Parent of the plugin's folder.

    Returns:
        The plugin's folder.

    Raises:
        UnknownNameError: A name is not valid.
        DuplicateNameError: The folder exists, or a component of that name is installed.
    """
    stem = _stem(name.removeprefix("prismaudio-"))
    given = {*kinds}
    _check_dimension(registry, dimension, given)
    thing = "".join(word.capitalize() for word in stem.split("_"))
    command = stem.replace("_", "-")
    for kind in kinds:
        component = command if kind == "command" else f"{thing}{kind.capitalize()}"
        if component in registry.names(f"{kind}s"):
            raise DuplicateNameError(f"a {kind} {component} is already installed; choose another name")
    is_new = dimension is not None and dimension not in registry.names("dimensions")
    in_level = given - {*MODULE_KINDS}
    holds = {
        "dimension": is_new,
        "dimension_text": dimension is not None and dimension not in CORE,
        "scored": bool(given & {*SCORER_KINDS}),
        "checked": bool(given & {*CHECKED_KINDS}),
        "level": bool(in_level),
        "recipe": bool(given & {*RECIPE_KINDS}),
        "oobleck": "autoencoder" not in given,
    }
    blocks = given | {block for block, is_there in holds.items() if is_there}
    imports = {
        "Component": given - {"command"},
        "Command": "command" in given,
        "Dimension": is_new,
        "Stream": "encoder" in given,
    }
    names = sorted(f"{thing}{kind.capitalize()}" for kind in in_level - {"command"})
    major, minor = __version__.split(".")[:2]
    words = {
        "distribution": f"prismaudio-{command}",
        "module": f"prismaudio_{stem}",
        "stem": stem,
        "thing": thing,
        "title": stem.replace("_", " ").capitalize(),
        "dimension": dimension or "",
        "version": f"{major}.{minor}",
        "below": f"{major}.{int(minor) + 1}",
        "command": command,
        "bench": thing.lower(),
        "latent_channels": "64" if "autoencoder" in given else "8",
        "imports": ", ".join([*sorted(name for name, wanted in imports.items() if wanted), "hookimpl"]),
        "names": ", ".join([*names, *["main"] * ("command" in given)]),
        "checks": ", ".join(sorted(f"check_{kind}" for kind in given & {*CHECKED_KINDS})),
    }
    target = folder / words["distribution"]
    if target.exists():
        raise DuplicateNameError(f"{target} exists; choose another name or --output")
    for path, template in _files(stem, blocks).items():
        text = _BLOCK.sub(lambda block: block[2] if block[1] in blocks else "", template)
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(Template(text).substitute(words), encoding="utf-8")
    return target


def _check_dimension(registry: Registry, dimension: str | None, kinds: set[str]) -> None:
    """Check that there is a dimension if a kind needs one, that its name is valid, and that it has an effect.

    Raises:
        UnknownNameError: One of these does not hold.
    """
    if dimension is None:
        if scored := sorted(kinds & {*SCORER_KINDS}):
            raise UnknownNameError(f"a {scored[0]} needs a dimension to score; add --dimension NAME")
        return
    if not re.fullmatch(r"[a-z][a-z0-9_]*", dimension):
        raise UnknownNameError(
            f"dimension {dimension!r} is not valid; expected one lower-case word, such as 'loudness'"
        )
    if not kinds & {*DIMENSION_KINDS} and dimension in registry.names("dimensions"):
        raise UnknownNameError(
            f"dimension {dimension!r} is already installed and has no effect on --kind {', '.join(sorted(kinds))}; "
            f"leave it out, or add --kind {' or '.join(DIMENSION_KINDS)}"
        )


def _stem(name: str) -> str:
    """The name as a Python identifier."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise UnknownNameError(
            f"{name!r} is not a plugin name; expected lower-case letters, digits and -, as in 'room-tone'"
        )
    if name in MODULE_KINDS:
        raise UnknownNameError(f"{name!r} is the name of a module of the plugin; choose another one, as 'my-{name}'")
    return name.replace("-", "_")


def _files(stem: str, blocks: Collection[str]) -> dict[str, str]:
    """Template text of each file, by its path in the plugin."""
    package = f"src/prismaudio_{stem}"
    places = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"{package}/__init__.py": "hooks.py",
        f"tests/test_{stem}.py": "test.py",
        **{f"{package}/{kind}.py": f"{kind}.py" for kind in MODULE_KINDS if kind in blocks},
    }
    if "level" in blocks:
        places[f"{package}/{stem}.py"] = "module.py"
    if "recipe" in blocks:
        places[f"{package}/recipes/smoke/{stem}.yaml"] = "recipe.yaml"
    folder = files("prismaudio") / "plugin_template"
    return {path: (folder / f"{name}.in").read_text(encoding="utf-8") for path, name in places.items()}
