"""``prismaudio extract --inspect``: what a folder of features contains."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from prismaudio.data.inspection import inspect_folder, inspection_figure
from prismaudio.errors import DataError, MediaError
from prismaudio.media import replacing
from prismaudio.media.files import check_writable
from prismaudio.paths import expanded
from prismaudio.progress import Reporter
from prismaudio.untrusted import load_json, read_small

if TYPE_CHECKING:
    from pathlib import Path

PLOTS = (".png", ".pdf", ".svg")


def inspect(folder_name: str, json_name: str | None = None, plot_name: str | None = None) -> int:
    """Print what a folder of features contains.

    Args:
        folder_name: The folder.
        json_name: File for the contents as JSON; ``-`` for standard output, in place of the lines of text.
        plot_name: File for a plot of lengths and statistics.

    Returns:
        0.

    Raises:
        DataError: It is not a folder of features, a file is damaged or of another model than the others, or a value is
            not finite.
        MediaError: A file cannot be written.
    """
    folder, plot = expanded(folder_name), None if plot_name is None else expanded(plot_name)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder of features; expected one that prismaudio extract wrote")
    if plot is not None and plot.suffix.lower() not in PLOTS:
        raise MediaError(f"cannot plot to {plot}; expected a name that ends in {', '.join(PLOTS)}")
    report = None if json_name in (None, "-") else expanded(str(json_name))
    for path, option in ((report, "--json"), (plot, "--plot")):
        if path is not None:
            check_output(path, option, folder)
    with Reporter(0, "clips") as reporter:
        found = inspect_folder(folder, reporter.follow)
    text = json.dumps(found.describe(), indent=2, ensure_ascii=False)
    sys.stdout.write(f"{text if json_name == '-' else found.text()}\n")
    if report is not None:
        with replacing(report, "choose another name for --json") as part:
            part.write_text(f"{text}\n", encoding="utf-8")
    if plot is not None:
        with replacing(plot, "choose another name for --plot") as part:
            inspection_figure(found).savefig(part)
    if not found.is_sound:
        raise DataError(f"{folder} is not fit for training; the lines above name what is damaged or not finite")
    return 0


def check_output(path: Path, option: str, folder: Path) -> None:
    """Check, before the features are read, that an output file may be written.

    Raises:
        MediaError: It is a folder, would be among the features, or is a file that this command did not write.
    """
    if path.is_dir():
        raise MediaError(f"{path} is a folder; expected the name of a file for {option}")
    if folder.resolve() in path.resolve().parents:
        raise MediaError(f"{path} would be among the features of {folder}; choose another place for {option}")
    if option == "--json" and path.exists() and not is_inspection(path):
        raise MediaError(f"{path} exists and is not the result of an inspection; choose another name for {option}")
    check_writable(path.parent)


def is_inspection(path: Path) -> bool:
    """Whether a file is a result of this command."""
    try:
        found = load_json(read_small(path))
    except (OSError, ValueError, DataError):
        return False
    return isinstance(found, dict) and {"files", "clips", "streams", "damaged"} <= found.keys()
