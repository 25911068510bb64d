"""Spectrogram plots show the audio and the events of its plan."""

from __future__ import annotations

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from prismaudio.audio.spectrogram import (
    COLOURS,
    MAX_NAME_LENGTH,
    spectrogram_figure,
    spectrogram_levels,
    spectrogram_pixels,
    spectrogram_png,
)
from prismaudio.plan.story import Source, Story

STORY = Story((Source("bell", (0.5, 1.0), None, (30.0, 30.0)), Source("cart", (0.2,), 1.8, (-40.0, 10.0))))


def tone(frequency_hz, sample_rate_hz, seconds=2.0):
    return torch.sin(2 * torch.pi * frequency_hz * torch.arange(round(seconds * sample_rate_hz)) / sample_rate_hz)


def box(figure, axes):
    """Left, upper, right and lower edge of axes in pixels, after layout."""
    figure.draw_without_rendering()  # computes the layout
    extent, height = axes.get_window_extent(), figure.bbox.height
    return round(extent.x0), round(height - extent.y1), round(extent.x1), round(height - extent.y0)


def inside(image, figure, axes):
    left, upper, right, lower = box(figure, axes)
    return image[upper + 3 : lower - 3, left + 3 : right - 3].astype(float).sum(2)


def test_audio_is_drawn_in_its_channel_at_its_time():
    tone_samples = tone(3000, 16_000)
    tone_samples[:16_000] = 0
    audio = torch.stack([tone_samples, torch.zeros_like(tone_samples)])
    figure, image = spectrogram_figure(audio, 16_000), spectrogram_pixels(audio, 16_000)
    left, right = (inside(image, figure, axes) for axes in figure.axes[:2])
    middle = left.shape[1] // 2
    assert left.mean() > 1.2 * right.mean()
    assert left[:, : middle - 20].max() < 0.1 * left[:, middle + 20 :].max()
    up = 1 - left[:, middle + 20 :].mean(1).argmax() / len(left)
    khz = {text.get_text(): text.get_position()[1] for text in figure.axes[0].get_yticklabels()}
    low, high = figure.axes[0].get_ylim()
    assert (khz["2"] - low) / (high - low) < up < (khz["4"] - low) / (high - low)


def test_planned_events_are_drawn_at_their_times():
    audio = torch.zeros(2, 32_000)
    figure, image = spectrogram_figure(audio, 16_000, STORY), spectrogram_pixels(audio, 16_000, STORY)
    events, panel = figure.axes[:2]
    left, upper, right, lower = box(figure, events)
    for row, source in enumerate(STORY.sources):
        colour = np.array([int(COLOURS[row][i : i + 2], 16) for i in (1, 3, 5)])
        drawn = (np.abs(image[upper:lower, left:right].astype(int) - colour).sum(2) < 10).any(0).nonzero()[0]
        times = drawn / (right - left) * 2.0
        for time_s in (*source.onsets_s, *filter(None, [source.end_s])):
            assert np.abs(times - time_s).min() < 0.01
        if source.end_s is None:
            assert len(times) < 20
        else:
            assert np.abs(times - 1.0).min() < 0.01
    bright = inside(image, figure, panel).max(0)
    lines = (bright > 300).nonzero()[0] / len(bright) * 2
    assert {round(time_s, 1) for time_s in lines} == {0.2, 0.5, 1.0}
    assert [text.get_text() for text in events.get_yticklabels()] == ["bell\n30° right", "cart\n40° left → 10° right"]
    assert {text.get_text() for text in events.get_legend().get_texts()} >= {"onset", "sound that lasts"}


def test_axes_have_units():
    figure = spectrogram_figure(torch.zeros(2, 32_000), 16_000, STORY)
    _, left, right, bar = figure.axes
    assert (left.get_ylabel(), right.get_ylabel()) == ("left\nfrequency (kHz)", "right\nfrequency (kHz)")
    assert right.get_xlabel() == "time (s)"
    assert "dB" in bar.get_ylabel()
    assert right.get_xlim() == (0.0, 2.0)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_tone_of_full_scale_is_loudest_in_its_band(rate_hz, channels):
    levels = spectrogram_levels(tone(300, rate_hz).expand(channels, -1), rate_hz)
    assert levels.shape[:2] == (channels, 128)
    assert levels.amax() == pytest.approx(-1, abs=4)
    top = 2595 * np.log10(1 + rate_hz / 2 / 700)
    low, tone_mel = (2595 * np.log10(1 + hz / 700) for hz in (40, 300))
    assert levels[0].mean(1).argmax() / 128 == pytest.approx((tone_mel - low) / (top - low), abs=0.02)
    assert len(spectrogram_figure(torch.zeros(channels, rate_hz), rate_hz).axes) == channels + 1


@pytest.mark.parametrize("duration_s", [0.0, 0.001, 0.2, 4.0, 600.0])
@pytest.mark.parametrize("story", [STORY, Story()])
def test_silence_of_any_length_is_drawn(duration_s, story):
    image = Image.open(io.BytesIO(spectrogram_png(torch.zeros(2, round(duration_s * 8000)), 8000, story)))
    assert image.width == 1000
    assert 400 < image.height < 800


def test_click_in_ten_minutes_is_visible():
    audio = torch.zeros(2, 600 * 8000)
    audio[:, 300 * 8000] = 1
    levels = spectrogram_levels(audio, 8000)
    assert levels.shape == (2, 128, 1000)
    assert levels[0].amax(0).argmax() == pytest.approx(500, abs=1)


def test_each_of_many_sources_has_its_own_row():
    many = tuple(Source(f"{n} $a thing_{{with$ a very long name", (0.1 * n,), 1.5, (-90.0, 90.0)) for n in range(12))
    figure = spectrogram_figure(torch.zeros(2, 32_000), 16_000, Story(many))
    labels = figure.axes[0].get_yticklabels()
    assert [len(text.get_text().split("\n")[0]) for text in labels] == [MAX_NAME_LENGTH] * 12
    left, _, right, _ = box(figure, figure.axes[0])
    assert right - left > 600
    boxes = [text.get_window_extent() for text in labels]
    assert all(above.y0 >= below.y1 for above, below in pairwise(boxes))
    assert min(extent.x0 for extent in boxes) >= 0


def test_equal_audio_gives_equal_bytes_also_in_threads():
    audio = tone(500, 8000).expand(2, -1)
    with ThreadPoolExecutor(4) as pool:
        made = set(pool.map(lambda _: spectrogram_png(audio, 8000, STORY), range(4)))
    assert made == {spectrogram_png(audio, 8000, STORY)}


def test_matplotlib_is_imported_lazily():
    code = """
import sys, torch
from prismaudio.audio import spectrogram
import prismaudio.inference
assert not [name for name in sys.modules if name.startswith("matplotlib")]
spectrogram.spectrogram_png(torch.zeros(2, 8000), 8000)
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
