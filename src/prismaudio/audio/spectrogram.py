"""Plots of audio with matplotlib: mel spectrograms of the channels below the planned events."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from prismaudio.audio.spectral import SILENCE_DB, decibels, hz_to_mel, mel_filterbank
from prismaudio.plan.story import Source, Story

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from torch import Tensor

WIDTH_IN, PANEL_IN, ROW_IN, MARGINS_IN, DPI = 8.0, 1.6, 0.38, 1.0, 125
N_BANDS, N_COLUMNS, WINDOW_S = 128, 1000, 0.032
MAX_DB, MIN_DB = 0.0, -90.0
TICKS_KHZ = (0.2, 0.5, 1, 2, 4, 8, 16)
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#0072B2")
"""Colours of the sources, distinguishable with colour blindness (Okabe and Ito); they repeat after six sources."""
MAX_LINES = 60
"""Maximum number of onsets that are drawn as lines through the spectrograms, which more lines would hide."""
MAX_NAME_LENGTH = 20


def spectrogram_levels(audio: Tensor, sample_rate_hz: int) -> Tensor:
    """Compute mel band levels in at most ``N_COLUMNS`` columns, each the maximum over its frames.

    Args:
        audio: Audio ``(channels, samples)`` in -1 .. 1.
        sample_rate_hz: Its sample rate.

    Returns:
        Levels in dB ``(channels, N_BANDS, columns)``, at least ``SILENCE_DB``; 0 is the power of a full-scale sine,
        averaged over the band.

    Example:
        >>> spectrogram_levels(torch.zeros(2, 16_000), 16_000).shape
        torch.Size([2, 128, 1000])
    """
    window = 2 * round(WINDOW_S * sample_rate_hz / 2)
    hop = max(1, min(window // 4, audio.shape[-1] // N_COLUMNS))
    taper = torch.hann_window(window)
    bands = mel_filterbank(N_BANDS, window, sample_rate_hz).T
    padded = torch.nn.functional.pad(audio.detach().float().cpu(), (window // 2, window // 2))
    spectra = (torch.fft.rfft(frames * taper) for frames in padded.unfold(-1, window, hop).split(1000, 1))
    power = torch.cat([(2 * each.abs() / taper.sum()).square() @ bands for each in spectra], 1).mT
    return decibels(torch.nn.functional.adaptive_max_pool1d(power, min(N_COLUMNS, power.shape[-1])), SILENCE_DB)


def spectrogram_figure(audio: Tensor, sample_rate_hz: int, story: Story | None = None) -> Figure:
    """Plot the spectrograms: time in s, frequency in kHz on a mel scale, one panel per channel, one row per source.

    The figure is not registered with pyplot and no global setting is changed, so the function is thread-safe.

    Args:
        audio: Audio ``(2, samples)``, or ``(1, samples)``.
        sample_rate_hz: Its sample rate.
        story: The planned events: a mark per onset, a bar for a sustained sound, the direction below the name.
    """
    from matplotlib.figure import Figure

    sources = () if story is None else story.sources
    names = ("left", "right") if len(audio) == 2 else ("mono",)
    heights = [0.1 + ROW_IN * len(sources)] * bool(sources) + [PANEL_IN] * len(names)
    figure = Figure((WIDTH_IN, sum(heights) + MARGINS_IN), dpi=DPI, layout="constrained")
    all_axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    panels = all_axes[-len(names) :]
    top_mel = float(hz_to_mel(torch.tensor(sample_rate_hz / 2)))
    duration_s = max(audio.shape[-1] / sample_rate_hz, 1e-3)
    for axes, name, levels in zip(panels, names, spectrogram_levels(audio, sample_rate_hz).numpy(), strict=True):
        image = axes.imshow(
            levels, "inferno", origin="lower", aspect="auto", vmin=MIN_DB, vmax=MAX_DB,
            extent=(0, duration_s, float(hz_to_mel(torch.tensor(40.0))), top_mel),
        )  # fmt: skip
        ticks = [khz for khz in TICKS_KHZ if khz < 0.48e-3 * sample_rate_hz]
        axes.set_yticks(hz_to_mel(1000 * torch.tensor(ticks)).tolist(), [f"{khz:g}" for khz in ticks])
        axes.set_ylabel(f"{name}\nfrequency (kHz)")
    panels[-1].set_xlabel("time (s)")
    figure.colorbar(image, ax=panels, label="level (dB, 0 is full scale)", pad=0.01)
    if sources:
        _draw_events(all_axes[0], panels, sources)
    return figure


def spectrogram_png(audio: Tensor, sample_rate_hz: int, story: Story | None = None) -> bytes:
    """Render :func:`spectrogram_figure` as a PNG, 1000 pixels wide; equal audio gives equal bytes."""
    file = io.BytesIO()
    spectrogram_figure(audio, sample_rate_hz, story).savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def spectrogram_pixels(audio: Tensor, sample_rate_hz: int, story: Story | None = None) -> NDArray[np.uint8]:
    """Render :func:`spectrogram_figure` as RGB pixels ``(height, 1000, 3)``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(spectrogram_figure(audio, sample_rate_hz, story))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _draw_events(axes: Axes, panels: NDArray[Any], sources: tuple[Source, ...]) -> None:
    """Draw a row of marks per source, from the top, and all onsets as dotted lines through the panels."""
    lines = sum(len(source.onsets_s) for source in sources) <= MAX_LINES
    for row, source in enumerate(sources):
        colour = COLOURS[row % len(COLOURS)]
        if source.onsets_s and source.end_s is not None:
            axes.plot((source.onsets_s[-1], source.end_s), (row, row), color=colour, lw=4, solid_capstyle="butt")
        axes.plot(source.onsets_s, [row] * len(source.onsets_s), "|", color=colour, ms=13, mew=3)
        for panel in panels if lines else ():
            for time_s in source.onsets_s:
                panel.axvline(time_s, color="white", lw=0.9, ls=":")
    axes.set(ylim=(len(sources) - 0.4, -0.6), facecolor="0.95")
    axes.set_yticks(range(len(sources)), [_label(source) for source in sources], fontsize=9, parse_math=False)
    axes.tick_params(left=False, bottom=False)
    axes.set_title("planned events", loc="left", fontsize=10)
    axes.plot([], [], "|", color="0.3", ms=11, mew=3, label="onset")
    axes.plot([], [], color="0.3", lw=4, label="sound that lasts")
    if lines:
        axes.plot([], [], color="0.3", lw=0.9, ls=":", label="onset, in the spectrograms")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False, fontsize=9, borderpad=0)


def _label(source: Source) -> str:
    r"""Return the name of a source and, on a second line, its direction.

    Example:
        >>> _label(Source("car", (1.0,), 2.0, (-40.0, 10.0)))
        'car\n40° left → 10° right'
    """
    name = source.what if len(source.what) <= MAX_NAME_LENGTH else f"{source.what[: MAX_NAME_LENGTH - 1]}…"
    if source.azimuth_deg is None:
        return name
    angles = [round(angle) for angle in source.azimuth_deg]
    words = [f"{abs(angle)}° {'left' if angle < 0 else 'right'}" if angle else "ahead" for angle in angles]
    return f"{name}\n{' → '.join(dict.fromkeys(words))}"
