"""Metrics on features or logits of a network; their states are sums, so processes can be merged.

Source:
    av-benchmark (commit 050a5cdb), whose values they reproduce.
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
    """Compares features or logits of generated audio with those of reference audio, row by row or as distributions."""

    full_state_update = False

    def update(self, generated: Tensor, reference: Tensor) -> None:
        """Add features or logits ``(rows, dim)`` of generated audio and of the reference."""
        self.add(generated, reference)

    @abstractmethod
    def add(self, generated: Tensor, reference: Tensor) -> None:
        """Add rows to the states; called by ``update``."""


class FrechetDistance(FeatureMetric):
    """Fréchet distance between the features of generated audio and of reference audio.

    It is NaN with fewer than two rows on either side; there may be fewer rows than ``dim``.

    Args:
        dim: Dimension of the features.

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

    def __init__(self, dim: int) -> None:
        super().__init__()
        for name, shape in {"counts": (2,), "sums": (2, dim), "products": (2, dim, dim)}.items():
            self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def add(self, generated: Tensor, reference: Tensor) -> None:
        """Add the sums and outer products of both sides."""
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
        covariances = (self.products - n[..., None] * means[:, :, None] * means[:, None]) / (n[..., None] - 1)
        values, vectors = torch.linalg.eigh(covariances)
        roots = vectors * values.clamp(min=0).sqrt()[:, None]
        common = torch.linalg.svdvals(roots[0].T @ roots[1]).sum()  # trace of the square root of their product
        traces = covariances.diagonal(dim1=1, dim2=2).sum()
        return ((means[0] - means[1]).square().sum() + traces - 2 * common).clamp(min=0)


class MeanOfRows(FeatureMetric):
    """Mean over rows of a value per row."""

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "count"):
            self.add_state(name, torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    @abstractmethod
    def measure(self, generated: Tensor, reference: Tensor) -> Tensor:
        """Value ``(rows,)`` of rows ``(rows, dim)``."""

    def add(self, generated: Tensor, reference: Tensor) -> None:
        """Add the values of all rows."""
        self.total = self.total + self.measure(generated.detach(), reference.detach()).double().sum().to(self.total)
        self.count = self.count + len(generated)

    def compute(self) -> Tensor:
        """The mean."""
        return self.total / self.count


class KlDivergence(MeanOfRows):
    """Mean divergence between the classes of reference and generated audio, KL(reference || generated).

    Args:
        activation: ``"softmax"`` for mutually exclusive classes, ``"sigmoid"`` for multi-label classes.

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
        """KL divergence ``(rows,)`` of logits ``(rows, classes)``."""
        both = generated.double(), reference.double()
        if self.activation == "softmax":
            log_generated, log_reference = (logits.log_softmax(-1) for logits in both)
        else:
            log_generated, log_reference = (torch.nn.functional.logsigmoid(logits) for logits in both)
        return (log_reference.exp() * (log_reference - log_generated)).sum(-1)


class MeanCosine(MeanOfRows):
    """Mean cosine similarity of rows: the IB score (frames and audio) or the CLAP score (text and audio).

    Example:
        >>> metric = MeanCosine()
        >>> metric.update(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 0.0], [1.0, 0.0]]))
        >>> metric.compute().item()
        0.5
    """

    higher_is_better = True

    def measure(self, generated: Tensor, reference: Tensor) -> Tensor:
        """Cosine similarity ``(rows,)``."""
        return torch.cosine_similarity(generated.double(), reference.double(), dim=-1)


class InceptionScore(FeatureMetric):
    """Inception score of class logits: mean and standard deviation over splits.

    The rows are shuffled with a fixed seed and split; the score is computed per split. It therefore depends slightly
    on the order of the rows and on the number of processes.

    Args:
        splits: Number of splits; at most the number of rows.

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
        """Add logits ``(rows, classes)`` of generated audio; the reference is ignored."""
        self.add(generated, reference)

    def add(self, generated: Tensor, reference: Tensor | None = None) -> None:
        """Store the logits."""
        self.logits.append(generated.detach().double())

    def compute(self) -> Tensor:
        """Mean and standard deviation over the splits ``(2,)``."""
        if not len(self.logits):
            return torch.full((2,), math.nan, dtype=torch.float64)
        logits = dim_zero_cat(self.logits)
        n, splits = len(logits), min(self.splits, len(logits))
        log_p = logits[torch.as_tensor(shuffled(n))].log_softmax(-1)
        parts = [log_p[n * i // splits : n * (i + 1) // splits] for i in range(splits)]
        scores = torch.stack([_mutual_information(part).exp() for part in parts])
        return torch.stack([scores.mean(), scores.std(correction=0)])


def shuffled(n: int) -> np.ndarray:
    """The fixed permutation ``(n,)`` of rows used by the published score."""
    return np.random.RandomState(SEED).permutation(n)  # the generator of the published values


def _mutual_information(log_p: Tensor) -> Tensor:
    """Mean KL divergence of rows of log-probabilities from their mean."""
    mean = torch.logsumexp(log_p, 0) - math.log(len(log_p))
    return (log_p.exp() * (log_p - mean)).sum(-1).mean()
