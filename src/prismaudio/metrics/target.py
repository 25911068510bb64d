"""Targets of the metrics: the events, recording properties and reference of a clip."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from prismaudio.audio.recording import LATE_S, late_energy_db, noise_floor_db
from prismaudio.plan.story import RINGING_S, Event, Story

if TYPE_CHECKING:
    from torch import Tensor

    from prismaudio.plan import Plan
    from prismaudio.types import Clip, Need


@dataclass(frozen=True)
class Target:
    """The target that a metric compares generated audio with.

    Args:
        story: The sources and room of the clip, as parsed from a plan.
        events: The onsets of all sources, ascending in time.
        noise_floor_db: Noise floor of the reference audio in dB; None without reference audio.
        late_energy_db: Late energy of the reference audio in dB; None if it cannot be measured.
        clip: The frames and, as ``clip.audio``, the reference; None if only the story is known.
        plan: The plan; None if there is none.
    """

    story: Story
    events: tuple[Event, ...]
    noise_floor_db: float | None = None
    late_energy_db: float | None = None
    clip: Clip | None = None
    plan: Plan | None = None

    @classmethod
    def of(cls, clip: Clip, plan: Plan | None = None) -> Target:
        """The target of a clip and its plan; the audio of the clip is the reference.

        Example:
            >>> from prismaudio.plan import Plan
            >>> from prismaudio.types import Clip
            >>> Target.of(Clip("a", 4.0), Plan.parse("<Temporal> The dog sounds at 1.00 s.")).events
            (Event(time_s=1.0, what='dog', azimuth_deg=None, level_db=None),)
        """
        story = plan.story if plan else Story()
        if clip.audio is None or clip.sample_rate_hz is None:
            target = cls.from_story(story)
        else:
            target = cls.from_story(story, clip.audio, clip.sample_rate_hz)
        return replace(target, clip=clip, plan=plan)

    @property
    def has(self) -> frozenset[Need]:
        """The inputs that this target offers to metrics; a story without a clip counts as a plan."""
        found: set[Need] = set() if self.clip is None else set(self.clip.has)
        if self.plan or self.clip is None:
            found.add("plan")
        if self.noise_floor_db is not None:
            found.add("reference")
        return frozenset(found)

    @classmethod
    def from_story(cls, story: Story, audio: Tensor | None = None, sample_rate_hz: int = 16_000) -> Target:
        """The target of a story, with properties measured on its reference audio ``(2, samples)`` if given.

        Example:
            >>> from prismaudio.plan.story import Source
            >>> dog = Source("dog", (1.0, 2.0), azimuth_deg=(-20.0, 20.0))
            >>> [(event.time_s, event.azimuth_deg) for event in Target.from_story(Story((dog,))).events]
            [(1.0, -20.0), (2.0, 20.0)]
        """
        target = cls(story, story_events(story))
        if audio is None:
            return target
        floor_db = measure_noise_floor_db(audio, sample_rate_hz)
        return cls(story, target.events, floor_db, measure_late_energy_db(audio, sample_rate_hz, target))


def story_events(story: Story) -> tuple[Event, ...]:
    """The events of a story, ascending in time."""
    sources = story.sources
    events = (Event(time_s, source.what, source.azimuth_at(time_s)) for source in sources for time_s in source.onsets_s)
    return tuple(sorted(events, key=lambda event: event.time_s))


def isolated(target: Target, event: Event, before_s: float, after_s: float) -> bool:
    """Whether no other source is active from ``before_s`` before an event to ``after_s`` after it."""
    start_s, stop_s = event.time_s - before_s, event.time_s + after_s
    for source in target.story.sources:
        if source.what == event.what:
            continue
        if source.end_s is not None and source.onsets_s and source.onsets_s[0] < stop_s and source.end_s > start_s:
            return False
        if any(start_s < time_s < stop_s for time_s in source.onsets_s):
            return False
    return True


def measure_noise_floor_db(audio: Tensor, sample_rate_hz: int) -> float:
    """Noise floor of audio in dB, at least -70 dB."""
    return max(-70.0, float(noise_floor_db(audio[None], sample_rate_hz)))


def measure_late_energy_db(audio: Tensor, sample_rate_hz: int, target: Target) -> float | None:
    """Mean late energy of impulsive events with no other event within 0.35 s; None without such an event."""
    lasting = {source.what for source in target.story.sources if source.end_s is not None}
    alone_s = LATE_S[1]
    times_s = [event.time_s for event in target.events]
    measured_s = [
        event.time_s
        for event in target.events
        if event.what not in lasting
        and not any(0 < time_s - event.time_s < alone_s for time_s in times_s)
        and isolated(target, event, RINGING_S, alone_s)
    ]
    levels_db = late_energy_db(audio[None], sample_rate_hz, torch.tensor([measured_s], device=audio.device))
    level_db = float(levels_db.nanmean())
    return None if math.isnan(level_db) else level_db
