"""The report of an evaluation: one HTML page to compare systems, to find clips and to listen to them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prismaudio.data.manifest import NAMED_FILES
from prismaudio.errors import DataError, first_of
from prismaudio.evaluation import exports
from prismaudio.evaluation.presentation import unmeasured
from prismaudio.evaluation.reading import is_finite, read_evaluation
from prismaudio.evaluation.report_data import ordered, report_data, sources_of
from prismaudio.evaluation.sounds import IMAGE_SUFFIX, Sounds
from prismaudio.evaluation.table import ARROWS
from prismaudio.media.files import replacing
from prismaudio.pages import html_text, is_page_of, page, relative_url
from prismaudio.plan import CORE
from prismaudio.progress import Reporter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from prismaudio.evaluation.comparison import Cell
    from prismaudio.evaluation.reading import Evaluation

GENERATOR = "prismaudio evaluate report"
"""Marks pages, so that only these are overwritten."""
MAX_EMBEDDED_BYTES = 50_000_000
"""Most bytes of media that a page has inside."""
MEDIA_TYPES = {
    ".mp4": "video/mp4",
    ".mov": "video/mp4",
    ".m4v": "video/mp4",
    ".webm": "video/webm",
    ".mkv": "video/webm",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".m4a": "audio/mp4",
    ".aac": "audio/aac",
    IMAGE_SUFFIX: "image/webp",
}


# Page ---------------------------------------------------------------------------------------------------------------
def page_html(found: Evaluation, data: Mapping[str, Any], media: Mapping[str, Any] | None = None) -> str:
    """The page, with its script, style, data and tables inside.

    Args:
        found: The evaluation.
        data: What :func:`report_data` returns.
        media: Media that the page has inside, see :func:`embedded`; None for a page that links them.
    """
    here = Path(__file__)
    tables = "".join(table_html(found, group) for group in found.comparison.cells)
    return page(
        here.with_name("report.html"),
        GENERATOR,
        found.title,
        {**data, **({} if media is None else {"media": media})},
        media="'self' file:" if media is None else "blob:",
        shared=[here.with_name("player.js")],
        tables=tables,
        notes=_notes_html(found),
        baseline=html_text(found.comparison.baseline),
    )


def table_html(found: Evaluation, group: str) -> str:
    """The table of a group of clips: a row for each system, a column for each scorer, without any script."""
    comparison = found.comparison
    rows = comparison.cells[group]
    names = [
        name for name in ordered(comparison) if any(cell.value is not None for cell in rows.get(name, {}).values())
    ]
    dimensions = [str(comparison.scorers[name]["dimension"] or "other") for name in names]
    spans = [
        f'<th scope="colgroup" colspan="{dimensions.count(dimension)}">{html_text(dimension)}</th>'
        for dimension in dict.fromkeys(dimensions)
    ]
    heads = [
        f'<th scope="col" data-higher="{_direction(comparison.scorers[name]["higher_is_better"])}">{html_text(name)}'
        f"{_arrow(comparison.scorers[name]['higher_is_better'])}</th>"
        for name in names
    ]
    best = {name: exports.best(comparison, rows[name], name, found.truths) for name in names}
    body = "".join(
        f'<tr data-system="{number}"><th scope="row"><span class="name"><i class="dot c{number % 8}"></i>'
        f"{html_text(system)}</span>{_facts_html(found, system)}</th>"
        + "".join(_cell_html(rows[name][system], is_best=system in best[name]) for name in names)
        + "</tr>"
        for number, system in enumerate(comparison.systems)
    )
    return (
        f'<section class="group"><h3>{html_text(group)}</h3><div class="scroll" tabindex="0" role="region" '
        f'aria-label="{html_text(group)}"><table class="systems"><thead>'
        f'<tr><td></td>{"".join(spans)}</tr><tr><th scope="col">system</th>{"".join(heads)}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></section>"
    )


def _direction(higher: bool | None) -> str:  # noqa: FBT001
    return {True: "1", False: "-1", None: "0"}[higher]


def _arrow(higher: bool | None) -> str:  # noqa: FBT001
    if higher is None:
        return ""
    words = "higher is better" if higher else "lower is better"
    return f' <abbr title="{words}" aria-label="{words}">{ARROWS[higher]}</abbr>'


def _facts_html(found: Evaluation, system: str) -> str:
    facts = found.comparison.systems[system]
    n_clips = len(found.audio[system])
    told = [str(facts["model"])] if facts.get("model") else []
    told += [f"{facts['seeds']} seeds"] if isinstance(facts.get("seeds"), int) else []
    told += ["baseline"] if system == found.comparison.baseline else []
    told += ["the reference itself"] if system in found.truths else []
    told += [f"{n_clips} of {len(found.clips)} clips"] if n_clips < len(found.clips) else []
    told += [f"{facts['seconds_per_clip']:.2f} s per clip"] if is_finite(facts.get("seconds_per_clip")) else []
    return "".join(f"<small>{html_text(text)}</small>" for text in told)


def _cell_html(cell: Cell, *, is_best: bool) -> str:
    if cell.value is None:
        return f'<td class="none" title="{html_text(cell.reason)}">–</td>'
    parts = [f"<b>{exports.number(cell.value)}</b>"]
    if is_best:
        parts.append('<span class="hidden"> best</span>')
    if cell.low is not None and cell.high is not None:
        parts.append(f"<small>[{exports.number(cell.low, 3)}, {exports.number(cell.high, 3)}]</small>")
    if cell.seed_sd is not None:
        parts.append(f"<small>± {exports.number(cell.seed_sd, 2)} over seeds</small>")
    if cell.difference is not None and cell.difference.mean is not None:
        star = "*" if cell.difference.excludes_zero else ""
        parts.append(f"<small>Δ {exports.number(cell.difference.mean, 3, signed=True)}{star}</small>")
    return f'<td data-value="{cell.value!r}"{" class=best" if is_best else ""}>{"".join(parts)}</td>'


def _notes_html(found: Evaluation) -> str:
    left_out = [f"Not measured: {', '.join(names)}: {why}" for why, names in unmeasured(found.comparison).items()]
    return "".join(f"<li>{html_text(note)}</li>" for note in [*found.comparison.notes, *left_out])


# Writing ------------------------------------------------------------------------------------------------------------
def embedded(found: Evaluation, place: Path, sounds: Sounds) -> dict[str, list[str]]:
    """The media of an evaluation by their address on the page, as media type and base64.

    Raises:
        DataError: They are larger than :data:`MAX_EMBEDDED_BYTES`.
    """
    paths = [clip.video for clip in found.clips if clip.video is not None]
    for source in sources_of(found):
        paths += [*source.files.values(), *(sounds.image(source.folder, clip) for clip in source.files)]
    files = {relative_url(path, place.parent): path for path in paths if path.is_file()}
    n_bytes = sum(path.stat().st_size for path in files.values())
    if n_bytes > MAX_EMBEDDED_BYTES:
        raise DataError(
            f"the media of {len(found.clips)} clips have {n_bytes / 1e6:.0f} MB; --embed puts at most "
            f"{MAX_EMBEDDED_BYTES / 1e6:.0f} MB into the page; leave out --embed and share the folder {found.folder}"
        )
    return {
        url: [
            MEDIA_TYPES.get(path.suffix.lower(), "application/octet-stream"),
            base64.b64encode(path.read_bytes()).decode(),
        ]
        for url, path in files.items()
    }


def write_report(
    folder: Path,
    sections: Sequence[str] = CORE,
    *,
    target: Path | None = None,
    embed: bool = False,
) -> list[str]:
    """Write the report of an evaluation, and its tables ``results.tex``, ``results.csv`` and ``clips.csv``.

    Args:
        folder: The folder of the evaluation, with its results.
        sections: Sections that plans may have.
        target: The page; None for ``report.html`` in the folder.
        embed: Whether the page has the media inside.

    Returns:
        What a reader must know, such as media that are not there, one line each.

    Raises:
        DataError: See :func:`read_evaluation` and :func:`embedded`.
    """
    place = target or folder / "report.html"
    if place.is_file() and target is not None and not is_page_of(place, GENERATOR):
        raise DataError(f"{place} exists and is no report; choose another name with -o")
    found = read_evaluation(folder, sections)
    (folder / "report").mkdir(exist_ok=True)
    sounds = Sounds(folder / "report")
    files = [
        (one.folder, clip, path) for one in sources_of(found) for clip, path in one.files.items() if path.is_file()
    ]
    with Reporter(len(files), "spectrograms") as reporter:
        for name, clip, path in files:
            sounds.of(name, clip, path)
            reporter.count()
    data = report_data(found, place, sounds)
    media = embedded(found, place, sounds) if embed else None
    for path, text in (
        (folder / "results.tex", exports.latex(found.comparison, found.title, found.truths, ordered(found.comparison))),
        (folder / "results.csv", exports.results_csv(found.comparison)),
        (folder / "clips.csv", exports.clips_csv(found)),
        (place, page_html(found, data, media)),
    ):
        with replacing(path) as part:
            part.write_bytes(text.encode("utf-8", "backslashreplace"))
    return list(_warnings(found))


def _warnings(found: Evaluation) -> Iterable[str]:
    """A line for each kind of media that are not where they were."""
    kinds = {"videos": [clip.video for clip in found.clips if clip.video is not None]}
    kinds |= {f"files of audio of {name}": list(files.values()) for name, files in found.audio.items()}
    kinds |= {"files of true audio": list(found.references.values())}
    for kind, paths in kinds.items():
        if lost := [str(path) for path in paths if not path.is_file()]:
            yield f"{len(lost)} of {len(paths)} {kind} are not there: {first_of(lost, NAMED_FILES)}"
