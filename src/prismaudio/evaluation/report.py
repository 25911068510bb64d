"""The report of an evaluation: one HTML page to compare systems, to find clips and to listen to them."""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prismaudio.data.manifest import COLUMNS, NAMED_FILES
from prismaudio.errors import DataError, first_of
from prismaudio.evaluation import exports
from prismaudio.evaluation.comparison import REFERENCE_WIDTH, groups_of
from prismaudio.evaluation.presentation import unmeasured
from prismaudio.evaluation.reading import is_finite, read_evaluation, read_plan
from prismaudio.evaluation.sounds import IMAGE_SUFFIX, Sounds
from prismaudio.evaluation.table import ARROWS
from prismaudio.media.files import replacing
from prismaudio.pages import html_text, is_page_of, page, relative_url
from prismaudio.plan import CORE
from prismaudio.untrusted import load_json, read_small

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from prismaudio.data.manifest import ManifestEntry
    from prismaudio.evaluation.comparison import Cell, Comparison
    from prismaudio.evaluation.reading import Evaluation
    from prismaudio.plan.story import Story
    from prismaudio.progress import Reporter

GENERATOR = "prismaudio evaluate report"
"""Marks pages, so that only these are overwritten."""
MAX_EMBEDDED_BYTES = 50_000_000
"""Most bytes of media that a page has inside."""
MAX_CLASSES = 500
"""Most values of a column by which clips are divided."""
REFERENCE = "reference"
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


# Data of the page ---------------------------------------------------------------------------------------------------
def report_data(
    found: Evaluation, place: Path, sounds: Sounds | None, reporter: Reporter | None = None
) -> dict[str, Any]:
    """What the script of the page reads, as JSON types.

    Args:
        found: The evaluation.
        place: The file of the page, from which media are linked.
        sounds: Draws spectrograms; None for a page without.
        reporter: Counts the files of audio.
    """
    comparison = found.comparison
    systems = list(comparison.systems)
    names = [name for name in ordered(comparison) if _is_measured(comparison, name)]
    scores = found.scores
    widths = [of_system.get(REFERENCE_WIDTH, {}) for of_system in scores.values()]
    groups = groups_of(found.clips, comparison.columns, widths)
    known = [group for group in comparison.cells if group in groups]
    columns = _class_columns(found.clips)
    return {
        "title": found.title,
        "baseline": systems.index(comparison.baseline) if comparison.baseline in systems else 0,
        "systems": [
            {
                "name": name,
                "model": str(facts.get("model") or ""),
                "clips": sum(clip.id in found.audio[name] for clip in found.clips),
                "is_truth": name in found.truths,
            }
            for name, facts in comparison.systems.items()
        ],
        "scorers": [
            {
                "name": name,
                "dimension": str(comparison.scorers[name]["dimension"] or "other"),
                "range": comparison.scorers[name]["range"],
                "higher": comparison.scorers[name]["higher_is_better"],
                "source": str(comparison.scorers[name]["source"]),
            }
            for name in names
        ],
        "groups": [
            {
                "name": group,
                "cells": [
                    [_plain_cell(comparison.cells[group].get(name, {}).get(system)) for system in systems]
                    for name in names
                ],
            }
            for group in comparison.cells
        ],
        "columns": [
            {"name": name, "values": values, "grouped": name in comparison.columns} for name, values in columns.items()
        ],
        "clips": [
            {
                "id": clip.id,
                **({"video": relative_url(clip.video, place.parent)} if clip.video is not None else {}),
                **({"lost": True} if clip.video is not None and not clip.video.is_file() else {}),
                **({"plan": dict(clip.plans[0])} if clip.plans else {}),
                **({"caption": clip.captions[0]} if clip.captions else {}),
                "groups": [
                    number
                    for number, group in enumerate(comparison.cells)
                    if group in known and clip.id in groups[group]
                ],
                "classes": [values.index(_class(clip, name)) for name, values in columns.items()],
                **_events(clip.plans[0].story if clip.plans else None),
            }
            for clip in found.clips
        ],
        "values": [
            [[_rounded(scores[system].get(name, {}).get(clip.id)) for clip in found.clips] for name in names]
            for system in systems
        ],
        "sources": _sources(found, place, sounds, reporter),
        "image": IMAGE_SUFFIX,
    }


def ordered(comparison: Comparison) -> list[str]:
    """Names of the scorers by dimension, those of plans first."""
    order = {name: number for number, name in enumerate(CORE)}
    dimensions = [str(about["dimension"] or "") for about in comparison.scorers.values()]
    for name in sorted({name for name in dimensions if name}):
        order.setdefault(name, len(order))
    names = list(comparison.scorers)
    return sorted(names, key=lambda name: order.get(str(comparison.scorers[name]["dimension"] or ""), len(order)))


def _is_measured(comparison: Comparison, name: str) -> bool:
    return any(cell.value is not None for rows in comparison.cells.values() for cell in rows.get(name, {}).values())


def _plain_cell(cell: Cell | None) -> list[float | None] | None:
    """Value, clips, interval, difference and its interval; None if there is no value."""
    if cell is None or cell.value is None:
        return None
    found = [cell.value, cell.n, cell.low, cell.high]
    if cell.difference is not None:
        found += [cell.difference.mean, cell.difference.low, cell.difference.high]
    return [_rounded(value) for value in found]


def _rounded(value: float | None) -> float | None:
    """Five significant digits, for the size of the page.

    Example:
        >>> _rounded(0.123456789), _rounded(3.0), _rounded(math.nan)
        (0.12346, 3, None)
    """
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.5g}")
    return int(short) if short.is_integer() and abs(short) < 1e6 else short


def _class_columns(clips: Sequence[ManifestEntry]) -> dict[str, list[str]]:
    """Other columns that divide the clips, with their values."""
    names = dict.fromkeys(name for clip in clips for name in clip.columns if name not in COLUMNS)
    found = {name: sorted({_class(clip, name) for clip in clips}) for name in names}
    return {name: values for name, values in found.items() if 1 < len(values) <= min(MAX_CLASSES, len(clips) - 1)}


def _class(clip: ManifestEntry, name: str) -> str:
    value = clip.columns.get(name)
    return "none" if value in (None, "") else str(value)


def _events(story: Story | None) -> dict[str, Any]:
    """The events that a plan states: what, times, end and directions."""
    sources = [] if story is None else [source for source in story.sources if source.onsets_s]
    made = [[one.what, list(one.onsets_s), one.end_s, one.azimuth_deg and list(one.azimuth_deg)] for one in sources]
    return {"events": made} if made else {}


def _sources(found: Evaluation, place: Path, sounds: Sounds | None, reporter: Reporter | None) -> list[dict[str, Any]]:
    """The audio to listen to: that of each system, and the true one where no system has it."""
    known = [set(found.audio[name].values()) for name in found.audio]
    references = {clip: path for clip, path in found.references.items() if not any(path in files for files in known)}
    made = []
    for number, (name, files) in enumerate([*found.audio.items(), (REFERENCE, references)]):
        is_system = number < len(found.audio)
        if not is_system and not files:
            continue
        folder = f"systems/{name}" if is_system else REFERENCE
        root = _root(files)
        images = found.folder / "report" / folder
        clips = []
        for clip in found.clips:
            facts = _source_clip(clip.id, files.get(clip.id), root, None if sounds is None else (sounds, folder))
            if facts is not None and is_system:
                facts |= _own_plan(files[clip.id], found.sections)
            clips.append(facts)
            if reporter is not None and facts is not None:
                reporter.count()
        made.append(
            {
                "name": name,
                "system": number if is_system else None,
                "folder": relative_url(root, place.parent) if root is not None else "",
                "images": relative_url(images, place.parent),
                "clips": clips,
            }
        )
    return made


def _root(files: Mapping[str, Path]) -> Path | None:
    """The folder with files that are named after the ids of clips."""
    for clip, path in files.items():
        if path.as_posix().endswith(f"/{clip}{path.suffix}"):
            return Path(path.as_posix()[: -len(f"{clip}{path.suffix}")])
    return next(iter(files.values())).parent if files else None


def _source_clip(
    clip: str, path: Path | None, root: Path | None, drawn: tuple[Sounds, str] | None
) -> dict[str, Any] | None:
    """The audio of a clip: ``file`` within the folder where it is not ``ID.wav``, its length, onsets and problem."""
    if path is None or root is None:
        return None
    made: dict[str, Any] = {}
    if path != root / f"{clip}.wav":
        made["file"] = relative_url(path, root)
    if not path.is_file():
        return made | {"lost": True}
    if drawn is not None:
        facts = drawn[0].of(drawn[1], clip, path)
        made |= {
            key: facts[name]
            for key, name in (("s", "duration_s"), ("on", "onsets_s"), ("problem", "problem"))
            if name in facts
        }
    return made


def _own_plan(audio: Path, sections: Sequence[str]) -> dict[str, Any]:
    """The plan that a model wrote for its audio, and the events that it states."""
    try:
        written = load_json(read_small(audio.with_suffix(".json")))
        plan = read_plan(written["plan_text"], sections) if "outputs" in written else None
    except (OSError, ValueError, LookupError, TypeError):  # no model of ours wrote it
        return {}
    return {"plan": dict(plan), **_events(plan.story)} if plan else {}


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
def embedded(found: Evaluation, data: Mapping[str, Any], place: Path) -> dict[str, list[str]]:
    """The media of an evaluation by their address on the page, as media type and base64.

    Raises:
        DataError: They are larger than :data:`MAX_EMBEDDED_BYTES`.
    """
    sounds = Sounds(found.folder / "report")
    paths = [clip.video for clip in found.clips if clip.video is not None]
    paths += [path for files in (*found.audio.values(), found.references) for path in files.values()]
    for source in data["sources"]:
        name = REFERENCE if source["system"] is None else f"systems/{source['name']}"
        paths += [
            sounds.image(name, clip.id) for clip, facts in zip(found.clips, source["clips"], strict=True) if facts
        ]
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
    reporter: Reporter | None = None,
) -> list[str]:
    """Write the report of an evaluation, and its tables ``results.tex``, ``results.csv`` and ``clips.csv``.

    Args:
        folder: The folder of the evaluation, with its results.
        sections: Sections that plans may have.
        target: The page; None for ``report.html`` in the folder.
        embed: Whether the page has the media inside.
        reporter: Counts the files of audio, whose spectrograms are drawn.

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
    data = report_data(found, place, Sounds(folder / "report"), reporter)
    media = embedded(found, data, place) if embed else None
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
