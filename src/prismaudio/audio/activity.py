"""When something sounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import pad

from prismaudio.audio.spectral import decibels, low_quantile

if TYPE_CHECKING:
    from torch import Tensor

HOP_S = 0.01
RANGE_DB, MIN_RANGE_DB = 30.0, 12.0
"""What is this much below the loudest part is silence at any rate, and what is less below it is none."""
ABOVE_FLOOR_DB = 6.0
SILENT_DB = -90.0
"""Level, relative to full scale, of audio without any sound."""
GAP_S = 0.05
"""A shorter pause between two sounds is none."""


def active_intervals(audio: Tensor, sample_rate_hz: int) -> list[tuple[float, float]]:
    """Times during which audio is not silent.

    A block of 10 ms sounds if its level is at most 30 dB below that of the loudest block, and 6 dB above the noise
    floor, which is the 10th percentile of the levels; less than 12 dB below the loudest one it sounds at any rate, so
    that a sound without pauses is not its own noise floor. Pauses of up to 50 ms are bridged.

    Args:
        audio: Audio ``(2, samples)``.
        sample_rate_hz: Its sample rate.

    Returns:
        Start and end in seconds, ascending.

    Example:
        >>> click = torch.zeros(2, 16_000)
        >>> click[:, 4_000:8_000] = 0.5
        >>> active_intervals(click, 16_000)
        [(0.25, 0.5)]
    """
    length = max(1, round(HOP_S * sample_rate_hz))
    power = audio.double().square().mean(0)
    blocks = pad(power, (0, -len(power) % length)).reshape(-1, length)
    level_db = decibels(blocks.mean(1), SILENT_DB)
    if not len(level_db) or float(top_db := level_db.max()) <= SILENT_DB:
        return []
    floor_db = float(low_quantile(level_db[None], 0.1))
    at_least_db = max(float(top_db) - RANGE_DB, min(floor_db + ABOVE_FLOOR_DB, float(top_db) - MIN_RANGE_DB))
    edges = torch.diff(pad((level_db >= at_least_db).int(), (1, 1)))
    hop_s = length / sample_rate_hz
    found: list[tuple[float, float]] = []
    for start, end in zip((edges > 0).nonzero().flatten(), (edges < 0).nonzero().flatten(), strict=True):
        start_s, end_s = int(start) * hop_s, min(int(end) * hop_s, len(power) / sample_rate_hz)
        if found and start_s - found[-1][1] < GAP_S + hop_s / 2:
            found[-1] = (found[-1][0], end_s)
        else:
            found.append((start_s, end_s))
    return found
