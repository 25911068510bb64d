"""Plugins that are single files, imported as modules ``prismaudio.local.NAME``.

The prefix prevents collisions with standard modules and other plugins of the same file name. Every process finds the
files through ``PRISMAUDIO_PLUGINS``, including one that only unpickles objects of a plugin's classes.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

from prismaudio.paths import expanded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

VARIABLE = "PRISMAUDIO_PLUGINS"
__path__: list[str] = []  # a package without a folder: the finder below provides its modules


def names_in(variable: str) -> list[str]:
    """The unique comma-separated names in an environment variable."""
    names = (name.strip() for name in os.environ.get(variable, "").split(","))
    return list(dict.fromkeys(name for name in names if name))


def module_name(text: str) -> str | None:
    """The module name of a ``.py`` file; None if the text is the name of a module."""
    return next((name for name, file in _files().items() if file == _file(text)), None)


def _file(text: str) -> Path | None:
    return expanded(text).resolve() if text.endswith(".py") else None


def _files() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in map(_file, names_in(VARIABLE)):
        if file is not None and file not in found.values():
            name = f"{__name__}.{re.sub(r'[^0-9A-Za-z_]', '_', file.stem)}"
            loaded = getattr(sys.modules.get(name), "__file__", str(file))
            if name in found or loaded != str(file):
                name += f"_{hashlib.sha256(os.fsencode(file)).hexdigest()[:8]}"
            found[name] = file
    return found


def add_to_path(module: ModuleType) -> None:
    """Make a module importable by its bare name if no other has that name, and put its folder on the path."""
    file = Path(str(module.__file__))
    other = PathFinder.find_spec(file.stem)
    if file.stem not in sys.modules and (other is None or other.origin == str(file)):
        sys.modules[file.stem] = module
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))


class _Finder(MetaPathFinder):
    """Import hook for the modules of local files."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module of that name, loaded from its file."""
        if fullname.rpartition(".")[0] != __name__:
            return None
        file = _files().get(fullname)
        if file is None:
            raise ModuleNotFoundError(
                f"No module named {fullname!r}: it is a single-file plugin; add --plugin FILE.py or set {VARIABLE}",
                name=fullname,
            )
        return spec_from_file_location(fullname, file)


sys.meta_path.append(_Finder())
