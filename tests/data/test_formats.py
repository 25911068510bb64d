from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pytest
import torch
from safetensors.torch import save

from prismaudio.data.features import find_files, from_entries, gather, index_file, look_over, read
from prismaudio.data.manifest import read_manifest
from prismaudio.errors import DataError


def published(path, **change):
    """A file with the arrays of the published system, 9 s."""
    arrays = {
        "id": np.array("clip"),
        "caption_cot": np.array(None, dtype=object),
        "latent": np.random.default_rng(0).normal(size=(64, 194)).astype(np.float32),
        "global_video_features": np.zeros(1024, np.float32),
        "video_features": np.zeros((36, 1024), np.float32),
        "text_features": np.zeros((77, 1024), np.float32),
        "sync_features": np.zeros((216, 768), np.float32),
    }
    np.savez(path, **(arrays | change))
    return path


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def archive(path, members):
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_published_features_are_read_without_unpickling(tmp_path):
    contents = index_file(published(tmp_path / "clip.npz"))
    record = contents.records["clip"]
    assert {name: part.shape for name, part in record.parts.items()} == {
        "latents": (64, 194),
        "video": (36, 1024),
        "text": (77, 1024),
        "sync": (216, 768),
    }
    expected = torch.from_numpy(np.load(tmp_path / "clip.npz")["latent"])
    assert torch.equal(read(record.parts["latents"], 10, 20, axis=1), expected[:, 10:20])
    assert look_over(contents.records, [contents], verify=True).failures == {}


@pytest.mark.parametrize("duration_s", [0.7, 1, 8, 9, 10.1, 30, 60])
def test_published_features_of_any_length_go_with_their_latents(tmp_path, duration_s):
    n_groups = max(0, (int(25 * duration_s) - 16) // 8 + 1)
    path = published(
        tmp_path / "clip.npz",
        latent=np.zeros((64, round(duration_s * 44_100 / 2048)), np.float32),
        video_features=np.zeros((int(4 * duration_s), 1024), np.float32),
        sync_features=np.zeros((8 * n_groups, 768), np.float32),
    )
    assert not look_over(*gather([path]), verify=False).failures


def test_published_features_for_inference_have_no_latents(tmp_path):
    path = published(tmp_path / "clip.npz", latent=np.array(None, dtype=object))
    assert index_file(path).records["clip"].parts.keys() == {"video", "sync", "text"}
    assert look_over(*gather([path]), verify=False).failures == {"clip": "it has no latents"}


def test_features_that_are_objects(tmp_path):
    with pytest.raises(DataError, match=r"clip.npz: text_features holds a Python object"):
        index_file(published(tmp_path / "clip.npz", text_features=np.array([None], dtype=object)))


def test_a_damaged_npz(tmp_path):
    path = published(tmp_path / "clip.npz")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"truncated, damaged or no .npz file"):
        index_file(path)


def test_an_archive_is_read_in_place(tmp_path):
    latents, video = np.random.default_rng(1).normal(size=(4, 30)), np.ones((6, 3), np.float16)
    npz = io.BytesIO()
    np.savez(npz, latent=latents.astype(np.float32), video_features=video)
    members = {
        "a.latents.npy": npy(latents),
        "a.video.npy": npy(video),
        "a.json": json.dumps({"split": "val"}).encode(),
        "a.mp4": b"0",
        "sub/b.safetensors": save({"latents": torch.from_numpy(latents), "video": torch.from_numpy(video)}),
        "c.npz": npz.getvalue(),
    }
    records = index_file(archive(tmp_path / "set.tar", members)).records
    assert list(records) == ["a", "sub/b", "c"]
    assert records["a"].info == {"split": "val"}
    for record in records.values():
        read_back = read(record.parts["latents"], axis=1)
        assert torch.equal(read_back, torch.from_numpy(latents).float())
        assert read(record.parts["video"], 1, 3).tolist() == [[1.0] * 3] * 2


def test_an_archive_with_objects(tmp_path):
    path = archive(tmp_path / "set.tar", {"a.latents.npy": npy(np.array([None]))})
    with pytest.raises(DataError, match=r"set.tar: a.latents.npy holds a Python object"):
        index_file(path)


@pytest.mark.parametrize("keep", [100, 2000])
def test_a_damaged_archive(tmp_path, keep):
    path = archive(tmp_path / "set.tar", {"a.latents.npy": npy(np.ones((4, 200)))})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="truncated, damaged or no plain tar"):
        index_file(path)


def test_a_truncated_shard(write):
    path = write({"a": 10})
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"shard-00000.safetensors is truncated, damaged"):
        index_file(path)


def test_a_file_that_is_none_of_these(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"0")
    with pytest.raises(DataError, match=r"holds no features .* expected .safetensors, .npz, .tar"):
        index_file(tmp_path / "a.pt")
    with pytest.raises(DataError, match="there are no features in"):
        find_files(tmp_path)


def test_a_stretch_is_read_and_nothing_else(write):
    records, _ = gather([write({"x/a": 10, "b": 7})])
    assert list(records) == ["x/a", "b"] or list(records) == ["b", "x/a"]
    assert read(records["x/a"].parts["latents"], 5, 15, axis=1)[0].tolist() == [1.0] * 5 + [2.0] * 5


def test_of_a_clip_in_two_shards_the_last_counts(write):
    records, _ = gather([write({"a": 10}), write({"a": 12}, "shard-00001")])
    assert records["a"].n_frames == 60


def test_a_manifest_may_name_the_files_of_each_clip(write, tmp_path):
    write({"a": 10, "b": 20})
    np.savez(tmp_path / "other.npz", video=np.zeros((4, 3), np.float32), text=np.zeros((2, 5), np.float32))
    np.savez(tmp_path / "sound.npz", latents=np.zeros((4, 20), np.float32))
    (tmp_path / "clips.csv").write_text(
        "id,features,latents,split\nb,features/shard-00000.safetensors,,val\nc,other.npz,sound.npz,train\n"
    )
    records, contents = from_entries(read_manifest(tmp_path / "clips.csv"), None)
    assert list(records) == ["b", "c"]
    assert set(records["c"].parts) == {"video", "text", "latents"}
    assert records["b"].info["split"] == "val"
    assert look_over(records, contents, verify=True).failures == {}
