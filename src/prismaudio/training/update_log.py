"""Statistics of an update, collected in its phases and logged together."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from contextlib import contextmanager
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch

from prismaudio import profiling

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LOG = logging.getLogger("prismaudio.training")
MAX_RATIO_ERROR = 1e-3
"""Largest distance from 1 of a ratio before the first optimizer step without a warning."""


class UpdateLog:
    """Collects statistics by name; several values of one name are averaged, weighted by their shares.

    Attributes:
        forwards: Forward passes of the network since the log was cleared.

    Example:
        >>> log = UpdateLog()
        >>> log.add("loss", 1.0, share=0.75)
        >>> log.add("loss", 3.0, share=0.25)
        >>> log.pop()
        {'loss': 1.5}
        >>> log.pop()
        {}
    """

    def __init__(self) -> None:
        self._values: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._totals: dict[str, float] = defaultdict(float)
        self._ratio_error: float | None = None
        self._evaluations = self.forwards = 0
        self._warned = False

    def add(self, name: str, value: float, share: float = 1.0) -> None:
        """Add a value."""
        self._values[name].append((share, value))

    def add_ratio_error(self, error: float, update: int) -> None:
        """Add the distance from 1 of a ratio of the first inner epoch; the largest counts, with one warning."""
        self._ratio_error = max(error, self._ratio_error or 0.0)
        if error > MAX_RATIO_ERROR and not self._warned:
            self._warned = True
            LOG.warning(
                "a ratio of the first inner epoch of update %d differs from 1 by %.1e: the network does not reproduce "
                "the rollout; look for randomness in it, such as dropout, or for another precision in training",
                update,
                error,
            )

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure a phase, or a part of it: seconds, network evaluations by sample, and forward passes.

        On a GPU the seconds are those of the program, which does not wait for the device; a
        :class:`prismaudio.profiling.Profile` waits.
        """
        start_s, before, forwards = time.perf_counter(), self._evaluations, self.forwards
        with profiling.phase(name):
            yield
        self._totals[f"seconds/{name}"] += time.perf_counter() - start_s
        if self._evaluations > before:
            self._totals[f"nfe/{name}"] += self._evaluations - before
            self._totals[f"forwards/{name}"] += self.forwards - forwards

    def count(self, n_samples: int) -> None:
        """Count a forward pass of some samples; an evaluation with gradients counts as three."""
        self._evaluations += n_samples * (3 if torch.is_grad_enabled() else 1)
        self.forwards += 1

    def pop(self) -> dict[str, float]:
        """Return all statistics and clear the log."""
        found = {
            name: sum(share * value for share, value in pairs) / sum(share for share, _ in pairs)
            for name, pairs in self._values.items()
        }
        found |= self._totals
        if self._ratio_error is not None:
            found["ratio_error"] = self._ratio_error
        if self._evaluations:
            found["nfe"], found["forwards"] = float(self._evaluations), float(self.forwards)
        self.clear()
        return found

    def clear(self) -> None:
        """Discard all statistics."""
        self._values.clear()
        self._totals.clear()
        self._ratio_error = None
        self._evaluations = self.forwards = 0


def reduce_over_processes(found: Mapping[str, float]) -> dict[str, float]:
    """Reduce statistics over all processes: evaluations are summed, ``ratio_error`` is the maximum, others are means.

    Every process must call this; a statistic may be missing in some of them.

    Args:
        found: Statistics of this process, see :meth:`UpdateLog.pop`.

    Example:
        >>> reduce_over_processes({"loss": 1.5})
        {'loss': 1.5}
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return dict(found)
    gathered: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, dict(found))
    known = {name: [some[name] for some in gathered if name in some] for some in gathered for name in some}

    def reduced(name: str) -> float:
        return float((max if name == "ratio_error" else sum if name.startswith("nfe") else fmean)(known[name]))

    return {name: reduced(name) for name in known}
