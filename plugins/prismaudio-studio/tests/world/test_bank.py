import json
import shutil

import numpy as np
import pytest
import torch
from synthetic_recordings import bursts, write, write_table

from prismaudio.audio.onsets import detect_onsets
from prismaudio.cli.main import main
from prismaudio.errors import DataError
from prismaudio_studio.datamodule import StudioDataModule
from prismaudio_studio.suite import StudioSuite
from prismaudio_studio.world import Scene, Thing, render_audio, sample_scene
from prismaudio_studio.world.bank import SoundBank
from prismaudio_studio.world.cache import ClipCache
from prismaudio_studio.world.looks import Look

BEFORE = [
    0.0059403,
    -0.0554334,
    -0.0003501,
    -0.0002916,
    0.0197036,
    0.1355187,
    -0.0047116,
    -0.0198780,
    -0.0005130,
    0.0127836,
    0.0024500,
    0.0001212,
    -0.0396347,
    -0.0067737,
    0.0005422,
    -0.0963441,
    -0.0003722,
    -0.0000903,
    -0.0275550,
    0.0000006,
    -0.0017165,
    0.0013929,
    -0.0002499,
    -0.0003393,
    0.0000415,
    0.0001921,
    0.0001271,
    0.0002433,
    0.0043199,
    0.2113767,
    -0.0103124,
    -0.0234816,
    0.0018102,
    -0.0067231,
    -0.0007352,
    0.0002141,
    0.0683313,
    0.0472876,
    0.0000084,
    0.0392026,
    0.0048276,
    0.0128035,
    0.0186514,
    -0.0151467,
]
"""Samples of eight scenes, computed by the code before there were recordings."""


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="module")
def bank(table) -> SoundBank:
    return SoundBank(table)


def scene(*things: Thing, held_out: bool = False) -> Scene:
    return Scene("a", "plain", held_out, things, "clean", "dry", Look(), 3)


def thing(what: str, key: int = 5, end_s: float | None = None) -> Thing:
    onsets_s = (0.5, 1.25, 2.0) if end_s is None else (0.5,)
    levels_db = (-10.0, -14.0, -12.0)[: len(onsets_s)]
    return Thing(what, "medium", 0.12, (0.5, 0.5), onsets_s, levels_db, end_s, 0.0, 0.5, key)


def centroid_hz(audio: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(audio.sum(0)))
    return float((spectrum * np.fft.rfftfreq(audio.shape[1], 1 / 16_000)).sum() / spectrum.sum())


def test_without_a_bank_the_world_sounds_as_before():
    scenes = [
        sample_scene(index, 7, split, held_out=bool(index % 2))
        for split in ("plain", "randomised")
        for index in range(4)
    ]
    audio = np.stack([render_audio(scene) for scene in scenes])
    assert audio.ravel()[20_011::23_003].tolist() == pytest.approx(BEFORE, abs=2e-6)


def test_a_class_without_recordings_keeps_its_voice(bank):
    glass = scene(thing("glass"))
    assert np.array_equal(render_audio(glass), render_audio(glass, bank=bank))


def test_recorded_events_keep_onsets_levels_and_direction(bank):
    audio = render_audio(scene(thing("bell")), bank=bank)
    onsets_s = detect_onsets(torch.from_numpy(audio), 16_000)
    assert onsets_s == pytest.approx([0.5, 1.25, 2.0], abs=0.01)
    peaks = [np.abs(audio[:, round(t * 16_000) :][:, :4000]).max() for t in (0.5, 1.25, 2.0)]
    assert 20 * np.log10(np.array(peaks[1:]) / peaks[0]) == pytest.approx([-4, -2], abs=0.5)
    left, right = (audio**2).sum(1)
    assert 10 * np.log10(right / left) > 3
    assert np.array_equal(audio, render_audio(scene(thing("bell")), bank=bank))


def test_held_out_scenes_use_held_out_sources(bank):
    for key in range(8):
        low, high = (
            centroid_hz(render_audio(scene(thing("bell", key), held_out=part), bank=bank)) for part in (False, True)
        )
        assert low < 1500 < high


def test_a_sustained_recording_lasts_from_start_to_end(bank):
    audio = render_audio(scene(thing("engine", end_s=2.9)), bank=bank)
    level = np.sqrt((audio.reshape(2, -1, 800) ** 2).mean((0, 2)))
    loud = np.flatnonzero(level > 0.3 * level.max())
    assert (loud[0], loud[-1]) == pytest.approx((10, 57), abs=1)
    assert len(loud) == loud[-1] - loud[0] + 1


def test_the_cache_of_clips_depends_on_the_recordings(bank, tmp_path, monkeypatch):
    monkeypatch.setattr("prismaudio_studio.world.cache.CHUNK", 1)
    plain, other = (ClipCache(tmp_path, "plain", 1, 1, held_out=False, bank=this) for this in (None, bank))
    assert plain.folder.name == "plain-training-seed1-48px-16fps"
    assert other.folder.name.startswith(plain.folder.name + "-recordings-")
    other.prepare()
    expected = render_audio(next(other.scenes(0)), bank=bank)
    assert torch.allclose(other.clip(0).audio, torch.from_numpy(expected), atol=1e-4)


def test_recordings_that_are_copied_are_the_same_and_changed_ones_are_not(table, tmp_path):
    folder = tmp_path / "copied"
    shutil.copytree(table.parent, folder, copy_function=shutil.copyfile)
    assert SoundBank(folder / table.name, 1).hash == SoundBank(table, 1).hash
    louder = folder / "bell0.wav"
    louder.write_bytes(louder.read_bytes()[:-2] + b"\x01\x00")
    assert SoundBank(folder / table.name, 1).hash != SoundBank(table, 1).hash


def test_the_data_module_and_the_suite_take_a_table(table, tmp_path):
    data = StudioDataModule(plain=1, randomised=0, validation=1, cache_dir=str(tmp_path), recordings=str(table))
    assert all("-recordings-" in cache.folder.name for part in (True, False) for cache in data._caches(held_out=part))
    assert StudioSuite(recordings=str(table)).bank.classes == {"bell": (3, 1), "car": (1, 1), "engine": (1, 1)}


def test_render_names_the_recordings_that_it_used(table, tmp_path, capsys):
    words = [
        "studio",
        "render",
        "--count",
        "2",
        "--start",
        "20",
        "--size",
        "32",
        "--fps",
        "8",
        "--recordings",
        str(table),
        "-o",
        str(tmp_path),
    ]
    assert main(words) == 0
    assert "bell 3 + 1, car 1 + 1, engine 1 + 1" in capsys.readouterr().err
    used = [item for file in tmp_path.glob("*.json") for item in json.loads(file.read_text())["recordings"]]
    assert used
    assert {item["author"] for item in used} <= {"Ann", "Bob"}


def test_a_table_without_classes_of_the_world_says_so(tmp_path):
    write(tmp_path / "a.wav", bursts([0.1], 0.3))
    (tmp_path / "t.csv").write_text("file,class,author,licence\na.wav,zither,Ann,CC0\n")
    with pytest.raises(DataError, match="no recording of a class of the world"):
        SoundBank(tmp_path / "t.csv")


def test_a_recording_that_cannot_be_used_is_named(tmp_path):
    write(tmp_path / "a.wav", np.zeros(9000))
    (tmp_path / "t.csv").write_text("file,class,author,licence\na.wav,bell,Ann,CC0\n")
    with pytest.raises(DataError, match=r"a\.wav is silent.*take it out of the table"):
        SoundBank(tmp_path / "t.csv")
