"""Time differences between two channels, computed from their embeddings.

The sign is that of :mod:`prismaudio.audio.interaural`, the opposite of the published one.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from prismaudio.audio.interaural import PUBLISHED_MAX_ITD_S
from prismaudio_stereocrw.network import RATE_HZ

TEMPERATURE = 0.05


def affinity(left: Tensor, right: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Similarity of the patches of two channels, as logits ``(batch, left, right)``.

    Args:
        left: Embeddings of the left channel ``(batch, patches, dim)``.
        right: Embeddings of the right channel, of the same shape.
        temperature: Divisor of the cosine similarities.
    """
    return F.normalize(left, dim=-1) @ F.normalize(right, dim=-1).transpose(-1, -2) / temperature


def reach(step: int, max_delay_s: float = PUBLISHED_MAX_ITD_S) -> int:
    """Maximum distance of a match in patches that are ``step`` samples apart."""
    return int(RATE_HZ * max_delay_s / step)


def _walk(logits: Tensor, step: int, max_delay_s: float) -> tuple[Tensor, Tensor]:
    """Probability that a row matches each column ``(batch, rows, columns)``, and the delay of each pair in s."""
    index = torch.arange(logits.shape[-1], device=logits.device)
    distance = index[:, None] - index
    near = distance.abs() <= reach(step, max_delay_s)
    return logits.masked_fill(~near, -1e20).softmax(-1), distance * (step / RATE_HZ)


def delays_s(
    logits: Tensor,
    step: int = 1,
    mode: Literal["soft_weight", "argmax"] = "soft_weight",
    *,
    bidirectional: bool = False,
    release: bool = False,
    max_delay_s: float = PUBLISHED_MAX_ITD_S,
) -> Tensor:
    """Time differences in s, one for each patch with a complete search range.

    Args:
        logits: :func:`affinity` of the left channel with the right one.
        step: Samples between patches.
        mode: ``"soft_weight"`` for the mean over the matches, ``"argmax"`` for the best match.
        bidirectional: Also match the right channel to the left one, and append the results.
        release: Keep the wrong sign that the published code gives to the appended results with ``argmax``.
        max_delay_s: Maximum delay of a match in s.

    Returns:
        ``(batch, patches - 2 * reach)``, twice as many if bidirectional; positive is right: the left channel is late.

    Example:
        >>> embedded = torch.randn(1, 130, 16)
        >>> delays_s(affinity(embedded[:, :-2], embedded[:, 2:]), mode="argmax").unique() * RATE_HZ
        tensor([2.])
    """
    edge = reach(step, max_delay_s)
    found = _all_delays(logits, step, mode, max_delay_s)[:, edge:-edge]
    if not bidirectional:
        return found
    back = _all_delays(logits.transpose(-1, -2), step, mode, max_delay_s)[:, edge:-edge]
    return torch.cat([found, back if release and mode == "argmax" else -back], dim=-1)


def _all_delays(logits: Tensor, step: int, mode: str, max_delay_s: float) -> Tensor:
    probability, delay = _walk(logits, step, max_delay_s)
    if mode == "soft_weight":
        return (probability * delay).sum(-1)
    return delay.expand_as(probability).gather(-1, probability.argmax(-1, keepdim=True))[..., 0]


def consistent(logits: Tensor, step: int = 1, max_delay_s: float = PUBLISHED_MAX_ITD_S) -> Tensor:
    """Whether matching a patch to the other channel and back returns to it, bool ``(batch, patches)``."""
    there, _ = _walk(logits, step, max_delay_s)
    back, _ = _walk(logits.transpose(-1, -2), step, max_delay_s)
    return (there @ back).argmax(-1) == torch.arange(logits.shape[-1], device=logits.device)


def consistent_delays_s(logits: Tensor, step: int = 1, max_delay_s: float = PUBLISHED_MAX_ITD_S) -> list[Tensor]:
    """Time differences in s of the patches that are :func:`consistent`, one tensor per row of the batch."""
    found = _all_delays(logits, step, "soft_weight", max_delay_s)
    return [row[kept] for row, kept in zip(found, consistent(logits, step, max_delay_s), strict=True)]
