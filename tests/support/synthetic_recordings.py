"""Synthetic recordings, written as files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soundfile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

RATE_HZ = 22_050


def bursts(times_s: Sequence[float], seconds: float, hertz: float = 900.0) -> NDArray[np.float64]:
    """Decaying tones that begin at the times, over a quiet hiss."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    audio = 1e-4 * np.random.default_rng(0).standard_normal(len(time_s))
    for begin_s in times_s:
        since = np.clip(time_s - begin_s, 0, None)
        audio += 0.5 * (time_s >= begin_s) * np.exp(-30 * since) * np.sin(2 * np.pi * hertz * since)
    return audio


def hum(seconds: float, hertz: float = 110.0) -> NDArray[np.float64]:
    """A sustained tone with noise."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return 0.3 * np.sin(2 * np.pi * hertz * time_s) + 0.03 * np.random.default_rng(1).standard_normal(len(time_s))


def write(file: Path, audio: NDArray[np.float64], rate_hz: int = RATE_HZ) -> Path:
    """Write audio ``(samples,)`` or ``(samples, channels)``."""
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, audio, rate_hz)
    return file


def write_table(folder: Path) -> Path:
    """Recordings of bells (ten sources, of 300 Hz to train on and 3 kHz held out) and engines, with their table."""
    rows = ["file,class,source,fold,author,licence"]
    for number in range(4):
        held_out = number == 3
        write(folder / f"bell{number}.wav", bursts([0.2, 0.9], 1.6, 3000 if held_out else 300))
        rows.append(f"bell{number}.wav,bell,bell {number},{5 if held_out else 1},Ann,CC0")
    for fold in (1, 5):
        write(folder / f"engine{fold}.wav", hum(1.5, 110 * fold))
        rows.append(f"engine{fold}.wav,engine,engine {fold},{fold},Bob,CC BY 3.0")
    table = folder / "recordings.csv"
    table.write_text("\n".join(rows) + "\n")
    return table
