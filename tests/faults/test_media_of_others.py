"""Everyday and damaged media files, as the commands read, write and refuse them."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import torch
from av.stream import Disposition

from prismaudio.cli.main import main
from prismaudio.data.clips import read_audio
from prismaudio.data.manifest import ManifestEntry
from prismaudio.evaluation.files import WINDOW_S
from prismaudio.media import read_audio_track, write_video
from prismaudio.media.segments import audio_segments, segment_edges, survey

CLICKS_S = (0.3, 2.6)


@pytest.fixture
def with_hole(tmp_path: Path) -> Path:
    """A video of 3 s with a click before and one after a hole of its sound, whose packets are lost."""
    audio = torch.zeros(2, 3 * 16_000)
    for click_s in CLICKS_S:
        audio[:, round(click_s * 16_000) : round(click_s * 16_000) + 4] = 0.8
    write_video(torch.randint(0, 255, (48, 3, 32, 32), dtype=torch.uint8), 16, tmp_path / "whole.mp4", audio)
    path = tmp_path / "hole.mp4"
    with av.open(tmp_path / "whole.mp4") as source, av.open(path, "w") as output:
        streams = {stream.index: output.add_stream_from_template(stream, opaque=True) for stream in source.streams}
        for packet in source.demux():
            time_s = float((packet.pts or 0) * packet.time_base)
            if packet.size and not (packet.stream.type == "audio" and 0.8 < time_s < 2.1):
                packet.stream = streams[packet.stream.index]
                output.mux(packet)
    return path


def heard_s(sound: torch.Tensor, rate_hz: int) -> list[float]:
    """Seconds of the loudest samples of the first and of the third second."""
    level = sound.abs().amax(0)
    return [s + int(level[s * rate_hz : (s + 1) * rate_hz].argmax()) / rate_hz for s in (0, 2)]


def test_sound_after_a_hole_is_where_it_was_in_generate_extract_and_score(
    with_hole, tmp_path, tiny_model_folder, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    plan = "<Semantic> Nothing. <Temporal> Nothing happens. <Aesthetic> A clean recording. <Spatial> Nothing."
    words = ["--model", str(tiny_model_folder), "--steps", "1", "--mix", "1", "--plan", plan, "-o", "out"]
    assert main(["generate", str(with_hole), *words]) == 0
    own = read_audio_track(with_hole, 48_000, 3.0)
    mixed = read_audio_track(Path("out/hole.mp4"), 48_000, 3.0)
    learnt, _ = read_audio(ManifestEntry("a", video=with_hole), 48_000, 1024, 3.0)
    file = survey(with_hole)
    scored = torch.cat(list(audio_segments(file, segment_edges(file.duration_s, WINDOW_S), 48_000)), 1)
    for sound in (own, learnt, scored):
        assert heard_s(sound, 48_000) == pytest.approx(CLICKS_S, abs=0.002)
    near = slice(round(2.55 * 48_000), round(2.65 * 48_000))
    alike = np.corrcoef(own[0, near].numpy(), mixed[0, near].numpy())[0, 1]
    assert alike > 0.3


def test_a_song_with_a_cover_is_scored(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with av.open("song.flac", "w") as output:
        sound: Any = output.add_stream("flac", 16_000, layout="stereo")
        cover: Any = output.add_stream("png", 1)
        cover.width = cover.height = 16
        cover.pix_fmt, cover.disposition = "rgb24", Disposition.attached_pic
        image = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), "rgb24")
        output.mux([*cover.encode(image), *cover.encode(None)])
        tone = np.tile((np.sin(np.arange(32_000) * 0.2) * 8000).astype(np.int16).repeat(2), (1, 1))
        frame = av.AudioFrame.from_ndarray(tone, "s16", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = 16_000, 0, Fraction(1, 16_000)
        for part in [*av.AudioResampler(sound.format, "stereo", 16_000, 4096).resample(frame), None]:
            output.mux(sound.encode(part))
    assert main(["score", "song.flac", "--rewards", "AestheticReward", "--metrics", "none"]) == 0
    assert "AestheticReward" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command", [["generate"], ["score", "--rewards", "AestheticReward", "--metrics", "none"]], ids=["generate", "score"]
)
@pytest.mark.parametrize("path", ["/dev/zero", "pipe.mp4"])
def test_what_never_ends_is_refused_unread(tiny_plugin, tmp_path, capsys, monkeypatch, command, path):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.mp4")
    assert main([*command, path]) == 2
    assert "is a pipe or a device" in capsys.readouterr().err


def test_a_sound_that_cannot_be_decoded_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", np.zeros((1000, 2)), 16_000)
    whole = Path("a.wav").read_bytes()
    Path("a.wav").write_bytes(whole[:20] + b"\x34\x12" + whole[22:])
    assert main(["score", "a.wav", "--rewards", "AestheticReward", "--metrics", "none"]) == 2
    said = capsys.readouterr().err
    assert "the sound of a.wav is in the codec" in said
    assert "Traceback" not in said
