"""Seconds and peak memory of the phases of a command."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

GIB = 1 << 30
_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


@dataclass
class Phase:
    """What a phase took, summed over its parts.

    Args:
        seconds: Wall-clock time without inner phases, in the thread of the profile.
        threads_s: Time in other threads meanwhile, summed over them.
        peak_bytes: Peak memory of the process, shared file pages included; 0 where the system does not tell.
        device_bytes: Peak memory that torch allocated on a GPU, the largest of all.
    """

    seconds: float = 0.0
    threads_s: float = 0.0
    peak_bytes: int = 0
    device_bytes: int = 0


@dataclass
class Profile:
    """The phases of a command by name, in the order in which they began.

    The phases of the thread that opens the profile follow one another, and their seconds add up to its time. Those of
    other threads, which see the profile if they run in a copy of its context, go on beside them.

    Example:
        >>> with Profile() as profile:
        ...     with phase("read"):
        ...         pass
        >>> list(profile.phases)
        ['read']
    """

    phases: dict[str, Phase] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)
    _since_s: float = 0.0
    _thread: int = field(default_factory=threading.get_ident)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        self._thread = threading.get_ident()
        self._token = _PROFILE.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _PROFILE.reset(self._token)

    def enter(self, name: str) -> None:
        """Begin a phase; the one around it does not count until this one ends."""
        self._record()
        self._open.append(name)
        self.phases.setdefault(name, Phase())

    def leave(self) -> None:
        """End the innermost phase."""
        self._record()
        self._open.pop()

    @contextlib.contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Measure a phase of this thread, whichever it is."""
        if threading.get_ident() == self._thread:
            self.enter(name)
            try:
                yield
            finally:
                self.leave()
            return
        begin_s = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.phases.setdefault(name, Phase()).threads_s += time.perf_counter() - begin_s

    def _record(self) -> None:
        """Add the time since the last change to the innermost phase, and begin to measure anew."""
        cuda = _cuda()
        devices = range(cuda.device_count()) if cuda is not None else ()
        for device in devices:
            cuda.synchronize(device)
        now_s = time.perf_counter()
        if self._open:
            found = self.phases[self._open[-1]]
            found.seconds += now_s - self._since_s
            found.peak_bytes = max(found.peak_bytes, peak_bytes())
            found.device_bytes = max(found.device_bytes, *(cuda.max_memory_allocated(device) for device in devices), 0)
        reset_peak()
        for device in devices:
            cuda.reset_peak_memory_stats(device)
        self._since_s = time.perf_counter()

    def table(self) -> str:
        """Phases, seconds and peak memory as lines of text."""
        phases = list(self.phases.values())
        whole = Phase(
            sum(phase.seconds for phase in phases),
            sum(phase.threads_s for phase in phases),
            *(max((getattr(phase, peak) for phase in phases), default=0) for peak in ("peak_bytes", "device_bytes")),
        )
        columns = {"seconds": lambda phase: phase.seconds, "peak GiB": lambda phase: phase.peak_bytes / GIB}
        if whole.threads_s:
            columns["threads s"] = lambda phase: phase.threads_s
        if whole.device_bytes:
            columns["GPU GiB"] = lambda phase: phase.device_bytes / GIB
        width = max(map(len, self.phases), default=0)
        lines = [f"{'phase':<{width}}" + "".join(f" {title:>9}" for title in columns)]
        for name, found in [*self.phases.items(), ("all", whole)]:
            lines.append(f"{name:<{width}}" + "".join(f" {value(found):9.2f}" for value in columns.values()))
        return "\n".join(lines)


_PROFILE: ContextVar[Profile | None] = ContextVar("profile", default=None)


@contextlib.contextmanager
def phase(name: str) -> Iterator[None]:
    """Measure a part of a command as a phase of the active :class:`Profile`; without one, nothing is measured."""
    profile = _PROFILE.get()
    if profile is None:
        yield
        return
    with profile.measure(name):
        yield


def peak_bytes() -> int:
    """Peak resident memory of the process since :func:`reset_peak`; 0 where the system does not tell."""
    try:
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return 0
    return int(line.split()[1]) * 1024


def reset_peak() -> None:
    """Let the peak of the process begin at what it uses now, where the system can do that."""
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")


def _cuda() -> Any:
    """``torch.cuda`` if it is in use."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
