from __future__ import annotations

import os
import struct
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from av.stream import Disposition

from prismaudio.errors import MediaError
from prismaudio.media import probe, read_audio_track, read_clip
from prismaudio.media.opening import opened, video_stream
from prismaudio.media.segments import has_video, survey


def song(path: Path, codec: str) -> Path:
    """A second of sound with a click at 0.5 s, and a picture on its cover."""
    with av.open(path, "w", format={".m4a": "mp4"}.get(path.suffix)) as output:
        sound: Any = output.add_stream(codec, 44_100, layout="stereo")
        cover: Any = output.add_stream("png", 1)
        cover.width = cover.height = 32
        cover.pix_fmt, cover.disposition = "rgb24", Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 90, np.uint8), "rgb24")
        frame.pts, frame.time_base = 0, Fraction(1, 1)
        output.mux([*cover.encode(frame), *cover.encode(None)])
        samples = np.zeros((2, 44_100), np.float32)
        samples[:, 22_050:22_060] = 0.5
        frame = av.AudioFrame.from_ndarray(samples, "fltp", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = 44_100, 0, Fraction(1, 44_100)
        parts = av.AudioResampler(sound.format, "stereo", 44_100, sound.codec_context.frame_size)
        for part in [*parts.resample(frame), *parts.resample(None), None]:
            output.mux(sound.encode(part))
    return path


@pytest.mark.parametrize(("name", "codec"), [("a.mp3", "libmp3lame"), ("a.m4a", "aac"), ("a.flac", "flac")])
def test_a_song_with_a_cover_is_sound(tmp_path, name, codec):
    path = song(tmp_path / name, codec)
    with av.open(path) as file:
        assert file.streams.video[0].disposition & Disposition.attached_pic
    assert not has_video(path)
    found = survey(path)
    assert found.video is None
    assert found.duration_s == pytest.approx(1.0, abs=0.03)
    with pytest.raises(MediaError, match="no video track"):
        probe(path)
    assert int(read_audio_track(path, 44_100)[0].abs().argmax()) == pytest.approx(22_055, abs=12)


def test_a_cover_is_not_the_picture(make_video, tmp_path):
    path = tmp_path / "covered.mp4"
    with av.open(make_video()) as source, av.open(path, "w") as output:
        cover: Any = output.add_stream("png", 1)
        cover.width = cover.height = 500
        cover.pix_fmt, cover.disposition = "rgb24", Disposition.attached_pic
        stream = output.add_stream_from_template(source.streams.video[0], opaque=True)
        frame = av.VideoFrame.from_ndarray(np.zeros((500, 500, 3), np.uint8), "rgb24")
        output.mux([*cover.encode(frame), *cover.encode(None)])
        for packet in source.demux(video=0):
            packet.stream = stream
            if packet.size:
                output.mux(packet)
    assert has_video(path)
    assert (probe(path).width, probe(path).n_frames) == (96, 25)


def test_a_picture_without_size():
    context = SimpleNamespace(width=0, height=0, name="h264")
    stream = SimpleNamespace(disposition=Disposition.default, codec_context=context)
    streams = SimpleNamespace(video=[stream], best=lambda kind: stream)
    with pytest.raises(MediaError, match="0x0 pixels"):
        video_stream(SimpleNamespace(streams=streams), "clip.mp4")


@pytest.mark.parametrize(("name", "expected"), [("a.wav", "sound"), ("a.mp3", "sound"), ("a.mp4", "video")])
def test_what_was_expected_is_of_the_kind_that_the_name_says(name, expected, tmp_path):
    for content in (b"", b"noise" * 1000):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MediaError, match=f"a (whole )?{expected} file"), opened(tmp_path / name):
            pass


def changed(path: Path, was: bytes, now: bytes) -> Path:
    """A file with the name of a codec in it changed."""
    whole = path.read_bytes()
    assert was in whole
    path.write_bytes(whole.replace(was, now))
    return path


def test_a_picture_in_a_codec_without_a_decoder(make_video):
    path = changed(make_video(layout="stereo"), b"avc1", b"zzzz")
    with pytest.raises(MediaError, match="codec zzzz, which this build of PyAV cannot decode"):
        probe(path)
    assert read_audio_track(path, 16_000).shape[1] >= 16_000


def test_a_sound_in_a_codec_without_a_decoder(make_video):
    path = changed(changed(make_video(layout="stereo"), b"mp4a", b"mhm1"), b"esds", b"free")
    for read in (survey, lambda file: read_audio_track(file, 16_000), lambda file: read_clip(file, with_audio=True)):
        with pytest.raises(MediaError, match=r"the sound of .* is in the codec mpegh_3d_audio, which"):
            read(path)
    assert read_clip(path).frames.shape[0] == 16


def test_a_wav_file_of_an_unknown_kind(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros((1000, 2)), 16_000)
    whole = path.read_bytes()
    path.write_bytes(whole[:20] + struct.pack("<H", 0x1234) + whole[22:])
    with pytest.raises(MediaError, match="cannot decode"):
        survey(path)


def test_a_codec_that_cannot_begin_is_one_line(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros((1000, 2)), 16_000)
    whole = path.read_bytes()
    path.write_bytes(whole[:20] + struct.pack("<HH", 2, 9) + whole[24:])  # ADPCM of nine channels
    with pytest.raises(MediaError, match=r"cannot read .*a\.wav: invalid argument; is it a whole sound file"):
        read_audio_track(path, 16_000)


def test_an_animated_webp_is_called_by_its_name(make_video):
    path = make_video("a.webp", codec="libwebp_anim")
    with pytest.raises(MediaError, match="animated WebP, which this build of PyAV cannot decode; convert it"):
        probe(path)


def test_pipes_and_devices_are_refused_unread(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "pipe.mp4", Path("/dev/zero")):
        for read in (probe, survey, lambda file: read_audio_track(file, 16_000)):
            with pytest.raises(MediaError, match="is a pipe or a device"):
                read(path)


def test_an_empty_packet_is_not_the_end(tmp_path):
    """Ogg may end with a page that holds an empty packet; files may hold one anywhere."""
    path = tmp_path / "a.ogg"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, (48_000, 2)), 48_000)
    whole = path.read_bytes()
    last = whole.rindex(b"OggS")
    flags, position, serial, number = struct.unpack("<xBQII", whole[last + 4 : last + 22])
    path.write_bytes(
        whole[:last]
        + page(flags & ~4, position, serial, number, whole[last + 26 :])
        + page(4, position, serial, number + 1, b"\1\0")
    )
    with av.open(path) as file:
        assert [packet.size for packet in file.demux()][-2:] == [0, 0]
    assert survey(path).duration_s == pytest.approx(1.0)
    assert read_audio_track(path, 48_000).shape == (2, 48_000)


def page(flags: int, position: int, serial: int, number: int, rest: bytes) -> bytes:
    """A page of an Ogg file, with its checksum."""
    head = b"OggS" + struct.pack("<xBQII", flags, position, serial, number)
    crc = 0
    for byte in head + bytes(4) + rest:
        crc ^= byte << 24
        for _ in range(8):
            crc = ((crc << 1) ^ 0x04C11DB7) & 0xFFFFFFFF if crc & 0x80000000 else crc << 1
    return head + struct.pack("<I", crc) + rest
