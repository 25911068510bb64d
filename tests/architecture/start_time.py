"""Measures how long light commands take, next to an empty Python: ``python tests/architecture/start_time.py``."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 15
LIMIT = 12.0


def seconds(*words: str) -> float:
    """Median time of a command."""
    times = []
    for _ in range(RUNS):
        start_s = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start_s)
    return statistics.median(times)


def main() -> int:
    """Print the figures; 1 when listing plugins takes more than 12 times an empty Python."""
    empty_s = seconds("-c", "pass")
    print(f"python -c pass                {empty_s:.3f} s")
    ratios = {}
    for words in (["--version"], ["--help"], ["recipes", "list"], ["plugins", "list"], ["plugins", "list", "--json"]):
        took_s = seconds("-m", "prismaudio", *words)
        ratios[" ".join(words)] = took_s / empty_s
        print(f"prismaudio {' '.join(words):18} {took_s:.3f} s = {took_s / empty_s:.1f} times that")
    return int(ratios["plugins list"] > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
