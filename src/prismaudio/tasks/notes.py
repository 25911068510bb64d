"""Numbers of an update, noted where they arise and logged together."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sized


class Notes:
    """Keeps numbers by name; of several, the mean counts, weighted by their shares, or the largest.

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
        self._largest: dict[str, float] = {}
        self._evaluations = 0

    def add(self, name: str, value: float, share: float = 1.0) -> None:
        """Note a number."""
        self._values[name].append((share, value))

    def add_largest(self, name: str, value: float) -> None:
        """Note a number of which the largest counts."""
        self._largest[name] = max(value, self._largest.get(name, value))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Note how many seconds a phase takes."""
        start_s = time.perf_counter()
        yield
        self.add(f"seconds/{name}", time.perf_counter() - start_s)

    def count(self, network: object, arguments: object, velocity: Sized) -> None:
        """Forward hook that counts evaluations of a network by sample; one with gradients is worth three."""
        self._evaluations += len(velocity) * (3 if torch.is_grad_enabled() else 1)

    def taken(self) -> dict[str, float]:
        """All numbers; then begin anew."""
        found = {
            name: sum(share * value for share, value in noted) / sum(share for share, _ in noted)
            for name, noted in self._values.items()
        }
        found |= self._largest
        if self._evaluations:
            found["nfe"] = float(self._evaluations)
        self._values.clear()
        self._largest.clear()
        self._evaluations = 0
        return found
