"""Metrics on features or logits of a network; their states are sums or rows, so processes can be merged.

Source:
    av-benchmark (commit 050a5cdb), whose values they reproduce; kadtk 1.1 for the kernel distance.
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
KAD_SCALE, KAD_EPSILON = 100.0, 1e-8
"""Factor of the kernel audio distance, and what is added to twice the squared bandwidth, as in kadtk."""
MAX_BANDWIDTH_ROWS = 8192
"""Reference rows whose pairs set the bandwidth of the kernel; of more rows, as many at equal distances."""
KERNEL_ROWS = 1024
"""Rows per block of the kernel matrix, which bounds the memory."""


class FeatureMetric(Metric, ABC):
    """Compares features or logits of generated audio with those of reference audio, row by row or as distributions."""

    full_state_update = False

    def update(self, generated: Tensor, reference: Tensor) -> None:
        """Add features or logits ``(rows, dim)`` of generated audio and of the reference."""
        self.add(generated, reference)

    @abstractmethod
    def add(self, generated: Tensor, reference: Tensor) -> None:
        """Add rows to the states; called by ``update``."""

    def caution(self) -> str:
        """What the reader of the current value must know, such as that there are too few rows; empty for nothing."""
        return ""


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

    def caution(self) -> str:
        """That covariances of few features make the distance larger."""
        n, dim = int(self.counts.min()), self.sums.shape[1]
        if n > dim:
            return ""
        return (
            f"{n} features of {dim} dimensions are too few for their covariance, which makes the distance larger; "
            "compare it with distances of as many clips only"
        )


class KernelDistance(FeatureMetric):
    """Kernel audio distance (KAD): squared maximum mean discrepancy between generated and reference features.

    The kernel is Gaussian, ``exp(-d² / (2 s² + 1e-8))`` of the distance ``d``; its bandwidth ``s`` is the median
    distance of all pairs of *reference* rows, the lower one of two. The estimate is unbiased, so that its expectation
    does not depend on the number of rows, and it can be negative; it is multiplied by 100. It is NaN with fewer than
    two rows on either side. Time grows with the square of the number of rows.

    Source:
        Chung et al., "KAD: No More FAD! An Effective and Efficient Evaluation Metric for Audio Generation",
        arXiv 2502.15602, with the bandwidth and the factor of kadtk 1.1. Computed in float64, not in float32; of more
        than 8,192 reference rows, as many at equal distances set the bandwidth.

    Example:
        >>> metric = KernelDistance()
        >>> metric.update(torch.tensor([[8.0], [9.0]]), torch.tensor([[0.0], [1.0]]))
        >>> round(metric.compute().item(), 6)
        121.306132
    """

    higher_is_better = False
    generated: list[Tensor]
    reference: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("generated", "reference"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def add(self, generated: Tensor, reference: Tensor) -> None:
        """Store the rows of both sides."""
        self.generated.append(generated.detach().double())
        self.reference.append(reference.detach().double())

    def compute(self) -> Tensor:
        """The distance; about 0, on either side of it, for equal distributions."""
        if not len(self.generated):
            return torch.tensor(math.nan, dtype=torch.float64)
        generated, reference = dim_zero_cat(self.generated), dim_zero_cat(self.reference)
        m, n = len(generated), len(reference)
        if min(m, n) < 2:
            return generated.new_tensor(math.nan)
        center = reference.mean(0)
        generated, reference = generated - center, reference - center
        gamma = 1 / (2 * _median_distance(reference).square() + KAD_EPSILON)
        within = [  # a row has no pair with itself
            (_kernel_sum(rows, rows, gamma) - len(rows)) / (len(rows) * (len(rows) - 1))
            for rows in (generated, reference)
        ]
        between = _kernel_sum(generated, reference, gamma) / (m * n)
        return KAD_SCALE * (within[0] + within[1] - 2 * between)


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

    def caution(self) -> str:
        """That splits of few rows make the score smaller."""
        n, classes = dim_zero_cat(self.logits).shape if len(self.logits) else (0, 0)
        if n >= classes * self.splits:
            return ""
        return (
            f"{n} rows make {self.splits} splits with fewer rows than the {classes} classes, which makes the score "
            "smaller; compare it with scores of as many clips only"
        )


def shuffled(n: int) -> np.ndarray:
    """The fixed permutation ``(n,)`` of rows used by the published score."""
    return np.random.RandomState(SEED).permutation(n)  # the generator of the published values


def _mutual_information(log_p: Tensor) -> Tensor:
    """Mean KL divergence of rows of log-probabilities from their mean."""
    mean = torch.logsumexp(log_p, 0) - math.log(len(log_p))
    return (log_p.exp() * (log_p - mean)).sum(-1).mean()


def _squared_distances(left: Tensor, right: Tensor) -> Tensor:
    """Squared distances of all pairs of rows ``(left, right)``; fast, and accurate for rows around the origin."""
    norms = left.square().sum(1)[:, None] + right.square().sum(1)
    return (norms - 2 * left @ right.T).clamp(min=0)


def _median_distance(rows: Tensor) -> Tensor:
    """Median distance of all pairs of rows, the lower one of two."""
    if len(rows) > MAX_BANDWIDTH_ROWS:
        rows = rows[torch.linspace(0, len(rows) - 1, MAX_BANDWIDTH_ROWS, device=rows.device).long()]
    pairs = []
    for start in range(0, len(rows), KERNEL_ROWS):
        block = _squared_distances(rows[start : start + KERNEL_ROWS], rows[start:])
        pairs.append(block[torch.ones_like(block, dtype=torch.bool).triu(1)])
    return torch.cat(pairs).median().sqrt()


def _kernel_sum(left: Tensor, right: Tensor, gamma: Tensor) -> Tensor:
    """Sum of the kernel over all pairs of rows."""
    return torch.stack(
        [(-gamma * _squared_distances(some, right)).exp().sum() for some in left.split(KERNEL_ROWS)]
    ).sum()
