"""What a suite is built from: the clips of a manifest with their classes and links, and the scores of systems."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from prismaudio.data.manifest import (
    NAMED_FILES,
    ManifestEntry,
    check_whole,
    plan_cells,
    read_manifest,
    read_rows,
    seconds_cell,
    text_cell,
)
from prismaudio.errors import DataError, PrismAudioError, first_of
from prismaudio.evaluation.ontology import Labels, Ontology, labels_of
from prismaudio.evaluation.results import JsonLines
from prismaudio.untrusted import json_text, load_json, read_small

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from prismaudio.plan import Plan

LABEL, LINK, LICENCE = "label", "link", "licence"
LINK_START, LINK_END = "link_start_s", "link_end_s"
ORIGINAL = "original"
"""Column of ``clips.jsonl`` with the id that a clip has in the manifest that the suite is built from."""
_WEB = re.compile(r"https?://[^\s/]+\S*")


@dataclass(frozen=True)
class SuiteClip:
    """A clip that may become part of a suite.

    Args:
        entry: Its line of the manifest.
        classes: Ids of its classes in the ontology, without those that are wider than another.
        names: Their names, sorted.
        link: Where its media can be had.
        link_s: Start and end of the clip in what the link leads to, in seconds; None where that is not stated.
        licence: Licence of its media; empty if that is not stated.
        key: Hash by which a decision about the clip knows it.
    """

    entry: ManifestEntry
    classes: frozenset[str]
    names: tuple[str, ...]
    link: str
    link_s: tuple[float | None, float | None]
    licence: str
    key: str

    @property
    def id(self) -> str:
        """Its id in the manifest."""
        return self.entry.id

    @property
    def sound(self) -> Path:
        """The file with its sound."""
        found = self.entry.audio or self.entry.video
        assert found is not None  # noqa: S101 - read_clips refuses clips without a file
        return found

    @property
    def class_text(self) -> str:
        """Its classes as one text."""
        return "; ".join(self.names)


def read_clips(
    path: Path, sections: Sequence[str], ontology: Ontology | None, label_column: str = LABEL, link_column: str = LINK
) -> tuple[list[SuiteClip], Ontology]:
    """Read the clips of a manifest.

    Args:
        path: The manifest, with a column of labels and one of links; ``link_start_s``, ``link_end_s`` and ``licence``
            are read too.
        sections: Sections that plans may have.
        ontology: The classes; None to take the labels as classes.
        label_column: The column with the labels of clips: a text with ``;`` between them, or a list.
        link_column: The column with the addresses of clips.

    Returns:
        The clips, and the ontology.

    Raises:
        DataError: A column or a file is missing, or a label is no class.
    """
    entries = read_manifest(path, sections)
    for column, option, what in (
        (label_column, "--label-column", "the classes of clips"),
        (link_column, "--link-column", "the address of each clip"),
    ):
        if not any(column in entry.columns for entry in entries):
            has = first_of(sorted({name for entry in entries for name in entry.columns}), 8)
            raise DataError(f"{path} has no column {column!r} with {what}; it has {has}; name it with {option}")
    texts = {entry.id: _texts(path, entry, label_column) for entry in entries}
    if ontology is None:
        ontology = Ontology.of_labels({label for cell in texts.values() for label in labels_of(cell)})
    finder = Labels(ontology)
    labels = {name: finder.split(cell) for name, cell in texts.items()}
    if unlabelled := [name for name, found in labels.items() if not found]:
        raise DataError(f"{path} has no label for {_counted(unlabelled)}; expected one or more in {label_column!r}")
    finder.check(Counter(label for found in labels.values() for label in set(found)), str(path))
    clips = []
    for entry in entries:
        where = f"{path}, clip {entry.id}"
        check_whole(where, entry.columns, "suite build")
        classes = ontology.narrowest({finder.find(label)[0] for label in labels[entry.id]})
        clips.append(_clip(where, entry, frozenset(classes), ontology, link_column))
    return clips, ontology


def _texts(path: Path, entry: ManifestEntry, column: str) -> list[str]:
    value = entry.columns.get(column)
    values = value if isinstance(value, list) else [value]
    return [text_cell(f"{path}, clip {entry.id}", column, item) for item in values]


def _clip(where: str, entry: ManifestEntry, classes: frozenset[str], ontology: Ontology, column: str) -> SuiteClip:
    link = text_cell(where, column, entry.columns.get(column))
    if not _WEB.fullmatch(link):
        raise DataError(f"{where}: {column} is {link[:80]!r}; expected where the clip can be had, as https://…")
    start_s, end_s = (seconds_cell(where, name, entry.columns.get(name)) for name in (LINK_START, LINK_END))
    if end_s is not None and end_s <= (start_s or 0.0):
        raise DataError(f"{where}: {LINK_END} {end_s:g} is not after {LINK_START} {start_s or 0.0:g}")
    names = tuple(sorted(ontology.names[one] for one in classes))
    media = [path.name for path in (entry.video, entry.audio) if path is not None]
    if not media:
        raise DataError(f"{where}: names no video and no audio; expected the file of the clip in one of them")
    key = hashlib.sha256(json_text([entry.id, media, names, link, start_s, end_s])).hexdigest()[:16]
    licence = text_cell(where, LICENCE, entry.columns.get(LICENCE))
    return SuiteClip(entry, classes, names, link, (start_s, end_s), licence, key)


def _counted(names: Sequence[str]) -> str:
    return f"{len(names)} clip{'s' * (len(names) > 1)}: {first_of(list(names), NAMED_FILES)}"


# Scores --------------------------------------------------------------------------------------------------------------
def read_scores(paths: Iterable[Path], ids: Iterable[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Read the scores of systems on the clips of a manifest.

    Args:
        paths: Folders of ``prismaudio evaluate``, or files of ``prismaudio score --json``.
        ids: Ids of the clips.

    Returns:
        System → clip → scorer → value, the mean over seeds. A file is a system by its name.

    Raises:
        DataError: There are no scores, they are of other clips, or two systems have one name.
    """
    known = set(ids)
    systems: dict[str, dict[str, dict[str, float]]] = {}
    for path in paths:
        files = {path.stem: [path]} if path.is_file() else {}
        further = _further_seeds(path / "results.json")
        for found in sorted(path.glob("systems/*/scores.jsonl")):
            name, of_seeds = found.parent.name, sorted(found.parent.glob("seed-*/scores.jsonl"))
            if name in further:
                of_seeds = [found.parent / f"seed-{seed}" / found.name for seed in further[name]]
            files[name] = [found, *of_seeds]
        if not files:
            raise DataError(
                f"{path} has no scores; expected a folder of prismaudio evaluate, or a file of prismaudio score --json"
            )
        for name, of_seeds in files.items():
            if name in systems:
                raise DataError(f"{path}: two systems are named {name!r}; give the files other names")
            systems[name] = _mean([_read_scores(file, known) for file in of_seeds])
    return systems


def _further_seeds(results: Path) -> dict[str, list[int]]:
    """Seeds after the first that the results of an evaluation count, by system; those of earlier runs are left out."""
    if not results.is_file():
        return {}
    try:
        systems = load_json(read_small(results))["systems"]
        return {str(name): [int(seed) for seed in facts.get("further_seeds", ())] for name, facts in systems.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{results} is not as prismaudio evaluate writes it; run that command again") from error


def _mean(runs: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Clip → scorer → mean over the runs that have a value."""
    values: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        for clip, scores in run.items():
            for scorer, value in scores.items():
                values.setdefault(clip, {}).setdefault(scorer, []).append(value)
    return {clip: {scorer: fmean(of) for scorer, of in scores.items()} for clip, scores in values.items()}


def _read_scores(file: Path, known: set[str]) -> dict[str, dict[str, float]]:
    try:
        records = JsonLines(str(file), []).records.values()
    except PrismAudioError as error:
        raise DataError(f"{file} has no scores; expected what prismaudio score --json writes") from error
    found: dict[str, dict[str, float]] = {}
    others = []
    for record in records:
        stem = re.split(r"[\\/]", record.file)[-1].rpartition(".")[0]
        name = str(record.columns.get("id", stem))
        (found.setdefault(name, {}) if name in known else {}).update(
            {scorer: score.value for scorer, score in record.scores.items() if score.value is not None}
        )
        others += [name] * (name not in known)
    if not found:
        raise DataError(
            f"{file} has the scores of other clips: {first_of(others, NAMED_FILES) or 'none'}; expected scores by the "
            "ids of the manifest, of prismaudio evaluate --suite MANIFEST or prismaudio score MANIFEST --json"
        )
    return found


# Plans ---------------------------------------------------------------------------------------------------------------
def read_plans(path: Path, sections: Sequence[str], clips: Iterable[SuiteClip]) -> dict[str, Plan]:
    """Read the plans that ``prismaudio cot build`` has written for the clips of a suite.

    Args:
        path: Its folder or its ``manifest.jsonl``.
        sections: Sections that plans may have.
        clips: Clips of the suite's manifest.

    Returns:
        Plans by the ids that clips have in the manifest that the suite is built from.

    Raises:
        DataError: It cannot be read, or is not of clips of this suite.
    """
    file = path / "manifest.jsonl" if path.is_dir() else path
    expected = "expected what prismaudio cot build makes of the suite's clips.jsonl"
    if not file.is_file():
        raise DataError(f"there is no {file}; {expected}")
    known = {clip.id for clip in clips}
    found: dict[str, Plan] = {}
    for line, cells in read_rows(file, [ORIGINAL, "plan", *sections]):
        where = f"{file}, line {line}"
        name = text_cell(where, ORIGINAL, cells.get(ORIGINAL))
        if not name:
            raise DataError(f"{where}: has no {ORIGINAL!r}; {expected}")
        if plans := plan_cells(where, file.parent, cells, sections):
            found[name] = plans[0]
    if not known & found.keys():
        raise DataError(
            f"{file} has plans of other clips: {first_of(sorted(found), NAMED_FILES) or 'none'}; {expected}"
        )
    return {name: plan for name, plan in found.items() if name in known}
