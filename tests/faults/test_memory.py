"""Memory does not grow with the length of what is read and written."""

from __future__ import annotations

import gc
import tracemalloc

import av
import pytest
import soundfile
import torch

from prismaudio.media import probe, read_clip, read_clips, write_video, write_video_with_audio, write_wav
from prismaudio.media.reading import clip_frames
from prismaudio.types import FrameSpec


@pytest.fixture
def video(tmp_path):
    frames = torch.randint(0, 255, (60, 3, 32, 32), dtype=torch.uint8)
    write_video(frames, 25, tmp_path / "clip.mp4")
    return tmp_path / "clip.mp4"


@pytest.fixture
def without_collection():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def frames_alive() -> int:
    return sum(type(thing) is av.VideoFrame for thing in gc.get_objects())


@pytest.mark.usefixtures("without_collection")
def test_decoded_frames_are_freed_at_once(video):
    before = frames_alive()
    alive = [frames_alive() - before for _ in clip_frames(probe(video), FrameSpec(25, 16))]
    assert len(alive) == 60
    assert max(alive) <= 20  # those that the decoder's threads hold, as many as there are cores


@pytest.mark.usefixtures("without_collection")
def test_frames_of_an_image_that_is_encoded_again_are_freed_at_once(video, tmp_path, monkeypatch):
    monkeypatch.setattr("prismaudio.media.writing._same_video", lambda *_: False)
    before = frames_alive()
    write_video_with_audio(video, torch.zeros(2, 16_000), 16_000, tmp_path / "out.mkv")
    assert frames_alive() - before <= 20
    assert probe(tmp_path / "out.mkv").n_frames == 60


def test_the_frames_of_a_clip_are_held_once(video):
    tracemalloc.start()
    clip = read_clip(video, FrameSpec(25, 256))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert clip.frames.shape == (60, 3, 256, 256)
    assert peak < 0.2 * clip.frames.numel()  # that of torch itself is not counted


def test_one_decode_for_several_specifications_holds_their_frames_only(video):
    tracemalloc.start()
    clips = read_clips(video, [FrameSpec(25, 256), FrameSpec(5, 128), FrameSpec(10, 64)])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(clip.frames.numel() for clip in clips.values()) > 60 * 3 * 256 * 256
    assert peak < 0.2 * 60 * 3 * 256 * 256  # that of torch itself is not counted


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_sound_is_written_piece_by_piece(video, tmp_path, rate_hz):
    audio = 0.1 * torch.randn(2, 100 * rate_hz)
    peaks = []
    for write in (
        lambda: write_wav(audio, rate_hz, tmp_path / "a.wav"),
        lambda: write_video_with_audio(video, audio, rate_hz, tmp_path / "a.mp4"),
    ):
        tracemalloc.start()
        write()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert max(peaks) < 8 << 20 < audio.numel() * audio.element_size()
    sound, read_hz = soundfile.read(tmp_path / "a.wav", dtype="float32", always_2d=True)
    assert read_hz == rate_hz
    assert torch.allclose(torch.from_numpy(sound.T), audio, atol=2**-22)
