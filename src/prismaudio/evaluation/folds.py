"""Division of clips into folds for cross-validation: what belongs together is held out together."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence


def assign_folds(groups: Sequence[Hashable], n_folds: int, seed: int = 0) -> Tensor:
    """The fold ``(n,)`` of each item; items of a group are in the same fold.

    Groups are shuffled, and each goes to the fold with the fewest items, the largest groups first.

    Args:
        groups: The group of each item.
        n_folds: Number of folds.
        seed: Seed of the order of groups.

    Example:
        >>> assign_folds(["a", "b", "a", "c"], 2).tolist()
        [0, 1, 0, 1]
    """
    counts = Counter(groups)
    names = list(counts)
    random.Random(f"folds {seed}").shuffle(names)
    sizes, places = [0] * n_folds, {}
    for name in sorted(names, key=lambda name: -counts[name]):
        places[name] = min(range(n_folds), key=sizes.__getitem__)
        sizes[places[name]] += counts[name]
    return torch.tensor([places[group] for group in groups], dtype=torch.long)
