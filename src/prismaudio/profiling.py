"""Seconds and peak memory of the phases of a command."""

from __future__ import annotations

import contextlib
import sys
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
        seconds: Wall-clock time without inner phases.
        peak_bytes: Peak memory of the process, shared file pages included; 0 where the system does not tell.
        device_bytes: Peak memory that torch allocated on a GPU, the largest of all.
    """

    seconds: float = 0.0
    peak_bytes: int = 0
    device_bytes: int = 0


@dataclass
class Profile:
    """The phases of a command by name, in the order in which they began.

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

    def __enter__(self) -> Self:
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
        on_device = any(phase.device_bytes for phase in self.phases.values())
        width = max(map(len, self.phases), default=0)
        lines = [f"{'phase':<{width}} {'seconds':>9} {'peak GiB':>9}" + (f" {'GPU GiB':>9}" if on_device else "")]
        for name, found in self.phases.items():
            line = f"{name:<{width}} {found.seconds:9.2f} {found.peak_bytes / GIB:9.2f}"
            lines.append(line + (f" {found.device_bytes / GIB:9.2f}" if on_device else ""))
        total_s = sum(phase.seconds for phase in self.phases.values())
        peak = max((phase.peak_bytes for phase in self.phases.values()), default=0)
        return "\n".join([*lines, f"{'all':<{width}} {total_s:9.2f} {peak / GIB:9.2f}"])


_PROFILE: ContextVar[Profile | None] = ContextVar("profile", default=None)


@contextlib.contextmanager
def phase(name: str) -> Iterator[None]:
    """Measure a part of a command as a phase of the active :class:`Profile`; without one, nothing is measured."""
    profile = _PROFILE.get()
    if profile is None:
        yield
        return
    profile.enter(name)
    try:
        yield
    finally:
        profile.leave()


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
