"""Sharded checkpoints: those that torch writes are read, and nothing else in their table of contents is."""

from __future__ import annotations

import os
import pickle
import shutil
import warnings
import zipfile

import pytest
import torch
from torch.distributed import checkpoint
from torch.distributed.checkpoint.metadata import MetadataIndex

from prismaudio.errors import CheckpointError
from prismaudio.training.consolidation import check_shards, load_weights

WEIGHTS = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.ones(3, dtype=torch.bfloat16)}
OPTIMIZER = {"state": {"a.weight": {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.98)}]}


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder as a sharded run writes it."""
    folder = tmp_path_factory.mktemp("shards") / "last.ckpt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, that there is one process
        checkpoint.save({"state_dict": WEIGHTS, "optimizer_0": OPTIMIZER}, checkpoint_id=folder)
    torch.save({"epoch": 3, "pytorch-lightning_version": "2.6.1"}, folder / "meta.pt")
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "last.ckpt")


def refusal(folder, check=load_weights):
    with pytest.raises(CheckpointError) as caught:
        check(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    return str(caught.value)


def test_what_torch_writes_is_read(folder):
    check_shards(folder)
    weights = load_weights(folder)
    assert weights.keys() == WEIGHTS.keys()
    assert all(torch.equal(weights[key], value) and weights[key].dtype == value.dtype for key, value in WEIGHTS.items())


@pytest.mark.parametrize("check", [load_weights, check_shards])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_in_the_table_of_contents_does_not_run(folder, tmp_path, check, protocol):
    (folder / ".metadata").write_bytes(pickle.dumps({"a": [Harmful(tmp_path / "made")]}, protocol))
    assert "mkdir, which torch does not write there" in refusal(folder, check)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "stream",
    [
        b"\x80\x04ctorch\nserialization.os.system\n\x8c\x04true\x85R.",  # a name with dots
        b"\x80\x04ctorch.distributed.checkpoint.metadata\nMetadata\nN}\x8c\x04sizeK\x01s\x86b.",  # a class is changed
        b"\x80\x04r\xff\xff\xff\xff.",  # a number of an object that would take 64 GB
        b"\x80\x04\x8e\x00\x00\x00\x00\x00\x01\x00\x00.",  # bytes that are not there
        b"\x80\x04" + b"(" * 10 + b".",
        b"\x80\x04N.",
        b"\x80\x04ctorch.distributed.checkpoint.metadata\nMetadata\n)\x81.",  # without any attribute
        b"",
        b"hello",
    ],
)
def test_no_other_table_of_contents_is_read(folder, stream):
    (folder / ".metadata").write_bytes(stream)
    assert ".metadata" in refusal(folder)


def moved(entry, **changes):
    vars(entry).update(changes)


def places(contents, name):
    """Where an entry is stored."""
    return next(place for index, place in contents.storage_data.items() if index.fqn == name)


WHERE = "state_dict.a.weight"
CHANGES = {
    "another folder": lambda c: moved(places(c, WHERE), relative_path="../x"),
    "absolute": lambda c: moved(places(c, WHERE), relative_path="/etc/passwd"),
    "not there": lambda c: moved(places(c, WHERE), relative_path="__9_9.distcp"),
    "number": lambda c: moved(places(c, WHERE), relative_path=3),
    "beyond the end": lambda c: moved(places(c, WHERE), offset=10**9),
    "before the start": lambda c: moved(places(c, WHERE), offset=-1),
    "compressed": lambda c: moved(places(c, WHERE), transform_descriptors=("stream.zstd",)),
    "another thing": lambda c: moved(places(c, WHERE), offset=places(c, "state_dict.b").offset),
    "huge": lambda c: moved(c.state_dict_metadata[WHERE], size=torch.Size([10**6, 10**6])),
    "huge part": lambda c: moved(c.state_dict_metadata[WHERE].chunks[0], sizes=torch.Size([10**6, 10**6])),
    "half a tensor": lambda c: moved(c.state_dict_metadata[WHERE].chunks[0], sizes=torch.Size([1, 3])),
    "no parts": lambda c: c.state_dict_metadata[WHERE].chunks.clear(),
    "no size": lambda c: moved(c.state_dict_metadata[WHERE], size="x"),
    "no type": lambda c: moved(c.state_dict_metadata[WHERE].properties, dtype="x"),
    "another name": lambda c: c.planner_data.update({WHERE: ("optimizer_0", 10**12)}),
    "nothing stored": lambda c: c.storage_data.clear(),
    "a name in place of a place": lambda c: c.storage_data.update({MetadataIndex("x"): "x"}),
    "list": lambda c: moved(c, storage_data=[]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_table_of_contents_that_the_files_do_not_bear_out(folder, change):
    contents = pickle.loads((folder / ".metadata").read_bytes())
    CHANGES[change](contents)
    (folder / ".metadata").write_bytes(pickle.dumps(contents))
    refusal(folder)


def overwritten(folder, name, data):
    """Put other bytes where something is stored."""
    contents = pickle.loads((folder / ".metadata").read_bytes())
    place = places(contents, name)
    moved(place, relative_path="new.distcp", offset=0, length=len(data))
    (folder / ".metadata").write_bytes(pickle.dumps(contents))
    (folder / "new.distcp").write_bytes(data)


def archive(folder, thing, compression=zipfile.ZIP_STORED):
    """Bytes of a file of torch.save, compressed or not."""
    torch.save(thing, folder / "thing")
    with zipfile.ZipFile(folder / "thing") as found, zipfile.ZipFile(folder / "packed", "w", compression) as packed:
        for member in found.namelist():
            packed.writestr(member, found.read(member))
    return (folder / "packed").read_bytes()


@pytest.mark.parametrize("name", ["optimizer_0.param_groups.0.lr", WHERE])
def test_code_in_a_shard_does_not_run(folder, tmp_path, name):
    overwritten(folder, name, archive(tmp_path, Harmful(tmp_path / "made")))
    refusal(folder, load_weights if name == WHERE else check_shards)
    assert not (tmp_path / "made").exists()


def test_code_beside_the_shards_does_not_run(folder, tmp_path):
    torch.save(Harmful(tmp_path / "made"), folder / "meta.pt")
    assert "pickled code, which is not executed" in refusal(folder, check_shards)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("check", [load_weights, check_shards])
def test_shards_that_grow_when_they_are_read_are_refused(folder, tmp_path, check):
    overwritten(folder, WHERE, archive(tmp_path, torch.zeros(2, 3), zipfile.ZIP_DEFLATED))
    assert "compressed" in refusal(folder, check)


def test_truncated_shards(folder):
    shard = folder / "__0_0.distcp"
    shard.write_bytes(shard.read_bytes()[:-100])
    assert "truncated" in refusal(folder)
    shard.unlink()
    assert "not a file in the folder" in refusal(folder)
    (folder / ".metadata").unlink()
    assert "has no .metadata" in refusal(folder)
