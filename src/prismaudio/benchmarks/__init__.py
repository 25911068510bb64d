"""Benchmarks: whole models measured on clips whose truth is known."""
