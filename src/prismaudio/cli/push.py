"""``prismaudio push``: upload a model folder to the Hugging Face hub, with a model card."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prismaudio.cli.arguments import Parser, text
from prismaudio.errors import first_of
from prismaudio.paths import expanded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from prismaudio.pretrained.upload import Model, Upload

RESULTS, RECIPE = "results.json", "recipe.yaml"
"""Files beside a model that its card is made from, if they are there."""
_EPILOG = """\
DIR is a model folder, as prismaudio fit, export and convert write it. It is checked as if it were loaded; only files
of the model are uploaded, in one commit. The card, README.md, says what the folder knows: parts, parameters, packages,
and the recipe of the run (recipe.yaml in DIR or in the folder above it, without folders and keys of its options). The
text of a README.md that somebody wrote is kept, in DIR or on the hub, and its metadata are completed.

examples:
  prismaudio push runs/lora/lightning_logs/version_0/model me/my-model --license cc-by-4.0 --dry-run
  prismaudio push model me/my-model --license apache-2.0 --base-model FunAudioLLM/PrismAudio --results scores.json
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of ``prismaudio push``."""
    parser = Parser(
        "prismaudio push",
        description="Upload a model folder to the Hugging Face hub, with a model card.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="DIR", help="the model folder")
    parser.add_argument("repository", metavar="OWNER/NAME", help="the repository; made if it does not exist")
    parser.add_argument("--dry-run", action="store_true", help="print the files and the card; ask no hub")
    hub = parser.add_argument_group("hub")
    hub.add_argument("--private", action="store_true", help="make a new repository private")
    hub.add_argument("--revision", metavar="BRANCH", help="branch to write; made if it does not exist")
    hub.add_argument("--message", metavar="TEXT", type=text, help="message of the commit")
    card = parser.add_argument_group("card")
    card.add_argument("--license", metavar="ID", type=licence, help="licence: apache-2.0, cc-by-4.0, other, …")
    several: dict[str, Any] = {"nargs": "+", "action": "extend", "default": [], "metavar": "ID", "type": repository}
    card.add_argument("--base-model", **several, help="models on the hub that it was made of")
    card.add_argument("--dataset", **several, help="data sets on the hub that it was trained on")
    card.add_argument(
        "--results",
        nargs="+",
        action="extend",
        metavar="FILE",
        help=f"results: JSON of score or bench, or an object of numbers (default: {RESULTS} in DIR)",
    )
    card.add_argument("--recipe", metavar="FILE", help=f"recipe of the run (default: {RECIPE} in DIR or above it)")
    card.add_argument("--overwrite-card", action="store_true", help="replace the text that somebody wrote")
    return parser


def licence(given: str) -> str:
    """Argument type of the identifier of a licence, in lower case as the hub has them."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}", given):
        raise argparse.ArgumentTypeError(
            f"{given[:40]!r} is no identifier of a licence; expected one such as cc-by-4.0"
        )
    return given.lower()


def repository(given: str) -> str:
    """Argument type of a name on the hub; data sets may have no owner."""
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", given):
        raise argparse.ArgumentTypeError(f"{given[:40]!r} is no name on the hub; expected owner/name")
    return given


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio push``."""
    options = make_parser().parse_args(argv)
    from prismaudio.pretrained.card import About
    from prismaudio.pretrained.upload import MESSAGE, Hub, check_repository, open_model, prepare

    check_repository(options.repository)
    folder = expanded(options.folder)
    results = [expanded(path) for path in options.results or [folder / RESULTS]]
    about = About(
        options.license,
        options.base_model,
        options.dataset,
        [path for path in results if options.results or path.is_file()],
        recipe_of(folder, options.recipe),
    )
    model = open_model(folder)
    if options.dry_run:
        upload = prepare(model, options.repository, about, rewrite=options.overwrite_card)
        where = f"{options.repository}, branch {options.revision or 'main'}"
        sys.stdout.writelines(f"{line}\n" for line in (*listing(where, upload), *report(model, upload)))
        sys.stdout.write(f"\n{upload.card.text}")
        return 0
    hub = Hub(options.repository, options.private, options.revision)
    url, upload = hub.push(model, about, options.message or MESSAGE, rewrite=options.overwrite_card)
    sys.stderr.writelines(f"{line}\n" for line in report(model, upload))
    sys.stdout.write(f"{url}\n")
    return 0


def recipe_of(folder: Path, given: str | None) -> Mapping[str, Any] | None:
    """The recipe of the run that wrote a model: the given file, or the one that a run saved in or above the folder."""
    from prismaudio.cli.recipe_files import read_recipe

    if given is not None:
        return read_recipe(expanded(given), given)
    places = (folder / RECIPE, folder.absolute().parent / RECIPE)
    return next((read_recipe(path, str(path)) for path in places if path.is_file()), None)


def listing(where: str, upload: Upload) -> Iterator[str]:
    """The files of an upload with their sizes."""
    sizes = upload.sizes()
    width = max(map(len, sizes))
    yield f"{where}: {len(sizes)} files, {readable(sum(sizes.values()))}"
    yield from (f"  {name:{width}}  {readable(size):>9}" for name, size in sizes.items())


def report(model: Model, upload: Upload) -> Iterator[str]:
    """What is left out, and what is not known."""
    if model.left_out:
        names = [f"{name} ({why})" for name, why in model.left_out.items()]
        yield f"left out: {first_of(names, 8)}"
    yield from (f"note: {line}" for line in upload.notes)
    if upload.card.unknown:
        yield f"not known, and left out of the card: {', '.join(upload.card.unknown)}"
    if upload.card.licence is None:
        yield "a push needs the licence: --license ID, such as apache-2.0, cc-by-4.0 or other"


def readable(size: int) -> str:
    """A number of bytes in decimal units.

    Example:
        >>> readable(518), readable(2_130_000)
        ('518 B', '2.1 MB')
    """
    value, units = float(size), iter(("B", "kB", "MB", "GB"))
    unit = next(units)
    while value >= 1000 and (larger := next(units, None)):
        value, unit = value / 1000, larger
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"
