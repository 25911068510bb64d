"""Integrated loudness of many sounds at once."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

SHELF = (1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)
HIGH_PASS = (1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)
"""The two filters of K-weighting: coefficients above and below the line, at 48 kHz."""
SILENCE_LUFS = -70.0
BLOCK_S, OVERLAP = 0.4, 4
RING_S = 0.1
"""How long the filters ring."""


def loudness_lufs(audio: Tensor, sample_rate_hz: int) -> Tensor:
    """Gated loudness in LUFS ``(batch,)``, -70 for silence.

    Args:
        audio: Audio ``(batch, channels, samples)``; all channels count alike, as left and right do.
        sample_rate_hz: Their sample rate; the filters have the response that they have at 48 kHz.

    Source:
        ITU-R BS.1770-4, annex 1.

    Example:
        >>> sine = torch.sin(2 * torch.pi * 997 * torch.arange(32_000) / 16_000)
        >>> round(loudness_lufs(sine.repeat(1, 2, 1), 16_000).item(), 1)
        0.0
    """
    n = audio.shape[-1]
    size = -(-(n + round(RING_S * sample_rate_hz)) // 1000) * 1000
    weighted = torch.fft.irfft(torch.fft.rfft(audio.float(), size) * k_weighting(size, sample_rate_hz).to(audio.device))
    length = max(1, min(round(BLOCK_S * sample_rate_hz), n))
    hop = max(1, length // OVERLAP)
    power = weighted[..., :n].square().sum(1)
    total = torch.nn.functional.pad(power.double().cumsum(1), (1, 0))
    blocks = (total[:, length::hop] - total[:, : n + 1 - length : hop]) / length
    heard = blocks > 10 ** ((SILENCE_LUFS + 0.691) / 10)
    heard &= blocks > 0.1 * _mean(blocks, heard)
    return (10 * _mean(blocks, heard)[:, 0].clamp(min=1e-9).log10() - 0.691).clamp(min=SILENCE_LUFS).float()


@lru_cache(maxsize=8)
def k_weighting(size: int, sample_rate_hz: int) -> Tensor:
    """The response of the K-weighting at the bins of a transform of ``size`` samples, complex ``(size // 2 + 1,)``."""
    turn = 2 * torch.pi * torch.fft.rfftfreq(size, 1 / sample_rate_hz).double() / 48_000
    response = torch.ones((), dtype=torch.complex128)
    for above, below in (SHELF, HIGH_PASS):
        up, down = (sum(c * torch.exp(-1j * n * turn) for n, c in enumerate(side)) for side in (above, below))
        response = response * up / down
    return response.to(torch.complex64)


def _mean(blocks: Tensor, heard: Tensor) -> Tensor:
    return (blocks * heard).sum(-1, keepdim=True) / heard.sum(-1, keepdim=True).clamp(min=1)
