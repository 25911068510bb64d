"""The picture of the reinforcement-learning benchmark: reward against evaluations of the network, one line a method."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from prismaudio.inference.letters import write
from prismaudio.media import replacing
from prismaudio.media.stills import png

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from rl_benchmark.report import RLReport

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 900, 520, 60, 20, 230, 50
PAPER, INK, FAINT = (255, 255, 255), (40, 40, 48), (205, 205, 212)
COLOURS = (
    (0, 114, 178), (86, 180, 233), (150, 150, 160), (230, 159, 0), (0, 158, 115), (240, 200, 60), (110, 80, 160),
    (204, 121, 167), (120, 70, 40), (213, 40, 40), (20, 20, 20),
)  # fmt: skip
TICKS = tuple(digit * 10.0**exponent for exponent in range(-4, 4) for digit in (1, 2, 5))
Place = Callable[[float, float], tuple[int, int]]
Line = list[tuple[float, float]]


def plot_png(report: RLReport) -> bytes:
    """A PNG: evaluations of the network to the right on a logarithmic scale, mean reward over the seeds upwards.

    Args:
        report: What was found; its methods at the same learning rate are drawn, and the target as a dotted line.
    """
    lines = {name: _line(report, name) for name in report.methods}
    points = [point for line in lines.values() for point in line]
    first, last = (f(math.log10(nfe) for nfe, _ in points) for f in (min, max))
    best = max(reward for _, reward in points)
    margin = 0.06 * (best - report.base)
    low, high = report.base - margin, best + margin
    image = np.full((HEIGHT, WIDTH, 3), PAPER, np.uint8)

    def place(nfe: float, reward: float) -> tuple[int, int]:
        x = (math.log10(nfe) - first) / (last - first)
        y = (min(max(reward, low), high) - low) / (high - low)
        return round(LEFT + x * (WIDTH - LEFT - RIGHT)), round(HEIGHT - BOTTOM - y * (HEIGHT - BOTTOM - TOP))

    _axes(image, (first, last), (low, high), place)
    y = place(10**first, report.target)[1]
    image[y, LEFT : WIDTH - RIGHT : 4] = INK
    write(image, "TARGET", LEFT + 6, y - 14, INK)
    for index, (name, line) in enumerate(lines.items()):
        colour = COLOURS[index % len(COLOURS)]
        for start, end in pairwise(line):
            _stroke(image, place(*start), place(*end), colour)
        height = TOP + 16 * index
        image[height + 3 : height + 7, WIDTH - RIGHT + 8 : WIDTH - RIGHT + 28] = colour
        write(image, name.replace("_", " ").upper(), WIDTH - RIGHT + 36, height, INK)
    return png(image)


def save_plot(report: RLReport, path: Path) -> None:
    """Write :func:`plot_png` to a file, complete or not at all.

    Raises:
        MediaError: It cannot be written.
    """
    with replacing(path, "choose another file with --plot") as part:
        part.write_bytes(plot_png(report))


def _line(report: RLReport, name: str) -> Line:
    """Mean cost and mean reward at each evaluation but the first."""
    courses = report.runs[name, report.equal_rate]
    points = zip(*(course.points[1:] for course in courses), strict=False)
    means = ((statistics.fmean(p.nfe for p in each), statistics.fmean(p.reward for p in each)) for each in points)
    return [(nfe, reward) for nfe, reward in means if math.isfinite(reward)]


def _axes(image: NDArray[np.uint8], nfes: tuple[float, float], rewards: tuple[float, float], place: Place) -> None:
    for exponent in range(math.floor(nfes[0]), math.ceil(nfes[1]) + 1):
        for digit in (1, 2, 5):
            nfe = digit * 10**exponent
            if nfes[0] <= math.log10(nfe) <= nfes[1]:
                x = place(nfe, rewards[0])[0]
                image[TOP : HEIGHT - BOTTOM, x] = FAINT
                write(image, f"{nfe / 1000:g}K", x - 10, HEIGHT - BOTTOM + 8, INK)
    apart = next(tick for tick in TICKS if rewards[1] - rewards[0] < 10 * tick)
    for number in range(math.ceil(rewards[0] / apart), math.floor(rewards[1] / apart) + 1):
        y = place(10 ** nfes[0], number * apart)[1]
        image[y, LEFT : WIDTH - RIGHT] = FAINT
        write(image, f"{number * apart:.2f}", LEFT - 42, y - 5, INK)
    write(image, "REWARD", 4, 4, INK)
    write(image, "EVALUATIONS OF THE NETWORK", LEFT, HEIGHT - 18, INK)


def _stroke(image: NDArray[np.uint8], start: tuple[int, int], end: tuple[int, int], colour: tuple[int, ...]) -> None:
    """A straight line, two pixels wide."""
    n = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1) + 1
    x = np.linspace(start[0], end[0], n).round().astype(int)
    y = np.linspace(start[1], end[1], n).round().astype(int)
    for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        image[y + down, x + right] = colour
