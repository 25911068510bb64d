"""SIGTERM, sent by cluster managers and containers: handled as Ctrl-C, with another exit code."""

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
"""128 + SIGTERM, the exit code that a shell reports for a terminated process."""


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM; handlers of :class:`KeyboardInterrupt` also handle it."""


@contextmanager
def terminating() -> Iterator[None]:
    """Raise :class:`Terminated` for the first SIGTERM in the block; a second one kills the process.

    An existing handler is kept, and outside the main thread nothing is changed. A forked process, which inherits the
    handler, is killed as without it.
    """
    process_id = os.getpid()

    def stop(number: int, _: FrameType | None) -> NoReturn:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != process_id:
            os.kill(os.getpid(), number)
        raise Terminated

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
