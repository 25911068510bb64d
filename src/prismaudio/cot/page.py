"""One HTML page to read, listen to, correct and accept rows of chain-of-thought data; it needs no server."""

from __future__ import annotations

import os
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch

from prismaudio.audio.onsets import RATE_HZ, detect_onsets
from prismaudio.audio.spectral import decibels
from prismaudio.errors import PrismAudioError
from prismaudio.media import probe, read_audio_track
from prismaudio.pages import is_page_of, page, relative_url
from prismaudio.plan import CORE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from prismaudio.cot.rows import CotRow
    from prismaudio.plan.story import Story

N_LEVELS = 200
"""Number of levels over time that the page draws of each channel."""
RANGE_DB = 60.0
"""Range of the levels below full scale."""
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
"""A level is one digit, from silence to full scale."""
MAX_SOUND_S = 600.0
"""Maximum length of a clip whose sound is drawn."""
GENERATOR = "prismaudio cot inspect"
"""Marks pages, so that only these are overwritten."""


def sound_of(row: CotRow, folder: Path) -> dict[str, Any]:
    """What the page draws of the real sound of a row.

    Args:
        row: The row.
        folder: Folder that its paths are relative to.

    Returns:
        ``onsets_s``, the times of detected onsets, and ``levels``, one text for the left and one for the right channel
        with a digit of :data:`DIGITS` for each of :data:`N_LEVELS` parts; or ``problem``, why there are none.
    """
    named = row.clip.get("audio") or row.clip.get("video")
    if not isinstance(named, str) or not 0 < row.duration_s <= MAX_SOUND_S:
        return {"problem": f"the row names no sound of up to {MAX_SOUND_S:g} s"}
    path = folder / named
    try:
        begin_s = _seconds(row, "start_s") + (0.0 if row.clip.get("audio") else probe(path).start_s)
        audio = read_audio_track(path, RATE_HZ, row.duration_s, begin_s)
        if audio is None:
            return {"problem": f"{named} has no sound"}
        onsets_s = detect_onsets(audio, RATE_HZ)
    except (PrismAudioError, ValueError) as error:  # a NUL in a file name is a ValueError
        return {"problem": str(error).replace(f"{folder}{os.sep}", "")}
    edges = torch.linspace(0, audio.shape[1], N_LEVELS + 1).long()
    power = torch.nn.functional.pad(audio.double().square().cumsum(1), (1, 0))[:, edges].diff(dim=1)
    level_db = decibels(power / edges.diff().clamp(min=1) + 1e-12)
    steps = ((level_db / RANGE_DB + 1).clamp(0, 1) * (len(DIGITS) - 1)).round().long()
    return {
        "onsets_s": [round(time_s, 3) for time_s in onsets_s],
        "levels": ["".join(DIGITS[step] for step in channel) for channel in steps.tolist()],
    }


def entry_of(
    row: CotRow, story: Story, sound: dict[str, Any], folder: Path, place: Path, rewards: Collection[str] = ()
) -> dict[str, Any]:
    """What the page knows about a row, as JSON types.

    Args:
        row: The row.
        story: What its sections state.
        sound: What :func:`sound_of` returns.
        folder: Folder that its paths are relative to.
        place: The file of the page, which links its video and its audio.
        rewards: Names of the rewards; what else was skipped is a gate.
    """
    caption = row.clip.get("caption")
    return {
        "id": row.id,
        "files": {
            kind: {"name": named, "url": relative_url(folder / named, place.parent)}
            for kind in ("video", "audio")
            if isinstance(named := row.clip.get(kind), str) and named
        },
        "start_s": _seconds(row, "start_s"),
        "duration_s": row.duration_s,
        "caption": caption if isinstance(caption, str) else "",
        "sections": row.sections,
        "cot": row.cot,
        "origins": {name: _origin(origin) for name, origin in row.origins.items()},
        "warnings": row.warnings,
        "gates": row.gates,
        "skipped": {name: why for name, why in row.skipped.items() if name not in rewards},
        "unscored": {name: why for name, why in row.skipped.items() if name in rewards},
        "scores": row.scores,
        "corrected": row.corrected,
        "accepted": row.accepted,
        "sources": [
            {
                "what": source.what,
                "onsets_s": source.onsets_s,
                "end_s": source.end_s,
                "azimuth_deg": source.azimuth_deg,
            }
            for source in story.sources
            if source.onsets_s
        ],
        "sound": sound,
    }


def _seconds(row: CotRow, name: str) -> float:
    value = row.clip.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def _origin(origin: dict[str, Any]) -> list[str]:
    """Who wrote a text, as short texts: planner, model, prompt, answers, tokens and seconds."""
    said = [str(origin[key]) for key in ("planner", "model", "prompt") if origin.get(key)]
    amounts = {"asked": "answers", "tokens": "tokens", "seconds": "s"}
    numbers = {key: origin[key] for key in amounts if isinstance(origin.get(key), int | float) and origin[key]}
    return said + [
        f"{number:g}\N{NO-BREAK SPACE}{amounts[key]}"
        for key, number in numbers.items()
        if (key, number) != ("asked", 1)
    ]


def page_html(
    title: str, entries: Sequence[dict[str, Any]], minimums: Mapping[str, float] = MappingProxyType({})
) -> str:
    """The page, with its script, style and data inside.

    Args:
        title: Its title.
        entries: What :func:`entry_of` returns, for each row in order.
        minimums: Minimum scores of rewards.
    """
    used = {name for entry in entries for name in entry["sections"]}
    sections = [*(name for name in CORE if name in used), *sorted(used - set(CORE))]
    data = {"title": title, "sections": sections, "digits": DIGITS, "minimums": dict(minimums), "rows": entries}
    return page(Path(__file__).with_name("page.html"), GENERATOR, title, data, media="'self' file:")


def is_page(path: Path) -> bool:
    """Whether a file is a page that :func:`page_html` wrote."""
    return is_page_of(path, GENERATOR)
