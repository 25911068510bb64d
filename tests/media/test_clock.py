"""Files whose clock begins anew: frames and sound go on together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from prismaudio.media import probe, read_audio_track, read_clip, write_video_with_audio
from prismaudio.media.clock import packets
from prismaudio.media.opening import opened
from prismaudio.media.segments import survey
from prismaudio.types import FrameSpec

KINDS = [
    {"name": "{}.ts", "sound_codec": "aac"},
    {"name": "{}.ts", "sound_codec": "mp2", "codec": "mpeg2video"},
    {"name": "{}.mkv", "sound_codec": "aac"},
    {"name": "{}.webm", "codec": "libvpx", "sound_codec": "libopus"},
]


def bar_s(frame: torch.Tensor) -> float:
    """Time of the frame in which the bar is where it is."""
    row = np.clip(frame[:, frame.shape[1] * 3 // 4].numpy().astype(float).mean(0) - 40, 0, None)
    return float((row * (np.arange(len(row)) + 0.5)).sum() / row.sum() / len(row)) * 2


def joined(make_video, path: Path, kind: dict, *starts_s: float) -> Path:
    """Files of 2 s with a click at 0.5 s, end to end; their clocks begin at times of their own."""
    name = kind["name"]
    content = b""
    for index, start_s in enumerate(starts_s):
        part = {**kind, "name": name.format(index), "start_s": start_s, "sound_start_s": start_s}
        content += make_video(duration_s=2.0, layout="stereo", clicks_s=[0.5], size=(40, 100), **part).read_bytes()
    (path / name.format("joined")).write_bytes(content)
    return path / name.format("joined")


def check(path: Path, n_parts: int) -> None:
    """Whether each part is seen and heard in its place."""
    clip = read_clip(path, FrameSpec(25, (40, 100)), with_audio=True, sample_rate_hz=48_000)
    assert clip.duration_s == pytest.approx(2.0 * n_parts, abs=0.1)
    times_s = np.arange(len(clip.frames)) / 25
    seen_s = np.array([bar_s(frame) for frame in clip.frames])
    inner = (times_s % 2 > 0.3) & (times_s % 2 < 1.6)
    assert np.abs(seen_s - times_s % 2)[inner].max() < 0.1
    clicks = clip.audio.abs().amax(0)[: 96_000 * n_parts].reshape(n_parts, -1).argmax(1) / 48_000
    assert clicks.tolist() == pytest.approx([0.5] * n_parts, abs=0.03)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind.values()))
def test_parts_that_are_joined_follow_each_other(make_video, tmp_path, kind):
    check(joined(make_video, tmp_path, kind, 0.0, 0.0), 2)


@pytest.mark.parametrize("start_s", [40_000.0, 15.0])
def test_a_clock_that_jumps_ahead(make_video, tmp_path, start_s):
    check(joined(make_video, tmp_path, KINDS[0], 0.0, start_s, 3.0), 3)


def test_a_copy_of_joined_parts_shows_all_of_them(make_video, tmp_path):
    source = joined(make_video, tmp_path, KINDS[0], 0.0, 0.0)
    write_video_with_audio(source, torch.zeros(2, 64_000), 16_000, tmp_path / "new.mp4")
    written = probe(tmp_path / "new.mp4")
    assert (written.n_frames, written.duration_s) == (100, pytest.approx(4.0, abs=0.01))
    frames = read_clip(tmp_path / "new.mp4", FrameSpec(5)).frames.float()
    assert (frames - read_clip(source, FrameSpec(5)).frames.float()).abs().mean() < 2


def test_sound_alone_that_is_joined(make_video, tmp_path):
    parts = [make_video(f"{i}.mka", codec=None, layout="stereo", sound_codec="aac", clicks_s=[0.5]) for i in range(2)]
    (tmp_path / "joined.mka").write_bytes(b"".join(part.read_bytes() for part in parts))
    assert survey(tmp_path / "joined.mka").duration_s == pytest.approx(2.0, abs=0.05)
    sound = read_audio_track(tmp_path / "joined.mka", 48_000)[0]
    assert int(sound[48_000:].argmax()) / 48_000 == pytest.approx(0.5, abs=0.03)


def test_a_long_hole_of_the_sound_alone_is_no_new_clock(make_video):
    path = make_video("a.ts", fps=2, duration_s=16.0, layout="stereo", sound_codec="mp2", lost_s=(1.0, 14.0))
    with opened(path) as container:
        stamps_s = [float(p.pts * p.time_base) for p in packets(container) if p.size and p.stream.type == "audio"]
    assert max(np.diff(stamps_s)) == pytest.approx(13.0, abs=0.1)


@pytest.mark.parametrize("stamps", [(10,), (15,), (10, 15)], ids=["presentation", "decoding", "both"])
def test_one_damaged_stamp_changes_no_other(make_video, stamps):
    """A transport stream in which a time of one frame is some minutes late."""
    path = make_video("a.ts", codec="mpeg2video", duration_s=2.0, options={"bf": "0"})
    whole = bytearray(path.read_bytes())
    with opened(path) as container:
        places = [packet.pos for packet in container.demux() if packet.size]
    header = whole.index(b"\x00\x00\x01\xe0", places[20])
    assert whole[header + 7] >> 6 == 3
    before = read_clip(path, FrameSpec(10)).frames
    for place in stamps:
        whole[header + place] ^= 0x10  # of its 33 bits, one that is 2^26 ticks of 90 kHz
    path.write_bytes(whole)
    info = probe(path)
    assert info.duration_s == pytest.approx(2.0, abs=0.05)
    assert (read_clip(path, FrameSpec(10)).frames.float() - before.float()).abs().mean() < 3
