"""``prismaudio bench features``: seconds and peak memory of the installed encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from prismaudio import __version__
from prismaudio.benchmarks import Benchmark, Report
from prismaudio.cli.arguments import names, number, positive
from prismaudio.devices import find_device
from prismaudio.errors import one_line
from prismaudio.profiling import GIB, Profile, phase
from prismaudio.registry import discover
from prismaudio.signatures import parameters
from prismaudio.testing.examples import example_clip, example_plan

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from rich.console import Console
    from torch import Tensor

    from prismaudio.encoders.base import Encoder
    from prismaudio.types import Clip

COLUMNS = ("load_s", "encode_s", "speed_over_plain", "peak_gib", "gpu_gib", "features", "difference")
PLAIN = " plain"


class FeaturesBenchmark(Benchmark):
    """Time each installed encoder on a clip, and measure the peak memory of the process meanwhile."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of ``prismaudio bench features``."""
        installed = tuple(discover().names("encoders"))
        parser.add_argument(
            "--encoders",
            type=names("encoder", installed),
            default=installed,
            help="comma-separated classes; all by default",
        )
        parser.add_argument(
            "--duration", type=number(0.2, 3600), default=9.0, metavar="SECONDS", help="length of the clip"
        )
        parser.add_argument("--frame-size", type=positive, default=360, metavar="PIXELS", help="side of the frames")
        parser.add_argument("--rounds", type=positive, default=1, help="repetitions of each measurement")
        parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto")
        parser.add_argument(
            "--plain",
            action="store_true",
            help="measure the plain computation of encoders that have one, too; it may need far more memory",
        )

    @classmethod
    def measure(cls, options: argparse.Namespace) -> Report:
        """Run the measurements."""
        registry, device = discover(), find_device(options.device)
        report = Report(COLUMNS)
        skipped: dict[str, str] = {}
        for name in options.encoders:
            try:
                kind = registry.load("encoders", name)
                variants = {name: {}} | ({name + PLAIN: kind.plain} if options.plain and kind.plain else {})
                for _ in range(options.rounds):
                    add_rows(report, kind, variants, options, device)
            except Exception as error:  # noqa: BLE001 - a third-party network may raise anything
                skipped[name] = one_line(error)
        report.meta = {
            "duration_s": options.duration,
            "frame_size": options.frame_size,
            "device": str(device),
            "threads": torch.get_num_threads(),
            "versions": {"prismaudio": __version__, "torch": torch.__version__},
            "skipped": skipped,
        }
        return report

    @classmethod
    def show(cls, report: Report, options: argparse.Namespace, console: Console) -> None:
        """Print a line for each encoder, then the skipped ones."""
        console.print(report.listing(f"{options.duration:g} s clip on {report.meta['device']}"))
        console.print("weights are random where an encoder can draw them; times and memory are those of real ones")
        for name, reason in report.meta["skipped"].items():
            console.print(f"{name} was not measured: {reason}", highlight=False)


def add_rows(
    report: Report,
    kind: type[Encoder],
    variants: Mapping[str, Mapping[str, Any]],
    options: argparse.Namespace,
    device: torch.device,
) -> None:
    """Measure an encoder once, and its plain computation with the same weights.

    Raises:
        PrismAudioError: It cannot be created without weights.
    """
    clip, first, first_s = None, None, 0.0
    for row, arguments in variants.items():
        with Profile() as profile:
            with phase("load"):
                encoder = create(kind, arguments, device)
            clip = clip or example(encoder, options)
            with phase("encode"):
                features = encode(encoder, clip)
        loaded, encoded = profile.phases["load"], profile.phases["encode"]
        report.add(row, "load_s", loaded.seconds)
        report.add(row, "encode_s", encoded.seconds)
        report.add(row, "peak_gib", encoded.peak_bytes / GIB)
        report.add(row, "features", len(features))
        if device.type == "cuda":
            report.add(row, "gpu_gib", encoded.device_bytes / GIB)
        if first is None:
            first, first_s = features, encoded.seconds
        else:
            report.add(row, "difference", float((features - first).abs().max()))
            report.add(next(iter(variants)), "speed_over_plain", encoded.seconds / first_s)
        del encoder


def create(kind: type[Encoder], arguments: Mapping[str, Any], device: torch.device) -> Encoder:
    """Create an encoder, with random weights if it can draw them."""
    torch.manual_seed(0)
    drawn = {"weights": "random"} if "weights" in parameters(kind) else {}
    encoder = kind(**drawn, **arguments)
    return encoder.to(device).eval() if isinstance(encoder, torch.nn.Module) else encoder


def example(encoder: Encoder, options: argparse.Namespace) -> Clip:
    """A clip of the given length at the frame rate of an encoder."""
    fps = 25.0 if encoder.frame_spec is None else encoder.frame_spec.fps
    return example_clip(options.duration, options.frame_size, fps)


@torch.inference_mode()
def encode(encoder: Encoder, clip: Clip) -> Tensor:
    """The features of a clip, on the CPU."""
    return encoder.encode(clip, example_plan()).float().cpu()
