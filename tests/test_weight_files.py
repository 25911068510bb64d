from __future__ import annotations

import json
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from prismaudio.errors import CheckpointError
from prismaudio.weight_files import (
    SkippedArray,
    check_finite,
    check_held,
    fill,
    listed,
    load_plain,
    misfits,
    read_weights,
    save_tensors,
)

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
    with pytest.raises(CheckpointError, match=r"empty \(0 bytes\)|truncated|not a weight file") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_refused(tmp_path, zipped):
    path = written(tmp_path / "x.ckpt", {"a": Harmful()}, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"pickled code, which is not executed .*system") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"hello, I am a text", "not a weight file"), (b"\x80\x04garbage", "x.ckpt"), (b"PK\x03\x04", "truncated")],
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
    with pytest.raises(CheckpointError, match="contains no weights"):
        read_weights(written(tmp_path / "x.ckpt", {"epoch": 3}))
    with pytest.raises(CheckpointError, match="contains a list"):
        read_weights(written(tmp_path / "x.ckpt", [1, 2]))


def test_of_many_problems_some_of_each_kind_are_listed():
    shapes = {f"w{i}": (i,) for i in range(300)}
    problems = misfits({**shapes, "w1": (7,), "odd": (1,)}, {**shapes, **{f"gone{i}": (1,) for i in range(50)}})
    text = listed(problems)
    assert "unknown odd" in text
    assert "w1 is (7,), expected (1,)" in text
    assert text.endswith("(50 missing, 1 unknown, 1 misshapen)")
    assert len(text) < 1000


def test_views_that_declare_more_than_there_is_take_no_memory(tmp_path):
    check_held(read_weights(written(tmp_path / "tied.ckpt", {"a": WEIGHTS["a.weight"], "b": WEIGHTS["a.weight"]})), "x")
    read = read_weights(written(tmp_path / "x.ckpt", {"weight": torch.ones(1).expand(10**6, 10**6)}))
    with pytest.raises(CheckpointError, match=r"x\.ckpt declares 4,000,000,000,000 bytes of weights, but stores 4"):
        check_held(read, tmp_path / "x.ckpt")
    layer = torch.nn.Linear(3000, 3000)
    with pytest.raises(CheckpointError, match="declares"):
        fill(layer, {"weight": torch.ones(1).expand(3000, 3000), "bias": torch.ones(1).expand(3000)}, "x")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float8_e5m2, torch.complex64])
def test_weights_that_are_no_numbers_are_refused(value, dtype):
    check_finite({"a": torch.ones(5).to(dtype), "empty": torch.ones(0), "whole": torch.ones(2, dtype=torch.int64)}, "x")
    weights = {"weight": torch.tensor([[1.0, value]]).to(dtype), "bias": torch.ones(1)}
    with pytest.raises(CheckpointError, match=r"x: NaN or infinity in weight; did the training diverge"):
        fill(torch.nn.Linear(2, 1), weights, "x")


@pytest.mark.parametrize("tensor", [torch.eye(3).to_sparse(), torch.empty(3, device="meta")])
def test_tensors_of_other_layouts(tmp_path, tensor):
    with pytest.raises(CheckpointError, match="expected dense ones"):
        read_weights(written(tmp_path / "x.ckpt", {"a": tensor}))


class Large:
    def __reduce__(self):
        return (bytearray, (10**12,))


def test_archives_that_grow_when_they_are_read(tmp_path):
    path = written(tmp_path / "x.ckpt", {"a": torch.zeros(1000)})
    with zipfile.ZipFile(path) as plain, zipfile.ZipFile(tmp_path / "y.ckpt", "w", zipfile.ZIP_DEFLATED) as packed:
        for member in plain.namelist():
            packed.writestr(member, plain.read(member))
    with pytest.raises(CheckpointError, match=r"contains a compressed .*, unlike archives of torch"):
        read_weights(tmp_path / "y.ckpt")
    with pytest.raises(CheckpointError, match="bytearray"):
        read_weights(written(tmp_path / "z.ckpt", {"a": Large()}))


def test_safetensors_that_declare_what_is_not_there(tmp_path):
    for shape, end in (([10**6, 10**6], 4 * 10**12), ([2**32, 2**32], 0), ([-1], 4), ([10**30], 4)):
        header = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}}).encode()
        (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
        with pytest.raises(CheckpointError, match="damaged"):
            read_weights(tmp_path / "x.safetensors")


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_the_umask_determines_who_can_read_files_of_weights(tmp_path, mask):
    before = os.umask(mask)
    try:
        save_tensors({"a": torch.ones(2)}, tmp_path / "x.safetensors", {"what": "a"})
    finally:
        os.umask(before)
    assert (tmp_path / "x.safetensors").stat().st_mode & 0o777 == 0o666 & ~mask
    assert read_weights(tmp_path / "x.safetensors").keys() == {"a"}


@pytest.mark.parametrize("is_zip", [True, False])
def test_arrays_beside_the_weights_are_skipped(tmp_path, is_zip):
    # the published weights of PANNs are in a file of the older format, with the sampler of its training
    sampler = {"indexes": np.arange(1000), "shuffled": np.ones(3, bool), "pointer": 7}
    path = tmp_path / "model.pth"
    torch.save({"iteration": 5, "model": WEIGHTS, "sampler": sampler}, path, _use_new_zipfile_serialization=is_zip)
    found = read_weights(path)
    assert found.keys() == WEIGHTS.keys()
    assert isinstance(load_plain(path)["sampler"]["indexes"], SkippedArray)


def test_an_array_takes_no_memory_and_runs_no_code(tmp_path):
    class Huge:
        def __reduce__(self):
            return np.ndarray, ((1 << 40,),)

    class Reading:
        def __reduce__(self):
            return np.fromfile, (str(tmp_path / "x"),)

    torch.save({"model": WEIGHTS, "other": Huge()}, tmp_path / "huge.pth")
    assert isinstance(load_plain(tmp_path / "huge.pth")["other"], SkippedArray)
    torch.save({"model": WEIGHTS, "other": Reading()}, tmp_path / "harmful.pth")
    with pytest.raises(CheckpointError, match="pickled code, which is not executed"):
        read_weights(tmp_path / "harmful.pth")
