"""Where a source is, from how likely each column of each frame is."""

from __future__ import annotations

import torch
from torch import Tensor

STEP_DEG = 2.0
MIN_CHANCE = 1e-3
"""Chance that a column has at least, so that one frame that is sure and wrong does not decide."""
MIN_MOVE_DEG = 6.0
"""What moves less from its first to its last sound is written down as standing still."""
MOVE_EVIDENCE = 1.0
"""By how much, in log likelihood, moving must explain the frames better than standing still."""


def apart(chance: Tensor) -> Tensor:
    """Chances of columns ``(frames, things, columns)`` when things do not take each other's place.

    A column counts for a thing by the square of its share of what all things claim there in the whole clip, so that
    what looks like two of them is left to the one that has no better place.

    Example:
        >>> coin, glass = torch.tensor([0.4, 0.0, 0.6]), torch.tensor([0.0, 0.1, 0.9])
        >>> apart(torch.stack([coin, glass])[None])[0].argmax(-1).tolist()
        [0, 2]
    """
    claimed = chance.mean(0)
    share = claimed / claimed.sum(0).clamp_min(1e-9)
    kept = chance * share.square()
    return kept / kept.sum(-1, keepdim=True).clamp_min(1e-9)


def straight_track(chance: Tensor, across_deg: Tensor, first: int, last: int) -> tuple[float, float]:
    """Directions in degrees at the first and the last sounding frame: the likeliest steady movement, or none.

    What stands still was there all the time, so that every frame has a say; what moves is looked at while it sounds.

    Args:
        chance: Chance of each column ``(frames, columns)``, rows of sum 1.
        across_deg: Direction of each column ``(columns,)``, evenly spaced.
        first: Number of the first frame while it sounds.
        last: Number of the last one.

    Example:
        >>> across_deg = torch.linspace(-55, 55, 12)
        >>> seen = torch.softmax(-(across_deg - torch.linspace(-40, 20, 16)[:, None]).abs() / 2, -1)
        >>> [round(direction, -1) for direction in straight_track(seen, across_deg, 0, 15)]
        [-40.0, 20.0]
        >>> straight_track(seen[:1].expand(16, -1), across_deg, 0, 15)[0].__round__()
        -40
    """
    limit_deg = STEP_DEG * int(1.1 * float(across_deg[-1]) / STEP_DEG)
    places_deg = torch.arange(-limit_deg, limit_deg + STEP_DEG, STEP_DEG)
    likely = _at(chance, across_deg, places_deg)
    still = int(likely.sum(0).argmax())
    sounding = likely[first : last + 1]
    n_frames, n_places = sounding.shape
    when = torch.linspace(0, 1, n_frames)
    begin, end = torch.arange(n_places)[:, None, None], torch.arange(n_places)[:, None]
    path = (begin + (end - begin) * when).round().long()  # (start, stop, frame)
    score = sounding[torch.arange(n_frames), path].sum(-1)
    start, stop = divmod(int(score.argmax()), n_places)
    clearly = float(score[start, stop] - score.diagonal().max()) > MOVE_EVIDENCE
    if clearly and abs(start - stop) * STEP_DEG >= MIN_MOVE_DEG:
        shift_deg = _shift(chance[first : last + 1], across_deg, places_deg[path[start, stop]])
        return float(places_deg[start]) + shift_deg, float(places_deg[stop]) + shift_deg
    direction_deg = float(places_deg[still]) + _shift(chance, across_deg, places_deg[still].expand(len(chance)))
    return direction_deg, direction_deg


def _at(chance: Tensor, across_deg: Tensor, places_deg: Tensor) -> Tensor:
    """Log chances ``(frames, places)`` between the columns."""
    column = ((places_deg - across_deg[0]) / (across_deg[1] - across_deg[0])).clamp(0, len(across_deg) - 1.001)
    left, share = column.long(), column.frac()
    return (chance[:, left] * (1 - share) + chance[:, left + 1] * share + MIN_CHANCE).log()


def _shift(chance: Tensor, across_deg: Tensor, path_deg: Tensor) -> float:
    """How far, on average, what is seen within one and a half columns of a path lies beside it."""
    beside_deg = across_deg - path_deg[:, None]
    near = chance * (beside_deg.abs() <= 1.5 * (across_deg[1] - across_deg[0]))
    return float((near * beside_deg).sum() / near.sum().clamp_min(1e-6))
