"""``prismaudio extract --inspect``: what a folder of features contains."""

from __future__ import annotations

import json
import sys

from prismaudio.data.inspection import inspect_folder, inspection_figure
from prismaudio.errors import DataError, MediaError
from prismaudio.media import replacing
from prismaudio.paths import expanded
from prismaudio.progress import Reporter

PLOTS = (".png", ".pdf", ".svg")


def inspect(folder_name: str, json_name: str | None = None, plot_name: str | None = None) -> int:
    """Print what a folder of features contains.

    Args:
        folder_name: The folder.
        json_name: File for the contents as JSON; ``-`` for standard output, in place of the lines of text.
        plot_name: File for a plot of lengths and statistics.

    Returns:
        0, or 2 if a file is damaged or of another model than the others, or a value is not finite.

    Raises:
        DataError: It is not a folder of features.
        MediaError: A file cannot be written.
    """
    folder, plot = expanded(folder_name), None if plot_name is None else expanded(plot_name)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder of features; expected one that prismaudio extract wrote")
    if plot is not None and plot.suffix.lower() not in PLOTS:
        raise MediaError(f"cannot plot to {plot}; expected a name that ends in {', '.join(PLOTS)}")
    with Reporter(0, "clips") as reporter:
        found = inspect_folder(folder, reporter.follow)
    text = json.dumps(found.describe(), indent=2, ensure_ascii=False)
    sys.stdout.write(f"{text if json_name == '-' else found.text()}\n")
    if json_name not in (None, "-"):
        with replacing(expanded(json_name), "choose another name for --json") as part:
            part.write_text(f"{text}\n", encoding="utf-8")
    if plot is not None:
        with replacing(plot, "choose another name for --plot") as part:
            inspection_figure(found).savefig(part)
    return 0 if found.is_sound else 2
