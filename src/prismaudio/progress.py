"""Progress bars on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

from prismaudio.errors import PrismAudioError, print_traceback, with_class

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


def wide_console(width: int) -> Console:
    """A console for tables; where there is no terminal, it has a width of its own, so that few cells are cut.

    Args:
        width: That width in characters.
    """
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = width
    return console


class Reporter:
    """Reports the progress and the failures of a batch of jobs; a context manager.

    Args:
        total: Number of jobs.
        things: Plural noun for the jobs, the label of the bar.
    """

    def __init__(self, total: int, things: str = "videos") -> None:
        self.total, self.things, self.done = total, things, 0
        self.failures: list[str] = []
        self.video_s = 0.0
        self._n_before = 0
        self._bars: Progress | None = None
        self._jobs: TaskID | None = None
        self._steps: TaskID | None = None
        self._start_s = time.monotonic()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            rate = TextColumn("{task.fields[rate]}")
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), rate
            self._bars = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bars.start()
            self._jobs = self._bars.add_task(self.things, total=self.total, visible=self.total > 1, rate="")
            self._steps = self._bars.add_task("rendering", total=None, visible=False, rate="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def step(self, done: int, total: int) -> None:
        """Show that the sampler has completed ``done`` of ``total`` steps."""
        if self._bars is not None and self._steps is not None:
            self._bars.update(self._steps, completed=done, total=total, visible=done < total)

    def finish(self, text: str) -> None:
        """Count a job as finished and print ``text``."""
        self.count()
        self.write(f"[{self.done}/{self.total}] {text}")

    def fail(self, name: object, error: Exception) -> None:
        """Count a job as failed; the others continue."""
        print_traceback(error)
        text = with_class(error)
        self.failures.append(text if str(name) in text else f"{name}: {text}")
        if self.total > 1:
            self.finish(f"failed: {self.failures[-1]}")

    def conclude(self, heading: str) -> int:
        """Print all failures and return the exit code.

        Args:
            heading: Heading of the list of failures.

        Raises:
            PrismAudioError: The only job failed.
        """
        if not self.failures:
            return 0
        if self.total == 1:
            raise PrismAudioError(self.failures[0])
        sys.stderr.write(f"prismaudio: error: {heading}:\n")
        sys.stderr.writelines(f"  {text}\n" for text in self.failures)
        return 2

    def count(self, n_jobs: int = 1, video_s: float = 0.0) -> None:
        """Count jobs as finished without printing a line.

        Args:
            n_jobs: Number of jobs.
            video_s: Seconds of video in them; the rate is shown if it is known.
        """
        self.done += n_jobs
        self.video_s += video_s
        if self._bars is not None and self._jobs is not None:
            self._bars.update(self._jobs, completed=self.done, rate=self.rate() if self.video_s else "")

    def follow(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` jobs are finished."""
        self.done, self.total = done, total
        if self._bars is not None and self._jobs is not None:
            self._bars.update(self._jobs, completed=done, total=total, visible=True)

    def skip(self, n_jobs: int) -> None:
        """Count jobs that an earlier run finished; rates are measured from here on."""
        self.count(n_jobs)
        self._n_before, self._start_s = self.done, time.monotonic()

    def rate(self) -> str:
        """Jobs and seconds of video per second, such as ``2.1 clips/s, 19 s of video/s``."""
        seconds = max(time.monotonic() - self._start_s, 1e-3)
        return f"{self._per_second():.3g} {self.things}/s, {self.video_s / seconds:.3g} s of video/s"

    def time_left(self) -> str:
        """The time that the remaining jobs take at this rate, such as ``0:01:05``."""
        left_s = round((self.total - self.done) / max(self._per_second(), 1e-9))
        return f"{left_s // 3600}:{left_s // 60 % 60:02}:{left_s % 60:02}"

    def _per_second(self) -> float:
        return (self.done - self._n_before) / max(time.monotonic() - self._start_s, 1e-3)

    def write(self, text: str) -> None:
        """Print a line above the bars."""
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()
