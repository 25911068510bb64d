from __future__ import annotations

import json
import os
import time
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from prismaudio.data import writing
from prismaudio.data.extraction import Extracted
from prismaudio.data.features import find_files, gather, read_tensor
from prismaudio.data.manifest import ManifestEntry
from prismaudio.data.writing import FeatureFolder

DESCRIPTION = {"latents": {}, "streams": {}}
CLIP = Extracted(ManifestEntry("a"), {"latents": torch.zeros(2, 3)}, {"plans": ["<Semantic> A bell."]})


@pytest.fixture
def folder(tmp_path):
    return FeatureFolder(tmp_path, DESCRIPTION, 2)


def test_a_shard_that_came_meanwhile_stays(folder, tmp_path):
    (tmp_path / "shard-00000.safetensors").write_bytes(b"of another process")
    folder.add(CLIP)
    assert folder.flush() == tmp_path / "shard-00001.safetensors"
    assert (tmp_path / "shard-00000.safetensors").read_bytes() == b"of another process"


def test_of_a_clip_that_was_computed_twice_the_newer_one_is_read(tmp_path):
    """Also if the older one is of a run with more processes, whose shards have another name."""
    for value, part in enumerate(("", "-2of2", "")):
        folder = FeatureFolder(tmp_path, DESCRIPTION, 1, part)
        folder.add(replace(CLIP, values={"latents": torch.full((2, 3), float(value))}), f"options {value}")
    assert [path.name for path in find_files(tmp_path)] == [
        "shard-00000.safetensors",
        "shard-2of2-00001.safetensors",
        "shard-00002.safetensors",
    ]
    records, _ = gather(find_files(tmp_path))
    assert read_tensor(records["a"].parts["latents"]).unique().tolist() == [2.0]
    assert FeatureFolder(tmp_path, DESCRIPTION, 1).is_done(CLIP.entry, "options 2")


def test_failures_of_other_runs_stay_listed_until_these_clips_are_done(folder, tmp_path):
    folder.report({"a": "broken", "b": "broken"}, ["a", "b"])
    folder.report({"c": "broken"}, ["c", "d"])
    lines = (tmp_path / "failures.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["a", "b", "c"]
    assert folder.report({}, ["a", "b"]) is None
    assert json.loads((tmp_path / "failures.jsonl").read_text())["id"] == "c"
    assert folder.report({}, ["c"]) is None
    assert not (tmp_path / "failures.jsonl").exists()


def test_a_reason_may_name_a_file_that_is_not_utf8(folder, tmp_path):
    folder.report({"a": "cannot read caf\udce9.mp4"})
    assert json.loads((tmp_path / "failures.jsonl").read_text())["reason"] == "cannot read caf\udce9.mp4"


def test_a_shard_never_says_more_than_can_be_read_again(folder, monkeypatch):
    monkeypatch.setattr(writing, "MAX_HEADER_BYTES", 1000)
    assert folder.add(replace(CLIP, info={"plans": ["x" * 1000]})) is not None


def test_what_a_killed_process_left_is_deleted_after_an_hour(tmp_path):
    old, new = tmp_path / ".shard-x.part.safetensors", tmp_path / ".shard-y.part.safetensors"
    for path in (old, new):
        path.write_bytes(b"0")
    os.utime(old, (0, time.time() - 4000))
    FeatureFolder(tmp_path, DESCRIPTION, 2)
    assert list(tmp_path.iterdir()) == [new]


def test_new_files_have_the_permissions_of_the_umask(folder):
    before = os.umask(0o027)
    try:
        folder.add(CLIP)
        path = folder.flush()
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640
    assert load_file(path).keys() == {"a/latents"}
    assert list(gather([path])[0]) == ["a"]
