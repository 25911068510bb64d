from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from prismaudio.errors import CheckpointError
from prismaudio.weight_files import listed, misfits, read_weights

WEIGHTS = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}


class Harmful:
    def __reduce__(self):
        return (os.system, ("true",))


def written(path: Path, weights=WEIGHTS, **options) -> Path:
    save_file(weights, path) if path.suffix == ".safetensors" else torch.save(weights, path, **options)
    return path


@pytest.mark.parametrize("name", ["x.ckpt", "x.safetensors", "without_suffix"])
def test_both_formats_are_known_by_their_content(tmp_path, name):
    found = read_weights(written(tmp_path / name))
    assert found.keys() == WEIGHTS.keys()
    assert all(torch.equal(found[key], value) and found[key].dtype == value.dtype for key, value in WEIGHTS.items())


def test_files_of_old_torch(tmp_path):
    found = read_weights(written(tmp_path / "x.pth", _use_new_zipfile_serialization=False))
    assert torch.equal(found["a.weight"], WEIGHTS["a.weight"])


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_what_is_under_a_wrapper_counts(tmp_path, wrapper):
    wrapped = {wrapper: WEIGHTS, "epoch": 3, "optimizer_states": [{"lr": 0.1}], "best": np.float64(0.5)}
    assert read_weights(written(tmp_path / "x.ckpt", wrapped)).keys() == WEIGHTS.keys()


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
@pytest.mark.parametrize("kept", [0, 5, 300, -20])
def test_truncated_files(tmp_path, suffix, kept):
    path = written(tmp_path / f"x{suffix}", {"a": torch.randn(5000)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"empty \(0 bytes\)|truncated|not a file of weights") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_refused(tmp_path, zipped):
    path = written(tmp_path / "x.ckpt", {"a": Harmful()}, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"pickled code, which is not run .*system") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"hello, I am a text", "not a file of weights"), (b"\x80\x04garbage", "x.ckpt"), (b"PK\x03\x04", "truncated")],
)
def test_other_files(tmp_path, content, words):
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=words):
        read_weights(path)


def test_no_file_and_no_weights(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        read_weights(tmp_path / "none.ckpt")
    with pytest.raises(CheckpointError, match="no such file"):
        read_weights(tmp_path)
    with pytest.raises(CheckpointError, match="holds no weights"):
        read_weights(written(tmp_path / "x.ckpt", {"epoch": 3}))
    with pytest.raises(CheckpointError, match="holds a list"):
        read_weights(written(tmp_path / "x.ckpt", [1, 2]))


def test_of_many_problems_some_of_each_kind_are_listed():
    shapes = {f"w{i}": (i,) for i in range(300)}
    problems = misfits({**shapes, "w1": (7,), "odd": (1,)}, {**shapes, **{f"gone{i}": (1,) for i in range(50)}})
    text = listed(problems)
    assert "unknown odd" in text
    assert "w1 is (7,), expected (1,)" in text
    assert text.endswith("(50 missing, 1 unknown, 1 misshapen)")
    assert len(text) < 1000
