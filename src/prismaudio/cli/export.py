"""``prismaudio export``: export a checkpoint of ``prismaudio fit``, sharded or not, as a model folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from prismaudio.cli.arguments import Parser, model_files
from prismaudio.errors import CheckpointError, RecipeError
from prismaudio.paths import expanded

if TYPE_CHECKING:
    from collections.abc import Sequence

_EPILOG = """\
CHECKPOINT is a .ckpt file, or the folder that a sharded run writes. Averaged (EMA) weights are used if it has them;
adapters are merged. Components that the recipe loaded from a model folder are included.

example:
  prismaudio export runs/paper/lightning_logs/version_0/checkpoints/last.ckpt my-model
"""
SAVED_RECIPE = "recipe.yaml"
"""The recipe that a run saves with its logs."""
ONE_PROCESS = (
    "--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.num_nodes=1", "--trainer.strategy=auto",
    "--trainer.precision=32-true", "--trainer.logger=false",
)  # fmt: skip


def make_parser() -> argparse.ArgumentParser:
    """The command line of ``prismaudio export``."""
    parser = Parser(
        "prismaudio export",
        description="Export a checkpoint of prismaudio fit as a model folder.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="the checkpoint, a file or a folder")
    parser.add_argument("target", metavar="OUT", help="the model folder to write; its other components are kept")
    parser.add_argument("--config", metavar="RECIPE", help="the recipe; by default the one that the run saved")
    parser.add_argument("--half", nargs="*", default=[], metavar="PART", help="components to store in half precision")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio export``."""
    options = make_parser().parse_args(argv)
    checkpoint = expanded(options.checkpoint)
    if not checkpoint.exists():
        raise CheckpointError(f"no such checkpoint: {checkpoint}")
    recipe = options.config or find_saved_recipe(checkpoint)
    from prismaudio.cli.fit import run
    from prismaudio.media.files import spare

    config, weights = model_files(options.target)
    if weights.exists() and not config.exists():
        raise CheckpointError(f"{weights} exists without a config.json; choose another folder")
    for path in (config, weights):
        spare(path, [checkpoint, recipe])
    from prismaudio.cli.fit_export import ExportCommandLine

    ExportCommandLine.job = (checkpoint, expanded(options.target), options.half)
    return run("fit", ["--config", str(recipe), *ONE_PROCESS], ExportCommandLine)


def find_saved_recipe(checkpoint: Path) -> Path:
    """The recipe that a run saved in a parent folder of the checkpoint.

    Raises:
        RecipeError: There is no saved recipe.
    """
    for folder in list(checkpoint.absolute().parents)[:4]:
        if (folder / SAVED_RECIPE).is_file():
            return folder / SAVED_RECIPE
    raise RecipeError(f"no {SAVED_RECIPE} in the folders above {checkpoint}; give the recipe of the run with --config")
