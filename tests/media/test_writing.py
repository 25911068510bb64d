from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch

from prismaudio.errors import MediaError
from prismaudio.media import probe, read_audio_track, read_clip, write_video, write_video_with_audio, write_wav, writing
from prismaudio.types import FrameSpec


def click(time_s: float, duration_s: float, rate_hz: int = 16_000) -> torch.Tensor:
    audio = torch.zeros(2, round(duration_s * rate_hz))
    audio[:, round(time_s * rate_hz)] = 0.9
    return audio


def packets(path: Path) -> np.ndarray:
    """Presentation time in ms and size in bytes of every frame, (frames, 2)."""
    with av.open(path) as file:
        rows = np.array([(1000 * float(p.pts * p.time_base), p.buffer_size) for p in file.demux(video=0) if p.size])
    return rows - [rows[:, 0].min(), 0]


def same_packets(first: Path, second: Path) -> bool:
    """Equal except for rounding and parameter sets before a frame."""
    return bool(np.allclose(packets(first)[1:], packets(second)[1:], rtol=0, atol=[1.1, 40]))


def track_s(path: Path) -> tuple[float, float]:
    """Durations of the file and of its audio track."""
    with av.open(path) as file:
        track = file.streams.audio[0]
        return file.duration / av.time_base, float(track.duration * track.time_base)


KINDS = [
    {},
    {"duration_s": 1.28, "fps": 30},
    {"name": "vfr.mkv", "times_s": [0, 0.04, 0.5, 0.55, 1.1]},
    {"name": "late.ts", "start_s": 0.4, "layout": "stereo"},
    {"codec": "libx265"},
    {"name": "a.webm", "codec": "libvpx-vp9"},
    {"name": "a.mpg", "codec": "mpeg2video"},
    {"name": "a.avi", "codec": "mjpeg", "pixels": "yuvj420p"},
    {"layout": "5.1", "clicks_s": [0.2]},
]


@pytest.mark.parametrize(
    ("kind", "is_copied"),
    [
        ({}, True),
        ({"name": "a.webm", "codec": "libvpx-vp9"}, True),
        ({"codec": "libx265"}, False),
        ({"name": "a.avi", "codec": "mjpeg", "pixels": "yuvj420p"}, False),
        ({"pixels": "yuv444p"}, False),
    ],
)
def test_what_not_every_browser_plays_is_reencoded_for_browsers(make_video, tmp_path, kind, is_copied):
    source, out = make_video(**kind), tmp_path / "new.mp4"
    write_video_with_audio(source, click(0.5, probe(source).duration_s), 16_000, out, for_browsers=True)
    with av.open(out) as file:
        stream = file.streams.video[0].codec_context
        assert (stream.codec.canonical_name in ("h264", "vp9"), stream.pix_fmt) == (True, "yuv420p")
    assert (len(packets(source)) == len(packets(out)) and same_packets(source, out)) == is_copied


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(str(v) for v in kind.values()) or "plain")
def test_video_is_copied_and_audio_is_in_time(make_video, tmp_path, kind):
    source, out = make_video(**kind), tmp_path / "out" / "new.mp4"
    info = probe(source)
    write_video_with_audio(source, click(0.5, info.duration_s), 16_000, out)
    assert same_packets(source, out)
    assert probe(out).codec == info.codec
    film_s, audio_s = track_s(out)
    assert film_s == pytest.approx(info.duration_s, abs=0.002)
    assert audio_s == pytest.approx(info.duration_s, abs=1 / 16_000)
    audio = read_audio_track(out, 48_000)
    assert int(audio[0].abs().argmax()) / 48_000 == pytest.approx(0.5, abs=1e-4)
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize(
    "kind",
    [
        {"name": "a.webm", "codec": "libvpx"},
        {"name": "odd.webm", "codec": "libvpx", "size": (61, 75)},
        {"name": "a.avi", "codec": "huffyuv", "pixels": "yuv422p", "times_s": [0, 0.1, 0.4, 0.44, 0.8]},
    ],
    ids=["vp8", "odd", "vfr"],
)
def test_video_that_mp4_cannot_hold_is_reencoded(make_video, tmp_path, kind):
    source, out = make_video(**kind), tmp_path / "new.mp4"
    info = probe(source)
    write_video_with_audio(source, click(0.3, info.duration_s), 16_000, out)
    written = probe(out)
    assert written.codec == "h264"
    assert written.n_frames == info.n_frames
    assert written.duration_s == pytest.approx(info.duration_s, abs=0.002)
    assert np.allclose(np.sort(packets(out)[:, 0]), np.sort(packets(source)[:, 0]), rtol=0, atol=2)
    before, after = (read_clip(path, FrameSpec(size=(30, 40))).frames.float() for path in (source, out))
    assert (before - after).abs().mean() < 6


def test_rotation_and_metadata_are_kept(make_video, tmp_path):
    source, out = make_video(rotation=90, metadata={"title": "A walk"}), tmp_path / "new.mp4"
    write_video_with_audio(source, click(0.1, 1.0), 16_000, out)
    with av.open(out) as file:
        assert next(file.decode(video=0)).rotation == 90
        assert file.metadata["title"] == "A walk"


def test_rotated_frames_are_upright_when_reencoded(make_video, tmp_path, monkeypatch):
    source, out = make_video(rotation=90, size=(64, 128)), tmp_path / "new.mp4"
    monkeypatch.setattr(writing, "_same_video", lambda *_: False)
    write_video_with_audio(source, click(0.1, 1.0), 16_000, out)
    assert (probe(out).width, probe(out).height) == (64, 128)
    before, after = (read_clip(path, FrameSpec(size=(40, 40))).frames.float() for path in (source, out))
    assert (before - after).abs().mean() < 6


def stated(path: Path) -> dict[str, object]:
    """Properties of a video track."""
    with av.open(path) as file:
        stream = file.streams.video[0]
        context = stream.codec_context
        tags = context.colorspace, context.color_range, context.color_primaries, context.color_trc
        return {"aspect": stream.sample_aspect_ratio, "tags": tags, "codec": context.name, "letters": context.codec_tag}


WIDE = {"sample_aspect_ratio": Fraction(64, 45)}
HD = {"colorspace": 1, "color_range": 1, "color_primaries": 1, "color_trc": 1}


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"name": "a.mkv"},
        {"name": "a.mp4", "codec": "libvpx-vp9"},
        {"name": "a.mov", "codec": "prores_ks", "pixels": "yuv422p10le"},
    ],
    ids=lambda kind: "-".join(kind.values()) or "plain",
)
def test_pixel_aspect_ratio_is_kept(make_video, tmp_path, kind, suffix):
    source, out = make_video(color_tags=WIDE, **kind), tmp_path / f"new{suffix}"
    assert stated(source)["aspect"] == Fraction(64, 45)
    write_video_with_audio(source, click(0.1, 1.0), 16_000, out)
    assert float(stated(out)["aspect"]) == pytest.approx(64 / 45, rel=1e-3)


def test_pixel_aspect_ratio_is_rotated(make_video, tmp_path, monkeypatch):
    source, out = make_video(rotation=90, color_tags=WIDE), tmp_path / "new.mp4"
    monkeypatch.setattr(writing, "_same_video", lambda *_: False)
    write_video_with_audio(source, click(0.1, 1.0), 16_000, out)
    assert (probe(out).width, probe(out).height, probe(out).pixel_aspect) == (64, 96, Fraction(45, 64))


def test_a_copy_keeps_its_colour_tags(make_video, tmp_path):
    source = make_video("a.mkv", codec="libvpx-vp9", color_tags=HD)
    write_video_with_audio(source, click(0.1, 1.0), 16_000, tmp_path / "new.mp4")
    assert stated(tmp_path / "new.mp4")["tags"] == stated(source)["tags"] == (1, 1, 1, 1)


def flat(y: int, u: int, v: int, matrix: int, colour_range: int):
    """A frame of one colour."""

    def draw(time_s: float) -> av.VideoFrame:
        frame = av.VideoFrame(96, 64, "yuv420p")
        for plane, value in zip(frame.planes, (y, u, v), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        frame.colorspace, frame.color_range = matrix, colour_range
        return frame

    return draw


def values(path: Path) -> list[int]:
    """Luma and chroma in the middle of the third frame."""
    with av.open(path) as file:
        frame = list(file.decode(video=0))[2]
        return [memoryview(plane)[plane.line_size * (plane.height // 2) + plane.width // 2] for plane in frame.planes]


@pytest.mark.parametrize("rotation", [None, 90])
@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ((1, 1, 1, 1), [140, 74, 64]),
        ((6, 1, 6, 6), [140, 74, 64]),
        ((9, 1, 9, 16), [140, 74, 64]),
        ((8, 1, 1, 1), [140, 74, 64]),  # YCgCo, which the scaler does not know
        ((2, 0, 2, 2), [140, 74, 64]),
        ((1, 2, 1, 1), [136, 81, 72]),  # full range becomes that of video
    ],
)
def test_colours_are_the_same_when_reencoded(make_video, tmp_path, monkeypatch, rotation, tags, expected):
    names = ("colorspace", "color_range", "color_primaries", "color_trc")
    source = make_video(
        "a.mp4",
        codec="libx264",
        options={"crf": "4"},
        rotation=rotation,
        duration_s=0.4,
        color_tags=dict(zip(names, tags, strict=True)),
        draw=flat(140, 74, 64, *tags[:2]),
    )
    monkeypatch.setattr(writing, "_same_video", lambda *_: False)
    out = tmp_path / "new.mp4"
    write_video_with_audio(source, click(0.1, 0.4), 16_000, out)
    assert np.abs(np.array(values(out)) - expected).max() <= 1
    assert stated(out)["tags"] == (tags[0], min(1, tags[1]), *tags[2:])
    if tags[0] != 8:
        before, after = (read_clip(path).frames.float().mean((0, 2, 3)) for path in (source, out))
        assert (before - after).abs().max() < 4


def test_converted_rgb_frames_are_tagged(make_video, tmp_path):
    source = make_video("a.avi", codec="huffyuv", pixels="rgb24")
    write_video_with_audio(source, click(0.1, 1.0), 16_000, tmp_path / "new.mp4")
    assert stated(tmp_path / "new.mp4")["tags"][:2] == (6, 1)
    before, after = (
        read_clip(path, FrameSpec(size=(30, 40))).frames.float() for path in (source, tmp_path / "new.mp4")
    )
    assert (before - after).abs().mean() < 6


@pytest.mark.parametrize(("source", "tag"), [("a.mp4", "hev1"), ("a.mov", "hvc1"), ("a.mkv", None), ("a.ts", None)])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_hevc_has_the_tag_that_apple_requires(make_video, tmp_path, source, tag, suffix):
    options = {"x265-params": "log-level=error"}
    path = make_video(source, codec="libx265", options=options, color_tags={"codec_tag": tag} if tag else {})
    write_video_with_audio(path, click(0.1, 1.0), 16_000, tmp_path / f"new{suffix}")
    found = stated(tmp_path / f"new{suffix}")
    assert found["codec"] == "hevc"
    assert found["letters"] == "hvc1" or suffix == ".mkv"
    assert read_clip(tmp_path / f"new{suffix}").frames.shape[0] == 16


@pytest.mark.parametrize(
    ("profile", "pixels", "letters"), [("lt", "yuv422p10le", "apcs"), ("4444", "yuva444p10le", "ap4h")]
)
def test_quicktime_keeps_the_prores_variant(make_video, tmp_path, profile, pixels, letters):
    source = make_video("a.mov", codec="prores_ks", pixels=pixels, options={"profile": profile})
    write_video_with_audio(source, click(0.1, 1.0), 16_000, tmp_path / "new.mov")
    assert stated(source)["letters"] == stated(tmp_path / "new.mov")["letters"] == letters
    assert same_packets(source, tmp_path / "new.mov")


@pytest.mark.parametrize("suffix", [".mov", ".mkv", ".m4v"])
def test_other_containers(make_video, tmp_path, suffix):
    out = tmp_path / f"new{suffix}"
    write_video_with_audio(make_video(), click(0.5, 1.0), 16_000, out)
    assert int(read_audio_track(out, 16_000)[0].argmax()) == pytest.approx(8000, abs=2)


def test_audio_is_cropped_or_padded_to_the_video_and_gaps_are_silent(make_video, tmp_path):
    source = make_video()
    for n_samples in (0, 100, 40_000):
        audio = torch.full((2, n_samples), float("nan"))
        write_video_with_audio(source, audio, 16_000, tmp_path / "new.mp4")
        assert track_s(tmp_path / "new.mp4")[1] == pytest.approx(1.0, abs=1e-4)
        assert float(read_audio_track(tmp_path / "new.mp4", 16_000).abs().max()) < 1e-3


@pytest.mark.parametrize("size", [(48, 48), (47, 33)])
def test_rendered_frames_keep_their_colours_and_audio(tmp_path, size):
    frames = torch.zeros(16, 3, *size, dtype=torch.uint8)
    frames[:, 0, :, :20] = 200
    frames[8:, 2, :, 20:] = 150
    write_video(frames, 16, tmp_path / "new.mp4", click(0.25, 1.0), 16_000)
    clip = read_clip(tmp_path / "new.mp4", FrameSpec(16, size), with_audio=True)
    assert clip.duration_s == pytest.approx(1.0)
    assert clip.fps == 16
    assert (clip.frames.float() - frames.float()).abs().mean() < 8
    assert int(clip.audio[0].argmax()) == pytest.approx(4000, abs=1)


def test_rendered_without_audio(tmp_path):
    write_video(torch.zeros(8, 3, 16, 16, dtype=torch.uint8), 29.97, tmp_path / "new.mp4")
    assert not probe(tmp_path / "new.mp4").has_audio


def test_wav(tmp_path):
    write_wav(click(0.5, 1.0), 16_000, tmp_path / "a.wav")
    audio, rate_hz = soundfile.read(tmp_path / "a.wav", always_2d=True)
    assert (audio.shape, rate_hz) == ((16_000, 2), 16_000)
    assert int(np.abs(audio[:, 0]).argmax()) == 8000


@pytest.mark.parametrize("write", ["video", "wav", "picture"])
@pytest.mark.parametrize("broken", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_no_partial_file_is_left(make_video, tmp_path, monkeypatch, write, broken):
    source, folder = make_video(duration_s=0.4), tmp_path / "out"
    (folder).mkdir()
    (folder / "new.mp4").write_text("what was here before")

    def fail(*args: object, **kwargs: object) -> None:
        raise broken

    monkeypatch.setattr(writing.AudioTrack, "finish", fail)
    monkeypatch.setattr(writing.soundfile, "write", fail)
    out, frames = folder / "new.mp4", torch.zeros(8, 3, 16, 16, dtype=torch.uint8)
    writers = {
        "video": lambda: write_video_with_audio(source, click(0.1, 0.4), 16_000, out),
        "picture": lambda: write_video(frames, 8, out, click(0.1, 1.0)),
        "wav": lambda: write_wav(click(0.1, 0.4), 16_000, out),
    }
    with pytest.raises((KeyboardInterrupt, MediaError)):
        writers[write]()
    assert [p.read_text() for p in folder.iterdir()] == ["what was here before"]


def test_unwritable_places(make_video, tmp_path):
    source = make_video()
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "new.mp4", Path("/proc/new.mp4")):
        with pytest.raises(MediaError, match="cannot write") as error:
            write_video_with_audio(source, click(0.1, 1.0), 16_000, out)
        assert "\n" not in str(error.value)
    with pytest.raises(MediaError, match="unknown video format"):
        write_video_with_audio(source, click(0.1, 1.0), 16_000, tmp_path / "new.xyz")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk(monkeypatch, make_video, tmp_path):
    from contextlib import contextmanager

    @contextmanager
    def full(path):
        yield Path("/dev/full")

    source = make_video()
    monkeypatch.setattr(writing, "replacing", full)
    with pytest.raises(MediaError, match=r"^cannot write .*new\.mp4: no space left"):
        write_video_with_audio(source, click(0.1, 1.0), 16_000, tmp_path / "new.mp4")


def test_audio_must_be_stereo(tmp_path):
    with pytest.raises(MediaError, match=r"expected \(2, samples\)"):
        write_wav(torch.zeros(1, 100), 16_000, tmp_path / "a.wav")


def test_time_stamps_of_odd_rates_survive(make_video, tmp_path):
    source = make_video(fps=Fraction(30_000, 1001), duration_s=1.001)
    write_video_with_audio(source, click(0.1, 1.0), 16_000, tmp_path / "new.mp4")
    assert same_packets(source, tmp_path / "new.mp4")
