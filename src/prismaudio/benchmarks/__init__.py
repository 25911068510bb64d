"""Benchmarks: what ``prismaudio bench`` runs. The contract is :class:`prismaudio.benchmarks.base.Benchmark`."""

from prismaudio.benchmarks.base import Benchmark
from prismaudio.benchmarks.report import Report

__all__ = ["Benchmark", "Report"]
