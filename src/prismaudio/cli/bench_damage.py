"""``prismaudio bench damage``: whether each reward falls when its own dimension is damaged, and only then."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from prismaudio.cli.arguments import Parser, positive, seed

CORE = ("SemanticReward", "TemporalReward", "AestheticReward", "SpatialReward")


def add(kinds: argparse._SubParsersAction[Parser]) -> None:
    """Add the command to those of ``prismaudio bench``."""
    parser = kinds.add_parser(
        "damage",
        help="scores of held-out studio clips, whole and damaged in one dimension",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--seed", type=seed, default=0, help="seed of the held-out clips")
    parser.add_argument("--limit", type=positive, default=200, help="number of clips")
    parser.add_argument("--split", choices=("plain", "randomised"), default="plain", help="how varied the clips are")
    parser.add_argument("--rewards", default=",".join(CORE), help="rewards to try, separated by commas")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")


def run(options: argparse.Namespace) -> int:
    """Run ``prismaudio bench damage``."""
    from rich.console import Console
    from rich.progress import Progress

    from prismaudio.benchmarks.damage import DamageBenchmark
    from prismaudio.registry import discover

    registry = discover()
    rewards = {name: registry.load("rewards", name)() for name in options.rewards.split(",")}
    benchmark = DamageBenchmark(options.seed, options.limit, options.split)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("damage")
        report = benchmark.run(rewards, lambda done, total: progress.update(task, completed=done, total=total))
    if options.json:
        report.save(options.json)
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(report.table(f"{options.limit} held-out clips, {options.split}"))
    return 0
