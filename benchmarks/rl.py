"""Benchmark of post-training methods: ``python benchmarks/rl.py --quick --json OUT``.

It counts the network evaluations that each method needs to reach a target reward. Run it from a clone of the
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
        Exit code, as for every command of ``prismaudio``.
    """
    return run_reporting_errors(lambda: run(parser().parse_args(argv)))


def parser() -> Parser:
    """The options."""
    parser = Parser(
        "benchmarks/rl.py",
        description="Network evaluations that each method of reinforcement learning needs to reach a target reward.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="only the main methods and learning rates (the default)")
    size.add_argument("--full", action="store_true", help="all methods, with every learning rate")
    size.add_argument(
        "--studio",
        action="store_true",
        help="post-train the studio model with the rewards of the core, by the main methods only (an hour)",
    )
    parser.add_argument(
        "--seeds",
        type=positive,
        default=argparse.SUPPRESS,
        help="number of runs of each method and learning rate (default: 5, with --studio 3)",
    )
    parser.add_argument("--seed", type=seed, default=0, help="the first of the seeds")
    parser.add_argument("--processes", type=positive, default=2, help="number of parallel runs, each on one thread")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="folder of finished runs, which are not repeated")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the results to this file")
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="plot the rewards to this file")
    parser.add_argument("--force", action="store_true", help="overwrite files that are not benchmark reports")
    return parser


def run(options: argparse.Namespace) -> int:
    """Run the benchmark, print its tables and write its files."""
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
