"""A planner that recognises what is seen in real footage and follows its motion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from prismaudio.checkpoints import Configured, within
from prismaudio.errors import PlanError
from prismaudio.plan import CORE, Plan
from prismaudio.plan.story import SIDE_DEG, Source, Story
from prismaudio.plan.writing import describe
from prismaudio.planners.base import Planner
from prismaudio_footage.families import MIN_GAP_S, UNKNOWN, Family, families, family_of, nouns, verbs
from prismaudio_footage.network import load_recogniser
from prismaudio_footage.watching import MAX_S, Motion, Sight, peaks_s, recognise, small_frames, watch_motion

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from prismaudio.components import Dimension
    from prismaudio.types import Clip

NAMED = 2
"""Most families that are named in a shot."""
MOVES_DEG, MIN_FIT = 15.0, 0.5
"""A source moves if its direction changes by this much and a straight path explains this share of the variance."""
FIRST_S, EVERY_S = 0.5, 2.0
"""First onset, and time between onsets, of what a prompt names and nothing shows."""
UNNAMED = "sound"


@dataclass(frozen=True)
class _Seen:
    """What a clip shows, as a story, with what is to be told about it."""

    story: Story
    warnings: tuple[str, ...]
    origin: dict[str, object]


class FootagePlanner(Configured, Planner):
    """Recognises families of things in real footage, follows their motion, and writes the four core sections.

    An ImageNet classifier (EfficientNet-Lite2) votes on several frames of each shot; ``prismaudio_footage.families``
    maps what it sees to about fifty families. What strikes or calls sounds when the motion changes suddenly, what runs
    or flows as long as it is seen. Directions are those of the columns of the frame in which the classifier finds the
    family. Where it is not certain, the plan states a rustle that follows the motion, and a warning says so.

    Args:
        weights: ``efficientnet-lite2-9656183e.pth``, or the network as ``.safetensors``; None for the installed ones.
        frames: Number of frames that vote; a shot has at least two.
        certain: Score from which on a family is named: its mean probability over the frames, corrected for chance.
        max_sources: Most sources of a plan; of more, those that are seen longest are kept.
    """

    def __init__(
        self, weights: str | None = None, frames: int = 10, certain: float = 0.15, max_sources: int = 5
    ) -> None:
        within(1, 48, frames=frames)
        within(0, 1, certain=certain)
        within(1, 32, max_sources=max_sources)
        self.weights, self.frames, self.certain, self.max_sources = weights, frames, certain, max_sources

    def plan(self, clip: Clip, dimensions: Sequence[Dimension], given: str | Plan | None = None) -> Plan:
        """Write the core sections among ``dimensions``; sections that are given are kept."""
        names = {dimension.name for dimension in dimensions}
        if isinstance(given, Plan) and all(given.get(name) for name in CORE if name in names):
            return given
        shows = clip.file is not None or clip.frames is not None
        if not shows and given is None:
            raise PlanError(f"clip {clip.id} has no frames and no prompt or plan; give at least one of them")
        seen = self._see(clip) if shows else _Seen(Story(), (), {})
        kept = Plan({"semantic": given}) if isinstance(given, str) else given or Plan({})
        story, warnings = seen.story, [*kept.warnings]
        if given is None:
            warnings += seen.warnings
        else:
            stated = Plan(dict.fromkeys(CORE, given)) if isinstance(given, str) else kept
            story = _completed(stated.read(nouns()), seen.story, clip.duration_s, is_prompt=isinstance(given, str))
        written = describe(story, None, verbs())
        texts = {name: text for name, text in written.items() if name in names and not kept.get(name)}
        plan = Plan({**texts, **{name: text for name, text in kept.items() if text}}, warnings)
        ordered = {name: plan[name] for name in (*CORE, *plan) if name in plan}
        origins = dict.fromkeys(texts, seen.origin) if seen.origin else {}
        return Plan(ordered, plan.warnings, {**origins, **kept.origins})

    def unload(self) -> None:
        """Free the memory of the recogniser."""
        load_recogniser.cache_clear()

    @torch.no_grad()
    def _see(self, clip: Clip) -> _Seen:
        """Recognise what a clip shows, and when and where it moves."""
        small = small_frames(clip)
        motion = watch_motion(small)
        if motion.is_black:
            return _Seen(Story((), "clean"), ("the frames are black; the plan states silence",), {})
        warnings = [f"only the first {MAX_S:.0f} s are planned"] if clip.duration_s > MAX_S else []
        sights = recognise(load_recogniser(self.weights), clip, motion, self.frames)
        found: dict[str, Source] = {}
        seen_s: dict[str, float] = {}
        unknown: list[Sight] = []
        for sight in sights:
            named = self._named(sight)
            if not named:
                unknown.append(sight)
            whats: list[Family | None] = [*named] or [None]
            for family in whats:
                source = _source(family, sight, motion)
                if source is not None:
                    found[source.what] = _joined(found[source.what], source) if source.what in found else source
                    seen_s[source.what] = seen_s.get(source.what, 0.0) + sight.end_s - sight.begin_s
        if unknown:
            warnings.append(_doubt(unknown, sights, nothing_moves=UNKNOWN not in found))
        longest = sorted(found, key=lambda what: -seen_s[what])[: self.max_sources]
        sources = tuple(source for what, source in found.items() if what in longest)
        seen = {
            f"{sight.begin_s:.2f} s": {name: round(score, 3) for name, score in list(sight.scores.items())[:3]}
            for sight in sights[:20]
        }
        return _Seen(Story(sources, "clean"), tuple(warnings), {"model": "efficientnet-lite2", "seen": seen})

    def _named(self, sight: Sight) -> list[Family]:
        """The families that a shot shows with certainty, the most certain first."""
        sure = [name for name, score in sight.scores.items() if score >= self.certain]
        return [families()[name] for name in sure if families()[name].kind != "cue"][:NAMED]


def _doubt(unknown: Sequence[Sight], sights: Sequence[Sight], *, nothing_moves: bool) -> str:
    """A warning about what was not recognised, with the best guess."""
    where = "" if len(unknown) == len(sights) else f" in {len(unknown)} of {len(sights)} shots"
    name, score = next(iter(unknown[0].scores.items()))
    does = "nothing moves either, so the plan is silent there" if nothing_moves else f"a {UNKNOWN} follows the motion"
    return f"nothing is recognised with certainty{where} (best guess: {name}, {max(score, 0):.2f}); {does}"


def _source(family: Family | None, sight: Sight, motion: Motion) -> Source | None:
    """The sound of a family in a shot; of what is not recognised if it is None."""
    kind = "strikes" if family is None else family.kind
    what = UNKNOWN if family is None else family.name
    end_s: float | None = None
    if family is not None and family.lasts:
        onsets, end_s = [round(sight.begin_s, 2)], round(sight.end_s, 2)
    else:
        onsets = _spaced(peaks_s(motion, sight.begin_s, sight.end_s), MIN_GAP_S[kind])
        if not onsets and family is not None:
            onsets = [round(sight.begin_s, 2)]
        elif not onsets and motion.moves(sight.begin_s, sight.end_s):
            onsets, end_s = [round(sight.begin_s, 2)], round(sight.end_s, 2)
        if not onsets:
            return None
    azimuth = _azimuth(family, sight, motion, onsets[0], onsets[-1] if end_s is None else end_s)
    return Source(what, tuple(onsets), end_s, azimuth)


def _spaced(times_s: Iterable[float], gap_s: float) -> list[float]:
    kept: list[float] = []
    for time_s in times_s:
        if not kept or time_s - kept[-1] >= gap_s:
            kept.append(round(time_s, 2))
    return kept


def _azimuth(family: Family | None, sight: Sight, motion: Motion, first_s: float, last_s: float) -> tuple[float, float]:
    """Directions at two times: a straight path through where the family is seen, or where something moves."""
    if family is None or family.name not in sight.columns:
        shares = motion.change[motion.part(sight.begin_s, sight.end_s)]
        times_s = sight.begin_s + (torch.arange(len(shares)) + 0.5) / motion.fps
        shares = (shares - shares.median(1, keepdim=True).values).clamp(min=0)  # motion of the camera is everywhere
    else:
        shares, times_s = sight.columns[family.name], sight.times_s
        shares = (shares - shares.amin(1, keepdim=True)).clamp(min=0)
    weight = shares.sum(1)
    if not len(shares) or float(weight.sum()) <= 1e-9:
        return 0.0, 0.0
    n_columns = shares.shape[1]
    across_deg = SIDE_DEG * (2 * (torch.arange(n_columns) + 0.5) / n_columns - 1)
    places_deg = shares @ across_deg / weight.clamp(min=1e-9)
    first_deg, last_deg = _path(places_deg, times_s, weight, first_s, last_s)
    return float(round(first_deg)), float(round(last_deg))


def _path(places_deg: Tensor, times_s: Tensor, weight: Tensor, first_s: float, last_s: float) -> tuple[float, float]:
    """Directions at two times by a weighted linear fit, or twice the mean one where there is no clear movement."""
    share = weight / weight.sum()
    mean_deg, mean_s = float(share @ places_deg), float(share @ times_s)
    spread_s2 = float(share @ (times_s - mean_s).square())
    spread_deg2 = float(share @ (places_deg - mean_deg).square())
    if spread_s2 > 1e-6 and spread_deg2 > 1e-6 and last_s > first_s:
        slope = float(share @ ((times_s - mean_s) * (places_deg - mean_deg))) / spread_s2
        ends = [min(max(mean_deg + slope * (t - mean_s), -SIDE_DEG), SIDE_DEG) for t in (first_s, last_s)]
        if abs(ends[1] - ends[0]) >= MOVES_DEG and slope**2 * spread_s2 / spread_deg2 >= MIN_FIT:
            return ends[0], ends[1]
    return mean_deg, mean_deg


def _joined(first: Source, second: Source) -> Source:
    """One source that sounds in two shots; a sustained sound goes on through what is between them."""
    azimuth = None
    if first.azimuth_deg is not None and second.azimuth_deg is not None:
        begin_deg, end_deg = first.azimuth_deg[0], second.azimuth_deg[1]
        azimuth = (begin_deg, end_deg if abs(end_deg - begin_deg) >= MOVES_DEG else begin_deg)
    if first.end_s is not None or second.end_s is not None:
        return Source(first.what, first.onsets_s[:1], max(first.last_s, second.last_s), azimuth)
    return Source(first.what, tuple(sorted({*first.onsets_s, *second.onsets_s})), None, azimuth)


def _completed(stated: Story, seen: Story, duration_s: float, *, is_prompt: bool) -> Story:
    """What a prompt or a partial plan states, with times and directions of what is seen.

    A source takes them from the same family, or else from the one that is seen first. Where nothing is seen, what lasts
    sounds throughout, and other sources every two seconds.
    """
    quality, room = stated.quality or seen.quality or "clean", stated.room or seen.room
    if not stated.sources:
        if not is_prompt:
            return Story(seen.sources, quality, room)
        onsets = sorted({t for source in seen.sources for t in source.onsets_s})
        sources = (Source(UNNAMED, tuple(onsets)),) if onsets else ()
        return Story(sources, quality, room)
    by_name = {source.what: source for source in seen.sources}
    done = []
    for source in stated.sources:
        family = family_of(source.what)
        match = by_name.get(family.name if family else source.what) or next(iter(seen.sources), None)
        timed = source
        if not source.onsets_s:
            lasts = family is not None and family.lasts
            onsets_s, end_s = _times(lasts, match, duration_s)
            timed = replace(source, onsets_s=onsets_s, end_s=end_s)
        done.append(replace(timed, azimuth_deg=source.azimuth_deg or (match.azimuth_deg if match else None)))
    return Story(tuple(done), quality, room)


def _times(lasts: bool, seen: Source | None, duration_s: float) -> tuple[tuple[float, ...], float | None]:  # noqa: FBT001
    """Onsets and end of a source that states none."""
    if lasts:
        if seen is not None and seen.end_s is not None:
            return seen.onsets_s[:1], seen.end_s
        return (0.0,), round(duration_s, 2)
    if seen is not None and seen.end_s is None:
        return seen.onsets_s, None
    first_s = round(min(FIRST_S, duration_s / 4), 2)
    n_times = 1 + max(0, int((duration_s - first_s - 0.1) / EVERY_S))
    return tuple(round(first_s + EVERY_S * i, 2) for i in range(n_times)), None
