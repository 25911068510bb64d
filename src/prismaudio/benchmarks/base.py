"""The contract of a benchmark."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from prismaudio.benchmarks.report import Report


class Benchmark(ABC):
    """A subcommand of ``prismaudio bench``; ``prismaudio bench studio`` runs the class ``StudioBenchmark``.

    Every benchmark has the options ``--json FILE`` and ``--force``: the report returned by :meth:`measure` is written
    to the file. Progress is written to stderr.

    Example:
        >>> from prismaudio.benchmarks import Report
        >>> class AnswerBenchmark(Benchmark):
        ...     "Measures the answer."
        ...     @classmethod
        ...     def add_arguments(cls, parser):
        ...         parser.add_argument("--times", type=int, default=1, help="how often")
        ...     @classmethod
        ...     def measure(cls, options):
        ...         return Report(["answer"], {"all": {"answer": [42.0] * options.times}})
    """

    @classmethod
    @abstractmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of the benchmark to its command line."""

    @classmethod
    @abstractmethod
    def measure(cls, options: argparse.Namespace) -> Report:
        """Run the benchmark with the parsed options.

        Raises:
            PrismAudioError: The benchmark cannot run; the message states the reason in one line.
        """

    @classmethod
    def show(cls, report: Report, options: argparse.Namespace, console: Console) -> None:  # noqa: ARG003
        """Print the report, by default as a table."""
        console.print(report.table(cls.__name__))
