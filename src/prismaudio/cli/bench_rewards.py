"""``prismaudio bench rewards``: cost of scoring."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from prismaudio.benchmarks import Benchmark, Report
from prismaudio.benchmarks.rewards import RewardCosts, untrained
from prismaudio.cli.arguments import number, positive
from prismaudio.devices import find_device
from prismaudio.errors import CheckpointError, PrismAudioError, one_line
from prismaudio.registry import Registry, discover
from prismaudio.rewards.shared_space import CosineReward
from prismaudio.testing.examples import example_clip, example_plan

if TYPE_CHECKING:
    from prismaudio.rewards.base import Reward

RANDOM = " *"
"""Suffix of rewards that run with random weights."""


class RewardsBenchmark(Benchmark):
    """Time each installed reward for a clip, by phase, and compare it with an uncached loop over files."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of ``prismaudio bench rewards``."""
        parser.add_argument("--rewards", metavar="NAMES", help="comma-separated rewards to time; all by default")
        parser.add_argument(
            "--duration", type=number(0.2, 600), default=9.0, metavar="SECONDS", help="length of the clip"
        )
        parser.add_argument("--group", type=positive, default=8, help="samples of the clip's group")
        parser.add_argument("--looped", type=positive, default=2, help="samples that the loop over files scores")
        parser.add_argument("--rounds", type=positive, default=1, help="repetitions of each measurement")
        parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto")

    @classmethod
    def measure(cls, options: argparse.Namespace) -> Report:
        """Time the selected rewards."""
        registry = discover()
        names = options.rewards.split(",") if options.rewards else registry.names("rewards")
        for name in names:
            registry.find("rewards", name)
        costs = RewardCosts(
            group=options.group,
            looped=min(options.looped, options.group),
            rounds=options.rounds,
            device=find_device(options.device),
        )
        missing: dict[str, str] = {}
        clip = example_clip(options.duration, costs.side, sample_rate_hz=44_100)
        with tempfile.TemporaryDirectory() as folder, Console(stderr=True).status("rewards") as status:
            report = costs.run(rewards(registry, names, Path(folder), missing), clip, example_plan(), status.update)
        report.meta["random_weights"] = [row for row in report.values if row.endswith(RANDOM)]
        report.meta["skipped"] |= missing
        return report

    @classmethod
    def show(cls, report: Report, options: argparse.Namespace, console: Console) -> None:
        """Print a line for each reward, then the skipped rewards."""
        clock = "processor" if report.meta["clock"] == "processor" else "clock"
        console.print(report.listing(f"{options.duration:g} s clip, group of {options.group}, seconds of the {clock}"))
        if report.meta["random_weights"]:
            console.print("* random weights of the published size: the times are valid, the scores are meaningless")
        for name, reason in report.meta["skipped"].items():
            console.print(f"{name} was not timed: {reason}", highlight=False)


def rewards(
    registry: Registry, names: list[str], folder: Path, missing: dict[str, str]
) -> Iterator[tuple[str, Reward]]:
    """Yield rewards by name, with random weights where the published ones are missing.

    Args:
        registry: The installed plugins.
        names: Names of the rewards.
        folder: Folder for placeholder tokenizers.
        missing: Filled with the reason for each reward that cannot be created.
    """
    for name in names:
        kind: type[Reward] = registry.load("rewards", name)
        try:
            yield name, kind()
            continue
        except CheckpointError as error:
            reason = str(error)
        except (PrismAudioError, TypeError) as error:
            missing[name] = one_line(error)
            continue
        made = untrained(kind, placeholder_tokenizer(kind, folder))
        if made is None:
            missing[name] = reason
        else:
            yield name + RANDOM, made


def placeholder_tokenizer(kind: type, folder: Path) -> str | None:
    """Write a word-level tokenizer with the vocabulary size of a reward's published one; None if it has none."""
    published = kind.published_tokenizer if issubclass(kind, CosineReward) else None
    if published is None:
        return None
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {f"[{index}]": index for index in range(published.n_tokens)}
    made = Tokenizer(models.WordLevel(words, unk_token="[99]"))  # noqa: S106  (not a password)
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    path = folder / f"{kind.__name__}.json"
    made.save(str(path))
    return str(path)
