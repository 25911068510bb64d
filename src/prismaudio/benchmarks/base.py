"""The contract of a benchmark."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from prismaudio.benchmarks.report import Report


class Benchmark(ABC):
    """Measures something; ``prismaudio bench studio`` runs the class ``StudioBenchmark``.

    ``--json FILE`` and ``--force`` are options of every benchmark: the report that :meth:`measure` returns is written
    to the file. Progress goes to stderr.

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
        """Measure what the options ask for.

        Raises:
            PrismAudioError: Something cannot be measured; the text says what, in one line.
        """

    @classmethod
    def show(cls, report: Report, options: argparse.Namespace, console: Console) -> None:  # noqa: ARG003
        """Print the report; as a table unless a benchmark has more to say."""
        console.print(report.table(cls.__name__))
