"""Benchmarks on held-out clips of the world."""
