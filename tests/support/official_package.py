"""What a plugin says where the package of the authors, its ``implementation: official``, cannot be used."""

from __future__ import annotations

import sys

import pytest

from prismaudio.errors import BrokenPluginError


def line_of(kind, error=BrokenPluginError, **arguments):
    """The one line with which a class refuses the official implementation."""
    with pytest.raises(error) as caught:
        kind(**arguments, implementation="official")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def check_absent(kind, package, distribution, monkeypatch):
    """A package that is not installed is one line that says what to install."""
    monkeypatch.setitem(sys.modules, package, None)
    line = line_of(kind)
    assert f"implementation official needs {package}, which is not installed: pip" in line
    assert f"install '{distribution}[official]'" in line
    assert f"plugins/{distribution}[official]" in line
    assert line.endswith("or use implementation native")


def check_torchaudio_of_another_torch(kind, package, folder, monkeypatch):
    """A package whose import fails in torchaudio is one line with the versions that fit together."""
    broken = folder / package
    broken.mkdir()
    (broken / "__init__.py").write_text("raise OSError('Could not load this library:\\n_torchaudio.abi3.so')")
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(folder)
    line = line_of(kind)
    assert "(Could not load this library: _torchaudio.abi3.so) with torch 2." in line
    assert "such as torch 2.11 with torchaudio 2.11 and torchvision 0.26, or use implementation native" in line
