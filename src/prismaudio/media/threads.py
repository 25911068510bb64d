"""Threads that read and write media files while the calling thread computes."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from threading import Event
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar

from prismaudio.media.clock import cancelled_by

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class MediaThreads:
    """Threads that read and write media files, which PyAV does without the interpreter's lock; a context manager.

    What they run sees the context variables of the caller, such as its :class:`prismaudio.profiling.Profile`. The end
    of the block waits for everything. If it ends with an exception, such as ``KeyboardInterrupt``, what has not begun
    is cancelled, and files that are being read or copied end at their next packet, with nothing half written.

    Args:
        count: Number of threads; 0 runs everything in the calling thread.

    Example:
        >>> with MediaThreads(2) as threads:
        ...     squares = [threads.submit(pow, n, 2) for n in range(3)]
        >>> [square.result() for square in squares]
        [0, 1, 4]
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._cancelled = Event()
        self._executor = ThreadPoolExecutor(count, "media") if count else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._cancelled.set()
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=kind is not None)

    def submit(self, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function in a thread, in the order of the calls; without threads it has run when this returns.

        Args:
            action: The function.
            args: Its arguments.
            kwargs: Its keyword arguments.
        """
        if self._executor is None:
            done: Future[T] = Future()
            try:
                done.set_result(action(*args, **kwargs))
            except Exception as error:  # noqa: BLE001 - it is the future's, as that of a thread is
                done.set_exception(error)
            return done

        def run() -> T:
            with cancelled_by(self._cancelled):
                return action(*args, **kwargs)

        return self._executor.submit(copy_context().run, run)
