"""``prismaudio prompts``: copy what models are told, to be changed."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from prismaudio.cli.arguments import Parser
from prismaudio.errors import MediaError, reason
from prismaudio.paths import expanded
from prismaudio.registry import discover
from prismaudio_vlm.asking import FILE, FOLDER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio prompts DIR``."""
    parser = Parser(
        "prismaudio prompts",
        description="Copy what models are told about plans and their sections to a folder, to be changed and given to "
        "a planner: prismaudio plan VIDEO --planner VlmPlanner --planner.prompts DIR. A file that is missing there is "
        "that of the package.",
    )
    parser.add_argument("folder", metavar="DIR", help="the folder, which is made; existing files are kept")
    folder = expanded(parser.parse_args(argv).folder)
    sources = {FILE: FOLDER / FILE}
    sources |= {f"{d.name}.yaml": d.prompt for d in discover().dimensions() if d.prompt is not None}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, source in sources.items():
            sys.stderr.write(f"{folder / name}: {_copy(source, folder / name)}\n")
    except OSError as error:
        raise MediaError(f"cannot write {folder}: {reason(error)}; choose another folder") from error
    return 0


def _copy(source: Path, target: Path) -> str:
    if target.exists():
        return "exists, kept"
    shutil.copyfile(source, target)
    return "copied"
