"""``prismaudio extract``: precompute latents and features of clips for training."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from prismaudio.cli.arguments import Parser, add_model, whole
from prismaudio.cli.launching import Place, add_processes, check_processes, shared_place
from prismaudio.errors import DataError, first_of
from prismaudio.paths import expanded

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from prismaudio.data.writing import FeatureFolder

DTYPES = ("float32", "float16", "bfloat16")
FORMATS = ("safetensors", "webdataset", "npz")
_EPILOG = """\
The autoencoder and the encoders are those of a model, or named. Run the command again to resume: finished clips are
not computed again. A clip that cannot be read is skipped and listed in DIR/failures.jsonl.

Under torchrun or srun, each process takes its part of the clips; no process waits for another. A process that is
killed loses at most the shard that it has open; the same command, with any number of processes, does the rest.

examples:
  prismaudio extract clips.csv -o features
  prismaudio extract clips.csv -o features --devices 8 --batch-size 8 --workers 8
  prismaudio extract clips.csv -o features --encoder video=VideoPrismEncoder --encoder sync=SynchformerEncoder
  prismaudio extract --inspect features --plot features.png
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of ``prismaudio extract``."""
    parser = Parser(
        "prismaudio extract",
        description="Compute the audio latents, and the features of frames and text, of every clip of a manifest.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "manifest", metavar="MANIFEST", nargs="?", help=".csv, .tsv or .jsonl with at least a column 'video'"
    )
    parser.add_argument("-o", "--output", metavar="DIR", help="output folder of the shards")
    parser.add_argument(
        "--planner",
        nargs="?",
        const="",
        metavar="NAME|DIR",
        help="let the planner write the plans of clips with a caption only, or without any text: that of the model, a "
        "planner class, or that of another model",
    )
    parser.add_argument(
        "--plan-column", default="plan", metavar="NAME",
        help="column of the manifest with the plans, such as plan_monolithic of prismaudio cot build "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--shard-size", type=whole(1, 100_000), default=128, metavar="N", help="clips per shard (default: %(default)s)"
    )
    parser.add_argument(
        "--dtype", choices=DTYPES, default="float32", help="data type of the stored tensors (default: %(default)s)"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="safetensors",
        help="shards as safetensors or as WebDataset archives, or one .npz per clip with the published keys "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with code 2 if any clip fails, not only if all fail"
    )
    speed = add_processes(parser)
    speed.add_argument(
        "--batch-size", type=whole(1, 1024), default=1, metavar="B",
        help="clips of like length that encoders encode together; the features are the same within rounding "
        "(default: %(default)s)",
    )  # fmt: skip
    add_model(parser)
    parts = parser.add_argument_group("components without a model folder")
    parts.add_argument(
        "--encoder", action="append", default=[], metavar="STREAM=CLASS",
        help="encoder of a stream, such as video=VideoPrismEncoder, or with arguments as in a recipe: "
        "'text={class_path: NAME, init_args: {weights: DIR}}'; without --model, only these streams are computed",
    )  # fmt: skip
    parts.add_argument(
        "--autoencoder", metavar="NAME|DIR|FILE|none",
        help="model, or checkpoint file, with the autoencoder of the latents; none for features without latents, as of "
        "silent videos (default: that of --model)",
    )  # fmt: skip
    look = parser.add_argument_group("inspection")
    look.add_argument(
        "--inspect", metavar="DIR", help="show counts, shapes, lengths and damage of a folder of features, and stop"
    )
    look.add_argument("--plot", metavar="FILE", help="plot lengths and statistics of --inspect to a .png, .pdf or .svg")
    look.add_argument("--json", metavar="OUT", help="write what --inspect finds to OUT; - for standard output")
    return parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments and check that they go together."""
    parser = make_parser()
    options = parser.parse_args(argv)
    if options.inspect:
        return options
    if options.plot or options.json:
        parser.error("--plot and --json need --inspect DIR")
    if not options.manifest and options.planner:  # `--planner clips.csv`
        options.manifest, options.planner = options.planner, ""
    if lacking := [
        name for name, value in (("MANIFEST", options.manifest), ("-o/--output", options.output)) if not value
    ]:
        parser.error(f"the following arguments are required: {', '.join(lacking)}")
    if options.format != "safetensors" and options.dtype == "bfloat16":
        parser.error(f"--format {options.format} has no bfloat16; use --dtype float16, or --format safetensors")
    check_processes(parser, options)
    return options


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio extract``."""
    options = parse(argv)
    if options.inspect:
        from prismaudio.cli.extract_inspect import inspect

        return inspect(options.inspect, options.json, options.plot)
    place = shared_place(["extract"], argv, options)
    return 0 if place is None else extract(options, place)


def extract(options: argparse.Namespace, place: Place) -> int:
    """Compute the clips of this process."""
    from prismaudio.cli.extract_models import make_extractor
    from prismaudio.cli.extract_run import ExtractRun
    from prismaudio.data.manifest import read_manifest
    from prismaudio.data.writing import FeatureFolder
    from prismaudio.progress import Reporter
    from prismaudio.registry import discover

    sections = discover().sections()
    everything = read_manifest(options.manifest, sections, some_may_lack=True, plan_column=options.plan_column)
    entries = everything[place.rank :: place.world]
    extractor = make_extractor(options, place.device(options.device))
    infix = f"-{place.rank + 1}of{place.world}" if place.world > 1 else ""
    folder = FeatureFolder(expanded(options.output), extractor.description(), options.shard_size, infix, options.format)
    planner = "" if options.planner is None else f"planner{options.planner and f' {options.planner}'}"
    settings = f"{options.dtype} {planner}"
    if place.rank == 0 and (others := sorted(folder.done.keys() - {entry.id for entry in everything})):
        sys.stderr.write(
            f"note: {folder.folder} has clips that {options.manifest} does not list: {first_of(others, 3)}\n"
        )
    waiting = [entry for entry in entries if not folder.is_done(entry, settings)]
    with Reporter(len(entries), "clips") as reporter:
        reporter.skip(len(entries) - len(waiting))
        run = ExtractRun(extractor, folder, settings, reporter)
        run.run(waiting, options.workers, options.batch_size)
    return conclude(options, folder, run.failures, {entry.id for entry in entries}, len(waiting))


def conclude(
    options: argparse.Namespace, folder: FeatureFolder, failures: dict[str, str], ids: Collection[str], n_waiting: int
) -> int:
    """Print a summary and return the exit code.

    Raises:
        DataError: All clips failed, or, with ``--strict``, any of them.
    """
    listed = folder.report(failures, ids)
    if failures and (options.strict or (len(failures) == len(ids) and not folder.has_clips())):
        first = next(f"{name}: {why}" for name, why in failures.items())
        raise DataError(f"{len(failures)} of {len(ids)} clips failed; the first is {first}; all are listed in {listed}")
    if not ids:
        sys.stderr.write(f"{folder.folder}: no clips for this process\n")
        return 0
    sys.stderr.write(
        f"{folder.folder}: {folder.n_written} clips computed, {len(ids) - n_waiting} already done"
        + (f", {len(failures)} skipped, see {listed}" if failures else "")
        + f"; train on them with --data.manifest {options.output}\n"
    )
    return 0
