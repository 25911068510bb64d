from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from prismaudio.errors import MediaError
from prismaudio.media import read_audio_track, read_clip, read_clips, read_frames_at, reading
from prismaudio.types import FrameSpec

KINDS = [
    {"name": "a.mp4"},
    {"name": "a.mov", "codec": "mpeg4"},
    {"name": "a.mkv", "codec": "ffv1"},
    {"name": "a.avi", "codec": "mjpeg", "pixels": "yuvj420p"},
    {"name": "a.avi", "codec": "libx264"},
    {"name": "a.webm", "codec": "libvpx"},
    {"name": "a.webm", "codec": "libvpx-vp9"},
    {"name": "a.ts", "codec": "libx264"},
    {"name": "a.mpg", "codec": "mpeg2video"},
    {"name": "a.mkv", "codec": "libx264", "pixels": "yuv444p", "size": (61, 97)},
    {"name": "a.mp4", "codec": "libx265", "pixels": "yuv420p10le"},
    {"name": "a.mp4", "size": (2, 1400)},
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: f"{k['name']}-{k.get('codec', 'libx264')}-{k.get('size', '')}")
def test_every_kind_of_file_gives_frames_of_the_requested_size_and_rate(make_video, kind):
    clip = read_clip(make_video(**kind), FrameSpec(8, (24, 32)))
    assert clip.frames.shape == (8, 3, 24, 32)
    assert clip.frames.dtype == torch.uint8
    assert clip.duration_s == pytest.approx(1.0, abs=0.003)
    assert clip.audio is None


SPECS = [
    FrameSpec(8, (24, 32)),
    FrameSpec(30, 20, keep_aspect_ratio=True),
    FrameSpec(7.3, 48),
    FrameSpec(8, (24, 32), keep_aspect_ratio=True),
]


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"name": "vfr.mkv", "times_s": [0.0, 0.04, 0.5, 0.54, 1.2]},
        {"name": "late.mkv", "start_s": 0.48},
        {"rotation": 90},
    ],
    ids=["plain", "vfr", "late", "rotated"],
)
def test_one_decode_gives_the_clips_of_several_specifications(make_video, kind, monkeypatch):
    path = make_video(**kind)
    expected = {spec: read_clip(path, spec) for spec in SPECS}
    n_decoded, real = [], reading.timed_frames
    monkeypatch.setattr(reading, "timed_frames", lambda *args: n_decoded.append(1) or real(*args))
    clips = read_clips(path, [*SPECS, SPECS[0]])
    assert list(clips) == SPECS
    assert len(n_decoded) == 1
    for spec, clip in clips.items():
        assert (clip.id, clip.duration_s, clip.fps) == (path.stem, expected[spec].duration_s, spec.fps)
        assert torch.equal(clip.frames, expected[spec].frames)


def bar_x(frame: torch.Tensor) -> float:
    row = np.clip(frame[:, frame.shape[1] * 3 // 4].numpy().astype(float).mean(0) - 40, 0, None)
    return float((row * (np.arange(len(row)) + 0.5)).sum() / row.sum() / len(row))


@pytest.mark.parametrize("fps", [8, 16, 25, 60])
def test_clip_frames_are_those_nearest_in_time(make_video, fps):
    clip = read_clip(make_video(fps=30, duration_s=1.5), FrameSpec(fps, (40, 100)))
    times_s = np.arange(len(clip.frames)) / fps
    seen_s = np.array([bar_x(frame) for frame in clip.frames]) * 2
    inner = (times_s > 0.3) & (times_s < 1.4)
    assert np.abs(seen_s - times_s)[inner].max() < 0.5 / 30 + 0.02
    assert abs((seen_s - times_s)[inner].mean()) < 0.012


def test_variable_frame_rate_is_resampled_by_presentation_time(make_video):
    times_s = [0.0, 0.04, 0.08, 0.5, 0.54, 0.58, 0.62, 1.2, 1.24]
    clip = read_clip(make_video("vfr.mkv", times_s=times_s), FrameSpec(10, (40, 100)))
    shown = [max(t for t in times_s if t <= k / 10 + 0.03) for k in range(len(clip.frames))]
    positions = [bar_x(frame) * 2 for frame in clip.frames]
    assert len(positions) == round(clip.duration_s * 10)
    assert np.abs(np.array(positions) - shown)[3:].max() < 0.06


@pytest.mark.parametrize(("rotation", "corner"), [(0, (0, 0)), (90, (1, 0)), (-90, (0, 1)), (180, (1, 1))])
def test_rotation_is_applied(make_video, rotation, corner):
    path = make_video("turned.mp4", rotation=rotation, size=(96, 64))
    clip = read_clip(path, FrameSpec(size=(40, 40)))
    red = clip.frames[0, 0].float() - clip.frames[0, 1].float()
    down, right = corner
    quarters = red[:8, :8], red[:8, -8:], red[-8:, :8], red[-8:, -8:]
    assert int(torch.stack([q.mean() for q in quarters]).argmax()) == 2 * down + right


@pytest.mark.parametrize(("aspect", "shape"), [((2, 1), (40, 120)), ((1, 2), (40, 60)), ((2000, 1), (40, 60))])
def test_aspect_ratio_is_that_of_display(make_video, aspect, shape):
    size = (64, 192) if aspect == (1, 2) else (64, 96)
    path = make_video("a.mkv", codec="mpeg4", size=size, color_tags={"sample_aspect_ratio": Fraction(*aspect)})
    assert read_clip(path, FrameSpec(size=40, keep_aspect_ratio=True)).frames.shape[2:] == shape
    assert read_clip(path, FrameSpec(size=(40, 40))).frames.shape[2:] == (40, 40)


def test_aspect_ratio_of_rotated_video_is_that_of_display(make_video):
    path = make_video(rotation=90, color_tags={"sample_aspect_ratio": Fraction(2, 1)})
    assert read_clip(path, FrameSpec(size=40, keep_aspect_ratio=True)).frames.shape[2:] == (120, 40)


@pytest.mark.parametrize(
    ("matrix", "colour_range", "expected"),
    [
        (1, 1, (31, 191, 31)),
        (6, 1, (43, 219, 37)),
        (9, 1, (38, 197, 30)),
        (1, 2, (40, 181, 41)),
        (2, 0, (43, 219, 37)),
        (14, 1, (43, 219, 37)),  # ICtCp, which the scaler does not support, is treated as untagged
    ],
)
def test_colours_follow_the_tags_of_the_file(make_video, matrix, colour_range, expected):
    def draw(time_s: float) -> av.VideoFrame:
        frame = av.VideoFrame(96, 64, "yuv420p")
        for plane, value in zip(frame.planes, (141, 74, 64), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        return frame

    tags = {"colorspace": matrix, "color_range": colour_range}
    path = make_video("a.mkv", options={"crf": "4"}, color_tags=tags, draw=draw, duration_s=0.4)
    assert read_clip(path).frames.float().mean((0, 2, 3)).tolist() == pytest.approx(expected, abs=4)


def test_time_starts_at_the_first_frame_also_for_audio(make_video):
    path = make_video("late.mkv", start_s=0.48, layout="stereo", clicks_s=[0.75], duration_s=1.6)
    clip = read_clip(path, with_audio=True)
    assert clip.duration_s == pytest.approx(1.6, abs=0.01)
    assert clip.audio.shape == (2, 25_600)
    assert int(clip.audio[0].abs().argmax()) / 16_000 == pytest.approx(0.27, abs=0.002)


@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1"])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_audio_becomes_stereo_in_time(make_video, layout, name):
    clip = read_clip(make_video(name, layout=layout, clicks_s=[0.5]), with_audio=True)
    assert clip.audio.shape == (2, 16_000)
    assert clip.audio.dtype == torch.float32
    assert int(clip.audio.abs().amax(0).argmax()) / 16_000 == pytest.approx(0.5, abs=0.001)
    assert 0.2 < float(clip.audio.abs().max()) <= 1


def test_mono_is_copied_to_both_channels_at_full_level(make_video):
    path = make_video("mono.mkv", layout="mono", clicks_s=[0.5])
    audio = read_audio_track(path, 48_000)
    assert torch.equal(audio[0], audio[1])
    assert float(audio.abs().max()) == pytest.approx(0.5, abs=0.01)


def test_video_without_audio_has_none(make_video):
    path = make_video()
    assert read_audio_track(path, 16_000) is None
    clip = read_clip(path, with_audio=True)
    assert clip.audio is None
    assert clip.sample_rate_hz is None


def empty(path: Path, whole: bytes) -> None:
    path.write_bytes(b"")


def text(path: Path, whole: bytes) -> None:
    path.write_text("this is not a video\n" * 40)


def playlist(path: Path, whole: bytes) -> None:
    path.write_text(f"ffconcat version 1.0\nfile {path.parent / 'clip.mp4'}\n")


def half(path: Path, whole: bytes) -> None:
    path.write_bytes(whole[: len(whole) // 2])


def noise(path: Path, whole: bytes) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(20_000))


def folder(path: Path, whole: bytes) -> None:
    path.mkdir()


def missing(path: Path, whole: bytes) -> None:
    pass


@pytest.mark.parametrize("spoil", [empty, text, playlist, half, noise, folder, missing])
@pytest.mark.parametrize("options", [{}, {"movflags": "faststart"}], ids=["plain", "faststart"])
def test_bad_files_give_one_line_errors(make_video, tmp_path, spoil, options):
    whole = make_video(duration_s=2.0, options=options).read_bytes()
    path = tmp_path / "bad.mp4"
    spoil(path, whole)
    with pytest.raises(MediaError) as error:
        read_clip(path)
    assert "\n" not in str(error.value)
    assert "bad.mp4" in str(error.value)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ({"times_s": [0.0]}, "single frame"),
        ({"duration_s": 0.12}, "at least 0.2 s"),
    ],
)
def test_too_short_videos_are_rejected(make_video, kind, words):
    with pytest.raises(MediaError, match=words):
        read_clip(make_video(**kind))


def test_audio_file_is_not_a_video(tmp_path):
    import soundfile

    soundfile.write(tmp_path / "a.wav", np.zeros((1000, 2)), 16_000)
    with pytest.raises(MediaError, match="no video"):
        read_clip(tmp_path / "a.wav")


def test_truncated_file_is_reported(make_video, tmp_path):
    whole = make_video("long.mkv", codec="mjpeg", pixels="yuvj420p", duration_s=4.0).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MediaError, match="truncated"):
        read_clip(tmp_path / "cut.mkv")


def test_frames_at_times_are_those_shown_then_with_their_own_times(make_video):
    shown_s = [0.0, 0.1, 0.4, 0.45, 0.9]
    path = make_video(name="a.mkv", codec="ffv1", times_s=shown_s, duration_s=1.0, start_s=0.2)
    frames, times_s = read_frames_at(path, [0.44, 0.0, 0.39, 5.0, 0.05], (24, 32), keep_aspect_ratio=False)
    assert times_s == pytest.approx((0.0, 0.1, 0.4, 0.9), abs=1e-3)  # 0.00 and 0.05 show the same frame
    clip = read_clip(path, FrameSpec(20, (24, 32)))
    assert clip.file == path
    for frame, time_s in zip(frames, times_s, strict=True):
        assert torch.equal(frame, clip.frames[min(round(time_s * 20), len(clip.frames) - 1)])


def test_frames_at_times_keep_the_aspect_ratio_and_the_rotation(make_video):
    frames, times_s = read_frames_at(make_video(size=(64, 96), rotation=90), [0.5], 48)
    assert frames.shape == (1, 3, 72, 48)
    assert times_s == pytest.approx((0.48,), abs=0.03)
