"""Fixtures for all tests."""

from __future__ import annotations

import itertools
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

COUNTER = itertools.count()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Install a plugin in this process: ``install(source, name=..., distribution=...)`` gives its module's name.

    ``MODULE`` in the source stands for that name.
    """
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    modules = []

    def install(source: str, *, name: str = "extra", distribution: str | None = None, entry_point: bool = True) -> str:
        module = f"plugin_under_test_{next(COUNTER)}"
        modules.append(module)
        source = "from prismaudio import Component, Dimension, hookimpl\n" + textwrap.dedent(source)
        (folder / f"{module}.py").write_text(source.replace("MODULE", module))
        if entry_point:
            distribution = distribution or f"prismaudio-{name}"
            info = folder / f"{distribution.replace('-', '_')}-0.3.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0.3\n")
            (info / "entry_points.txt").write_text(f"[prismaudio]\n{name} = {module}\n")
        return module

    yield install
    for module in modules:
        sys.modules.pop(module, None)
