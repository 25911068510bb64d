"""``prismaudio extract``: precompute latents and features of clips for training."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from prismaudio.cli.arguments import Parser, add_model, whole
from prismaudio.errors import DataError, one_line, print_traceback
from prismaudio.paths import expanded
from prismaudio.untrusted import escaped

if TYPE_CHECKING:
    from prismaudio.data.extraction import Extractor
    from prismaudio.data.manifest import ManifestEntry
    from prismaudio.data.writing import FeatureFolder
    from prismaudio.progress import Reporter

DTYPES = ("float32", "float16", "bfloat16")


def make_parser() -> argparse.ArgumentParser:
    """The command line of ``prismaudio extract``."""
    parser = Parser(
        "prismaudio extract",
        description="Compute the audio latents, and the features of frames and text, of every clip of a manifest, "
        "with the autoencoder and the encoders of a model. Run it again to resume: finished clips are not computed "
        "again. A clip that cannot be read is skipped and listed in DIR/failures.jsonl.",
    )
    parser.add_argument("manifest", metavar="MANIFEST", help=".csv, .tsv or .jsonl with at least a column 'video'")
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="output folder of the shards")
    parser.add_argument(
        "--planner",
        action="store_true",
        help="let the planner write the plans of clips with a caption only, or without any text",
    )
    parser.add_argument(
        "--shard-size", type=whole(1, 100_000), default=128, metavar="N", help="clips per shard (default: %(default)s)"
    )
    parser.add_argument(
        "--dtype", choices=DTYPES, default="float32", help="data type of the stored tensors (default: %(default)s)"
    )
    parser.add_argument(
        "--part",
        type=_part,
        default=(1, 1),
        metavar="I/N",
        help="process only part I of N, for N processes or cluster jobs",
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with code 2 if any clip fails, not only if all fail"
    )
    add_model(parser)
    return parser


def _part(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    number, total = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= total:
        raise argparse.ArgumentTypeError(f"{text!r} is not a part; expected I/N such as 1/4, with I from 1 to N")
    return number, total


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio extract``."""
    options = make_parser().parse_args(argv)
    from prismaudio.data.manifest import read_manifest
    from prismaudio.data.writing import FeatureFolder
    from prismaudio.progress import Reporter
    from prismaudio.registry import discover

    entries = read_manifest(options.manifest, [dimension.name for dimension in discover().dimensions()])
    number, total = options.part
    entries = entries[number - 1 :: total]
    extractor = make_extractor(options)
    part = f"-{number}of{total}" if total > 1 else ""
    folder = FeatureFolder(expanded(options.output), extractor.description(), options.shard_size, part)
    settings = f"{options.dtype} {'planner' if options.planner else ''}"
    waiting = [entry for entry in entries if not folder.is_done(entry, settings)]
    with Reporter(len(entries), "clips") as reporter:
        reporter.count(len(entries) - len(waiting))
        failures = extract_all(waiting, extractor, folder, settings, reporter)
    return conclude(options, folder, failures, {entry.id for entry in entries}, len(waiting))


def make_extractor(options: argparse.Namespace) -> Extractor:
    """Load the components of the model that compute latents and features."""
    import torch

    from prismaudio import __version__
    from prismaudio.data.extraction import Extractor
    from prismaudio.inference import PrismAudio

    model = PrismAudio.from_pretrained(options.model, options.device, options.precision, options.revision)
    if lacking := [name for name in model.transformer.streams if name not in model.encoders]:
        sys.stderr.write(
            f"warning: the model has no encoder for {', '.join(lacking)}; these features are not computed\n"
        )
    return Extractor(
        model.autoencoder,
        model.encoders,
        model.settings.frame_spec,
        model.plan if options.planner else None,
        model.device,
        getattr(torch, options.dtype),
        {"prismaudio": __version__, "torch": torch.__version__},
    )


def extract_all(
    entries: Sequence[ManifestEntry], extractor: Extractor, folder: FeatureFolder, settings: str, reporter: Reporter
) -> dict[str, str]:
    """Compute clips and write shards; on any exit, the computed clips are saved.

    Returns:
        Reason of each failed clip, by id.
    """
    failures: dict[str, str] = {}
    try:
        for entry in entries:
            try:
                values, info = extractor.extract(entry)
            except Exception as error:  # noqa: BLE001 - one bad clip must not stop the others
                print_traceback(error)
                failures[entry.id] = escaped(one_line(error))  # a file name may not be UTF-8
                reporter.finish(f"skipped {entry.id}: {failures[entry.id]}")
                continue
            reporter.count()
            shard = folder.add(entry, values, info, settings)
            if shard is not None:
                reporter.write(f"[{reporter.done}/{reporter.total}] {shard}")
    finally:
        shard = folder.flush()
        if shard is not None:
            reporter.write(f"[{reporter.done}/{reporter.total}] {shard}")
    return failures


def conclude(
    options: argparse.Namespace, folder: FeatureFolder, failures: dict[str, str], ids: Collection[str], n_waiting: int
) -> int:
    """Print a summary and return the exit code.

    Raises:
        DataError: All clips failed, or, with ``--strict``, any of them.
    """
    listed = folder.report(failures, ids)
    if failures and (len(failures) == len(ids) or options.strict):
        first = next(f"{name}: {why}" for name, why in failures.items())
        raise DataError(f"{len(failures)} of {len(ids)} clips failed; the first is {first}; all are listed in {listed}")
    sys.stderr.write(
        f"{folder.folder}: {folder.n_written} clips computed, {len(ids) - n_waiting} already done"
        + (f", {len(failures)} skipped, see {listed}" if failures else "")
        + f"; train on them with --data.manifest {options.output}\n"
    )
    return 0
