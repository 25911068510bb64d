import numpy as np
import pytest
from synthetic_recordings import RATE_HZ, bursts, hum, write

from prismaudio.errors import DataError
from prismaudio_studio.world.excerpts import cut_one_shots, kind_of, read_sound, texture, usable_s


def test_a_sound_is_measured_and_normalised(tmp_path):
    file = write(tmp_path / "a.wav", 0.2 * bursts([0.1], 0.5))
    sound = read_sound(file)
    assert (sound.file_rate_hz, sound.channels, round(sound.seconds, 2)) == (RATE_HZ, 1, 0.5)
    assert np.abs(sound.audio).max() == pytest.approx(1)
    assert usable_s(file) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("audio", "rate_hz", "text"),
    [
        (np.zeros(8000), RATE_HZ, "is silent"),
        (np.clip(8 * hum(0.5), -0.5, 0.5), RATE_HZ, "is clipped"),
        (hum(0.5), 8000, "has 8000 Hz; expected 16000 Hz"),
        (hum(0.01), RATE_HZ, "lasts 10 ms; expected 30 ms"),
    ],
)
def test_what_cannot_be_used_says_why(tmp_path, audio, rate_hz, text):
    with pytest.raises(DataError, match=text):
        read_sound(write(tmp_path / "a.wav", audio, rate_hz))


def test_what_is_not_audio_says_so(tmp_path):
    file = tmp_path / "a.wav"
    file.write_bytes(b"This is not audio." * 20)
    with pytest.raises(DataError, match="is not audio that can be read"):
        read_sound(file)


def test_a_long_recording_is_cut_and_channels_out_of_phase_do_not_cancel(tmp_path):
    sound = read_sound(write(tmp_path / "long.flac", np.tile(hum(1.0), 65)))
    assert sound.seconds == 60.0
    assert sound.treatment == "first 60 s of 65"
    mono = bursts([0.1], 0.3)
    sound = read_sound(write(tmp_path / "phase.wav", np.stack([mono, -mono], 1)))
    assert "out of phase" in sound.treatment
    assert np.corrcoef(sound.audio, mono)[0, 1] == pytest.approx(1, abs=0.01)


def test_each_event_is_cut_at_its_onset_and_fades(tmp_path):
    times_s = [0.0, 0.43, 1.1]
    sound = read_sound(write(tmp_path / "barks.wav", bursts(times_s, 1.6)))
    assert kind_of(sound) == "one-shot"
    shots = cut_one_shots(sound, 16_000)
    assert len(shots) == 3
    for shot in shots:
        assert np.argmax(np.abs(shot)) < 0.006 * 16_000, "the event does not begin at its onset"
        assert np.abs(shot).max() == pytest.approx(1)
        assert shot[0] == shot[-1] == 0
        assert 0.1 < len(shot) / 16_000 < 0.43


@pytest.mark.parametrize("seconds", [0.5, 1.5, 4.0])
def test_a_texture_has_any_length_without_gaps_or_seams(tmp_path, seconds):
    silence = np.zeros(RATE_HZ // 2)
    sound = read_sound(write(tmp_path / "hum.wav", np.concatenate([silence, hum(2.0), silence])))
    assert kind_of(sound) == "sustained"
    made = texture(sound, round(seconds * 16_000), 16_000, np.random.default_rng(0))
    assert len(made) == round(seconds * 16_000)
    levels = np.sqrt((made[: len(made) // 800 * 800].reshape(-1, 800) ** 2).mean(1))
    assert levels.min() > 0.25 * levels.max(), "there is a gap"
    assert np.abs(np.diff(made)).max() < 0.6, "there is a click"
