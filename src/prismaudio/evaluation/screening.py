"""Screening of clips by a person: a page to look at them, and the decisions that it saves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prismaudio.errors import DataError, first_of, reason
from prismaudio.evaluation.selection import events_of
from prismaudio.pages import page, relative_url
from prismaudio.untrusted import load_json, read_small

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from prismaudio.evaluation.suite_clips import SuiteClip

GENERATOR = "prismaudio suite build"
REASONS = {
    "correlation": "picture and sound do not belong together",
    "diversity": "too much like another clip",
    "class": "another class is heard",
    "voice": "speech or singing",
    "quality": "poor picture or sound",
}
"""Why a person drops a clip, besides a note in words."""
MAX_BYTES = 1 << 28
EXPECTED = 'expected what the page saves: {"decisions": {id: {"clip": …, "keep": true or false, "reasons": […]}}}'


@dataclass(frozen=True)
class Decision:
    """What a person decides about a clip.

    Args:
        clip: Hash by which the clip is known, see :class:`~prismaudio.evaluation.suite_clips.SuiteClip`.
        keep: Whether it may be part of the suite.
        reasons: Why not: some of :data:`REASONS`.
        note: A note in words.
    """

    clip: str
    keep: bool
    reasons: tuple[str, ...] = ()
    note: str = ""

    @property
    def reason(self) -> str:
        """Why the clip is dropped, as one text."""
        said = [REASONS[name] for name in self.reasons] + [self.note] * bool(self.note)
        return f"dropped by a person: {'; '.join(said) or 'no reason given'}"


def read_decisions(paths: Iterable[Path], clips: Sequence[SuiteClip]) -> tuple[dict[str, Decision], list[str]]:
    """Read decisions about clips; of several about one clip, the last counts.

    Args:
        paths: Files that the page has saved.
        clips: The clips of the manifest.

    Returns:
        Decisions by the ids of clips, and a line for each file with some about clips that are others now.

    Raises:
        DataError: A file cannot be read, has another form, or is about other clips.
    """
    keys = {clip.id: clip.key for clip in clips}
    found: dict[str, Decision] = {}
    notes = []
    for path in paths:
        given = _read(path)
        own = {name: one for name, one in given.items() if keys.get(name) == one.clip}
        others = sorted(given.keys() - own.keys())
        if others and not own:
            raise DataError(
                f"{path} has decisions about other clips: {first_of(others, 3)}; expected those of this manifest"
            )
        if others:
            notes.append(
                f"{path.name}: {len(others)} decisions are about clips that are others now, and are not applied: "
                f"{first_of(others, 3)}"
            )
        found |= own
    return found, notes


def _read(path: Path) -> dict[str, Decision]:
    try:
        values = load_json(read_small(path, MAX_BYTES))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the decisions {path}: {reason(error)}; {EXPECTED}") from error
    decisions = values.get("decisions") if isinstance(values, dict) else None
    if not isinstance(decisions, dict):
        raise DataError(f"{path} has no decisions; {EXPECTED}")
    return {name: _decision(f"{path}, {name[:80]}", value) for name, value in decisions.items()}


def _decision(where: str, value: Any) -> Decision:
    values = value if isinstance(value, dict) else {}
    reasons = values.get("reasons", [])
    fits = isinstance(values.get("keep"), bool) and isinstance(values.get("clip"), str)
    fits = fits and isinstance(reasons, list) and isinstance(values.get("note", ""), str)
    if not fits or not values.keys() <= {"clip", "keep", "reasons", "note"}:
        raise DataError(f"{where}: {str(value)[:80]!r}; {EXPECTED}")
    if unknown := [name for name in reasons if name not in REASONS]:
        raise DataError(f"{where}: the reason {str(unknown[0])[:40]!r} is unknown; expected {', '.join(REASONS)}")
    return Decision(values["clip"], values["keep"], tuple(reasons), " ".join(values.get("note", "").split()))


def entry_of(
    clip: SuiteClip, name: str, folder: Path, scores: Mapping[str, float], decision: Decision | None
) -> dict[str, Any]:
    """What the page knows about a clip, as JSON types.

    Args:
        clip: The clip.
        name: Its id in the suite; empty for a spare one.
        folder: Folder of the page.
        scores: Scores of systems, and of its own sound, by their names.
        decision: What a person has decided before.
    """
    files = {"video": clip.entry.video, "audio": clip.entry.audio}
    return {
        "id": clip.id,
        "clip": clip.key,
        "name": name,
        "classes": list(clip.names),
        "events": events_of(clip.names),
        "captions": list(clip.entry.captions),
        "link": clip.link,
        "link_s": list(clip.link_s),
        "files": {kind: relative_url(path, folder) for kind, path in files.items() if path is not None},
        "scores": {label: round(value, 4) for label, value in scores.items()},
        "decision": None
        if decision is None
        else {"keep": decision.keep, "reasons": list(decision.reasons), "note": decision.note},
    }


def page_html(title: str, entries: Sequence[dict[str, Any]]) -> str:
    """The page, with its script, style and data inside.

    Args:
        title: Its title.
        entries: What :func:`entry_of` returns, for each clip in order.
    """
    data = {"title": title, "reasons": REASONS, "clips": entries}
    return page(Path(__file__).with_name("screening.html"), GENERATOR, title, data, media="'self' file:")
