"""``prismaudio extract`` on real files, with a tiny model."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from prismaudio.cli.main import main
from prismaudio.data.clips import read_audio
from prismaudio.data.datamodule import ManifestDataModule
from prismaudio.data.extraction import Extractor
from prismaudio.data.features import find_files, gather, look_over
from prismaudio.data.manifest import read_manifest
from prismaudio.errors import DataError
from prismaudio.media import write_video, write_video_with_audio

RATE_HZ, HOP = 16_000, 256


@pytest.fixture(scope="session")
def filmed(tmp_path_factory):
    """Videos ``a.mp4`` and ``b.mp4`` of 1.5 s and 1 s with a tone, and ``mute.mp4`` without."""
    folder = tmp_path_factory.mktemp("filmed")
    for name, duration_s in (("a", 1.5), ("b", 1.0), ("mute", 1.0)):
        frames = torch.randint(0, 255, (round(duration_s * 16), 3, 48, 48), dtype=torch.uint8)
        write_video(frames, 16.0, folder / "mute.mp4")
        tone = 0.3 * torch.sin(torch.arange(round(duration_s * RATE_HZ)) * 0.2).repeat(2, 1)
        if name != "mute":
            write_video_with_audio(folder / "mute.mp4", tone, RATE_HZ, folder / f"{name}.mp4")
    return folder


@pytest.fixture
def run(filmed, tiny_model_folder, tmp_path, monkeypatch):
    """Run the command on the lines of a manifest that lies beside the videos."""
    monkeypatch.chdir(tmp_path)
    for path in filmed.iterdir():
        (tmp_path / path.name).symlink_to(path)

    def run(text, *options, model=tiny_model_folder, name="clips.csv"):
        (tmp_path / name).write_text(text)
        return main(["extract", name, "-o", "features", "--model", str(model), *options])

    return run


def test_a_video_and_a_caption_become_latents_and_features(run, tiny_model, capsys):
    assert run("video,caption,speaker\na.mp4,A bell rings at 0.50 s.,Kim\nb.mp4,A drum.,\n") == 0
    assert "features: 2 clips computed, 0 already done; train on them with --data.manifest features" in (
        capsys.readouterr().err
    )
    shard = load_file("features/shard-00000.safetensors")
    with safe_open("features/shard-00000.safetensors", "pt") as opened:
        clips = json.loads(opened.metadata()["prismaudio"])["clips"]
    assert (clips["a"]["columns"], "columns" in clips["b"]) == ({"speaker": "Kim"}, False)
    widths = {name: encoder.dim for name, encoder in tiny_model.encoders.items()}
    assert shard["a/latents"].shape == (tiny_model.autoencoder.channels, 94)
    assert shard["a/video"].shape == (24, widths["video"])
    assert shard["b/text"].shape == (2, widths["text"])
    data = ManifestDataModule("features", batch_size=2, validation=0, workers=0)
    data.setup("fit")
    (batch,) = data.train_dataloader()
    assert sorted(batch.mask.sum(1).tolist()) == [63, 94]


def test_sound_of_any_rate_and_length_becomes_the_clips(run, tmp_path):
    """A file of its own, mono, at 44.1 kHz, too long: the clip's length counts, to whole latent frames."""
    time_s = np.arange(2 * 44_100) / 44_100
    soundfile.write(tmp_path / "long.wav", 0.5 * np.sin(2 * np.pi * 440 * time_s), 44_100)
    soundfile.write(tmp_path / "short.wav", 0.5 * np.ones(11_025), 44_100)
    assert run("id,video,audio\nlong,b.mp4,long.wav\nshort,b.mp4,short.wav\n") == 0
    long, short = read_manifest("clips.csv")
    audio, duration_s = read_audio(long, RATE_HZ, HOP, 1.0)
    assert (audio.shape, duration_s) == ((2, 63 * HOP), 1.0)
    expected = 0.5 * torch.sin(2 * torch.pi * 440 * torch.arange(63 * HOP) / RATE_HZ)
    assert (audio - expected)[:, 200:-200].abs().max() < 0.01
    padded, _ = read_audio(short, RATE_HZ, HOP, 1.0)
    assert padded.shape == (2, 63 * HOP)
    assert not padded[:, 4200:].any()
    assert load_file("features/shard-00000.safetensors")["short/latents"].shape[1] == 63


def test_sound_without_video_and_pieces_of_it(run, tmp_path):
    soundfile.write(tmp_path / "two.wav", np.random.default_rng(0).uniform(-0.5, 0.5, (32_000, 2)), RATE_HZ)
    assert run("audio,caption,start_s,end_s\ntwo.wav,Noise.,0,\ntwo.wav,Noise.,0.5,1.5\n") == 0
    shard = load_file("features/shard-00000.safetensors")
    assert shard["two@0/latents"].shape[1] == 125
    assert shard["two@0.5/latents"].shape[1] == 63
    assert shard["two@0/video"].shape[0] == 0


def test_what_is_there_is_not_computed_again(run, capsys, monkeypatch):
    text = "video,caption\na.mp4,A bell.\nb.mp4,A drum.\n"
    run(text)
    before = load_file("features/shard-00000.safetensors")
    monkeypatch.setattr(Extractor, "read", None)
    assert run(text) == 0
    assert "0 clips computed, 2 already done" in capsys.readouterr().err
    assert before.keys() == load_file("features/shard-00000.safetensors").keys()


def test_a_clip_whose_text_changed_is_computed_again(run, capsys):
    run("video,caption\na.mp4,A bell.\nb.mp4,A drum.\n")
    assert run("video,caption\na.mp4,A bell.\nb.mp4,A drum and a bell.\n") == 0
    assert "1 clips computed, 1 already done" in capsys.readouterr().err
    found = look_over(*gather(find_files(_folder())), verify=True)
    assert {r.id: r.parts["text"].shape[0] for r in found.records} == {"a": 2, "b": 5}


def test_an_interrupted_run_keeps_what_it_has(run, capsys, monkeypatch):
    text = "id,video\n" + "".join(f"{i},b.mp4\n" for i in range(5))
    real, calls = Extractor.encode, []

    def interrupted(self, clips):
        calls.append(clips)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, clips)

    monkeypatch.setattr(Extractor, "encode", interrupted)
    assert run(text, "--shard-size", "2") == 130
    assert sorted(path.name for path in _folder().iterdir()) == [
        "shard-00000.safetensors",
        "shard-00001.safetensors",
    ]
    (_folder() / ".shard-00002-x.part.safetensors").write_bytes(b"what a killed process left")
    monkeypatch.setattr(Extractor, "encode", real)
    assert run(text, "--shard-size", "2") == 0
    assert "2 clips computed, 3 already done" in capsys.readouterr().err
    assert len(gather(find_files(_folder()))[0]) == 5


def test_broken_clips_are_left_out_counted_and_listed(run, tmp_path, capsys):
    (tmp_path / "broken.mp4").write_bytes(b"no video at all, but not empty")
    text = "video,caption\na.mp4,A bell.\nmute.mp4,A bell.\nbroken.mp4,A bell.\nb.mp4,A bell at 9.00 s.\n"
    assert run(text) == 0
    said = capsys.readouterr().err
    assert "3 skipped, see features/failures.jsonl" in said
    lines = [json.loads(line) for line in (tmp_path / "features" / "failures.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ["mute", "broken", "b"]
    assert "mute.mp4 has no audio track" in lines[0]["reason"]
    assert "cannot read" in lines[1]["reason"]
    assert "bell at 9.00 s, but the clip lasts 1.00 s" in lines[2]["reason"]
    assert list(gather(find_files(_folder()))[0]) == ["a"]
    assert run(text, "--strict") == 2
    assert "3 of 4 clips failed; the first is mute: " in capsys.readouterr().err


def test_if_all_fail_it_is_an_error(run, capsys):
    assert run("video\nmute.mp4\n") == 2
    assert "1 of 1 clips failed; the first is mute" in capsys.readouterr().err


def test_features_of_another_model_are_not_mixed(run, tiny_model, tmp_path, capsys):
    run("video\na.mp4\n")
    other = tmp_path / "other"
    changed = copy.deepcopy(tiny_model)
    next(changed.autoencoder.parameters()).mul_(2)
    changed.save_pretrained(other)
    assert run("video\nb.mp4\n", model=other) == 2
    assert "were computed by another autoencoder: weights" in capsys.readouterr().err


def test_processes_may_share_a_folder(run):
    text = "id,video\n" + "".join(f"{i},b.mp4\n" for i in range(3))
    assert run(text, "--part", "1/2") == 0
    assert run(text, "--part", "2/2") == 0
    assert sorted(path.name for path in _folder().iterdir()) == [
        "shard-1of2-00000.safetensors",
        "shard-2of2-00001.safetensors",
    ]
    assert len(gather(find_files(_folder()))[0]) == 3


def test_a_name_that_is_not_utf8_costs_no_other_clip(run, tmp_path, capsys):
    (tmp_path / os.fsdecode(b"caf\xe9.mp4")).write_bytes((tmp_path / "b.mp4").read_bytes())
    (tmp_path / os.fsdecode(b"broken\xe9.mp4")).write_bytes(b"no video at all, but not empty")
    assert (
        run('{"video": "a.mp4"}\n{"video": "caf\\udce9.mp4"}\n{"video": "broken\\udce9.mp4"}\n', name="clips.jsonl")
        == 0
    )
    assert "2 clips computed, 0 already done, 1 skipped" in capsys.readouterr().err
    assert sorted(gather(find_files(_folder()))[0]) == ["a", "caf\\xe9"]
    assert json.loads((tmp_path / "features" / "failures.jsonl").read_text())["id"] == "broken\\xe9"


def test_an_encoder_may_give_one_tensor_to_several_clips(run, tiny_model, monkeypatch):
    encoder = type(tiny_model.encoders["text"])
    kept = {}
    monkeypatch.setattr(encoder, "encode", lambda self, *_: kept.setdefault(0, torch.ones(2, self.dim)))
    assert run("video,caption\na.mp4,A bell.\nb.mp4,A bell.\n") == 0
    assert len(gather(find_files(_folder()))[0]) == 2


def test_the_planner_may_write_plans(run):
    assert run("video,caption\na.mp4,A bell rings.\n", "--planner", "--dtype", "float16") == 0
    found = look_over(*gather(find_files(_folder())), verify=True)
    (plan,) = found.records[0].info["plans"]
    assert plan.startswith("<Semantic> A bell rings. <Temporal>")
    assert load_file("features/shard-00000.safetensors")["a/latents"].dtype == torch.float16


@pytest.mark.parametrize(("options", "says"), [(["--part", "3/2"], "is not a part"), (["--shard-size", "0"], "range")])
def test_options_that_make_no_sense(run, options, says, capsys):
    assert run("video\na.mp4\n", *options) == 2
    assert says in capsys.readouterr().err


def test_media_files_without_extraction(run, filmed):
    run("video,caption\na.mp4,A bell.\nb.mp4,A drum.\nmute.mp4,Nothing.\n")
    data = ManifestDataModule("clips.csv", max_s=1.25, batch_size=2, validation=0, workers=0, max_broken=0.4)
    data.setup("fit")
    assert list(data.failures) == ["mute"]
    (batch,) = data.train_dataloader()
    assert {clip.id for clip in batch.clips} == {"a", "b"}
    assert {tuple(clip.audio.shape) for clip in batch.clips} == {(2, 20_000)}
    assert {tuple(clip.frames.shape) for clip in batch.clips} == {(20, 3, 48, 48)}


def _folder():
    return Path("features")


def test_sound_that_ends_before_the_clip_begins_is_no_silence(run, tmp_path):
    soundfile.write(tmp_path / "early.wav", np.zeros(8_000), RATE_HZ)
    (tmp_path / "clips.csv").write_text("video,audio,start_s\na.mp4,early.wav,1.0\n")
    (late,) = read_manifest(tmp_path / "clips.csv")
    with pytest.raises(DataError, match="ends before clip"):
        read_audio(late, RATE_HZ, HOP, 0.5)


def test_sound_that_is_no_number_is_left_out_with_its_name(run, tmp_path, capsys):
    sound = np.zeros(32_000, np.float32)
    sound[12_000:12_010] = float("nan")
    soundfile.write(tmp_path / "nan.wav", sound, RATE_HZ, subtype="FLOAT")
    assert run("id,video,audio\ngood,a.mp4,\nbad,b.mp4,nan.wav\n") == 0
    assert "skipped bad: the audio of nan.wav contains NaN or infinity at 0.75 s" in capsys.readouterr().err
    data = ManifestDataModule("clips.csv", max_s=1.5, batch_size=1, validation=0, workers=0, max_broken=0.5)
    data.setup("fit")
    assert "contains NaN or infinity" in data.failures["bad"]
