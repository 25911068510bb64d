from __future__ import annotations

import io
import json
import os
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save

from prismaudio.data.features import find_files, from_entries, gather, index_file, look_over, read_tensor
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
    assert torch.equal(read_tensor(record.parts["latents"], 10, 20, axis=1), expected[:, 10:20])
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
    with pytest.raises(DataError, match=r"clip.npz: text_features contains a Python object"):
        index_file(published(tmp_path / "clip.npz", text_features=np.array([None], dtype=object)))


def test_a_damaged_npz(tmp_path):
    path = published(tmp_path / "clip.npz")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"truncated, damaged or not an .npz file"):
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
        read_back = read_tensor(record.parts["latents"], axis=1)
        assert torch.equal(read_back, torch.from_numpy(latents).float())
        assert read_tensor(record.parts["video"], 1, 3).tolist() == [[1.0] * 3] * 2


def test_an_archive_with_objects(tmp_path):
    path = archive(tmp_path / "set.tar", {"a.latents.npy": npy(np.array([None]))})
    with pytest.raises(DataError, match=r"set.tar: a.latents.npy contains a Python object"):
        index_file(path)


@pytest.mark.parametrize("keep", [100, 2000])
def test_a_damaged_archive(tmp_path, keep):
    path = archive(tmp_path / "set.tar", {"a.latents.npy": npy(np.ones((4, 200)))})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="truncated, damaged or not a plain tar"):
        index_file(path)


def test_a_truncated_shard(write):
    path = write({"a": 10})
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"shard-00000.safetensors is truncated, damaged"):
        index_file(path)


def test_a_file_that_is_none_of_these(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"0")
    with pytest.raises(DataError, match=r"is not a supported feature file.* expected .safetensors, .npz, .tar"):
        index_file(tmp_path / "a.pt")
    with pytest.raises(DataError, match="there are no features in"):
        find_files(tmp_path)


def test_a_stretch_is_read_and_nothing_else(write):
    records, _ = gather([write({"x/a": 10, "b": 7})])
    assert list(records) == ["x/a", "b"] or list(records) == ["b", "x/a"]
    assert read_tensor(records["x/a"].parts["latents"], 5, 15, axis=1)[0].tolist() == [1.0] * 5 + [2.0] * 5


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


def declaring(shape, dtype="<f4", data=b""):
    """A ``.npy`` file that declares a shape, whatever it holds."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


def npz(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


@pytest.mark.parametrize("shape", [(10**6, 10**6), (4, 3), (10**30, 2)])
def test_arrays_that_declare_more_than_they_have_are_refused(tmp_path, shape):
    text = declaring(shape)
    for path in (npz(tmp_path / "a.npz", {"latent.npy": text}), archive(tmp_path / "a.tar", {"a.latents.npy": text})):
        with pytest.raises(DataError, match=r"declares an array of shape|damaged"):
            index_file(path)


def test_an_array_that_is_larger_than_any_clip_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("prismaudio.data.published.MAX_ARRAY_BYTES", 1000)
    path = npz(tmp_path / "a.npz", {"latent.npy": npy(np.zeros((4, 99), np.float32))}, zipfile.ZIP_DEFLATED)
    with pytest.raises(DataError, match=r"declares an array of shape \(4, 99\)"):
        index_file(path)


def test_a_flipped_byte_in_a_compressed_npz_leaves_the_clip_out(tmp_path):
    path = tmp_path / "clip.npz"
    values = np.random.default_rng(0).normal(size=(64, 194)).astype(np.float16)
    np.savez_compressed(path, latents=values.repeat(8, 1))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    found = look_over(*gather([path]), verify=True)
    assert "clip.npz cannot be read: " in found.failures["clip"]
    with pytest.raises(DataError, match=r"latents in .*clip\.npz cannot be read"):
        read_tensor(index_file(path).records["clip"].parts["latents"])


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_links_and_devices_in_an_archive_are_passed_over(tmp_path, kind):
    path = archive(tmp_path / "a.tar", {"b.latents.npy": npy(np.zeros((4, 9), np.float32))})
    with tarfile.open(path, "a") as tar:
        info = tarfile.TarInfo("c.latents.npy")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    assert list(index_file(path).records) == ["b"]


def test_a_member_that_is_longer_than_its_archive_is_refused(tmp_path):
    path = tmp_path / "a.tar"
    info = tarfile.TarInfo("a.safetensors")
    info.size = 1 << 40
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    with pytest.raises(DataError, match="its end is missing"):
        index_file(path)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([], "has invalid clip metadata"),
        ({"clips": {"a": []}}, "has invalid clip metadata"),
        ({"description": 3}, "has the description 3; expected an object"),
        ({"description": {"latents": []}}, "has the latents description .*; expected an object"),
        ({"description": {"streams": [1]}}, "has the streams description .*; expected an object"),
        ({"description": {"streams": {"video": 1}}}, "has the video description 1; expected an object"),
        ({"description": {"latents": {"hop": 0}}}, "hop of its latents is 0; expected a number above 0"),
        ({"description": {"latents": {"hop": 1.5}}}, r"hop of its latents is 1\.5; expected"),
        ({"description": {"latents": {"sample_rate_hz": 10**400}}}, "sample_rate_hz of its latents is 1000"),
        ({"description": {"streams": {"video": {"rate_hz": -1}}}}, "rate_hz of its video is -1; expected"),
        ({"description": {"streams": {"video": {"group": True}}}}, "group of its video is True; expected"),
    ],
)
def test_a_shard_with_invalid_metadata_is_one_line(tmp_path, said, expected):
    path = tmp_path / "a.safetensors"
    path.write_bytes(save({"a/latents": torch.zeros(4, 9)}, {"prismaudio": json.dumps(said)}))
    with pytest.raises(DataError, match=expected) as error:
        index_file(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000


def test_a_shard_with_too_deeply_nested_metadata_is_one_line(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(save({"a/latents": torch.zeros(4, 9)}, {"prismaudio": "[" * 100_000}))
    with pytest.raises(DataError, match="nested too deeply"):
        index_file(path)


def test_a_device_with_the_name_of_features_is_refused(tmp_path):
    for name in ("a.npz", "b.tar", "c.safetensors"):
        (tmp_path / name).symlink_to("/dev/zero")
        with pytest.raises(DataError, match="is not a regular file"):
            index_file(tmp_path / name)


def test_names_of_files_that_are_not_utf8_are_written_out(tmp_path):
    contents = index_file(published(tmp_path / os.fsdecode(b"caf\xe9.npz")))
    assert list(contents.records) == ["caf\\xe9"]
