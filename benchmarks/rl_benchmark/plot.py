"""Plot of the reinforcement-learning benchmark: reward against network evaluations, one line per method."""

from __future__ import annotations

import io
import math
import statistics
from typing import TYPE_CHECKING

from prismaudio.media import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from rl_benchmark.report import RLReport

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000")
STYLES = ("-", "--", ":")
"""Line styles; seven colours for colour-blind readers (Okabe and Ito), repeated with the next style."""


def plot_figure(report: RLReport) -> Figure:
    """Plot the mean reward over the seeds against network evaluations on a logarithmic scale.

    Args:
        report: The results; methods are plotted at the common learning rate, the target as a dotted line.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

    lines = {name: _line(report, name) for name in report.methods}
    best = max(reward for line in lines.values() for _, reward in line)
    margin = 0.06 * (best - report.base)
    figure = Figure((8.0, 5.0), dpi=125, layout="constrained")
    axes = figure.subplots()
    for index, (name, line) in enumerate(lines.items()):
        colour, style = COLOURS[index % len(COLOURS)], STYLES[index // len(COLOURS) % len(STYLES)]
        axes.plot([nfe for nfe, _ in line], [reward for _, reward in line], style, color=colour, lw=1.8, label=name)
    axes.axhline(report.target, color="0.3", lw=1, ls=(0, (1, 2)), label=f"target, {report.target:.2f}")
    axes.set(xscale="log", ylim=(report.base - margin, best + margin))  # diverging runs leave the axes at the bottom
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("evaluations of the network")
    axes.set_ylabel("mean reward")
    axes.grid(color="0.85", lw=0.6)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    return figure


def save_plot(report: RLReport, path: Path) -> None:
    """Write :func:`plot_figure` to a PNG file atomically.

    Raises:
        MediaError: The file cannot be written.
    """
    file = io.BytesIO()
    plot_figure(report).savefig(file, format="png", metadata={"Software": None})
    with replacing(path, "choose another file with --plot") as part:
        part.write_bytes(file.getvalue())


def _line(report: RLReport, name: str) -> list[tuple[float, float]]:
    """Mean cost and mean reward at each evaluation except the first."""
    curves = report.runs[name, report.equal_rate]
    points = zip(*(curve.points[1:] for curve in curves), strict=False)
    means = ((statistics.fmean(p.nfe for p in each), statistics.fmean(p.reward for p in each)) for each in points)
    return [(nfe, reward) for nfe, reward in means if math.isfinite(reward)]
