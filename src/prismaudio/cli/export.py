"""``prismaudio export``: a checkpoint of ``prismaudio fit``, sharded or not, as a model folder."""

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
CHECKPOINT is a .ckpt file, or the folder that a sharded run writes. The weights' averages are taken if it has them;
adapters are merged. What the recipe took from a model folder is passed on.

example:
  prismaudio export runs/paper/lightning_logs/version_0/checkpoints/last.ckpt my-model
"""
SAVED_RECIPE = "recipe.yaml"
"""The recipe that a run keeps beside its logs."""
ONE_PROCESS = (
    "--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.num_nodes=1", "--trainer.strategy=auto",
    "--trainer.precision=32-true", "--trainer.logger=false",
)  # fmt: skip


def make_parser() -> argparse.ArgumentParser:
    """The command line of ``prismaudio export``."""
    parser = Parser(
        "prismaudio export",
        description="Make a model folder of a checkpoint of prismaudio fit.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="the checkpoint, a file or a folder")
    parser.add_argument("target", metavar="OUT", help="the model folder; components that it has already stay")
    parser.add_argument("--config", metavar="RECIPE", help="the recipe; the one that the run kept by default")
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
        raise CheckpointError(f"{weights} is there without config.json; choose another folder")
    for path in (config, weights):
        spare(path, [checkpoint, recipe])
    from prismaudio.cli.fit_export import ExportCommandLine

    ExportCommandLine.job = (checkpoint, expanded(options.target), options.half)
    return run("fit", ["--config", str(recipe), *ONE_PROCESS], ExportCommandLine)


def find_saved_recipe(checkpoint: Path) -> Path:
    """The recipe that a run kept in its folder, in which the checkpoint is.

    Raises:
        RecipeError: There is none.
    """
    for folder in list(checkpoint.absolute().parents)[:4]:
        if (folder / SAVED_RECIPE).is_file():
            return folder / SAVED_RECIPE
    raise RecipeError(f"no {SAVED_RECIPE} in the folders above {checkpoint}; name the recipe of the run with --config")
