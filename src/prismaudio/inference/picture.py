"""The picture of a sound: spectrograms of both channels under the events of the plan, drawn without any library."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prismaudio.inference.letters import write
from prismaudio.media.stills import png, spectrogram_image

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from prismaudio.plan.story import Story

PIXELS_PER_S = 160
MIN_WIDTH, MAX_WIDTH = 480, 4000
PANEL, LEFT, TOP, GAP, BOTTOM = 150, 64, 12, 10, 26
ROW = 16
PAPER, INK, FAINT = (255, 255, 255), (40, 40, 48), (150, 150, 160)
EVENT_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (204, 121, 167), (213, 94, 0), (0, 114, 178))


def picture_png(audio: Tensor, sample_rate_hz: int, story: Story) -> bytes:
    """A PNG: time to the right, frequency upwards, one panel for each ear, a row of marks for each source.

    Args:
        audio: Audio ``(2, samples)``.
        sample_rate_hz: Its sample rate.
        story: Its events: a mark at each onset, a bar where a sound lasts, and the direction beside the name.
    """
    duration_s = max(audio.shape[-1] / sample_rate_hz, 1e-3)
    width = int(min(max(duration_s * PIXELS_PER_S, MIN_WIDTH), MAX_WIDTH))
    top = TOP + ROW * len(story.sources)
    image = np.empty((top + 2 * PANEL + GAP + BOTTOM, LEFT + width + 12, 3), np.uint8)
    image[:] = PAPER
    for index, (channel, name) in enumerate(zip(audio, ("LEFT", "RIGHT"), strict=True)):
        y = top + index * (PANEL + GAP)
        image[y : y + PANEL, LEFT : LEFT + width] = spectrogram_image(channel, width, PANEL)
        write(image, name, 6, y + 2, INK)
        for khz in range(2, sample_rate_hz // 2000, 2):
            write(image, f"{khz}K", LEFT - 30, y + PANEL - round(PANEL * khz * 2000 / sample_rate_hz) - 5, FAINT)
    _draw_events(image, story, top, width / duration_s)
    _draw_times(image, duration_s, top + 2 * PANEL + GAP, width / duration_s)
    return png(image)


def _draw_events(image: NDArray[np.uint8], story: Story, top: int, pixels_per_s: float) -> None:
    """A row of marks for each source, and its onsets as thin lines through the panels."""
    for index, source in enumerate(story.sources):
        colour, y = EVENT_COLOURS[index % len(EVENT_COLOURS)], TOP - 6 + ROW * index
        write(image, source.what[:6].upper(), 6, y, colour)
        for time_s in source.onsets_s:
            x = LEFT + round(time_s * pixels_per_s)
            image[y : y + 10, x : x + 3] = colour
            image[top : top + 2 * PANEL + GAP : 3, x : x + 1] = colour
        if source.onsets_s and source.end_s is not None:
            ends = (LEFT + round(t * pixels_per_s) for t in (source.onsets_s[-1], source.end_s))
            image[y + 4 : y + 6, slice(*ends)] = colour
        if source.onsets_s and source.azimuth_deg is not None:
            first, last = (round(angle) for angle in source.azimuth_deg)
            text = f"{first:+d}" if first == last else f"{first:+d} TO {last:+d}"
            write(image, text, LEFT + round(source.last_s * pixels_per_s) + 6, y, colour)


def _draw_times(image: NDArray[np.uint8], duration_s: float, y: int, pixels_per_s: float) -> None:
    every = next(step for step in (0.5, 1, 2, 5, 10, 30, 60, 300, 1e9) if step * pixels_per_s >= 50)
    for index in range(int(duration_s / every) + 1):
        x = LEFT + round(index * every * pixels_per_s)
        image[y : y + 4, x : x + 1] = INK
        write(image, f"{index * every:g} S", x - 4, y + 8, INK)
