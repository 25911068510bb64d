"""What really happens in a clip, as the metrics need it."""

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
    """What a metric compares a sound with.

    Args:
        story: What happens, as a plan states it.
        events: The beginning of every sound, ascending in time.
        noise_floor_db: Noise floor of the true sound in dB; None when there is no true sound.
        late_energy_db: Late energy of the true sound in dB; None when it cannot be measured.
        clip: The frames and, as its sound, the reference; None when only its story is known.
        plan: The plan; None when only its story is known.
    """

    story: Story
    events: tuple[Event, ...]
    noise_floor_db: float | None = None
    late_energy_db: float | None = None
    clip: Clip | None = None
    plan: Plan | None = None

    @classmethod
    def of(cls, clip: Clip, plan: Plan | None = None) -> Target:
        """The truth that a clip and its plan hold, the sound of the clip being the reference.

        Example:
            >>> from prismaudio.plan import Plan
            >>> from prismaudio.types import Clip
            >>> Target.of(Clip("a", 4.0), Plan.parse("<Temporal> The dog sounds at 1.00 s.")).events
            (Event(time_s=1.0, what='dog', azimuth_deg=None, level_db=None),)
        """
        story = plan.story if plan else Story()
        if clip.audio is None or clip.sample_rate_hz is None:
            truth = cls.from_story(story)
        else:
            truth = cls.from_story(story, clip.audio, clip.sample_rate_hz)
        return replace(truth, clip=clip, plan=plan)

    @property
    def has(self) -> frozenset[Need]:
        """What there is to compare a sound with; the truth of a story alone counts as its plan."""
        found: set[Need] = set() if self.clip is None else set(self.clip.has)
        if self.plan or self.clip is None:
            found.add("plan")
        if self.noise_floor_db is not None:
            found.add("reference")
        return frozenset(found)

    @classmethod
    def from_story(cls, story: Story, audio: Tensor | None = None, sample_rate_hz: int = 16_000) -> Target:
        """The truth that a story states, with what is measured on its true audio ``(2, samples)`` if there is one.

        Example:
            >>> from prismaudio.plan.story import Source
            >>> dog = Source("dog", (1.0, 2.0), azimuth_deg=(-20.0, 20.0))
            >>> [(event.time_s, event.azimuth_deg) for event in Target.from_story(Story((dog,))).events]
            [(1.0, -20.0), (2.0, 20.0)]
        """
        truth = cls(story, story_events(story))
        if audio is None:
            return truth
        floor_db = measure_noise_floor_db(audio, sample_rate_hz)
        return cls(story, truth.events, floor_db, measure_late_energy_db(audio, sample_rate_hz, truth))


def story_events(story: Story) -> tuple[Event, ...]:
    """The events that a story states, ascending in time."""
    sources = story.sources
    events = (Event(time_s, source.what, source.azimuth_at(time_s)) for source in sources for time_s in source.onsets_s)
    return tuple(sorted(events, key=lambda event: event.time_s))


def isolated(truth: Target, event: Event, before_s: float, after_s: float) -> bool:
    """Whether no other source sounds from ``before_s`` before an event to ``after_s`` after it."""
    start_s, stop_s = event.time_s - before_s, event.time_s + after_s
    for source in truth.story.sources:
        if source.what == event.what:
            continue
        if source.end_s is not None and source.onsets_s and source.onsets_s[0] < stop_s and source.end_s > start_s:
            return False
        if any(start_s < time_s < stop_s for time_s in source.onsets_s):
            return False
    return True


def measure_noise_floor_db(audio: Tensor, sample_rate_hz: int) -> float:
    """Noise floor of a sound, where everything below -70 dB is silence."""
    return max(-70.0, float(noise_floor_db(audio[None], sample_rate_hz)))


def measure_late_energy_db(audio: Tensor, sample_rate_hz: int, truth: Target) -> float | None:
    """Mean late energy of the struck events that have 0.35 s to themselves; None without such an event."""
    lasting = {source.what for source in truth.story.sources if source.end_s is not None}
    alone_s = LATE_S[1]
    times_s = [event.time_s for event in truth.events]
    measured_s = [
        event.time_s
        for event in truth.events
        if event.what not in lasting
        and not any(0 < time_s - event.time_s < alone_s for time_s in times_s)
        and isolated(truth, event, RINGING_S, alone_s)
    ]
    levels_db = late_energy_db(audio[None], sample_rate_hz, torch.tensor([measured_s], device=audio.device))
    level_db = float(levels_db.nanmean())
    return None if math.isnan(level_db) else level_db
