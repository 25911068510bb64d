"""``prismaudio bench``: run the benchmark of a model, of rewards or of a plugin."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from prismaudio.cli.arguments import Parser
from prismaudio.cli.building import join_planner_arguments
from prismaudio.components import Component
from prismaudio.errors import MediaError, UnknownNameError
from prismaudio.registry import Registry, discover

if TYPE_CHECKING:
    from prismaudio.benchmarks import Benchmark

SUFFIX = "Benchmark"


def main(argv: list[str]) -> int:
    """Run ``prismaudio bench NAME``."""
    registry = discover()
    known = {command_name(name): name for name in registry.names("benchmarks")}
    top = Parser(
        "prismaudio bench",
        description="Run the benchmark of a model, of rewards or of a plugin.",
        epilog=listing(registry),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("what", metavar="NAME", help="the benchmark; prismaudio bench NAME --help lists its options")
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
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the results to this file")
    parser.add_argument("--force", action="store_true", help="overwrite files that are not benchmark reports")
    return run(kind, parser.parse_args(join_planner_arguments(argv[1:])))


def run(kind: type[Benchmark], options: argparse.Namespace) -> int:
    """Run a benchmark, write its results and print them."""
    from rich.console import Console

    for option in ("json", "output"):
        if (path := getattr(options, option, None)) is not None:
            check_output(path, option, options)
    report = kind.measure(options)
    if options.json:
        report.save(options.json)
    kind.show(report, options, Console(width=None if sys.stdout.isatty() else 160))
    return 0


def command_name(name: str) -> str:
    """The name of a benchmark on the command line.

    Example:
        >>> command_name("StudioBenchmark")
        'studio'
    """
    return name.removesuffix(SUFFIX).lower()


def listing(registry: Registry) -> str:
    """A list of the installed benchmarks, one per line."""
    items = [entry.item for entry in registry.entries if entry.kind == "benchmarks"]
    lines = [f"  {command_name(item.name):12} {item.summary}" for item in items if isinstance(item, Component)]
    return "\n".join(["benchmarks:", *lines])


def check_output(path: Path, option: str, options: argparse.Namespace) -> None:
    """Check, before the benchmark runs, that an output file may be written.

    Raises:
        PrismAudioError: The path is a folder, a file of the model, or, without ``--force``, a file that is not a
            report.
    """
    from prismaudio.benchmarks.report import is_report
    from prismaudio.media.files import spare
    from prismaudio.pretrained import local_files

    if path.is_dir():
        raise UnknownNameError(f"{path} is a folder; expected the name of a file to write for --{option}")
    spare(path, local_files(getattr(options, "model", None)))
    if path.exists() and not options.force and not is_report(path):
        raise MediaError(f"{path} exists and is not a benchmark report; choose another name, or add --force")
