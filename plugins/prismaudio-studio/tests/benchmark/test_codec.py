import json

import numpy as np
import pytest
import torch
from synthetic_recordings import write_table

from prismaudio.cli.main import main
from prismaudio_studio.autoencoder import ParametricStereoAutoencoder
from prismaudio_studio.benchmark.codec import Original, changes
from prismaudio_studio.recorded import RecordedClips
from prismaudio_studio.world.recordings import read_recordings


class Copy(ParametricStereoAutoencoder):
    """Keeps the samples, and so changes nothing."""

    def encode(self, audio):
        return audio

    def decode(self, latents):
        return latents


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="module")
def originals(table) -> list[Original]:
    return [Original.of(item, lambda audio, rate_hz: int(audio.shape[-1])) for item in read_recordings(table)]


@pytest.fixture(scope="module")
def fitted(table) -> ParametricStereoAutoencoder:
    codec = ParametricStereoAutoencoder(components=32, iterations=8, sample_rate_hz=32_000)
    clips = RecordedClips([item for item in read_recordings(table) if not item.held_out], 1.0, 32_000)
    for index in range(len(clips)):
        codec.observe(clips.clip(index).audio[None])
    codec.fit()
    return codec


def test_a_perfect_codec_changes_nothing(originals):
    found = changes(Copy(sample_rate_hz=32_000), originals, lambda audio, rate_hz: int(audio.shape[-1]))
    assert found["lsd_db"] == found["lsd_highs_db"] == pytest.approx(0, abs=1e-3)
    assert found["class_unchanged"] == found["onset_f1"] == 1
    assert found["onset_error_ms"] == found["ild_error_db"] == found["itd_error_us"] == pytest.approx(0, abs=1e-3)


def test_a_lower_rate_loses_the_highs_and_another_sound_the_rest(originals):
    low = changes(Copy(sample_rate_hz=8_000), originals)
    assert low["lsd_highs_db"] > 0.1
    assert np.isnan(low["class_unchanged"])

    class Swapped(Copy):
        def decode(self, latents):
            return latents.flip(1).roll(4000, -1)

    other = changes(Swapped(sample_rate_hz=32_000), originals)
    assert other["onset_f1"] < 0.7
    assert other["ild_error_db"] > 3
    assert other["itd_error_us"] > 100


def test_more_components_reconstruct_better(originals, fitted):
    few, many = (changes(fitted.truncated(n), originals) for n in (2, 32))
    assert many["lsd_db"] < 0.8 * few["lsd_db"]
    assert (few["channels"], many["channels"]) == (8, 38)
    assert many["ild_error_db"] < 0.5


def test_the_first_components_are_those_of_a_smaller_fit(table):
    codecs = [ParametricStereoAutoencoder(components=n, iterations=2) for n in (8, 20)]
    clip = RecordedClips(read_recordings(table)[:2], 1.0, 16_000).clip(0)
    for codec in codecs:
        codec.observe(clip.audio[None])
        codec.fit()
    small, large = codecs
    assert torch.allclose(small.encode(clip.audio[None]), large.truncated(8).encode(clip.audio[None]), atol=1e-3)
    with pytest.raises(ValueError, match="components is 21; expected 1 to 20"):
        large.truncated(21)


def test_the_command_measures_models_and_variants(table, tmp_path, tiny_model_folder, capsys):
    out = tmp_path / "out.json"
    words = ["bench", "codec", "--recordings", str(table), "--models", str(tiny_model_folder), "--components", "4", "8"]
    assert main([*words, "--iterations", "1", "2", "--json", str(out)]) == 0
    said = capsys.readouterr().out
    assert "2 held-out recordings of recordings.csv" in said
    found = json.loads(out.read_text())["rows"]
    assert len(found) == 4
    assert all(cells["decode_speed"]["mean"] > 0 for cells in found.values())


@pytest.mark.parametrize(
    ("words", "text"), [(["--models", "nowhere"], "no model at nowhere"), (["--recordings", "none.csv"], "none.csv")]
)
def test_bad_input_is_one_line(table, words, text, capsys):
    assert main(["bench", "codec", "--recordings", str(table), *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert text in error
