"""``prismaudio bench train``: speed of the foundation stage."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from contextlib import nullcontext
from typing import TYPE_CHECKING

from rich.console import Console

from prismaudio.benchmarks import Benchmark, Report
from prismaudio.cli.arguments import number, positive, whole
from prismaudio.cli.fit import quiet
from prismaudio.cli.launching import n_cpus
from prismaudio.devices import find_device
from prismaudio.errors import PrismAudioError
from prismaudio.models.dit import DiffusionTransformer, published_streams
from prismaudio.training.speed import DTYPES, TrainingSpeed

if TYPE_CHECKING:
    import argparse

REDUCED_DIMS = {"video": (64, 128), "sync": (48, 128), "text": (64, 128)}
"""Feature and token dims of the streams of the reduced network."""


class TrainBenchmark(Benchmark):
    """Time training steps of the foundation stage, relative to a matrix product on the same device."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of ``prismaudio bench train``."""
        parser.add_argument("--reduced", action="store_true", help="a network of 128 dims and 2 blocks, for a CPU")
        parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
        parser.add_argument(
            "--devices", type=whole(1, 1024), default=1, metavar="N", help="processes, one for each device, with DDP"
        )
        parser.add_argument(
            "--precision", choices=sorted(DTYPES), help="precision of the trainer; by default bf16-mixed on a GPU, "
            "32-true elsewhere"
        )  # fmt: skip
        parser.add_argument(
            "--batch-size", type=positive, metavar="N", help="clips per batch and process; by default 64 on a GPU, "
            "1 elsewhere"
        )  # fmt: skip
        parser.add_argument(
            "--duration", type=number(0.2, 600), default=9.0, metavar="SECONDS", help="length of the crops"
        )
        parser.add_argument("--warmup", type=positive, default=3, metavar="N", help="steps that are not measured")
        parser.add_argument(
            "--steps", type=positive, metavar="N", help="steps of a round; by default 20 on a GPU, or 2"
        )
        parser.add_argument("--rounds", type=positive, default=3, help="repetitions of each measurement")
        parser.add_argument("--compile", action="store_true", help="compile the blocks with torch.compile")
        parser.add_argument("--no-ema", action="store_true", help="without moving averages of the weights")
        parser.add_argument(
            "--workers", type=whole(0, 1024), metavar="N", help="processes that read the features; by default up to 8 "
            "on a GPU, 0 elsewhere"
        )  # fmt: skip

        parser.add_argument(
            "--short", type=number(0, 1), default=0.0, metavar="SHARE", help="share of the clips that are shorter than "
            "the crops, which pads batches"
        )  # fmt: skip
        parser.add_argument(
            "--kernels",
            type=whole(0, 100),
            default=0,
            metavar="N",
            help="list the N kernels that take most of the time",
        )

    @classmethod
    def measure(cls, options: argparse.Namespace) -> Report:
        """Train and measure; further processes that Lightning starts end here."""
        device = find_device(options.device)
        if str(device) not in ("cpu", "cuda"):
            raise PrismAudioError(
                f"training on {options.device} is not measured; use cpu, or cuda with CUDA_VISIBLE_DEVICES"
            )
        cuda = device.type == "cuda"
        quiet()
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        warnings.filterwarnings("ignore", message="Total length of `list`")  # there is no validation
        speed = TrainingSpeed(
            _reduced if options.reduced else DiffusionTransformer,
            accelerator=device.type,
            devices=options.devices,
            precision=options.precision or ("bf16-mixed" if cuda else "32-true"),
            batch_size=options.batch_size or (64 if cuda else 1),
            duration_s=options.duration,
            steps=options.steps or (20 if cuda else 2),
            rounds=options.rounds,
            warmup=options.warmup,
            compiled=options.compile,
            averaged=not options.no_ema,
            workers=options.workers if options.workers is not None else min(8, n_cpus() - 1) if cuda else 0,
            short=options.short,
            n_kernels=options.kernels,
            side=512 if options.reduced else None,
        )
        first = os.environ.get("LOCAL_RANK", "0") == "0"  # which Lightning sets for the processes that it starts
        with Console(stderr=True).status("training") if first else nullcontext():
            report = speed.run()
        if report is None:
            sys.exit()
        return report

    @classmethod
    def show(cls, report: Report, options: argparse.Namespace, console: Console) -> None:
        """Print a line for each row, then the settings."""
        console.print(report.listing(f"{options.rounds} rounds of training, seconds of a step"))
        settings = {name: value for name, value in report.meta.items() if name not in ("versions", "kernels")}
        console.print(", ".join(f"{name} {value}" for name, value in settings.items()))
        for name, share in report.meta["kernels"].items():
            console.print(f"{share:7.1%} {name}", highlight=False, markup=False)


def _reduced() -> DiffusionTransformer:
    return DiffusionTransformer(64, 128, 2, 2, published_streams(128, REDUCED_DIMS))
