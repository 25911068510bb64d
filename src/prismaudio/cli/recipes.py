"""``prismaudio recipes``: list, show and copy recipes. Imports no torch, except for the schema."""

from __future__ import annotations

import sys
from pathlib import Path

from prismaudio.cli.arguments import Parser
from prismaudio.cli.plugins import recipe_summary
from prismaudio.errors import PrismAudioError
from prismaudio.registry import Registry, discover

SCRIPT = "slurm.sbatch"
"""The batch script for SLURM, which is shown and copied like a recipe."""


def main(argv: list[str]) -> int:
    """Run ``prismaudio recipes``."""
    parser = Parser("prismaudio recipes", description="List, show and copy the recipes for prismaudio fit --config.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="list the recipes of all plugins")
    show = commands.add_parser("show", help="print a recipe")
    show.add_argument("name", help="name of a recipe, for example smoke/loudness")
    copy = commands.add_parser("copy", help="copy a recipe to a file that you can edit")
    copy.add_argument("name", help=f"name of a recipe, or {SCRIPT} for a batch script")
    copy.add_argument(
        "to", nargs="?", help="file or folder; by default the recipe's file name in the working directory"
    )
    copy.add_argument("--force", action="store_true", help="replace the file if it exists")
    commands.add_parser("schema", help="print the JSON schema of recipes, for completion in editors")
    options = parser.parse_args(argv)
    if options.command == "schema":
        from prismaudio.cli.schema import schema_text

        sys.stdout.write(schema_text())
        return 0
    registry = discover()
    if options.command == "list":
        sys.stdout.write(listing(registry))
    elif options.command == "show":
        sys.stdout.write(find_recipe(registry, options.name).read_text(encoding="utf-8"))
    else:
        copy_recipe(find_recipe(registry, options.name), options.to, force=options.force)
    return 0


def listing(registry: Registry) -> str:
    """A list of the names and summaries of all recipes."""
    recipes = {entry.name: entry for entry in registry.entries if entry.kind == "recipes"}
    width = max(map(len, recipes), default=0)
    lines = [f"{name:{width}}  {recipe_summary(Path(str(entry.item)))}\n" for name, entry in recipes.items()]
    return "".join(lines)


def find_recipe(registry: Registry, name: str) -> Path:
    """The file of a recipe, or of the batch script."""
    if name == SCRIPT:
        return Path(__file__).parents[1] / "recipes" / SCRIPT
    return Path(str(registry.find("recipes", name.removesuffix(".yaml")).item))


def copy_recipe(source: Path, to: str | None, *, force: bool) -> None:
    """Copy a recipe, and print the command that runs the copy."""
    target = Path(to or source.name)
    if target.is_dir():
        target /= source.name
    if target.exists() and not force:
        raise PrismAudioError(f"{target} exists; choose another name, or add --force to replace it")
    target.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    command = f"sbatch {target}" if source.name == SCRIPT else f"prismaudio fit --config {target}"
    sys.stdout.write(f"copied to {target}; run it with: {command}\n")
