"""The methods of reinforcement learning against each other: ``python benchmarks/rl.py --quick --json OUT``.

It counts how often the network is evaluated until the policy reaches a reward, by method. It is run from a clone of the
repository, in an environment where ``prismaudio`` is installed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from prismaudio.cli.arguments import Parser, positive, seed
from prismaudio.cli.bench import check_output
from prismaudio.cli.main import run_reporting_errors


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark.

    Args:
        argv: Arguments without the program's name; those of the process by default.

    Returns:
        Exit code, as that of every command of ``prismaudio``.
    """
    return run_reporting_errors(lambda: run(parser().parse_args(argv)))


def parser() -> Parser:
    """The options."""
    parser = Parser(
        "benchmarks/rl.py",
        description="Reinforcement learning: evaluations of the network up to a reward, by method.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="the main result only; this is the default")
    size.add_argument("--full", action="store_true", help="all methods, with every learning rate")
    size.add_argument(
        "--studio",
        action="store_true",
        help="the second environment: the main methods post-train the studio model, with the core's rewards (an hour)",
    )
    parser.add_argument(
        "--seeds",
        type=positive,
        default=argparse.SUPPRESS,
        help="runs of each method and learning rate (default: 5, with --studio 3)",
    )
    parser.add_argument("--seed", type=seed, default=0, help="the first of the seeds")
    parser.add_argument("--processes", type=positive, default=2, help="runs at a time, each on one thread")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="keep finished runs here, and go on from them")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="draw the rewards into this file")
    parser.add_argument("--force", action="store_true", help="write over files that are there and hold something else")
    return parser


def run(options: argparse.Namespace) -> int:
    """Run what the options say, print its tables and write its files."""
    for option in ("json", "plot"):
        if (path := getattr(options, option)) is not None:
            check_output(path, option, options)
    from rich.console import Console
    from rich.progress import Progress

    from rl_benchmark.plot import save_plot
    from rl_benchmark.protocol import RLBenchmark

    benchmark = RLBenchmark.full() if options.full else RLBenchmark.quick()
    if options.studio:
        benchmark = RLBenchmark.studio()
    seeds = range(options.seed, options.seed + getattr(options, "seeds", len(benchmark.seeds)))
    benchmark = benchmark.restricted(seeds=seeds, processes=options.processes, kept=options.runs)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("rl")
        report = benchmark.run(
            lambda what, done, total: progress.update(task, description=f"rl, {what}", completed=done, total=total)
        )
    if options.json:
        report.save(options.json)
    if options.plot:
        save_plot(report, options.plot)
    console = Console(width=None if sys.stdout.isatty() else 140)
    for table in report.tables():
        console.print(table)
    for name, ratio in report.as_dict()["ratio"].items():
        console.print(f"{name}: {'not reached' if ratio is None else f'{ratio:.2f}'}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
