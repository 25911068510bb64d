"""``prismaudio suite``: build a benchmark, and find out which of its media are missing."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import TYPE_CHECKING

from prismaudio.cli.arguments import Parser

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "build": ("prismaudio.cli.suite_build:main", "build a benchmark from clips with labels and links"),
    "missing": ("prismaudio.cli.suite_build:missing", "list the clips of a benchmark whose media are not there"),
}
"""Function of each subcommand, and its line in the help."""


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio suite COMMAND``."""
    parser = Parser(
        "prismaudio suite",
        description="Build benchmarks.",
        epilog="\n".join(["commands:", *(f"  {name:8} {summary}" for name, (_, summary) in COMMANDS.items())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "command", metavar="COMMAND", choices=COMMANDS, help="prismaudio suite COMMAND --help lists its options"
    )
    module, _, function = COMMANDS[parser.parse_args(argv[:1]).command][0].partition(":")
    return int(getattr(import_module(module), function)(argv[1:]))
