"""Sound is where its time stamps say, in every way in which it is read."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from prismaudio.errors import MediaError
from prismaudio.media import probe, read_audio_track, read_clip, stereo
from prismaudio.media.segments import audio_segments, survey

HOLES = [
    {"name": "a.mp4"},
    {"name": "a.mp4", "container": {"movflags": "frag_keyframe+empty_moov"}},
    {"name": "a.mkv"},
    {"name": "a.mkv", "sound_codec": "flac", "rate_hz": 44_100},
    {"name": "a.webm", "codec": "libvpx", "sound_codec": "libopus"},
    {"name": "a.ts", "sound_codec": "mp2"},
    {"name": "a.mp4", "start_s": 2.0, "sound_start_s": 2.0},
]


def heard_s(sound: torch.Tensor, rate_hz: int) -> list[float]:
    """Seconds of the loudest sample of each second."""
    level = sound.abs().amax(0)
    return [s + int(level[s * rate_hz : (s + 1) * rate_hz].argmax()) / rate_hz for s in range(len(level) // rate_hz)]


@pytest.mark.parametrize("kind", HOLES, ids=lambda kind: "-".join(str(value) for value in kind.values()))
def test_what_follows_a_hole_stays_where_it_was(make_video, kind):
    clicks_s = [0.3, 2.6]
    path = make_video(duration_s=3.0, layout="stereo", clicks_s=clicks_s, lost_s=(0.8, 2.1), **kind)
    info = probe(path)
    whole = read_audio_track(path, 48_000, info.duration_s, info.start_s)
    windows = list(audio_segments(survey(path), [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)], 48_000))
    clip = read_clip(path, with_audio=True, sample_rate_hz=48_000)
    late_s = 1.0 if kind.get("container") else 0.0  # frames of such files begin later by their coding delay
    for sound in (whole, torch.cat(windows, 1), clip.audio):
        first, _, last = heard_s(sound, 48_000)
        assert (first, last) == pytest.approx(clicks_s, abs=0.002 + 0.1 * late_s)
        assert last - first == pytest.approx(2.3, abs=0.002)
        assert float(sound[:, 48_000 : 2 * 48_000].abs().max()) < 0.01


def test_a_change_of_layout_and_rate_is_no_hole(make_video, tmp_path):
    first, second = (
        make_video(f"{name}.ts", codec="mpeg2video", duration_s=2.0, clicks_s=[0.5], sound_codec="mp2", **kind)
        for name, kind in (("a", {"layout": "stereo"}), ("b", {"layout": "mono", "rate_hz": 44_100}))
    )
    (tmp_path / "joined.ts").write_bytes(first.read_bytes() + second.read_bytes())
    info = probe(tmp_path / "joined.ts")
    sound = read_audio_track(tmp_path / "joined.ts", 48_000, info.duration_s, info.start_s)
    found = heard_s(sound, 48_000)
    assert (found[0], found[2]) == pytest.approx((0.5, 2.5), abs=0.03)


def test_sound_alone_begins_with_its_first_sample(make_video):
    path = make_video("a.mka", codec=None, layout="stereo", clicks_s=[0.25], sound_start_s=60.0)
    assert read_audio_track(path, 48_000).shape == (2, 48_000)
    assert int(read_audio_track(path, 48_000)[0].argmax()) == pytest.approx(12_000, abs=1)
    assert survey(path).duration_s == pytest.approx(1.0)


def test_holes_beyond_belief_are_refused(make_video, monkeypatch):
    path = make_video("a.mkv", layout="stereo", sound_start_s=50.0)
    monkeypatch.setattr(stereo, "LONGEST_HOLE_S", 20.0)
    with pytest.raises(MediaError, match="damaged"):
        read_audio_track(path, 16_000)


def test_a_length_is_read_no_further_than_it_goes(make_video):
    path = make_video("a.mkv", layout="stereo", duration_s=2.0, clicks_s=[0.5])
    for duration_s in (0.7, 3.0):
        sound = read_audio_track(path, 16_000, duration_s)
        assert sound.shape == (2, round(duration_s * 16_000))
        assert int(sound[0].abs().argmax()) == pytest.approx(8_000, abs=2)


def test_sample_rates_that_cannot_be_are_refused(tmp_path):
    soundfile.write(tmp_path / "slow.wav", np.zeros((8000, 2)), 2)
    for read in (survey, lambda path: read_audio_track(path, 16_000)):
        with pytest.raises(MediaError, match="states 2 samples per second; expected at least 1000"):
            read(tmp_path / "slow.wav")
