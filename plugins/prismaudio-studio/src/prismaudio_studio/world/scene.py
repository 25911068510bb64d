"""A scene of the studio: what happens, exactly, before it is drawn or sounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prismaudio.plan.story import SIDE_DEG, Event, Source, Story

if TYPE_CHECKING:
    from prismaudio_studio.world.looks import Look

DURATION_S = 4.0

STRUCK = ("bell", "woodblock", "glass", "drum")
BOUNCING = ("ball", "coin")
SHAKEN = ("shaker",)
ROLLING = ("marble", "cart")
SUSTAINED = ("whistle", "engine", "buzzer")


@dataclass(frozen=True)
class Thing:
    """One object of a scene.

    Args:
        what: Its class, one of :data:`prismaudio.plan.words.CLASSES`.
        size: ``"small"``, ``"medium"`` or ``"large"``.
        radius: Half its height, in frame heights.
        x: Where it is when it first and when it last sounds, -1 (left) .. 1 (right).
        onsets_s: When it begins to sound.
        levels_db: Peak level of each sound in dB relative to full scale, before the room and the recorder.
        end_s: When it stops, if it lasts.
        fall_s: How long a bouncing thing falls before it first touches the ground.
        depth: 0 (far) .. 1 (near): how low it stands in the frame.
        key: Seed of everything about it that the truth need not know.
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
    def span_s(self) -> tuple[float, float]:
        """Its first and its last moment."""
        return self.onsets_s[0], self.end_s if self.end_s is not None else self.onsets_s[-1]

    def azimuth_deg(self, time_s: float) -> float:
        """Its direction at a time."""
        first, last = self.span_s
        share = 0.0 if last <= first else min(max((time_s - first) / (last - first), 0.0), 1.0)
        return SIDE_DEG * (self.x[0] + share * (self.x[1] - self.x[0]))

    @property
    def source(self) -> Source:
        """What a plan says about it."""
        first, last = (round(self.azimuth_deg(t), 2) for t in self.span_s)
        return Source(self.what, self.onsets_s, self.end_s, (first, last), self.size)


@dataclass(frozen=True)
class Scene:
    """A clip of the studio before it is rendered; the same scene always renders to the same clip.

    Args:
        id: Name of the clip.
        split: ``"plain"`` or ``"randomised"``.
        held_out: Whether it belongs to the clips that are never trained on.
        things: What is seen and heard, in the order of their first sounds.
        quality: ``"clean"``, ``"noisy"``, ``"clipped"`` or ``"muffled"``.
        room: ``"dry"``, ``"room"`` or ``"hall"``.
        look: What the frame looks like beyond that.
        key: Seed of everything that the truth need not know.
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
        """What a perfect plan says."""
        return Story(tuple(thing.source for thing in self.things), self.quality, self.room)

    @property
    def events(self) -> list[Event]:
        """Every beginning of a sound, in order of time."""
        events = [
            Event(onset_s, thing.what, round(thing.azimuth_deg(onset_s), 2), round(level_db, 2))
            for thing in self.things
            for onset_s, level_db in zip(thing.onsets_s, thing.levels_db, strict=True)
        ]
        return sorted(events, key=lambda event: event.time_s)
