"""``prismaudio cot``: build chain-of-thought data."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import TYPE_CHECKING

from prismaudio.cli.arguments import Parser

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "build": ("prismaudio.cli.cot_build:main", "write, check and filter the chain of thought of each clip"),
    "inspect": ("prismaudio.cli.cot_inspect:inspect", "show what rows contain, and write a page to correct them"),
}
"""Function of each subcommand, and its line in the help."""


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio cot COMMAND``."""
    parser = Parser(
        "prismaudio cot",
        description="Build chain-of-thought data.",
        epilog="\n".join(["commands:", *(f"  {name:8} {summary}" for name, (_, summary) in COMMANDS.items())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "command", metavar="COMMAND", choices=COMMANDS, help="prismaudio cot COMMAND --help lists its options"
    )
    module, _, function = COMMANDS[parser.parse_args(argv[:1]).command][0].partition(":")
    return int(getattr(import_module(module), function)(argv[1:]))
