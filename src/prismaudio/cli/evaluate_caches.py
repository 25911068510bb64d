"""``prismaudio evaluate caches``: the numbers of av-benchmark from its feature caches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prismaudio.cli.arguments import Parser
from prismaudio.errors import DataError
from prismaudio.media.files import replacing
from prismaudio.paths import expanded
from prismaudio.untrusted import json_text, load_json, read_small

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from prismaudio.evaluation.av_benchmark import CacheScores

MAX_BYTES = 256 << 20


def make_parser() -> argparse.ArgumentParser:
    """The command line of ``prismaudio evaluate caches``."""
    parser = Parser(
        "prismaudio evaluate caches",
        description="Compute the values of av-benchmark's output_metrics.json from its feature caches (*.pth).",
    )
    parser.add_argument("--reference", required=True, metavar="DIR", help="caches of the reference clips")
    parser.add_argument(
        "--generated", required=True, action="append", metavar="DIR", help="caches of a system's audio; repeatable"
    )
    parser.add_argument("--unpaired", action="store_true", help="generated clips belong to no reference clip")
    parser.add_argument("--kad", action="store_true", help="kernel audio distances, too, which av-benchmark has not")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps or auto (default: %(default)s)")
    parser.add_argument("--json", metavar="OUT", help="write values, intervals and reasons to this file")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio evaluate caches``.

    Returns:
        0, also where some values cannot be computed: their reasons are printed.
    """
    options = make_parser().parse_args(argv)
    target = None if options.json is None else expanded(options.json)
    if target is not None:
        _check(target)
    from prismaudio.evaluation.av_benchmark import score_caches

    scores = score_caches(
        options.reference, options.generated, paired=not options.unpaired, kernel=options.kad, device=options.device
    )
    if target is not None:
        with replacing(target) as part:
            part.write_bytes(json_text(_as_dict(scores), indent=2))
    show(scores)
    return 0


def _check(target: Path) -> None:
    """Check that the results may be written.

    Raises:
        DataError: The file is there and holds something else.
    """
    if not target.exists():
        return
    try:
        found = load_json(read_small(target, MAX_BYTES))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or found.keys() != {"systems"}:
        raise DataError(f"{target} exists and holds no results of caches; choose another name with --json")


def _intervals(scores: CacheScores) -> dict[str, tuple[float | None, float | None]]:
    from prismaudio.evaluation.intervals import mean_interval

    found = {key: mean_interval(values.values()) for key, values in scores.per_clip.items()}
    return {key: (interval.low, interval.high) for key, interval in found.items()}


def _as_dict(scores: Mapping[str, CacheScores]) -> dict[str, Any]:
    """The content of the results file."""
    return {
        "systems": {
            name: {
                "metrics": of.values,
                "intervals": _intervals(of),
                "clips": of.clips,
                "reasons": of.reasons,
                "warnings": of.warnings,
            }
            for name, of in scores.items()
        }
    }


def show(scores: Mapping[str, CacheScores]) -> None:
    """Print a line for each key and a column for each system, and below them reasons and warnings."""
    from rich.table import Table

    from prismaudio.progress import wide_console

    console = wide_console(160)
    table = Table(show_edge=False)
    table.add_column("", no_wrap=True)
    for name in scores:
        table.add_column(name, justify="right")
    intervals = {name: _intervals(of) for name, of in scores.items()}
    for key in dict.fromkeys(key for of in scores.values() for key in (*of.values, *of.reasons)):
        cells = []
        for name, of in scores.items():
            text = f"{of.values[key]:.4g}" if key in of.values else "–"
            low, high = intervals[name].get(key, (None, None))
            cells.append(text if low is None or high is None else f"{text} [{low:.3g}, {high:.3g}]")
        table.add_row(key, *cells)
    console.print(table)
    for kind, told in (("not computed", "reasons"), ("note", "warnings")):
        for name, of in scores.items():
            for key, text in getattr(of, told).items():
                console.print(f"  {kind}: {name}, {key}: {text}", markup=False, highlight=False, soft_wrap=True)
