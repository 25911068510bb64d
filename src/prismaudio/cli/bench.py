"""``prismaudio bench``: measure a model, rewards, or what a plugin has a benchmark for."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from prismaudio.cli.arguments import Parser, model_files
from prismaudio.components import Component
from prismaudio.errors import MediaError, UnknownNameError
from prismaudio.registry import Registry, discover

if TYPE_CHECKING:
    from prismaudio.benchmarks import Benchmark

SUFFIX = "Benchmark"


def main(argv: list[str]) -> int:
    """Run ``prismaudio bench`` with the name of what is to be measured."""
    registry = discover()
    known = {short(name): name for name in registry.names("benchmarks")}
    top = Parser(
        "prismaudio bench",
        description=__doc__,
        epilog=listing(registry),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("what", metavar="NAME", help="what is measured; prismaudio bench NAME --help says more")
    wanted = top.parse_args(argv[:1]).what
    if wanted not in known:
        official = f"{wanted.capitalize()}{SUFFIX}"
        advice = registry.advice(official, []) if registry.provider(official) else registry.advice(wanted, known)
        raise UnknownNameError(f"no benchmark is named {wanted!r}; {advice}")
    kind: type[Benchmark] = registry.load("benchmarks", known[wanted])
    parser = Parser(
        f"prismaudio bench {wanted}",
        description=(kind.__doc__ or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    kind.add_arguments(parser)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    parser.add_argument("--force", action="store_true", help="write over files that are there and hold something else")
    return run(kind, parser.parse_args(argv[1:]))


def run(kind: type[Benchmark], options: argparse.Namespace) -> int:
    """Measure, write the figures and print them."""
    from rich.console import Console

    for option in ("json", "output"):
        if (path := getattr(options, option, None)) is not None:
            check_output(path, option, options)
    report = kind.measure(options)
    if options.json:
        report.save(options.json)
    kind.show(report, options, Console(width=None if sys.stdout.isatty() else 160))
    return 0


def short(name: str) -> str:
    """What a benchmark is called on the command line.

    Example:
        >>> short("StudioBenchmark")
        'studio'
    """
    return name.removesuffix(SUFFIX).lower()


def listing(registry: Registry) -> str:
    """A line for each installed benchmark."""
    items = [entry.item for entry in registry.entries if entry.kind == "benchmarks"]
    lines = [f"  {short(item.name):12} {item.summary}" for item in items if isinstance(item, Component)]
    return "\n".join(["benchmarks:", *lines])


def check_output(path: Path, option: str, options: argparse.Namespace) -> None:
    """See, before anything is measured, that a file may be written.

    Raises:
        PrismAudioError: It is a folder, a file of the model, or a file of somebody else and ``--force`` is not said.
    """
    from prismaudio.benchmarks.report import is_report
    from prismaudio.media.files import spare

    if path.is_dir():
        raise UnknownNameError(f"{path} is a folder; --{option} wants the name of a file to write")
    spare(path, model_files(getattr(options, "model", None)))
    if path.exists() and not options.force and not is_report(path):
        raise MediaError(f"{path} exists and is no report of a benchmark; choose another name, or say --force")
