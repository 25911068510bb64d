"""Retrieval of captions by embeddings of clips: what a video encoder says about what is heard."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from prismaudio.evaluation.comparison import MIN_CLIPS, Cell
from prismaudio.evaluation.grid import EMPTY, Grid
from prismaudio.evaluation.intervals import difference_interval, mean_interval
from prismaudio.evaluation.presentation import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AT = (1, 5, 10)
"""Numbers of captions that may be retrieved."""
MIN_SPREAD = 1e-6
"""Smallest standard deviation of a feature, relative to its size, that counts as variation."""
STRENGTHS = 10.0 ** torch.arange(-4, 4.5, 0.5, dtype=torch.float64)
"""Strengths of the regularisation that are tried, in units of the mean variance of the features."""
_WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """The words and numbers of a text, in lower case.

    Example:
        >>> words_of("A siren wails; it's 0.5 s.")
        ['a', 'siren', 'wails', 'it', 's', '0', '5', 's']
    """
    return _WORD.findall(text.casefold())


def distinct(captions: Sequence[str]) -> tuple[list[str], Tensor]:
    """Captions without repetitions, and the number ``(n,)`` of that of each clip.

    Captions that differ in case, spaces or punctuation are the same: to retrieve one is to retrieve the other.

    Example:
        >>> distinct(["A dog.", "A cat", "a dog"])
        (['A dog.', 'A cat'], tensor([0, 1, 0]))
    """
    numbers: dict[tuple[str, ...], int] = {}
    kept: list[str] = []
    for caption in captions:
        if numbers.setdefault(tuple(words_of(caption)), len(numbers)) == len(kept):
            kept.append(caption)
    return kept, torch.tensor([numbers[tuple(words_of(caption))] for caption in captions], dtype=torch.long)


def bag_of_words(texts: Sequence[str]) -> Tensor:
    """Embeddings ``(n, words)`` of texts without weights: counts of words, rare words weighted more, of length 1.

    Source:
        Weights log(1 + n / texts with the word), of "term frequency, inverse document frequency".
    """
    counted = [Counter(words_of(text)) for text in texts]
    number = {word: at for at, word in enumerate(dict.fromkeys(word for words in counted for word in words))}
    found = torch.zeros(len(texts), max(1, len(number)), dtype=torch.float64)
    for row, words in zip(found, counted, strict=True):
        for word, count in words.items():
            row[number[word]] = count
    return normalize(found * torch.log1p(len(texts) / (found > 0).sum(0).clamp_min(1)), dim=1)


def ranks(scores: Tensor, right: Tensor) -> Tensor:
    """The rank ``(n,)`` of the right caption of each clip, from 1.

    Ties are counted against it: an embedding that is the same for all clips finds nothing.

    Args:
        scores: Similarities ``(n, captions)``.
        right: Number of the right caption of each clip ``(n,)``.

    Example:
        >>> ranks(torch.tensor([[0.1, 0.9, 0.3], [0.5, 0.5, 0.5]]), torch.tensor([2, 0])).tolist()
        [2, 3]
    """
    own = scores.gather(1, right[:, None])
    return (~(scores < own)).sum(1)


def spread_of(features: Tensor) -> Tensor:
    """Standard deviation of each feature of ``(n, dim)`` to divide by; 1 for those that hardly vary.

    Example:
        >>> spread_of(torch.tensor([[0.0, 1.0], [2.0, 1.0 + 1e-7]], dtype=torch.float64))
        tensor([1., 1.], dtype=torch.float64)
    """
    spread = features.std(0, correction=0)
    return spread.where(spread > MIN_SPREAD * features.abs().amax(0).clamp(min=spread.max()), 1.0)


def ridge(features: Tensor, targets: Tensor, others: Tensor) -> Tensor:
    """Predictions ``(m, out)`` of a linear map that ridge regression fits in closed form.

    Features are standardised, and the strength of :data:`STRENGTHS` with the smallest generalised cross-validation
    error on the training data is used.

    Args:
        features: Training features ``(n, dim)``.
        targets: What they are mapped to ``(n, out)``.
        others: Features ``(m, dim)`` to predict for.

    Source:
        Golub, Heath and Wahba, "Generalized Cross-Validation as a Method for Choosing a Good Ridge Parameter", 1979.
    """
    features, targets, others = features.double(), targets.double(), others.double()
    mean, spread = features.mean(0), spread_of(features)
    level = targets.mean(0)
    u, s, v = torch.linalg.svd((features - mean) / spread, full_matrices=False)
    projected = u.T @ (targets - level)
    rest = (targets - level).square().sum() - projected.square().sum()
    energy = projected.square().sum(1)
    strengths = STRENGTHS * s.square().mean().clamp_min(1e-12)
    kept = s.square() / (s.square() + strengths[:, None])  # (strengths, rank)
    free = len(features) - 1 - kept.sum(1)  # degrees of freedom that are left
    errors = (rest.clamp_min(0) + ((1 - kept).square() * energy).sum(1)) / free.square()
    best = strengths[errors.where(free > 0.5, math.inf).argmin()]
    weights = (s / (s.square() + best))[:, None] * projected
    return (others - mean) / spread @ (v.T @ weights) + level


def retrieve_by_map(
    clips: Tensor, texts: Tensor, right: Tensor, folds: Tensor, *, shuffled: int | None = None
) -> Tensor:
    """Ranks ``(n,)`` of the captions of held-out clips, among the captions of their fold, by a linear map.

    For each fold a map from clips to the embeddings of their captions is fitted on the other folds; similarity is the
    cosine after the mean of the training captions is subtracted.

    Args:
        clips: Embeddings of clips ``(n, dim)``.
        texts: Embeddings of the distinct captions ``(captions, out)``.
        right: Number of the caption of each clip ``(n,)``.
        folds: Fold of each clip ``(n,)``; clips with the same caption are in the same fold.
        shuffled: Seed with which the captions of training clips are shuffled, for a control; None for true captions.
    """
    found = torch.zeros(len(clips), dtype=torch.long)
    generator = None if shuffled is None else torch.Generator().manual_seed(shuffled)
    for fold in folds.unique():
        train, test = (folds != fold).nonzero()[:, 0], (folds == fold).nonzero()[:, 0]
        given = right[train]
        if generator is not None:
            given = given[torch.randperm(len(given), generator=generator)]
        predicted = ridge(clips[train], texts[given], clips[test])
        gallery, own = right[test].unique(return_inverse=True)
        level = texts[given].double().mean(0)
        found[test] = ranks(_cosines(predicted - level, texts[gallery].double() - level), own)
    return found


def retrieve_directly(clips: Tensor, texts: Tensor, right: Tensor, folds: Tensor) -> Tensor:
    """Ranks ``(n,)`` of the captions of clips among those of their fold, by the cosine of embeddings of one space.

    Args:
        clips: Embeddings of clips ``(n, dim)``.
        texts: Embeddings of the distinct captions ``(captions, dim)``.
        right: Number of the caption of each clip ``(n,)``.
        folds: Fold of each clip ``(n,)``, so that as many captions compete as in :func:`retrieve_by_map`.
    """
    found = torch.zeros(len(clips), dtype=torch.long)
    for fold in folds.unique():
        test = (folds == fold).nonzero()[:, 0]
        gallery, own = right[test].unique(return_inverse=True)
        found[test] = ranks(_cosines(clips[test].double(), texts[gallery].double()), own)
    return found


def gallery_sizes(right: Tensor, folds: Tensor) -> Tensor:
    """Number ``(n,)`` of distinct captions that compete for each clip: those of its fold."""
    sizes = torch.zeros(len(right), dtype=torch.long)
    for fold in folds.unique():
        sizes[folds == fold] = len(right[folds == fold].unique())
    return sizes


def chance(sizes: Tensor, at: int) -> float:
    """Expected recall when captions are drawn at random.

    Example:
        >>> chance(torch.tensor([10, 20]), 5), chance(torch.tensor([4]), 5)
        (0.375, 1.0)
    """
    return math.fsum(min(1.0, at / size) for size in sizes.tolist()) / len(sizes)


def _cosines(first: Tensor, second: Tensor) -> Tensor:
    return normalize(first, dim=1) @ normalize(second, dim=1).T


# Comparison ----------------------------------------------------------------------------------------------------------
DIRECT, MAPPED = "zero-shot", "linear map"
"""How captions are retrieved."""


@dataclass
class RetrievalRow:
    """The recall of an encoder.

    Args:
        encoder: Its name.
        way: How captions are retrieved, :data:`DIRECT` or :data:`MAPPED`.
        cells: Group of clips → number of captions that may be retrieved → cell.
        reason: Why there are none.
    """

    encoder: str
    way: str
    cells: dict[str, dict[int, Cell]] = field(default_factory=dict)
    reason: str = ""

    @property
    def title(self) -> str:
        """Its name in the table."""
        return f"{self.encoder}, {self.way}" if self.way else self.encoder

    def as_dict(self) -> dict[str, Any]:
        """Its content as JSON."""
        cells = {
            group: {f"R@{at}": cell.as_dict() for at, cell in of_group.items()}
            for group, of_group in self.cells.items()
        }
        return {"encoder": self.encoder, "way": self.way, **({"groups": cells} if cells else {"reason": self.reason})}


def recall_row(
    encoder: str, way: str, found: Tensor, ids: Sequence[str], groups: Mapping[str, set[str]], first: Tensor | None
) -> RetrievalRow:
    """The recall of an encoder, with intervals.

    Args:
        encoder: Its name.
        way: How captions were retrieved.
        found: Ranks ``(n,)`` of the right captions.
        ids: Ids of the clips.
        groups: Ids of the clips of each group.
        first: Ranks of the encoder that it is compared with; None for none.
    """
    row = RetrievalRow(encoder, way)
    for group, members in groups.items():
        chosen = [at for at, name in enumerate(ids) if name in members]
        row.cells[group] = {}
        for at in AT:
            hits = {ids[i]: float(found[i] <= at) for i in chosen}
            whole = mean_interval(hits.values())
            cell = Cell(whole.mean, whole.clips)
            if whole.clips >= MIN_CLIPS:
                cell.low, cell.high = whole.low, whole.high
                if first is not None:
                    cell.difference = difference_interval(hits, {ids[i]: float(first[i] <= at) for i in chosen})
            row.cells[group][at] = cell
    return row


def chance_row(sizes: Tensor, ids: Sequence[str], groups: Mapping[str, set[str]]) -> RetrievalRow:
    """The expected recall of captions that are drawn at random."""
    cells = {}
    for group, members in groups.items():
        own = sizes[[at for at, name in enumerate(ids) if name in members]]
        cells[group] = {at: Cell(chance(own, at), len(own)) for at in AT}
    return RetrievalRow("chance", "", cells)


def retrieval_grid(rows: Sequence[RetrievalRow], groups: Sequence[str], title: str) -> Grid:
    """The table: a line for each encoder and way, recall in percent in each group; reasons of empty lines below."""
    grid = Grid(title, ("Encoder", *(f"{group} R@{at} ↑" for group in groups for at in AT)))
    for row in rows:
        cells = [row.cells.get(group, {}).get(at) for group in groups for at in AT]
        grid.rows[row.title] = [EMPTY if cell is None else _percent(cell) for cell in cells]
        if row.reason:
            grid.notes.append(f"{EMPTY} {row.title}: {row.reason}")
    return grid


def _percent(cell: Cell) -> str:
    """A recall in percent, with its interval.

    Example:
        >>> _percent(Cell(0.317, 60, 0.2, 0.433))
        '31.7 [20, 43]'
    """
    low, high = (None if bound is None else round(100 * bound) for bound in (cell.low, cell.high))
    value = None if cell.value is None else 100 * cell.value
    return text_of(replace(cell, value=value, low=low, high=high), 3)
