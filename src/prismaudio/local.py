"""Plugins that are single files, as the modules ``prismaudio.local.NAME``.

A name of its own keeps a file that is called like a module of Python, or like another plugin, apart from it. Every
process finds the files by ``PRISMAUDIO_PLUGINS``, also one that only unpickles what a plugin's class has made.
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
__path__: list[str] = []  # a package without a folder: its modules are what the finder finds


def names_in(variable: str) -> list[str]:
    """The comma-separated names in an environment variable, each once."""
    names = (name.strip() for name in os.environ.get(variable, "").split(","))
    return list(dict.fromkeys(name for name in names if name))


def module_name(text: str) -> str | None:
    """The full name of the module that a ``.py`` file becomes; None for what names a module itself."""
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


def make_known(module: ModuleType) -> None:
    """Let a module of a file be imported by its bare name too, where no other has that, and import its neighbours."""
    file = Path(str(module.__file__))
    other = PathFinder.find_spec(file.stem)
    if file.stem not in sys.modules and (other is None or other.origin == str(file)):
        sys.modules[file.stem] = module
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))


class _Finder(MetaPathFinder):
    """Finds the modules of local files."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module of that name, loaded from its file."""
        if fullname.rpartition(".")[0] != __name__:
            return None
        file = _files().get(fullname)
        if file is None:
            raise ModuleNotFoundError(
                f"No module named {fullname!r}: it is a plugin of one file, which --plugin FILE.py or {VARIABLE} names",
                name=fullname,
            )
        return spec_from_file_location(fullname, file)


sys.meta_path.append(_Finder())
