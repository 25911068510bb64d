"""By how much a sound is late as a whole: what it is may then be judged where it is heard."""

from __future__ import annotations

import torch
from torch import Tensor

from prismaudio.audio.onsets import min_strength, onset_peaks

MAX_S, STEP_S = 0.4, 0.02
TOLERANCE_S = 0.03
COST_PER_S = 0.5
"""Share of the expected onsets that a lag must find more than none, for each second of it."""


def expected_onsets(times_s: Tensor | None = None) -> dict[str, Tensor]:
    """What a cache holds for :func:`lags_s`; without times there is no lag."""
    times_s = torch.zeros(0) if times_s is None else times_s
    return {"onsets_s": times_s, "counts": torch.ones_like(times_s)}


def lags_s(audio: Tensor, sample_rate_hz: int, expected_s: Tensor, weights: Tensor) -> Tensor:
    """By how much sounds are later than expected, in seconds ``(batch,)``, within plus or minus 0.4.

    That this costs nothing when things are judged that have nothing to do with time is the point: lateness is a
    matter of the temporal reward alone.

    Args:
        audio: Audio ``(batch, 2, samples)``.
        sample_rate_hz: Their sample rate.
        expected_s: When things should begin ``(batch, n)``.
        weights: How much each of them counts, 0 for those that a row does not have.

    Example:
        >>> clicks = torch.zeros(1, 2, 16_000)
        >>> clicks[..., 4_000] = clicks[..., 12_000] = 0.5
        >>> lags_s(clicks, 16_000, torch.tensor([[0.15, 0.65]]), torch.ones(1, 2))
        tensor([0.1000])
    """
    n_steps = round(MAX_S / STEP_S)
    lags = torch.arange(-n_steps, n_steps + 1, device=audio.device) * STEP_S
    if not expected_s.shape[1]:
        return torch.zeros(len(audio), device=audio.device)
    heard_s, strength = onset_peaks(audio, sample_rate_hz)
    clear = (strength / min_strength(strength)).pow(4)
    clear = clear / (1 + clear)
    apart = (expected_s[:, None, :, None] + lags[:, None, None] - heard_s[:, None, None]) / TOLERANCE_S
    found = (torch.exp(-apart.square() / 2) * clear[:, None, None]).amax(3) * weights[:, None]
    share = found.sum(2) / weights.sum(1, keepdim=True).clamp(min=1e-6)
    return lags[(share - COST_PER_S * lags.abs()).argmax(1)]
