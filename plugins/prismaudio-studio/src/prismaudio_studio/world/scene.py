"""A scene of the studio: the exact description from which video and audio are rendered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prismaudio.plan.story import SIDE_DEG, Event, Source, Story
from prismaudio_studio.words import CLASSES, motion_of

if TYPE_CHECKING:
    from prismaudio_studio.world.looks import Look

DURATION_S = 4.0


@dataclass(frozen=True)
class Thing:
    """One object of a scene.

    Args:
        what: Its class, one of :data:`prismaudio_studio.words.VOCABULARY`, or a noun that has no sound of its own.
        size: ``"small"``, ``"medium"`` or ``"large"``; plans state it where it changes the sound, of synthetic classes.
        radius: Half its height, in frame heights.
        x: Horizontal position at the first and at the last sound, -1 (left) .. 1 (right).
        onsets_s: Onset times in seconds.
        levels_db: Peak level of each sound in dBFS, before room and recording quality are applied.
        end_s: End of a sustained sound in seconds; None for decaying sounds.
        fall_s: Duration of the fall of a bouncing thing before it first touches the ground.
        depth: 0 (far) .. 1 (near): how low it stands in the frame.
        key: Seed of random details that are not part of the ground truth.
    """

    what: str
    size: str
    radius: float
    x: tuple[float, float]
    onsets_s: tuple[float, ...]
    levels_db: tuple[float, ...]
    end_s: float | None
    fall_s: float
    depth: float
    key: int

    @property
    def motion(self) -> str:
        """How it moves when it sounds, a key of :data:`prismaudio_studio.words.MOTIONS`."""
        return motion_of(self.what)

    @property
    def is_synthetic(self) -> bool:
        """Whether it is of a class with a synthetic sound, rather than one that is recorded."""
        return self.what in CLASSES

    @property
    def span_s(self) -> tuple[float, float]:
        """Time of the first onset, and of the last onset or the end."""
        return self.onsets_s[0], self.end_s if self.end_s is not None else self.onsets_s[-1]

    def azimuth_deg(self, time_s: float) -> float:
        """Azimuth at a time."""
        first, last = self.span_s
        share = 0.0 if last <= first else min(max((time_s - first) / (last - first), 0.0), 1.0)
        return SIDE_DEG * (self.x[0] + share * (self.x[1] - self.x[0]))

    @property
    def source(self) -> Source:
        """The source that a plan states."""
        first, last = (round(self.azimuth_deg(t), 2) for t in self.span_s)
        return Source(self.what, self.onsets_s, self.end_s, (first, last), self.size if self.is_synthetic else None)


@dataclass(frozen=True)
class Scene:
    """Description of a clip of the studio; rendering is deterministic.

    Args:
        id: Name of the clip.
        split: ``"plain"`` or ``"randomised"``.
        held_out: Whether the clip is held out of training.
        things: The objects, in the order of their first sounds.
        quality: ``"clean"``, ``"noisy"``, ``"clipped"`` or ``"muffled"``.
        room: ``"dry"``, ``"room"`` or ``"hall"``.
        look: Visual variation.
        key: Seed of random details that are not part of the ground truth.
        duration_s: Duration in seconds.
    """

    id: str
    split: str
    held_out: bool
    things: tuple[Thing, ...]
    quality: str
    room: str
    look: Look
    key: int
    duration_s: float = DURATION_S

    @property
    def story(self) -> Story:
        """The ground-truth story.

        Half of the dry scenes of recorded things do not state their room, as plans of real footage do not.
        """
        is_told = self.room != "dry" or self.key % 2 == 0 or any(thing.is_synthetic for thing in self.things)
        return Story(tuple(thing.source for thing in self.things), self.quality, self.room if is_told else None)

    @property
    def events(self) -> list[Event]:
        """All onsets, in order of time."""
        events = [
            Event(onset_s, thing.what, round(thing.azimuth_deg(onset_s), 2), round(level_db, 2))
            for thing in self.things
            for onset_s, level_db in zip(thing.onsets_s, thing.levels_db, strict=True)
        ]
        return sorted(events, key=lambda event: event.time_s)
