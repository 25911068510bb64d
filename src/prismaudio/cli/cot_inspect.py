"""``prismaudio cot inspect``: what a folder of chain-of-thought rows contains, in the terminal and as an HTML page."""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from prismaudio.cli.arguments import Parser
from prismaudio.errors import DataError, MediaError
from prismaudio.paths import expanded
from prismaudio.untrusted import load_json, read_small

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from prismaudio.cot.inspection import CotFolder, CotStatistics
    from prismaudio.cot.rows import CotRow
    from prismaudio.plan.story import Story

PAGE = "index.html"
PLOTS = (".png", ".pdf", ".svg")
MAX_REPORT_BYTES = 256 << 20
_EPILOG = """\
The page is one file that needs no server and no network: open it in a browser. It plays the clips from where they are,
so move it only together with them. Edits are kept in the browser; its button Save writes corrections.json for
prismaudio cot build --corrections.

examples:
  prismaudio cot inspect cot
  prismaudio cot inspect cot --html
  prismaudio cot inspect cot --json cot.json --plot cot.png
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of ``prismaudio cot inspect``."""
    parser = Parser(
        "prismaudio cot inspect",
        description="Show what a folder of chain-of-thought rows contains: gates, scores, lengths, classes and events.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="DIR", nargs="?", help="folder that prismaudio cot build wrote")
    parser.add_argument("--json", metavar="OUT", help="write the statistics to OUT; - for standard output")
    parser.add_argument("--plot", metavar="FILE", help="plot the statistics to a .png, .pdf or .svg")
    parser.add_argument(
        "--html",
        metavar="FILE",
        nargs="?",
        const="",
        help=f"write a page to read, listen to, correct and accept the rows (default: DIR/{PAGE})",
    )
    return parser


def inspect(argv: Sequence[str]) -> int:
    """Run ``prismaudio cot inspect``.

    Returns:
        0.

    Raises:
        DataError: It is not a folder of rows, or none of them can be read.
        MediaError: A file cannot be written.
    """
    parser = make_parser()
    options = parser.parse_args(argv)
    if options.folder is None and options.html:  # `--html DIR`
        options.folder, options.html = options.html, ""
    if options.folder is None:
        parser.error("the following arguments are required: DIR")
    folder = expanded(options.folder)
    report = None if options.json in (None, "-") else expanded(options.json)
    plot = None if options.plot is None else expanded(options.plot)
    page = None if options.html is None else expanded(options.html or folder / PAGE)
    from prismaudio.cot.inspection import CotFolder, inspect_rows

    contents = CotFolder.read(folder)
    check_outputs(report, plot, page)
    rows: list[tuple[CotRow, Story]] = []
    found = inspect_rows(contents, lambda row, story: rows.append((row, story)))
    text = json.dumps(found.describe(), indent=2)
    if options.json == "-":
        sys.stdout.write(f"{text}\n")
    else:
        _show(folder, found)
    if contents.damaged:
        first = next(iter(contents.damaged.values()))
        sys.stderr.write(f"note: {len(contents.damaged)} damaged lines are left out; the first is {first}\n")
    from prismaudio.media import replacing

    if report is not None:
        with replacing(report, "choose another name for --json") as part:
            part.write_text(f"{text}\n", encoding="utf-8")
    if plot is not None:
        from prismaudio.cot.report import statistics_figure

        with replacing(plot, "choose another name for --plot") as part:
            statistics_figure(found).savefig(part)
    if page is not None:
        with replacing(page, "choose another name for --html") as part:
            part.write_text(_page(folder, contents, page, rows), encoding="utf-8", newline="\n")
        sys.stderr.write(f"{page}: open it in a browser\n")
    return 0


def _show(folder: Path, found: CotStatistics) -> None:
    from prismaudio.cot.report import tables
    from prismaudio.progress import wide_console

    console = wide_console(160)
    console.print(str(folder), markup=False, highlight=False, soft_wrap=True)
    for table in tables(found):
        console.print(table, highlight=False)
        console.print()


def _page(folder: Path, contents: CotFolder, page: Path, rows: Sequence[tuple[CotRow, Story]]) -> str:
    """The page; the sound of several rows is read at a time."""
    from prismaudio.cot.page import entry_of, page_html, sound_of
    from prismaudio.progress import Reporter

    entries = []
    with Reporter(len(rows), "clips") as reporter, ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        sounds = pool.map(lambda item: sound_of(item[0], folder), rows)
        for (row, story), sound in zip(rows, sounds, strict=True):
            entries.append(entry_of(row, story, sound, folder, page, contents.rewards))
            reporter.count()
    return page_html(f"Chain of thought: {folder.absolute().name}", entries, contents.minimums)


def check_outputs(report: Path | None, plot: Path | None, page: Path | None) -> None:
    """Check, before the sound is read, that the output files may be written.

    Raises:
        MediaError: One is a folder, of an unknown format, or a file that this command did not write.
    """
    from prismaudio.cot.page import is_page
    from prismaudio.media.files import check_writable

    if plot is not None and plot.suffix.lower() not in PLOTS:
        raise MediaError(f"cannot plot to {plot}; expected a name that ends in {', '.join(PLOTS)}")
    for path, option in ((report, "--json"), (plot, "--plot"), (page, "--html")):
        if path is None:
            continue
        if path.is_dir():
            raise MediaError(f"{path} is a folder; expected the name of a file for {option}")
        check_writable(path.parent)
    if report is not None and report.exists() and not is_report(report):
        raise MediaError(f"{report} exists and is not the result of an inspection; choose another name for --json")
    if page is not None and page.exists() and not is_page(page):
        raise MediaError(f"{page} exists and is not a page of this command; choose another name for --html")


def is_report(path: Path) -> bool:
    """Whether a file is a result of this command."""
    try:
        found = load_json(read_small(path, MAX_REPORT_BYTES))
    except (OSError, ValueError, DataError):
        return False
    return isinstance(found, dict) and {"rows", "accepted", "gates", "written_by"} <= found.keys()
