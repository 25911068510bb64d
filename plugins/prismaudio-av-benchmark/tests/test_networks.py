"""The networks compute the numbers that the packages of their authors gave, see ``test_oracle.py``."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from prismaudio.errors import CheckpointError, NotApplicableError
from prismaudio.types import Clip
from prismaudio_av_benchmark import embedder, imagebind, panns, passt, vggish
from prismaudio_av_benchmark.imagebind import ImageBind, crops, log_mel_clips, sparse_frames
from prismaudio_av_benchmark.panns import Panns
from prismaudio_av_benchmark.passt import Passt
from prismaudio_av_benchmark.vggish import Vggish

DATA = Path(__file__).with_name("data")
RATE_HZ = 22_050
MODULES = {"panns": panns, "passt": passt, "vggish": vggish, "imagebind": imagebind}
KINDS = {"panns": Panns, "passt": Passt, "vggish": Vggish, "imagebind": ImageBind}


@pytest.fixture(scope="module")
def golden():
    return {name: torch.from_numpy(value) for name, value in np.load(DATA / "golden.npz").items()}


def close(found, expected):
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=2e-4)


def thinned(levels):
    return levels.flatten()[::97]


def test_panns(panns, sound, golden):
    mono = embedded_mono(sound, 16_000)
    close(thinned(panns.levels(mono[None])[0]), golden["panns_levels"])
    found = panns.embed(sound, RATE_HZ)
    close(found["2048"], golden["panns"])
    close(found["logits"], golden["panns_logits"])
    assert found["2048"].std() > 0.05


def test_passt(passt, sound, golden):
    mono = torch.nn.functional.pad(embedded_mono(sound, 32_000), (0, 320_000 - round(5.3 * 32_000)))
    close(thinned(passt.levels(mono[None])[0]), golden["passt_levels"])
    found = passt.embed(sound, RATE_HZ)
    close(found["768"], golden["passt"])
    close(found["logits"], golden["passt_logits"])
    twelve = sound.repeat(1, 3)[:, : 12 * RATE_HZ]
    same_start = twelve.clone()
    same_start[:, 11 * RATE_HZ :] = same_start[:, 11 * RATE_HZ :].flip(1)
    assert not torch.equal(same_start, twelve)
    close(passt.embed(same_start, RATE_HZ)["768"], passt.embed(twelve, RATE_HZ)["768"])  # the first 10 s


def test_vggish(vggish, sound, golden):
    close(thinned(vggish.segments(embedded_mono(sound, 16_000))), golden["vggish_levels"])
    found = vggish.embed(sound, RATE_HZ)["128"]
    close(found, golden["vggish"])
    assert found.shape == (5, 6)
    assert (found < 0).any()  # there is no ReLU after the last layer


def test_imagebind(imagebind, sound, frames, golden):
    close(thinned(log_mel_clips(sound, RATE_HZ)), golden["imagebind_levels"])
    close(imagebind.embed(sound, RATE_HZ)["audio"], golden["imagebind_audio"])
    close(imagebind.embed_frames(frames), golden["imagebind_video"])
    assert golden["imagebind_audio"].norm() > 10 * golden["imagebind_video"].norm()  # the published scale is 20


def embedded_mono(sound, rate_hz):
    from prismaudio_av_benchmark.front_ends import mono_at

    return mono_at(sound, RATE_HZ, rate_hz)


def test_imagebind_hears_the_left_channel_without_the_mean_of_both(sound):
    levels = log_mel_clips(sound, RATE_HZ)
    other = torch.stack([sound[0], sound[1].flip(0)])
    close(log_mel_clips(other, RATE_HZ), levels)
    assert not torch.allclose(log_mel_clips(sound.flip(0), RATE_HZ), levels, atol=0.1)
    short = log_mel_clips(sound[:, :50], RATE_HZ)
    assert short.shape == (3, 128, 204)
    assert short.isfinite().all()


def test_frames_are_those_that_ffmpeg_chooses(frames):
    numbered = torch.arange(250)
    # by the filter fps=0.5 of FFmpeg from 200 frames at 25 fps
    assert sparse_frames(Clip("a", 8.0, numbered[:200], 25.0)).tolist() == [24, 74, 124, 174]
    assert sparse_frames(Clip("a", 9.0, numbered[:225], 25.0)).tolist() == [24, 74, 124, 174]
    assert sparse_frames(Clip("a", 10.0, numbered, 25.0)).tolist() == [24, 74, 124, 174, 224]
    assert sparse_frames(Clip("a", 0.5, numbered[:12], 25.0)).tolist() == [11]
    with pytest.raises(NotApplicableError, match="needs frames"):
        sparse_frames(Clip("a", 1.0))
    assert crops(frames[:1]).shape == (3, 3, 2, 224, 224)
    assert torch.equal(crops(frames[:1])[:, :, 0], crops(frames[:1])[:, :, 1])


@pytest.mark.parametrize("seconds", [0.01, 0.2, 0.5, 1.2])
def test_short_audio_has_finite_features(panns, vggish, passt, imagebind, sound, seconds):
    short = sound[:, : round(seconds * RATE_HZ)]
    for network in (panns, vggish, passt, imagebind) if seconds < 0.1 else (panns, vggish):
        for value in network.embed(short, RATE_HZ).values():
            assert value.isfinite().all()
            assert len(value) >= 1


def test_a_sound_is_embedded_once_for_several_metrics(panns, sound, monkeypatch):
    calls = []
    compute = panns.compute
    monkeypatch.setattr(panns, "compute", lambda *words: calls.append(words) or compute(*words))
    others = [sound[:, index:] for index in range(1, embedder.KEPT + 1)]
    panns.embed(sound[:, 9:], RATE_HZ)
    panns.embed(sound[:, 9:].clone(), RATE_HZ)
    assert len(calls) == 1
    panns.embed(sound[:, 9:], 16_000)
    panns.embed(sound[:, 9:], RATE_HZ, 1.0)
    assert len(calls) == 3
    for other in others:
        panns.embed(other, RATE_HZ)
    assert len(panns._last) == embedder.KEPT


def published(name):
    """Names and shapes of the tensors of a published file, of whose blocks the list has the first."""
    found = {}
    for pattern, (count, shape) in json.loads((DATA / "names.json").read_text())[name].items():
        for index in range(count):
            found[pattern.replace("#", str(index))] = torch.empty(shape, device="meta")
    return found


@pytest.mark.parametrize("name", KINDS)
def test_published_names_and_shapes_are_those_of_the_network(name):
    with torch.device("meta"):
        expected = KINDS[name]().state_dict()
    given = MODULES[name].our_names(published(name))
    assert {key: tuple(value.shape) for key, value in given.items()} == {
        key: tuple(value.shape) for key, value in expected.items()
    }


@pytest.mark.parametrize("name", ["panns", "vggish"])
def test_a_file_with_published_names_is_loaded(name, tmp_path, request, forms, monkeypatch):
    small = request.getfixturevalue(name)
    theirs = dict(small.state_dict())
    if name == "panns":
        theirs = {
            key.replace("bands", "logmel_extractor.melW")
            if key == "bands"
            else f"conv_block{int(key.split('.')[1]) + 1}.{key.split('.', 2)[2]}"
            if key.startswith("blocks")
            else key: value
            for key, value in theirs.items()
        } | {"spectrogram_extractor.stft.conv_real.weight": torch.ones(1)}
    sampler = {"indexes": np.arange(9), "pointer": 4}
    content = {"iteration": 7, "model": theirs, "sampler": sampler} if name == "panns" else theirs
    module, path = MODULES[name], tmp_path / MODULES[name].FILE.name
    torch.save(content, path, _use_new_zipfile_serialization=False)  # as the files of 2020
    monkeypatch.setattr(module, KINDS[name].__name__, lambda: KINDS[name](**forms[name]))
    load = getattr(module, f"load_{name}")
    found = load(str(tmp_path))
    assert all(torch.equal(value, small.state_dict()[key]) for key, value in found.state_dict().items())
    assert load(str(tmp_path)) is found
    assert not found.training
    theirs.pop(next(iter(theirs)))
    torch.save(theirs, path)
    with pytest.raises(CheckpointError, match=r"does not fit \w+: missing "):
        load(str(path))


@pytest.mark.parametrize("name", KINDS)
def test_missing_weights_are_one_line_with_their_source(name, monkeypatch, tmp_path):
    monkeypatch.setenv("PRISMAUDIO_CACHE", str(tmp_path))
    file = MODULES[name].FILE
    with pytest.raises(CheckpointError, match=r"is not on this machine; .* from https://.*put it at .*, or give its"):
        getattr(MODULES[name], f"load_{name}")()
    assert str(tmp_path / "weights" / file.name) in file.advice()
