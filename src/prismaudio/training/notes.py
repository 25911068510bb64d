"""Numbers of an update, noted where they arise and logged together."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from contextlib import contextmanager
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sized

LOG = logging.getLogger("prismaudio.training")
MAX_RATIO_ERROR = 1e-3
"""Of the ratio at the first micro-step, which is 1 where a step is replayed as it was made."""


class Notes:
    """Keeps numbers by name; of several, the mean counts, weighted by their shares.

    Example:
        >>> notes = Notes()
        >>> notes.add("loss", 1.0, share=0.75)
        >>> notes.add("loss", 3.0, share=0.25)
        >>> notes.taken()
        {'loss': 1.5}
        >>> notes.taken()
        {}
    """

    def __init__(self) -> None:
        self._values: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._ratio_error: float | None = None
        self._evaluations = 0
        self._said = False

    def add(self, name: str, value: float, share: float = 1.0) -> None:
        """Note a number."""
        self._values[name].append((share, value))

    def add_ratio_error(self, error: float, update: int) -> None:
        """Note how far a ratio at the first micro-step is from 1; the largest counts, one too large is said once."""
        self._ratio_error = max(error, self._ratio_error or 0.0)
        if error > MAX_RATIO_ERROR and not self._said:
            self._said = True
            LOG.warning(
                "a ratio at the first micro-step of update %d is off by %.1e, it should be 1: the network does not say "
                "again what it said; look for what is random in it, or for another precision in training",
                update,
                error,
            )

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Note how many seconds a phase takes, and for how many samples networks are evaluated in it."""
        start_s, before = time.perf_counter(), self._evaluations
        yield
        self.add(f"seconds/{name}", time.perf_counter() - start_s)
        if self._evaluations > before:
            self.add(f"nfe/{name}", self._evaluations - before)

    def count(self, network: object, arguments: object, velocity: Sized) -> None:
        """Forward hook that counts evaluations of a network by sample; one with gradients is worth three."""
        self._evaluations += len(velocity) * (3 if torch.is_grad_enabled() else 1)

    def taken(self) -> dict[str, float]:
        """All numbers; then begin anew."""
        found = {
            name: sum(share * value for share, value in noted) / sum(share for share, _ in noted)
            for name, noted in self._values.items()
        }
        if self._ratio_error is not None:
            found["ratio_error"] = self._ratio_error
        if self._evaluations:
            found["nfe"] = float(self._evaluations)
        self.clear()
        return found

    def clear(self) -> None:
        """Begin anew."""
        self._values.clear()
        self._ratio_error = None
        self._evaluations = 0


def of_all_processes(found: Mapping[str, float]) -> dict[str, float]:
    """Numbers of all processes together: evaluations are added up, of errors the largest counts, of others the mean.

    Every process must call this; a number need not be known to all of them.

    Args:
        found: What :meth:`Notes.taken` gave here.

    Example:
        >>> of_all_processes({"loss": 1.5})
        {'loss': 1.5}
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return dict(found)
    everybody: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(everybody, dict(found))
    known = {name: [some[name] for some in everybody if name in some] for some in everybody for name in some}

    def joined(name: str) -> float:
        return float((max if name == "ratio_error" else sum if name.startswith("nfe") else fmean)(known[name]))

    return {name: joined(name) for name in known}
