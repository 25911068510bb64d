"""From scores of 21 offsets to one number of seconds."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Offset = Literal["soft", "argmax"]


def grid_s(device: torch.device | str = "cpu") -> Tensor:
    """The offsets in seconds ``(21,)``, from sound late by 2 s to sound early by 2 s.

    Example:
        >>> grid_s()[[0, 10, 15, 20]].tolist()
        [-2.0, 0.0, 1.0, 2.0]
    """
    return (torch.arange(21, device=device) - 10) / 5


def apart_s(logits: Tensor, offset: Offset) -> Tensor:
    """By how many seconds sound and frames are apart ``(...)``, from logits ``(..., 21)``.

    Args:
        logits: Scores of the offsets.
        offset: ``"argmax"`` for the distance of the likeliest offset, ``"soft"`` for the mean over all.

    Example:
        >>> apart_s(torch.eye(21)[[10, 12]] * 100, "soft").round(decimals=3).tolist()
        [0.0, 0.4000000059604645]
    """
    distances = grid_s(logits.device).abs()
    if offset == "argmax":
        return distances[logits.argmax(-1)]
    return logits.float().softmax(-1) @ distances
