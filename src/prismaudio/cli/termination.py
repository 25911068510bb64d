"""SIGTERM, by which cluster managers and containers end a process: what Ctrl-C does, with another exit code."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

EXIT_CODE = 143
"""128 + SIGTERM, what a shell reports of a process that the signal ended."""


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived. What cleans up after Ctrl-C cleans up after it, too."""


@contextmanager
def terminating() -> Iterator[None]:
    """Raise :class:`Terminated` for the first SIGTERM in the block; a second one kills the process.

    A handler that is there already stays, and so does everything outside the main thread. A forked process, which
    inherits the handler, is killed as it would be without it.
    """
    process_id = os.getpid()

    def stop(number: int, _: FrameType | None) -> NoReturn:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != process_id:
            os.kill(os.getpid(), number)
        raise Terminated

    in_charge = threading.current_thread() is threading.main_thread()
    if not in_charge or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
