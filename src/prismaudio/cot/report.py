"""Tables and a figure of the statistics of chain-of-thought rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from prismaudio.cot.inspection import distribution
from prismaudio.errors import truncated

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.console import RenderableType

    from prismaudio.cot.inspection import CotStatistics, GateCounts

SHOWN_REASONS, SHOWN_CLASSES = 3, 12
"""Number of reasons of a gate, and of classes, that a table shows; the JSON has all of them."""
PLOTTED_CLASSES, PLOTTED_BINS, MAX_LABEL = 20, 40, 22
"""Number of classes and of bars, and of characters of a label, in a figure."""


# Tables --------------------------------------------------------------------------------------------------------------
def tables(found: CotStatistics) -> Iterator[RenderableType]:
    """The statistics as tables for the terminal."""
    counts = {
        "rows": found.n_rows,
        "accepted": found.n_accepted,
        "rejected": found.n_rows - found.n_accepted,
        "corrected": found.n_corrected,
        "failed": len(found.folder.failed),
        "waiting": len(found.folder.waiting),
        "damaged lines": len(found.folder.damaged),
    }
    yield Text(", ".join(f"{number} {name}" for name, number in counts.items()))
    if found.gates:
        yield _gate_table(found)
    if found.scores or found.n_unscored:
        yield _score_table(found)
    yield _length_table(found)
    yield _class_table(found)
    yield _writer_table(found)
    n_prompt, n_answer = found.n_tokens["prompt"], found.n_tokens["answer"]
    yield Text(f"{n_prompt} tokens of prompts, {n_answer} of answers, {found.seconds:.1f} seconds")


def _table(title: str, *heads: str) -> Table:
    """A table whose first columns, marked with ``<``, are text and whose others are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", show_edge=False, pad_edge=False)
    for head in heads:
        table.add_column(
            head.removeprefix("<"), justify="left" if head.startswith("<") else "right", no_wrap=head[0] != "<"
        )
    return table


def _gate_table(found: CotStatistics) -> Table:
    table = _table(
        "gates", "<gate", "passed", "rejected", "rate", "not applicable", "<reasons", "<accepted", "<rejected"
    )
    for name, gate in found.gates.items():
        said = gate.describe()
        reasons = [f"{one['rows']}× {one['reason']}" for one in said["reasons"][:SHOWN_REASONS]]
        n_more = len(said["reasons"]) - SHOWN_REASONS
        reasons += [f"and {n_more} more"] * (n_more > 0)
        reasons += [f"not applicable: {one['reason']}" for one in said["not_applicable_reasons"][:1]]
        rate = "-" if gate.rate is None else f"{gate.rate:.1%}"
        counts = str(gate.n_passed), str(len(gate.rejected)), rate, str(len(gate.skipped))
        examples = (said["examples"][key] or "-" for key in ("accepted", "rejected"))
        table.add_row(_text(name), *counts, _text("\n".join(reasons)), *map(_text, examples))
    return table


def _score_table(found: CotStatistics) -> Table:
    table = _table(
        "scores of the real sound", "<", "rows", "mean", "5 %", "median", "95 %", "threshold", "below", "not scored"
    )
    for name, score in found.describe()["scores"].items():
        limits = ("-", "-") if score["threshold"] is None else (f"{score['threshold']:g}", str(score["below"]))
        table.add_row(_text(name), str(score["n"]), *_shown(score), *limits, str(score["not_scored"]))
    return table


def _length_table(found: CotStatistics) -> Table:
    table = _table("words of a section", "<", "rows", "mean", "5 %", "median", "95 %")
    for name, n_words in found.n_words.items():
        table.add_row(_text(name), str(len(n_words)), *_shown(distribution(n_words) or {}))
    return table


def _shown(values: Mapping[str, float]) -> list[str]:
    return [f"{values[key]:.4g}" if key in values else "-" for key in ("mean", "q05", "median", "q95")]


def _class_table(found: CotStatistics) -> Table:
    of_a_row = distribution(found.n_events)
    mean = 0.0 if of_a_row is None else of_a_row["mean"]
    sides = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in found.sides().items())
    table = _table("sources", "<", "rows", "<")
    table.caption = f"{sum(found.n_events)} events, {mean:.2f} in a row\ndirections of sources: {sides}"
    table.caption_justify = "left"
    most = found.classes.most_common(SHOWN_CLASSES)
    for what, number in most:
        table.add_row(_text(what), str(number), "█" * max(1, round(24 * number / most[0][1])))
    if (n_more := len(found.classes) - SHOWN_CLASSES) > 0:
        table.add_row(f"and {n_more} more", "", "")
    return table


def _writer_table(found: CotStatistics) -> Table:
    table = _table("written by", "<section", "<planner", "<model", "<prompt", "rows")
    for who, number in found.written_by.items():
        table.add_row(*(_text(part or "-") for part in who), str(number))
    return table


def _text(text: str) -> Text:
    """Text without markup and control characters."""
    return Text("".join(char if char.isprintable() or char == "\n" else "�" for char in text))


# Figure --------------------------------------------------------------------------------------------------------------
def statistics_figure(found: CotStatistics) -> Figure:
    """Plot gate rates, scores, lengths of sections, classes, and times and directions of events."""
    from matplotlib.figure import Figure

    n_bars = max(len(found.gates), len(found.scores), len(found.n_words), min(len(found.classes), PLOTTED_CLASSES))
    figure = Figure((11.0, 5.2 + 0.12 * n_bars), dpi=125, layout="constrained")
    (gates, words, times), (classes, scores, directions) = figure.subplots(2, 3)
    _plot_gates(gates, found.gates)
    _plot_boxes(words, found.n_words, "words of a section", "words")
    _plot_classes(classes, found.classes)
    _plot_boxes(scores, found.scores, "scores of the real sound", "score")
    _plot_times(times, found.times_s)
    _plot_directions(directions, found.azimuths_deg)
    return figure


def _plot_gates(axes: Axes, gates: Mapping[str, GateCounts]) -> None:
    names = list(gates)[::-1]
    n_rows = [max(1, gates[name].n_passed + len(gates[name].rejected) + len(gates[name].skipped)) for name in names]
    rejected = [100 * len(gates[name].rejected) / n for name, n in zip(names, n_rows, strict=True)]
    skipped = [100 * len(gates[name].skipped) / n for name, n in zip(names, n_rows, strict=True)]
    axes.barh(names, rejected, color="#D55E00", label="rejected")
    axes.barh(names, skipped, left=rejected, color="#999999", label="not applicable")
    axes.set(title="gates", xlabel="rows (%)", xlim=(0, 100))
    _finish(axes, names)
    if names:
        axes.legend(fontsize="small")


def _plot_boxes(axes: Axes, values: Mapping[str, Sequence[float]], title: str, label: str) -> None:
    """Plot boxes from the 25 % to the 75 % quantile, with whiskers from 5 % to 95 % and the median."""
    names = [name for name in values if values[name]][::-1]
    if names:
        axes.boxplot(
            [values[name] for name in names], orientation="horizontal", tick_labels=names, whis=(5, 95),
            widths=0.6, showfliers=False, patch_artist=True, boxprops={"facecolor": "#56B4E9"},
            medianprops={"color": "#1f1f2e"},
        )  # fmt: skip
    axes.set(title=title, xlabel=f"{label} (box 25 to 75 %, line 5 to 95 %)")
    _finish(axes, names)


def _plot_classes(axes: Axes, classes: Counter[str]) -> None:
    from matplotlib.ticker import MaxNLocator

    most = classes.most_common(PLOTTED_CLASSES)[::-1]
    axes.barh([truncated(what, MAX_LABEL) for what, _ in most], [number for _, number in most], color="#0072B2")
    n_more = len(classes) - len(most)
    axes.set(title=f"sources{f', {n_more} more not shown' if n_more else ''}", xlabel="rows")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _finish(axes, most)


def _plot_times(axes: Axes, times_s: Sequence[float]) -> None:
    n_bins = max(5, min(PLOTTED_BINS, round(2 * len(times_s) ** 0.5)))
    axes.hist(times_s, bins=n_bins, range=(0, max(times_s, default=1.0)), color="#0072B2", rwidth=0.92)
    axes.set(title="times of events", xlabel="time (s)", ylabel="events")
    _finish(axes, times_s)


def _plot_directions(axes: Axes, azimuths_deg: Sequence[float]) -> None:
    axes.hist(azimuths_deg, bins=18, range=(-90, 90), color="#0072B2", rwidth=0.92)
    label = "azimuth (°), negative is left"
    axes.set(title="directions of sources", xlabel=label, ylabel="sources", xticks=range(-90, 91, 45))
    _finish(axes, azimuths_deg)


def _finish(axes: Axes, shown: Sequence[object]) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize="small")
    if not shown:
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", color="#555555")
