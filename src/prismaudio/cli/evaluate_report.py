"""``prismaudio evaluate report``: the report of an evaluation, written anew."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from prismaudio.cli.arguments import Parser
from prismaudio.media.files import check_writable
from prismaudio.paths import expanded
from prismaudio.registry import discover

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_EPILOG = """\
Every prismaudio evaluate writes report.html, results.tex, results.csv and clips.csv into its folder; this command
writes them anew without scoring, for example after the folder was moved.

examples:
  prismaudio evaluate report evaluation
  prismaudio evaluate report evaluation --embed -o share.html
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of ``prismaudio evaluate report``."""
    parser = Parser(
        "prismaudio evaluate report",
        description="Write the report of an evaluation, a page that needs no server, and its tables.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="DIR", help="folder that prismaudio evaluate wrote with -o")
    parser.add_argument("--embed", action="store_true", help="put the media into the page, up to 50 MB")
    parser.add_argument("-o", "--output", metavar="OUT", help="the page (default: DIR/report.html)")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio evaluate report``.

    Returns:
        0, also where media are not there: they are counted and named.
    """
    options = make_parser().parse_args(argv)
    folder = expanded(options.folder)
    target = None if options.output is None else expanded(options.output)
    if folder.is_dir():
        check_writable(folder)
    write(folder, target, embed=options.embed)
    return 0


def write(folder: Path, target: Path | None = None, *, embed: bool = False) -> None:
    """Write the report, and print where it is and what it lacks."""
    from prismaudio.evaluation.report import write_report

    sections = discover().sections()
    for line in write_report(folder, sections, target=target, embed=embed):
        sys.stderr.write(f"warning: {line}\n")
    sys.stdout.write(f"report: {target or folder / 'report.html'}\n")
