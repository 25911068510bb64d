"""Estimate the direction of a source from the probabilities of the columns of each frame."""

from __future__ import annotations

import torch
from torch import Tensor

STEP_DEG = 2.0
MIN_PROBABILITY = 1e-3
"""Lower bound of the probability of a column, for robustness to single frames that are confident and wrong."""
MIN_MOVE_DEG = 6.0
"""Sources that move less than this from their first to their last sound are static."""
MOVE_EVIDENCE = 1.0
"""Minimum gain in log likelihood of a moving over a static source."""


def resolve_overlaps(probability: Tensor) -> Tensor:
    """Column probabilities ``(frames, sources, columns)``, reweighted so that two sources do not share a place.

    Each column is weighted by the square of the source's share of the total probability there, over the whole clip.
    An object that resembles two classes is thus assigned to the source without a better place.

    Example:
        >>> coin, glass = torch.tensor([0.4, 0.0, 0.6]), torch.tensor([0.0, 0.1, 0.9])
        >>> resolve_overlaps(torch.stack([coin, glass])[None])[0].argmax(-1).tolist()
        [0, 2]
    """
    claimed = probability.mean(0)
    share = claimed / claimed.sum(0).clamp_min(1e-9)
    kept = probability * share.square()
    return kept / kept.sum(-1, keepdim=True).clamp_min(1e-9)


def straight_track(probability: Tensor, across_deg: Tensor, first: int, last: int) -> tuple[float, float]:
    """Directions in degrees at the first and the last active frame, by maximum likelihood of a linear path.

    A static source is estimated from all frames, a moving one from its active frames.

    Args:
        probability: Probability of each column ``(frames, columns)``; rows sum to 1.
        across_deg: Direction of each column ``(columns,)``, evenly spaced.
        first: Index of the first active frame.
        last: Index of the last active frame.

    Example:
        >>> across_deg = torch.linspace(-55, 55, 12)
        >>> columns = torch.softmax(-(across_deg - torch.linspace(-40, 20, 16)[:, None]).abs() / 2, -1)
        >>> [round(direction, -1) for direction in straight_track(columns, across_deg, 0, 15)]
        [-40.0, 20.0]
        >>> straight_track(columns[:1].expand(16, -1), across_deg, 0, 15)[0].__round__()
        -40
    """
    limit_deg = STEP_DEG * int(1.1 * float(across_deg[-1]) / STEP_DEG)
    places_deg = torch.arange(-limit_deg, limit_deg + STEP_DEG, STEP_DEG)
    log_likelihood = _log_likelihood(probability, across_deg, places_deg)
    still = int(log_likelihood.sum(0).argmax())
    active = log_likelihood[first : last + 1]
    n_frames, n_places = active.shape
    when = torch.linspace(0, 1, n_frames)
    begin, end = torch.arange(n_places)[:, None, None], torch.arange(n_places)[:, None]
    path = (begin + (end - begin) * when).round().long()  # (start, stop, frame)
    score = active[torch.arange(n_frames), path].sum(-1)
    start, stop = divmod(int(score.argmax()), n_places)
    moves = float(score[start, stop] - score.diagonal().max()) > MOVE_EVIDENCE
    if moves and abs(start - stop) * STEP_DEG >= MIN_MOVE_DEG:
        shift_deg = _shift(probability[first : last + 1], across_deg, places_deg[path[start, stop]])
        return float(places_deg[start]) + shift_deg, float(places_deg[stop]) + shift_deg
    direction_deg = float(places_deg[still]) + _shift(
        probability, across_deg, places_deg[still].expand(len(probability))
    )
    return direction_deg, direction_deg


def _log_likelihood(probability: Tensor, across_deg: Tensor, places_deg: Tensor) -> Tensor:
    """Log probabilities ``(frames, places)``, interpolated between the columns."""
    column = ((places_deg - across_deg[0]) / (across_deg[1] - across_deg[0])).clamp(0, len(across_deg) - 1.001)
    left, share = column.long(), column.frac()
    return (probability[:, left] * (1 - share) + probability[:, left + 1] * share + MIN_PROBABILITY).log()


def _shift(probability: Tensor, across_deg: Tensor, path_deg: Tensor) -> float:
    """Mean offset from a path, in degrees, of the probability within 1.5 columns of it."""
    offset_deg = across_deg - path_deg[:, None]
    near = probability * (offset_deg.abs() <= 1.5 * (across_deg[1] - across_deg[0]))
    return float((near * offset_deg).sum() / near.sum().clamp_min(1e-6))
