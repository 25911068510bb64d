"""Converts logits of 21 offsets to seconds."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Offset = Literal["soft", "argmax"]


def grid_s(device: torch.device | str = "cpu") -> Tensor:
    """The offsets in seconds ``(21,)``, from audio late by 2 s to audio early by 2 s.

    Example:
        >>> grid_s()[[0, 10, 15, 20]].tolist()
        [-2.0, 0.0, 1.0, 2.0]
    """
    return (torch.arange(21, device=device) - 10) / 5


def distance_s(logits: Tensor, offset: Offset) -> Tensor:
    """Absolute offset between audio and frames in seconds ``(...)``, from logits ``(..., 21)``.

    Args:
        logits: Logits of the offsets.
        offset: ``"argmax"`` for the most likely offset, ``"soft"`` for the expectation of the absolute offset.

    Example:
        >>> distance_s(torch.eye(21)[[10, 12]] * 100, "soft").round(decimals=3).tolist()
        [0.0, 0.4000000059604645]
    """
    distances = grid_s(logits.device).abs()
    if offset == "argmax":
        return distances[logits.argmax(-1)]
    return logits.float().softmax(-1) @ distances
