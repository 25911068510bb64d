"""Benchmarks run by ``prismaudio bench``. The contract is :class:`prismaudio.benchmarks.base.Benchmark`."""

from prismaudio.benchmarks.base import Benchmark
from prismaudio.benchmarks.report import Report

__all__ = ["Benchmark", "Report"]
