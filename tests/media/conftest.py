"""Small videos of every kind, made on the fly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

MakeVideo = Callable[..., Path]


def frame(time_s: float, size: tuple[int, int]) -> np.ndarray:
    """A red top left corner, and a white bar over the lower half that moves right by half the width each second."""
    height, width = size
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 4, : width // 4] = (255, 0, 0)
    x = int(time_s * width / 2) % width
    image[height // 2 :, max(0, x - width // 10) : x + width // 10 + 1] = 255
    return image


def clicks(duration_s: float, times_s: Sequence[float], rate_hz: int, channels: int) -> np.ndarray:
    sound = np.zeros((channels, round(duration_s * rate_hz)), np.float32)
    for time_s in times_s:
        sound[:, round(time_s * rate_hz) : round(time_s * rate_hz) + 4] = 0.5
    return sound


def mux_sound(output: Any, stream: Any, array: np.ndarray, start_s: float, lost_s: tuple[float, float]) -> None:
    """Encode audio ``(channels, samples)`` that begins at a time; its packets of a span of it are lost."""
    samples = av.AudioFrame.from_ndarray(array, "fltp", stream.layout.name)
    samples.sample_rate, samples.pts, samples.time_base = stream.rate, 0, Fraction(1, stream.rate)
    parts = av.AudioResampler(stream.format, stream.layout, stream.rate, stream.codec_context.frame_size or 1024)
    for part in [*parts.resample(samples), *parts.resample(None), None]:
        for packet in stream.encode(part):
            packet.pts += round(start_s / packet.time_base)
            packet.dts = packet.pts
            if not lost_s[0] <= float(packet.pts * packet.time_base) - start_s < lost_s[1]:
                output.mux(packet)


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    """Write a test video; keyword arguments say what is special about it."""

    def make(
        name: str = "clip.mp4",
        codec: str | None = "libx264",
        size: tuple[int, int] = (64, 96),
        fps: int = 25,
        duration_s: float = 1.0,
        times_s: Sequence[float] | None = None,
        layout: str | None = None,
        clicks_s: Sequence[float] = (),
        start_s: float = 0.0,
        pixels: str = "yuv420p",
        rotation: int | None = None,
        rate_hz: int = 48_000,
        metadata: dict[str, str] | None = None,
        options: dict[str, str] | None = None,
        sound_codec: str | None = None,
        lost_s: tuple[float, float] = (0.0, 0.0),
        container: dict[str, str] | None = None,
        sound_start_s: float = 0.0,
        color_tags: dict[str, Any] | None = None,
        draw: Callable[[float], av.VideoFrame] | None = None,
    ) -> Path:
        path = tmp_path / name
        times = [i / fps for i in range(round(duration_s * fps))] if times_s is None else list(times_s)
        with av.open(path, "w", container_options=container or {}) as output:
            output.metadata.update(metadata or {})
            base = Fraction(1, 1000) if times_s is not None else Fraction(1, fps)
            stream: Any = None
            if codec:
                stream = output.add_stream(codec, fps, options=options or {})
                stream.height, stream.width = size
                stream.pix_fmt = pixels
                stream.codec_context.time_base = base
                for tag, value in (color_tags or {}).items():
                    setattr(stream.codec_context, tag, value)
            if rotation is not None:
                stream.set_display_rotation(rotation)
            if layout:
                usual = "aac" if name.endswith(("mp4", "mov")) else "pcm_s16le"
                sound: Any = output.add_stream(sound_codec or usual, rate_hz)
                sound.layout = layout
            for time_s in times if codec else []:
                frame = draw(time_s) if draw else av.VideoFrame.from_ndarray(frame(time_s, size), "rgb24")
                frame.pts, frame.time_base = round((time_s + start_s) / base), base
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None) if codec else [])
            if layout:
                array = clicks(duration_s, clicks_s, rate_hz, len(av.AudioLayout(layout).channels))
                mux_sound(output, sound, array, sound_start_s, lost_s)
        return path

    return make


def bar_x(frame: np.ndarray) -> float:
    """Where the bar of a frame (3, height, width) is, 0 (left) .. 1 (right)."""
    row = frame[:, frame.shape[1] * 3 // 4].mean(0) - 20
    row = np.clip(row, 0, None)
    return float((row * (np.arange(len(row)) + 0.5)).sum() / row.sum() / len(row))
