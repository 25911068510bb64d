"""``prismaudio bench``: measure a model or a method, or refit the instruments that measure a model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from prismaudio.cli import bench_damage, bench_rewards
from prismaudio.cli.arguments import Parser, model_files, number, positive, seed, whole
from prismaudio.errors import MediaError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable

    from prismaudio.inference import PrismAudio

ROWS = ("truth", "codec", "given_plan", "end_to_end", "shuffled")
PRECISIONS = ("fp32", "bf16")
NEED_A_MODEL = ("codec", "given_plan", "end_to_end")


def main(argv: list[str]) -> int:
    """Run ``prismaudio bench`` with what is to be measured: studio, model, rewards, damage, or instruments."""
    options = _parser().parse_args(argv)
    run = {
        "studio": _studio,
        "model": _model,
        "rewards": bench_rewards.run,
        "damage": bench_damage.run,
        "instruments": _instruments,
    }[options.what]
    for option in ("json", "output"):
        if (path := getattr(options, option, None)) is not None:
            check_output(path, option, options)
    return run(options)


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


def _parser() -> argparse.ArgumentParser:
    parser = Parser("prismaudio bench", description=__doc__)
    kinds = parser.add_subparsers(dest="what", required=True, metavar="{studio,model,rewards,damage,instruments}")
    studio = kinds.add_parser(
        "studio",
        help="held-out clips of the procedural world: onsets, direction, class, quality, room, edits of the plan",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    studio.add_argument("--seed", type=seed, default=0, help="seed of the held-out clips")
    studio.add_argument("--limit", type=positive, default=300, help="number of clips")
    studio.add_argument("--split", choices=("plain", "randomised"), default="plain", help="how varied the pictures are")
    studio.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    studio.add_argument("--model", metavar="DIR", help="checkpoint to measure; the embedded model by default")
    studio.add_argument("--seeds", type=positive, default=3, help="number of sampling seeds")
    studio.add_argument(
        "--edit-limit", type=whole(0, 2**31 - 1), default=100, help="number of clips whose plan is edited"
    )
    studio.add_argument("--rows", type=_names("row", ROWS), default=ROWS, help="rows to measure, separated by commas")
    studio.add_argument(
        "--guidance", type=number(0, 100), help="scale of classifier-free guidance; the model's own by default"
    )
    studio.add_argument(
        "--picture",
        choices=("training", "filmed"),
        help="size and frame rate of the pictures: of training, or as filmed; by default filmed for randomised only",
    )
    studio.add_argument("--batch-size", type=positive, default=16, help="clips rendered together")
    _add_model(kinds)
    bench_rewards.add(kinds)
    bench_damage.add(kinds)
    instruments = kinds.add_parser(
        "instruments",
        help="refit the classifier of what sounds, from training clips",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    instruments.add_argument("--seed", type=seed, default=0, help="seed of the training clips and of the fit")
    instruments.add_argument("--count", type=positive, default=2000, help="number of training clips")
    instruments.add_argument("-o", "--output", type=Path, required=True, help="safetensors file to write")
    for kind in kinds.choices.values():
        kind.add_argument(
            "--force", action="store_true", help="write over files that are there and hold something else"
        )
    return parser


def _add_model(kinds: argparse._SubParsersAction[Parser]) -> None:
    model = kinds.add_parser(
        "model",
        help="speed of a network: one guided velocity and a whole clip, against the machine's matrix product",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    model.add_argument("--model", metavar="DIR", help="model to time; by default random weights of the published size")
    model.add_argument("--duration", type=number(0.2, 3600), default=9.0, metavar="SECONDS", help="length of the clip")
    model.add_argument("--steps", type=positive, default=24, help="Euler steps of a clip")
    model.add_argument("--guidance", type=number(0, 100), default=5.0, help="scale of classifier-free guidance, not 1")
    model.add_argument(
        "--precision", type=_names("precision", PRECISIONS), default=PRECISIONS, help="separated by commas"
    )
    model.add_argument("--rounds", type=positive, default=3, help="how often each row is timed")
    model.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto")
    model.add_argument("--compile", action="store_true", help="use torch.compile for the clip, and time it alone")
    model.add_argument("--no-clip", action="store_true", help="leave out the whole clip, which takes minutes on a CPU")
    model.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")


def _names(what: str, known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    """The type of some of the known names, separated by commas."""

    def convert(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"no {what} named {unknown[0]!r}; {what}s: {','.join(known)}")
        return names

    return convert


def _load(options: argparse.Namespace) -> PrismAudio | None:
    if not any(row in options.rows for row in NEED_A_MODEL):
        return None
    from prismaudio.inference import PrismAudio

    return PrismAudio.from_pretrained(options.model)


def _studio(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import Progress

    from prismaudio.benchmarks.studio import StudioBenchmark

    model = _load(options)
    benchmark = StudioBenchmark(
        seed=options.seed,
        limit=options.limit,
        split=options.split,
        seeds=options.seeds,
        edit_limit=options.edit_limit,
        batch_size=options.batch_size,
        guidance=options.guidance,
        rows=options.rows,
        picture=options.picture,
    )
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(f"studio, {options.split}")
        report = benchmark.run(model, lambda done, total: progress.update(task, completed=done, total=total))
    if options.json:
        report.save(options.json)
    title = f"studio, {options.split}, {options.limit} held-out clips, {options.seeds} sampling seeds"
    Console().print(report.table(title))
    return 0


def _model(options: argparse.Namespace) -> int:
    from rich.console import Console

    from prismaudio.autoencoders.oobleck import OobleckAutoencoder
    from prismaudio.benchmarks.speed import ModelBenchmark
    from prismaudio.devices import find_device
    from prismaudio.inference import PrismAudio
    from prismaudio.models.dit import DiffusionTransformer

    benchmark = ModelBenchmark(
        duration_s=options.duration,
        steps=options.steps,
        scale=options.guidance,
        precisions=options.precision,
        rounds=options.rounds,
        device=find_device(options.device),
        compiled=options.compile,
        clip=not options.no_clip,
    )
    with Console(stderr=True).status("building the model") as status:
        model = PrismAudio.from_pretrained(options.model) if options.model else None
        transformer = model.transformer if model else DiffusionTransformer()
        autoencoder = model.autoencoder if model else OobleckAutoencoder()
        report = benchmark.run(transformer, autoencoder, status.update)
    if options.json:
        report.save(options.json)
    console = Console()
    console.print(report.listing(f"{options.duration:g} s clip, {options.rounds} rounds"))
    console.print(", ".join(f"{name} {value}" for name, value in report.meta.items() if name != "versions"))
    return 0


def _instruments(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import Progress

    from prismaudio.benchmarks.instruments import accuracy, fit_classifier, training_set
    from prismaudio.media import replacing

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("rendering training clips", total=options.count)
        features, labels = training_set(options.seed, options.count, lambda: progress.advance(task))
    classifier = fit_classifier(features, labels, options.seed)
    with replacing(options.output, "choose another with -o") as part:
        classifier.save(part)
    Console().print(f"{options.output}: accuracy {accuracy(classifier, options.seed, 200):.3f} on 200 held-out clips")
    return 0
