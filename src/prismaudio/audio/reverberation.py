"""How much sound is left when the direct sound has gone."""

from __future__ import annotations

from torch import Tensor

from prismaudio.audio.spectral import decibels

DIRECT_S = 0.05
LATE_S = (0.2, 0.35)
"""The late part begins where most struck sounds have died away, and ends before the next one as a rule."""


def late_energy_db(audio: Tensor, sample_rate_hz: int, onset_s: float, floor_db: float = -60.0) -> float | None:
    """Level of the late sound relative to the direct sound of an event.

    Args:
        audio: Sound ``(2, samples)``.
        sample_rate_hz: Its sample rate.
        onset_s: When the event begins; the direct part is looked for up to 50 ms around it.
        floor_db: What is lower counts as this.

    Returns:
        Mean power 200 .. 350 ms after the onset relative to the loudest 10 ms around it, in dB; None when the sound
        ends before that or the event is silent.

    Example:
        >>> import torch
        >>> t = torch.arange(16000) / 16000
        >>> decay = torch.randn(2, 16000, generator=torch.Generator().manual_seed(0)) * 10 ** (-t)  # 20 dB a second
        >>> abs(late_energy_db(decay, 16000, 0.0) + 5.5) < 1.5
        True
    """
    first, last = (round((onset_s + offset) * sample_rate_hz) for offset in LATE_S)
    if last > audio.shape[-1]:
        return None
    length = max(1, round(0.01 * sample_rate_hz))
    start = max(0, round((onset_s - DIRECT_S) * sample_rate_hz))
    near = audio[..., start : round((onset_s + DIRECT_S) * sample_rate_hz)].square().mean(0)
    n_blocks = near.shape[-1] // length
    if n_blocks == 0:
        return None
    direct = near[: n_blocks * length].reshape(n_blocks, length).mean(1).amax()
    if float(direct) < 1e-8:
        return None
    late = audio[..., first:last].square().mean()
    return float(decibels(late / direct, floor_db))
