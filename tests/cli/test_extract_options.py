"""``prismaudio extract``: encoders by name, batches, threads, formats, inspection, and what is wrong in one line."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from prismaudio.cli.launching import Place
from prismaudio.cli.main import main
from prismaudio.data.datamodule import ManifestDataModule
from prismaudio.data.features import find_files, gather, read_tensor
from prismaudio.data.writing import FORMATS, FeatureFolder
from prismaudio.encoders.brightness import BrightnessEncoder
from prismaudio.errors import PrismAudioError
from prismaudio.media import reading, write_video, write_video_with_audio
from prismaudio.plan import Plan

RATE_HZ = 16_000
VIDEO = ["--encoder", "video=BrightnessEncoder"]


@pytest.fixture(scope="session")
def filmed(tmp_path_factory):
    """Six videos of 0.5 s or 0.75 s with noise, without two alike."""
    folder, generator = tmp_path_factory.mktemp("filmed"), torch.Generator().manual_seed(0)
    for number in range(6):
        n_frames = 8 if number % 3 else 12
        frames = torch.randint(0, 255, (n_frames, 3, 32, 48), dtype=torch.uint8, generator=generator)
        write_video(frames, 16.0, folder / "mute.mp4")
        noise = 0.1 * torch.randn(2, n_frames * 1000, generator=generator)
        write_video_with_audio(folder / "mute.mp4", noise, RATE_HZ, folder / f"{number}.mp4")
    return folder


@pytest.fixture
def run(filmed, tiny_model_folder, tmp_path, monkeypatch):
    """Run the command on a manifest of the six videos."""
    monkeypatch.chdir(tmp_path)
    for path in filmed.iterdir():
        (tmp_path / path.name).symlink_to(path)
    rows = "".join(f"{number}.mp4,A bell {number}.\n" for number in range(6))
    (tmp_path / "clips.csv").write_text(f"video,caption\n{rows}")

    def run(*options, output="features"):
        return main(["extract", "clips.csv", "-o", output, *options])

    return run


def stored(folder="features"):
    records, _ = gather(find_files(Path(folder)))
    return {name: {key: read_tensor(part) for key, part in record.parts.items()} for name, record in records.items()}


def last_line(capsys):
    return capsys.readouterr().err.splitlines()[-1]


class Doubling(BrightnessEncoder):
    """Remembers the batches that it encodes."""

    batches: list[int] = []  # noqa: RUF012

    def encode_batch(self, clips, plans):
        self.batches.append(len(clips))
        return [2 * self.encode(clip, plan) for clip, plan in zip(clips, plans, strict=True)]


# How it is computed --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("options", [["--workers", "0"], ["--workers", "3"], ["--workers", "2", "--batch-size", "4"]])
def test_threads_and_batches_change_nothing(run, tiny_model_folder, options):
    model = ["--model", str(tiny_model_folder)]
    assert run(*model, "--workers", "0", output="alone") == 0
    assert run(*model, *options) == 0
    expected, found = stored("alone"), stored()
    assert expected.keys() == found.keys()
    for name, parts in expected.items():
        for key, values in parts.items():
            torch.testing.assert_close(found[name][key], values)


def test_batches_are_of_like_length(run, tiny_model_folder, monkeypatch):
    monkeypatch.setattr(Doubling, "batches", [])
    monkeypatch.setattr(BrightnessEncoder, "encode_batch", Doubling.encode_batch)
    monkeypatch.setattr(BrightnessEncoder, "batches", Doubling.batches, raising=False)
    assert run(*VIDEO, "--batch-size", "2") == 0
    assert Doubling.batches == [2, 2, 2]  # four of 0.5 s, two of 0.75 s


def test_a_clip_that_fails_costs_no_other_clip_of_its_batch(run, monkeypatch, capsys):
    encode = BrightnessEncoder.encode

    def failing(self, clip, plan):
        return torch.full((1, 4), torch.nan) if clip.id == "2" else encode(self, clip, plan)

    monkeypatch.setattr(BrightnessEncoder, "encode", failing)
    assert run(*VIDEO, "--batch-size", "4") == 0
    assert "5 clips computed, 0 already done, 1 skipped" in capsys.readouterr().err
    assert stored().keys() == set("01345")
    assert "computed from clip 2 contain NaN" in Path("features/failures.jsonl").read_text()


def test_values_that_float16_cannot_hold_are_no_infinity(run, monkeypatch, capsys):
    encode = BrightnessEncoder.encode
    monkeypatch.setattr(BrightnessEncoder, "encode", lambda *args: 1e6 * encode(*args))
    assert run(*VIDEO, "--dtype", "float16") == 2
    assert "too large for torch.float16; store them as float32" in last_line(capsys)


def test_a_video_is_decoded_once_for_all_encoders(run, monkeypatch):
    n_decoded, real = [], reading.timed_frames
    monkeypatch.setattr(reading, "timed_frames", lambda *args: n_decoded.append(1) or real(*args))
    other = "depth={class_path: BrightnessEncoder, init_args: {columns: 3, rate_hz: 4.0}}"
    assert run(*VIDEO, "--encoder", other, "--autoencoder", "none") == 0
    assert len(n_decoded) == 6
    assert {key: tuple(values.shape) for key, values in stored()["0"].items()} == {"video": (6, 4), "depth": (3, 3)}


def test_clips_of_one_file_are_read_with_one_decode(run, tmp_path, monkeypatch):
    n_decoded, real = [], reading.timed_frames
    monkeypatch.setattr(reading, "timed_frames", lambda *args: n_decoded.append(1) or real(*args))
    rows = [f"{number}.mp4,{start},{start + 0.25}" for number in (0, 3) for start in (0, 0.25, 0.5)]
    (tmp_path / "clips.csv").write_text("video,start_s,end_s\n" + "\n".join(rows))
    assert run(*VIDEO) == 0
    assert len(n_decoded) == 2
    whole = BrightnessEncoder().encode(reading.read_clip("0.mp4", BrightnessEncoder().frame_spec), Plan({}))
    assert torch.equal(torch.cat([stored()[f"0@{start}"]["video"] for start in ("0", "0.25", "0.5")]), whole)


def test_the_rate_and_the_time_left_are_shown(run, capsys):
    assert run(*VIDEO, "--shard-size", "3") == 0
    line = capsys.readouterr().err.splitlines()[0]
    assert line.startswith("[3/6] features/shard-00000.safetensors, ")
    assert "clips/s, " in line
    assert " s of video/s, 0:00:0" in line


# With what -----------------------------------------------------------------------------------------------------------
def test_encoders_without_a_model_and_without_sound(run, tmp_path, capsys):
    write_video(torch.zeros(8, 3, 32, 32, dtype=torch.uint8), 16.0, tmp_path / "silent.mp4")
    (tmp_path / "clips.csv").write_text("video,caption\nsilent.mp4,A bell.\n0.mp4,A bell.\n")
    assert run(*VIDEO, "--encoder", "text=TinyTextEncoder") == 0
    assert stored()["silent"].keys() == {"video", "text"}
    assert run(*VIDEO, "--encoder", "text=TinyTextEncoder") == 0
    assert "0 clips computed, 2 already done" in capsys.readouterr().err


def test_the_autoencoder_is_that_of_a_folder(run, tiny_model, tiny_model_folder):
    assert run(*VIDEO) == 0  # features alone
    assert run(*VIDEO, "--autoencoder", str(tiny_model_folder)) == 0  # they lack latents, so they are computed again
    assert run("--model", str(tiny_model_folder), output="model") == 0
    assert torch.equal(stored()["0"]["latents"], stored("model")["0"]["latents"])


def test_a_stream_that_was_not_computed_before_is_computed(run, capsys):
    assert run(*VIDEO) == 0
    assert run(*VIDEO, "--encoder", "text=TinyTextEncoder") == 0
    assert "6 clips computed, 0 already done" in capsys.readouterr().err
    assert stored()["5"].keys() == {"video", "text"}


def test_a_planner_by_name_and_before_the_manifest(run, tmp_path, tiny_model_folder):
    (tmp_path / "plans").mkdir()
    for number in range(6):
        (tmp_path / "plans" / f"{number}.txt").write_text("<Semantic> A drum. <Temporal> It sounds at 0.20 s.")
    named = "{class_path: FilePlanner, init_args: {path: plans}}"
    assert run(*VIDEO, "--planner", named) == 0
    (plan,) = gather(find_files(Path("features")))[0]["0"].info["plans"]
    assert plan.startswith("<Semantic> A bell 0. <Temporal> It sounds at 0.20 s.")
    assert run(*VIDEO, "--planner", str(tiny_model_folder), output="other") == 0
    assert main(["extract", "-o", "third", "--model", str(tiny_model_folder), "--planner", "clips.csv"]) == 0
    plans = [gather(find_files(Path(folder)))[0]["0"].info["plans"] for folder in ("other", "third")]
    assert plans[0] == plans[1] != [plan]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--encoder", "BrightnessEncoder"], "is not STREAM=CLASS"),
        (["--encoder", "video=BrightnesEncoder"], "did you mean 'BrightnessEncoder'"),
        (
            ["--encoder", "video={class_path: BrightnessEncoder, init_args: {columns: x}}"],
            "columns is 'x'; expected int",
        ),
        (["--encoder", "video={class_path: BrightnessEncoder, init_args: {columns: 0}}"], "columns"),
        (["--encoder", "video={class_path: [}"], "--encoder video '{class_path: [}' is not YAML"),
        (["--encoder", "video={name: BrightnessEncoder}"], "expected {class_path: NAME"),
        (["--encoder", "video={init_args: {columns: 4}}"], "has init_args; expected {class_path: NAME"),
        (["--encoder", "video={class_path: BrightnessEncoder, init_args: 3}"], "init_args is 3; expected arguments"),
        (["--encoder", "latents=BrightnessEncoder"], "latents are those of --autoencoder"),
        ([*VIDEO, *VIDEO], "--encoder names the stream video twice"),
        ([*VIDEO, "--planner"], "--planner without a name is that of the model"),
        ([*VIDEO, "--planner", "nobody"], "no model at nobody"),
        ([*VIDEO, "--planner", "FootagePlanner"], "no planner is named 'FootagePlanner'"),
        ([*VIDEO, "--autoencoder", "nothing"], "no model at nothing"),
        ([*VIDEO, "--format", "npz", "--dtype", "bfloat16"], "has no bfloat16"),
        ([*VIDEO, "--devices", "2", "--part", "1/2"], "exclude each other"),
        ([*VIDEO, "--plot", "a.png"], "need --inspect DIR"),
    ],
)
def test_options_that_make_no_sense(run, options, says, capsys):
    assert run(*options) == 2
    assert says in last_line(capsys)
    assert not Path("features").exists()


def test_what_is_missing_is_said(tiny_plugin, capsys):
    assert main(["extract"]) == 2
    assert "the following arguments are required: MANIFEST, -o/--output" in last_line(capsys)


# Ranks ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, Place()),
        ({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, Place(3, 8, 1)),
        ({"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1"}, Place(5, 8, 1)),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_LOCALID": "0"}, Place(0, 1, 0)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "16", "SLURM_LOCALID": "0"}, Place()),  # a batch script without srun
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "16", "SLURM_STEP_NUM_TASKS": "2"}, Place(1, 2)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "RANK": "1", "WORLD_SIZE": "2"}, Place(1, 2)),
    ],
)
def test_the_place_is_what_the_launcher_says(environment, place):
    assert Place.of(environment) == place


@pytest.mark.parametrize("stated", [{"RANK": "2", "WORLD_SIZE": "2"}, {"RANK": "one", "WORLD_SIZE": "2"}])
def test_a_place_that_makes_no_sense(stated):
    with pytest.raises(PrismAudioError, match="the environment states RANK="):
        Place.of(stated)


def test_each_local_rank_has_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert Place(5, 8, 5).device("auto") == "cuda:1"
    assert Place(5, 8, 5).device("cuda") == "cuda:1"
    assert Place(5, 8, 5).device("cpu") == "cpu"
    assert Place(0, 1, None).device("cuda") == "cuda"


# Formats -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_read_back_resumed_and_trained_on(run, tiny_model_folder, kind, capsys):
    options = ["--model", str(tiny_model_folder), "--shard-size", "4", "--dtype", "float16"]
    assert run(*options, output="expected") == 0
    assert run(*options, "--format", kind) == 0
    expected, found = stored("expected"), stored()
    assert expected.keys() == found.keys()
    for name, parts in expected.items():
        assert parts.keys() == found[name].keys()
        assert all(torch.equal(values, found[name][key]) for key, values in parts.items())
    contents = gather(find_files(Path("features")))[1]
    assert all(one.description["streams"]["video"]["width"] == 4 for one in contents)
    capsys.readouterr()
    assert run(*options, "--format", kind) == 0
    assert "0 clips computed, 6 already done" in last_line(capsys)
    data = ManifestDataModule("features", batch_size=6, validation=0, workers=0)
    data.setup("fit")
    (batch,) = data.train_dataloader()
    assert len(batch) == 6


@pytest.mark.parametrize("kind", FORMATS)
def test_a_changed_clip_is_computed_again_in_every_format(run, tmp_path, kind, capsys):
    options = [*VIDEO, "--encoder", "text=TinyTextEncoder", "--format", kind]
    assert run(*options) == 0
    text = (
        (tmp_path / "clips.csv").read_text().replace("A bell 3.", "A bell and two drums.").replace("5.mp4", "mute.mp4")
    )
    (tmp_path / "clips.csv").write_text(text)
    capsys.readouterr()
    assert run(*options) == 0
    said = capsys.readouterr().err
    assert "note: features has clips that clips.csv does not list: 5" in said
    assert "2 clips computed, 4 already done" in said
    assert len(stored()["3"]["text"]) == 5


def test_formats_are_not_mixed_in_one_folder(run, capsys):
    for kind in ("npz", "webdataset"):
        assert run(*VIDEO, "--format", kind, output=kind) == 0
        assert run(*VIDEO, output=kind) == 2
        assert f"continue with --format {kind}" in last_line(capsys)


def test_published_files_of_others_are_not_overwritten(run, capsys):
    Path("features").mkdir()
    np.savez("features/0.npz", video_features=np.zeros((2, 4), np.float32))
    published = "video={class_path: BrightnessEncoder, init_args: {rate_hz: 4.0}}"
    assert run("--encoder", published, "--format", "npz") == 2
    assert "features/0.npz was not written by prismaudio extract" in last_line(capsys)
    assert np.load("features/0.npz").files == ["video_features"]


# Bad input -----------------------------------------------------------------------------------------------------------
def test_a_damaged_shard_is_named_and_made_again_after_it_is_deleted(run, capsys):
    assert run(*VIDEO, "--shard-size", "3") == 0
    shard = Path("features/shard-00000.safetensors")
    shard.write_bytes(shard.read_bytes()[:-40])
    assert run(*VIDEO, "--shard-size", "3") == 2
    line = last_line(capsys)
    assert "features/shard-00000.safetensors is truncated, damaged" in line
    assert "delete it and run again" in line
    assert main(["extract", "--inspect", "features"]) == 2
    assert "damaged: features/shard-00000.safetensors is truncated" in capsys.readouterr().out
    shard.unlink()
    assert run(*VIDEO, "--shard-size", "3") == 0
    assert "3 clips computed, 3 already done" in last_line(capsys)
    assert len(stored()) == 6


@pytest.mark.parametrize("kind", FORMATS)
def test_a_full_disk_costs_the_open_shard_alone(run, kind, monkeypatch, capsys):
    options = [*VIDEO, "--shard-size", "2", "--format", kind]
    written: list[Path] = []

    def full(real):
        def write(target, *args, **arrays):
            written.append(target)
            if len(written) > 2:
                Path(target).touch()
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(target, *args, **arrays)

        return write

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full(Path.write_bytes))
        patch.setattr(np, "savez", full(np.savez))
        assert run(*options) == 2
    assert "no space left on device" in last_line(capsys)
    assert not list(Path("features").glob(".*"))
    n_before = len(stored())
    assert 0 < n_before < 6
    assert run(*options) == 0
    assert f"{6 - n_before} clips computed, {n_before} already done" in last_line(capsys)


def test_features_of_another_encoder_are_not_mixed(run, capsys):
    assert run(*VIDEO) == 0
    assert run("--encoder", "video={class_path: BrightnessEncoder, init_args: {columns: 3}}") == 2
    assert "the video features of features/shard-00000.safetensors were computed by another encoder" in last_line(
        capsys
    )


def test_a_missing_file_is_listed_like_any_broken_clip(run, tmp_path, capsys):
    (tmp_path / "clips.csv").write_text("video\n0.mp4\nnothing.mp4\n")
    assert run(*VIDEO) == 0
    assert "1 clips computed, 0 already done, 1 skipped" in last_line(capsys)
    assert "no such file: nothing.mp4" in Path("features/failures.jsonl").read_text()
    (tmp_path / "clips.csv").write_text("video\nnothing.mp4\n")
    assert run(*VIDEO) == 2
    assert "names 1 file that do not exist" in last_line(capsys)


def test_failures_of_a_run_with_other_ranks_are_taken_back(run, tmp_path):
    (tmp_path / "broken.mp4").write_text("no video")
    (tmp_path / "clips.csv").write_text("video\n0.mp4\nbroken.mp4\n1.mp4\n")
    assert run(*VIDEO, "--part", "2/2") == 2  # all of its clips fail
    assert (tmp_path / "features" / "failures-2of2.jsonl").exists()
    (tmp_path / "broken.mp4").unlink()
    (tmp_path / "broken.mp4").symlink_to(tmp_path / "2.mp4")
    assert run(*VIDEO) == 0
    assert not list((tmp_path / "features").glob("failures*"))


# Inspection ----------------------------------------------------------------------------------------------------------
def test_a_folder_is_inspected(run, tiny_model_folder, capsys):
    assert run("--model", str(tiny_model_folder), "--shard-size", "4") == 0
    capsys.readouterr()
    assert main(["extract", "--inspect", "features", "--json", "found.json", "--plot", "found.png"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("features: 2 files, ")
    assert "6 clips" in told[0]
    assert told[1].startswith("  latents: 6 of dim 8, float32, length 32/32/47 (min/median/max)")
    found = json.loads(Path("found.json").read_text())
    assert found["clips"] == 6
    assert found["duration_s"] == pytest.approx(2 * 0.75 + 4 * 0.5)
    every = torch.cat([parts["video"] for parts in stored().values()])
    assert found["streams"]["video"]["mean"] == pytest.approx(float(every.mean()), abs=1e-5)
    assert found["streams"]["video"]["std"] == pytest.approx(float(every.std(correction=0)), abs=1e-5)
    assert found["streams"]["video"]["length"] == {"min": 8, "median": 8, "max": 12}
    assert Path("found.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_not_finite_twice_or_failed_is_shown(run, tmp_path, capsys, monkeypatch):
    assert run(*VIDEO) == 0
    (tmp_path / "clips.csv").write_text("video,caption\n0.mp4,Another text.\nbroken.mp4,\n")
    encode = BrightnessEncoder.encode
    monkeypatch.setattr(BrightnessEncoder, "encode", lambda *args: encode(*args) / 0)
    monkeypatch.setattr(torch, "isfinite", lambda values: torch.ones_like(values, dtype=torch.bool))
    assert run(*VIDEO) == 0
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert main(["extract", "--inspect", "features", "--json", "-"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert found["repeated"] == ["0"]
    assert found["streams"]["video"]["not_finite"] == ["0"]
    assert list(found["failures"]) == ["broken"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere"], "nowhere is not a folder of features"),
        (["."], "there are no features in"),
        ([".", "--plot", "a.txt"], "cannot plot to a.txt; expected a name that ends in .png"),
    ],
)
def test_what_cannot_be_inspected(tmp_path, monkeypatch, words, says, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["extract", "--inspect", *words]) == 2
    assert says in last_line(capsys)


def test_an_inspection_writes_over_nothing_but_its_own_results(run, tmp_path, capsys):
    assert run(*VIDEO) == 0
    (shard,) = (tmp_path / "features").glob("*.safetensors")
    before = shard.read_bytes(), (tmp_path / "clips.csv").read_bytes()
    for place, says in (
        (f"features/{shard.name}", "would be among the features"),
        ("features/new.json", "would be among the features"),
        ("clips.csv", "is not the result of an inspection"),
        ("features", "is a folder"),
    ):
        assert main(["extract", "--inspect", "features", "--json", place]) == 2
        assert says in last_line(capsys)
    assert before == (shard.read_bytes(), (tmp_path / "clips.csv").read_bytes())
    for _ in range(2):
        assert main(["extract", "--inspect", "features", "--json", "found.json"]) == 0


def test_an_inspection_names_odd_files_and_ends_with_a_line(run, tmp_path, capsys):
    assert run(*VIDEO) == 0
    (tmp_path / "features" / "gone.safetensors").symlink_to(tmp_path / "nowhere")
    save_file({"x/video": torch.ones(2, 3, 4)}, tmp_path / "features" / "cube.safetensors")
    capsys.readouterr()
    assert main(["extract", "--inspect", "features"]) == 2
    shown = capsys.readouterr()
    assert "the video of x have shape (2, 3, 4)" in shown.out
    assert "gone.safetensors" in shown.out
    assert shown.err.splitlines()[-1].startswith("prismaudio: error: features is not fit for training")
    (tmp_path / "other").mkdir()
    save_file({"weight": torch.ones(2)}, tmp_path / "other" / "weights.safetensors")
    assert main(["extract", "--inspect", "other"]) == 2
    assert "other has no features" in last_line(capsys)


def test_two_formats_in_one_folder_are_seen_when_files_are_written(run, tmp_path, monkeypatch, capsys):
    assert run(*VIDEO, "--format", "npz", output="late") == 0
    check = FeatureFolder._check_format
    monkeypatch.setattr(FeatureFolder, "_check_format", lambda self: None if not self._clips else check(self))
    assert run(*VIDEO, output="late") == 2
    assert "late has features in the format npz" in last_line(capsys)
    assert not list((tmp_path / "late").glob("*.safetensors"))
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert run(*VIDEO, output="own") == 0
    (shard,) = (tmp_path / "own").iterdir()
    shard.rename(tmp_path / "late" / shard.name)
    assert run(*VIDEO, "--format", "npz", output="late") == 2
    assert "in several formats" in last_line(capsys)
