"""Metrics of features or logits that a network computed of many sounds: their states are sums, so processes add up.

Source:
    av-benchmark (commit 050a5cdb), whose numbers they give.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

SPLITS, SEED = 10, 2020


class FeatureMetric(Metric, ABC):
    """Compares what a network says of generated sounds with what it says of others, row by row or as a whole."""

    full_state_update = False

    def update(self, generated: Tensor, reference: Tensor) -> None:
        """Take features or logits ``(rows, width)`` of generated sounds, and those to compare them with."""
        self.add(generated, reference)

    @abstractmethod
    def add(self, generated: Tensor, reference: Tensor) -> None:
        """What ``update`` does."""


class FrechetDistance(FeatureMetric):
    """Fréchet distance of the features of generated sounds from those of true ones.

    With fewer than two rows on a side it is NaN. Rows fewer than the width are no obstacle.

    Args:
        width: Width of the features.

    Example:
        >>> metric = FrechetDistance(2)
        >>> true = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> metric.update(true + 3, true)
        >>> round(metric.compute().item(), 6)
        18.0
    """

    higher_is_better = False
    counts: Tensor
    sums: Tensor
    products: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        for name, shape in {"counts": (2,), "sums": (2, width), "products": (2, width, width)}.items():
            self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def add(self, generated: Tensor, reference: Tensor) -> None:
        """Add the moments of both."""
        both = [rows.detach().to(self.sums) for rows in (generated, reference)]
        self.counts = self.counts + self.counts.new_tensor([len(rows) for rows in both])
        self.sums = self.sums + torch.stack([rows.sum(0) for rows in both])
        self.products = self.products + torch.stack([rows.T @ rows for rows in both])

    def compute(self) -> Tensor:
        """The distance, 0 or more."""
        n = self.counts[:, None]
        if bool((n < 2).any()):
            return self.counts.new_tensor(math.nan)
        means = self.sums / n
        spreads = (self.products - n[..., None] * means[:, :, None] * means[:, None]) / (n[..., None] - 1)
        values, vectors = torch.linalg.eigh(spreads)
        roots = vectors * values.clamp(min=0).sqrt()[:, None]
        common = torch.linalg.svdvals(roots[0].T @ roots[1]).sum()  # trace of the root of the product of both
        traces = spreads.diagonal(dim1=1, dim2=2).sum()
        return ((means[0] - means[1]).square().sum() + traces - 2 * common).clamp(min=0)


class MeanOfRows(FeatureMetric):
    """Mean over rows of what is measured of each."""

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "count"):
            self.add_state(name, torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    @abstractmethod
    def measure(self, generated: Tensor, reference: Tensor) -> Tensor:
        """Value ``(rows,)`` of rows ``(rows, width)``."""

    def add(self, generated: Tensor, reference: Tensor) -> None:
        """Add the values of all rows."""
        self.total = self.total + self.measure(generated.detach(), reference.detach()).double().sum().to(self.total)
        self.count = self.count + len(generated)

    def compute(self) -> Tensor:
        """The mean."""
        return self.total / self.count


class KlDivergence(MeanOfRows):
    """Mean divergence of the classes heard in generated sounds from those of the true ones, KL(true || generated).

    Args:
        activation: ``"softmax"`` for classes of which there is one, ``"sigmoid"`` for any number of them.

    Example:
        >>> metric = KlDivergence()
        >>> metric.update(torch.tensor([[0.0, 0.0]]), torch.tensor([[100.0, 0.0]]))
        >>> round(metric.compute().item(), 4)
        0.6931
    """

    higher_is_better = False

    def __init__(self, activation: Literal["softmax", "sigmoid"] = "softmax") -> None:
        super().__init__()
        self.activation = activation

    def measure(self, generated: Tensor, reference: Tensor) -> Tensor:
        """Divergence ``(rows,)`` of logits ``(rows, classes)``."""
        both = generated.double(), reference.double()
        if self.activation == "softmax":
            log_generated, log_reference = (logits.log_softmax(-1) for logits in both)
        else:
            log_generated, log_reference = (torch.nn.functional.logsigmoid(logits) for logits in both)
        return (log_reference.exp() * (log_reference - log_generated)).sum(-1)


class MeanCosine(MeanOfRows):
    """Mean cosine of rows: the IB score of embeddings of frames and sound, the CLAP score of text and sound.

    Example:
        >>> metric = MeanCosine()
        >>> metric.update(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 0.0], [1.0, 0.0]]))
        >>> metric.compute().item()
        0.5
    """

    higher_is_better = True

    def measure(self, generated: Tensor, reference: Tensor) -> Tensor:
        """Cosine ``(rows,)``."""
        return torch.cosine_similarity(generated.double(), reference.double(), dim=-1)


class InceptionScore(FeatureMetric):
    """How sure a network is of the class of each sound, and how much the classes differ: mean and deviation.

    The rows are put into a random order, always the same one, and cut into parts; the score is that of a part. So it
    depends a little on the order of the rows, and on how many processes had them.

    Args:
        splits: Number of parts; as many as there are rows if these are fewer.

    Example:
        >>> metric = InceptionScore(splits=1)
        >>> metric.update(100 * torch.eye(4))
        >>> metric.compute()
        tensor([4., 0.], dtype=torch.float64)
    """

    higher_is_better = True
    logits: list[Tensor]

    def __init__(self, splits: int = SPLITS) -> None:
        super().__init__()
        self.splits = splits
        self.add_state("logits", [], dist_reduce_fx="cat")

    def update(self, generated: Tensor, reference: Tensor | None = None) -> None:
        """Take logits ``(rows, classes)`` of generated sounds; others are not looked at."""
        self.add(generated, reference)

    def add(self, generated: Tensor, reference: Tensor | None = None) -> None:
        """Keep the logits."""
        self.logits.append(generated.detach().double())

    def compute(self) -> Tensor:
        """Mean and deviation over the parts ``(2,)``."""
        if not len(self.logits):
            return torch.full((2,), math.nan, dtype=torch.float64)
        logits = dim_zero_cat(self.logits)
        n, splits = len(logits), min(self.splits, len(logits))
        log_p = logits[torch.as_tensor(shuffled(n))].log_softmax(-1)
        parts = [log_p[n * i // splits : n * (i + 1) // splits] for i in range(splits)]
        scores = torch.stack([_sureness(part).exp() for part in parts])
        return torch.stack([scores.mean(), scores.std(correction=0)])


def shuffled(n: int) -> np.ndarray:
    """The order ``(n,)`` in which the published score takes its rows."""
    return np.random.RandomState(SEED).permutation(n)  # the published numbers stand on this generator


def _sureness(log_p: Tensor) -> Tensor:
    """Mean divergence of rows of log-probabilities from their mean."""
    mean = torch.logsumexp(log_p, 0) - math.log(len(log_p))
    return (log_p.exp() * (log_p - mean)).sum(-1).mean()
