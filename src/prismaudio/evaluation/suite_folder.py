"""The folder of a built suite: what is published, what stays private, and the report."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any

from prismaudio import __version__
from prismaudio.data.sharing import locked
from prismaudio.errors import DataError
from prismaudio.evaluation.comparison import check_ids
from prismaudio.evaluation.screening import entry_of, page_html
from prismaudio.evaluation.selection import events_of
from prismaudio.evaluation.suite_clips import LICENCE, LINK, LINK_END, LINK_START, ORIGINAL
from prismaudio.media.files import make_writable, relative, replacing
from prismaudio.untrusted import json_text, load_json, read_small

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from prismaudio.evaluation.screening import Decision
    from prismaudio.evaluation.suite_build import BuiltSuite
    from prismaudio.evaluation.suite_clips import SuiteClip
    from prismaudio.plan import Plan

MARKER, CLIPS, IDS, DROPPED, PAGE = "suite.json", "clips.jsonl", "ids.csv", "left_out.jsonl", "screening.html"
REPORT, PICTURE, HEARD = "report.md", "classes.png", "heard.jsonl"
PUBLISHED, MANIFEST, README = "published", "manifest.jsonl", "README.md"
NAMES = (MARKER, CLIPS, IDS, DROPPED, PAGE, REPORT, PICTURE, f"{PUBLISHED}/{MANIFEST}", f"{PUBLISHED}/{README}")
"""What ``prismaudio suite build`` writes into its folder, besides :data:`HEARD`, which a stopped run leaves too."""
BARS = 60
"""Most classes that the picture names; of more it shows the counts in order."""
_NOT_STATED = "not stated"
_REPORT = """\
# {name}: how it was built

{counts}

{steps}

| Class | In the manifest | Before the balance | Single-event | In multi-event clips |
|---|---:|---:|---:|---:|
{rows}

![Clips of each class in the manifest and in the suite]({picture})

{lists}The reason of each clip that is left out is in `{left_out}`.
"""
_README = """\
# {name}

{counts}

No media are in this folder. Each line of `{manifest}` says where its clip can be had: `link`, with `{start}` and
`{end}`. Cut the piece into a file of the name in `video` (or `audio`), put all files into one folder, and run

```bash
prismaudio suite missing {manifest} --media DIR
prismaudio evaluate --suite audiocanvas --suite.manifest {manifest} --suite.media DIR --model NAME=MODEL -o OUT
```

## Licence

- Of the manifest, its captions and plans: {licence}
- Of the media, which belong to their owners: {licences}

## How it was built

By `prismaudio suite build` {version}:

{rules}

{steps}

## Clips of each class

| Class | Single-event | In multi-event clips |
|---|---:|---:|
{rows_of_classes}
"""


class SuiteFolder:
    """The folder that ``prismaudio suite build`` writes.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def heard(self) -> Path:
        """The file with the scores of the clips' own sound."""
        return self.folder / HEARD

    def check(self, sources: Iterable[Path]) -> None:
        """Check that the folder is new or that of a suite, and that no file that is read would be overwritten.

        Raises:
            DataError: It has other files of the names that are written, or a file that is read is one of them.
        """
        if not self._is_own() and (taken := next((name for name in NAMES if (self.folder / name).exists()), None)):
            raise DataError(
                f"{self.folder / taken} exists and is not that of prismaudio suite build; choose another folder with -o"
            )
        written = {(self.folder / name).resolve() for name in (*NAMES, HEARD)}
        if read := next((path for path in sources if path.resolve() in written), None):
            raise DataError(f"{read} is written by this command; give the manifest that the suite is built from")

    def _is_own(self) -> bool:
        try:
            found = load_json(read_small(self.folder / MARKER))
        except (OSError, ValueError):
            return False
        return isinstance(found, dict) and {"steps", "classes", "options"} <= found.keys()

    def write(
        self, suite: BuiltSuite, options: Mapping[str, Any], about: Mapping[str, str], plans: Mapping[str, Plan],
        scores: Mapping[str, Mapping[str, float]], decisions: Mapping[str, Decision],
    ) -> dict[str, Any]:  # fmt: skip
        """Write all files of the suite, and return its description.

        Args:
            suite: The suite.
            options: How it was built, as JSON types.
            about: ``name`` and ``licence`` of the suite, and the ``classes`` that it is balanced over.
            plans: Plans by the ids of the manifest.
            scores: Scores by clip and name, for the page.
            decisions: Decisions of a person by clip.
        """
        check_ids(list(suite.clips))
        make_writable(self.folder / PUBLISHED)
        described = {"options": dict(options), **about, **suite.describe(options["per_class"])}
        described["plans"] = sum(clip.id in plans or bool(clip.entry.plans) for clip in suite.clips.values())
        rows = {name: _row(name, clip, plans.get(clip.id)) for name, clip in suite.clips.items()}
        entries = [(name, clip) for name, clip in suite.clips.items()] + [("", clip) for clip in suite.spare]
        page = [
            entry_of(clip, name, self.folder, scores.get(clip.id, {}), decisions.get(clip.id)) for name, clip in entries
        ]
        left_out = [
            {"id": name, "step": step.name, "reason": why} for step in suite.steps for name, why in step.dropped.items()
        ]
        files = {
            MARKER: json_text(described, indent=2),
            CLIPS: b"".join(json_text(_private(row, suite.clips[name], self.folder)) for name, row in rows.items()),
            IDS: _ids(suite.clips, self.folder),
            DROPPED: b"".join(map(json_text, left_out)),
            PAGE: page_html(f"Screening: {about['name']}", page).encode(),
            REPORT: _report(described).encode(),
            f"{PUBLISHED}/{MANIFEST}": b"".join(map(json_text, rows.values())),
            f"{PUBLISHED}/{README}": _readme(described, suite.clips.values()).encode(),
        }
        with locked(self.folder):
            for name, content in files.items():
                with replacing(self.folder / name) as part:
                    part.write_bytes(content)
            with replacing(self.folder / PICTURE) as part:
                draw_classes(described["classes"], part)
        return described


# Rows ----------------------------------------------------------------------------------------------------------------
def _row(name: str, clip: SuiteClip, plan: Plan | None) -> dict[str, Any]:
    """The line of a clip in the published manifest: no media and no path, and its id tells its class alone."""
    start_s, end_s = clip.link_s
    suffix = ".mp4" if clip.entry.video is not None else ".wav"
    own = plan or next(iter(clip.entry.plans), None)
    captions = list(clip.entry.captions)
    row = {
        "id": name,
        "video" if clip.entry.video is not None else "audio": f"{name}{suffix}",
        LINK: clip.link,
        LINK_START: start_s,
        LINK_END: end_s,
        "class": clip.class_text,
        "events": events_of(clip.names),
        "caption": captions if len(captions) > 1 else next(iter(captions), None),
        "plan": None if own is None else str(own),
        LICENCE: clip.licence,
    }
    return {column: value for column, value in row.items() if value not in (None, "")}


def _private(row: dict[str, Any], clip: SuiteClip, folder: Path) -> dict[str, Any]:
    """The line of a clip in the manifest for its owner: with its media and the id that it had before."""
    media = {"video": clip.entry.video, "audio": clip.entry.audio}
    paths = {kind: relative(path, folder) for kind, path in media.items() if path is not None}
    return {"id": row["id"], **paths, **{k: v for k, v in row.items() if k not in ("id", *media)}, ORIGINAL: clip.id}


def _ids(clips: Mapping[str, SuiteClip], folder: Path) -> bytes:
    """The table of ids, which stays private."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", ORIGINAL, "video", "audio", LINK])
    for name, clip in clips.items():
        paths = [relative(path, folder) if path is not None else "" for path in (clip.entry.video, clip.entry.audio)]
        writer.writerow([name, clip.id, *paths, clip.link])
    return text.getvalue().encode("utf-8", "backslashreplace")


# Texts ---------------------------------------------------------------------------------------------------------------
def _cell(text: str) -> str:
    """Text as the cell of a Markdown table."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(text.split()))


def _steps(described: Mapping[str, Any]) -> str:
    lines = ["| Step | Clips before | Left out |", "|---|---:|---:|"]
    lines += [f"| {step['step']} | {step['before']} | {step['left_out']} |" for step in described["steps"]]
    return "\n".join([*lines, f"| **in the suite** | **{described['clips']}** | |"])


def _report(described: Mapping[str, Any]) -> str:
    """The report for the owner of the suite."""
    few = f"Classes with fewer than {described['options']['per_class']} single-event clips"
    found = {
        few: described["few"],
        "Classes of which no clip is left": described["lost"],
        "Excluded classes": [f"{name} ({n})" for name, n in described["excluded"].items()],
        "Clips that each system solves": [f"{name} {n}" for name, n in described["solved_by_system"].items()],
        "Notes": described["notes"],
    }
    columns = ("before", "left", "single", "multi")
    rows = [
        f"| {_cell(name)} | {' | '.join(str(n[column]) for column in columns)} |"
        for name, n in described["classes"].items()
    ]
    return _REPORT.format(
        name=described["name"],
        counts=_counts(described),
        steps=_steps(described),
        rows="\n".join(rows),
        picture=PICTURE,
        lists="".join(f"{title}: {', '.join(map(_cell, names))}.\n\n" for title, names in found.items() if names),
        left_out=DROPPED,
    )


def _counts(described: Mapping[str, Any]) -> str:
    classes = sum(bool(n["single"] + n["multi"]) for n in described["classes"].values())
    return (
        f"{described['clips']} clips of {classes} classes: {described['single']} with a single event, "
        f"{described['multi']} with several; {described['plans']} have a plan."
    )


def _readme(described: Mapping[str, Any], clips: Iterable[SuiteClip]) -> str:
    """The README of the published folder."""
    classes = [(_cell(name), n) for name, n in described["classes"].items() if n["single"] + n["multi"]]
    return _README.format(
        name=described["name"],
        counts=_counts(described),
        start=LINK_START,
        end=LINK_END,
        manifest=MANIFEST,
        licence=described["licence"] or _NOT_STATED,
        licences=", ".join(sorted({_cell(clip.licence) or _NOT_STATED for clip in clips})),
        version=__version__,
        rules="\n".join(f"- {_cell(rule)}" for rule in _rules(described)),
        steps=_steps(described),
        rows_of_classes="\n".join(f"| {name} | {n['single']} | {n['multi']} |" for name, n in classes),
    )


def _rules(described: Mapping[str, Any]) -> list[str]:
    """How the clips were chosen, one sentence each."""
    options = described["options"]
    rules = [
        (
            f"at most {options['per_class']} single-event clips of a class, and a class in at most that many "
            f"multi-event clips; seed {options['seed']}"
        ),
        f"classes: {described['classes_of']}",
    ]
    if options["exclude"]:
        rules.append(f"excluded classes, with what is narrower: {', '.join(options['exclude'])}")
    if options["heard"]:
        given = "; ".join([*options["heard"], *(f"{name}: {text}" for name, text in options["arguments"].items())])
        rules.append(f"left out by their own sound: {given}")
    if options["solved"]:
        who = f"{options['solved_by']} of {', '.join(described['solved_by_system'])}"
        rules.append(f"left out as solved, by {who}: {' and '.join(options['solved'])}")
    return rules


# Picture -------------------------------------------------------------------------------------------------------------
def draw_classes(classes: Mapping[str, Mapping[str, int]], path: Path) -> None:
    """Draw the clips of each class before and after to a PNG.

    Args:
        classes: ``before``, ``single`` and ``multi`` of each class.
        path: The file.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    ordered = sorted(classes.items(), key=lambda item: (-item[1]["before"], item[0]))
    before = [n["before"] for _, n in ordered]
    single = [n["single"] for _, n in ordered]
    multi = [n["multi"] for _, n in ordered]
    total = [one + other for one, other in zip(single, multi, strict=True)]
    named = len(ordered) <= BARS
    height = 1.2 + 0.24 * len(ordered) if named else 4.0
    figure = Figure((9.0, max(2.4, height)), dpi=125, layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, title in zip(panels, ("in the manifest", "in the suite"), strict=True):
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        (axes.xaxis if named else axes.yaxis).set_major_locator(MaxNLocator(integer=True))
        axes.set(**({"xlabel": "clips"} if named else {"xlabel": "classes, in the order of the manifest's counts"}))
    left, right = panels
    places = range(len(ordered))
    if named:
        labels = [name if len(name) <= 32 else f"{name[:31]}…" for name, _ in ordered]
        left.barh(places, before, color="#999999")
        right.barh(places, single, color="#0072B2", label="single-event")
        right.barh(places, multi, left=single, color="#D55E00", label="in multi-event clips")
        for axes, names in ((left, labels), (right, [""] * len(ordered))):
            axes.set_yticks(places, names, parse_math=False)
            axes.set_ylim(len(ordered) - 0.5, -0.5)
        right.legend(fontsize=8, frameon=False, loc="lower right")
    else:
        left.fill_between(places, before, step="mid", color="#999999")
        right.fill_between(range(len(ordered)), single, step="mid", color="#0072B2", label="single-event")
        right.fill_between(
            range(len(ordered)), single, total, step="mid", color="#D55E00", label="in multi-event clips"
        )
        right.legend(fontsize=8, frameon=False)
    figure.savefig(path, format="png")
