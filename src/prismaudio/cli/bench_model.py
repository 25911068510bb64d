"""``prismaudio bench model``: speed of a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from prismaudio.autoencoders.oobleck import OobleckAutoencoder
from prismaudio.benchmarks import Benchmark, Report
from prismaudio.benchmarks.speed import ModelSpeed
from prismaudio.cli.arguments import add_revision, names, number, positive, whole
from prismaudio.devices import find_device
from prismaudio.inference import PrismAudio
from prismaudio.models.dit import DiffusionTransformer

if TYPE_CHECKING:
    import argparse

PRECISIONS = ("fp32", "bf16")


class ModelBenchmark(Benchmark):
    """Time one guided velocity and a full clip, relative to a matrix product on the same device."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of ``prismaudio bench model``."""
        parser.add_argument(
            "--model", metavar="NAME|DIR|ID", help="model to time; by default the published size with random weights"
        )
        add_revision(parser)
        parser.add_argument(
            "--duration", type=number(0.2, 3600), default=9.0, metavar="SECONDS", help="length of the clip"
        )
        parser.add_argument("--steps", type=positive, default=24, help="Euler steps per clip")
        parser.add_argument(
            "--guidance", type=number(0, 100), default=5.0, help="scale of classifier-free guidance; must differ from 1"
        )
        parser.add_argument(
            "--precision", type=names("precision", PRECISIONS), default=PRECISIONS, help="comma-separated precisions"
        )
        parser.add_argument(
            "--batch",
            type=whole(1, 1024),
            nargs="+",
            default=[1],
            metavar="N",
            help="clips that are generated together",
        )
        parser.add_argument("--rounds", type=positive, default=3, help="repetitions of each measurement")
        parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto")
        parser.add_argument(
            "--compile",
            action="store_true",
            help="add rows with torch.compile, and use it for the clip",
        )
        parser.add_argument("--no-clip", action="store_true", help="skip the full clip, which takes minutes on a CPU")

    @classmethod
    def measure(cls, options: argparse.Namespace) -> Report:
        """Run the measurements."""
        speed = ModelSpeed(
            duration_s=options.duration,
            steps=options.steps,
            scale=options.guidance,
            precisions=options.precision,
            batches=tuple(options.batch),
            rounds=options.rounds,
            device=find_device(options.device),
            compiled=options.compile,
            clip=not options.no_clip,
        )
        with Console(stderr=True).status("building the model") as status:
            model = PrismAudio.from_pretrained(options.model, revision=options.revision) if options.model else None
            transformer = model.transformer if model else DiffusionTransformer()
            autoencoder = model.autoencoder if model else OobleckAutoencoder()
            return speed.run(transformer, autoencoder, status.update)

    @classmethod
    def show(cls, report: Report, options: argparse.Namespace, console: Console) -> None:
        """Print a line for each precision, then the environment."""
        console.print(report.listing(f"{options.duration:g} s clip, {options.rounds} rounds"))
        console.print(", ".join(f"{name} {value}" for name, value in report.meta.items() if name != "versions"))
