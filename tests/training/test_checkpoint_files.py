from __future__ import annotations

import errno
import os
import time

import pytest
import torch

from prismaudio.errors import CheckpointError
from prismaudio.training.checkpoint_files import WholeCheckpointIO, replace

STATE = {"state_dict": {"a": torch.arange(4.0)}, "epoch": 1}


@pytest.fixture
def files():
    return WholeCheckpointIO()


def test_a_checkpoint_is_written_and_replaced(files, tmp_path):
    path = tmp_path / "folder" / "last.ckpt"
    for epoch in range(2):
        files.save_checkpoint(STATE | {"epoch": epoch}, path)
    assert files.load_checkpoint(path, weights_only=True)["epoch"] == 1
    assert list(path.parent.iterdir()) == [path]


def test_nothing_is_written_to_the_folder_for_temporary_files(files, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    files.save_checkpoint(STATE, tmp_path / "last.ckpt")
    assert (tmp_path / "last.ckpt").is_file()


def test_a_full_disk_is_one_line_and_leaves_the_checkpoint_before(files, tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    files.save_checkpoint(STATE, path)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"cannot write the checkpoint .*last\.ckpt: no space left on device"):
        files.save_checkpoint(STATE, path)
    assert list(tmp_path.iterdir()) == [path]
    assert files.load_checkpoint(path, weights_only=True)["epoch"] == 1


def test_what_cannot_be_saved_is_no_error_of_the_disk(files, tmp_path):
    with pytest.raises((AttributeError, TypeError, RuntimeError)) as error:
        files.save_checkpoint({"a": lambda: None}, tmp_path / "last.ckpt")
    assert not isinstance(error.value, CheckpointError)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_deleted_after_an_hour(files, tmp_path):
    old, new = tmp_path / ".last.ckpt.0.part", tmp_path / ".last.ckpt.1.part"
    for path in (old, new):
        path.write_bytes(b"0")
    os.utime(old, (0, time.time() - 4000))
    files.save_checkpoint(STATE, tmp_path / "last.ckpt")
    assert sorted(path.name for path in tmp_path.iterdir()) == [new.name, "last.ckpt"]


@pytest.mark.parametrize("before", ["nothing", "file", "folder"])
def test_a_folder_takes_the_place_of_what_was_there(tmp_path, before):
    part, target = tmp_path / "part", tmp_path / "last.ckpt"
    part.mkdir()
    (part / "new").touch()
    if before == "folder":
        target.mkdir()
        (target / "old").touch()
    elif before == "file":
        target.touch()
    replace(part, target)
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]
