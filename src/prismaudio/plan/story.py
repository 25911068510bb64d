"""What a plan says happens: sources, their times and places, and how it sounds."""

from __future__ import annotations

from dataclasses import dataclass

SIDE_DEG = 60.0
"""Direction of what is at the side of the frame; a unit of directions in networks."""
RINGING_S = 0.25
"""How long a struck source is taken to be heard after an onset, and so to disturb others."""


@dataclass(frozen=True)
class Event:
    """The beginning of one sound.

    Args:
        time_s: Seconds from the start of the clip.
        what: The noun of its source, for example ``"dog"``.
        azimuth_deg: Direction, -90 (left) .. 90 (right); None when it is not stated.
        level_db: Peak level in dB relative to full scale; None when it is not stated.
    """

    time_s: float
    what: str
    azimuth_deg: float | None = None
    level_db: float | None = None


@dataclass(frozen=True)
class Source:
    """One thing that sounds.

    Args:
        what: Its noun, for example ``"dog"``.
        onsets_s: When it begins to sound, each time, in seconds.
        end_s: When a lasting sound (rolling, sustained) stops; None for sounds that die away by themselves.
        azimuth_deg: Direction at its first and at its last moment, -90 (left) .. 90 (right); None when not stated.
        size: ``"small"``, ``"medium"`` or ``"large"``; None when not stated.
    """

    what: str
    onsets_s: tuple[float, ...]
    end_s: float | None = None
    azimuth_deg: tuple[float, float] | None = None
    size: str | None = None

    @property
    def last_s(self) -> float:
        """Its last moment: when it stops, or its last onset; 0 for a source without times."""
        return self.end_s if self.end_s is not None else self.onsets_s[-1] if self.onsets_s else 0.0

    def azimuth_at(self, time_s: float) -> float | None:
        """Direction at a time, which changes evenly from the first moment to the last; None when not stated.

        :func:`prismaudio.audio.interaural.azimuths_deg` has it at many times.

        Example:
            >>> car = Source("car", (1.0,), 3.0, (-20.0, 20.0))
            >>> [car.azimuth_at(time_s) for time_s in (0.0, 1.5, 9.0)]
            [-20.0, -10.0, 20.0]
        """
        if self.azimuth_deg is None:
            return None
        first_deg, last_deg = self.azimuth_deg
        if not self.onsets_s:
            return first_deg
        first_s = self.onsets_s[0]
        share = min(max((time_s - first_s) / max(self.last_s - first_s, 1e-3), 0.0), 1.0)
        return first_deg + (last_deg - first_deg) * share


@dataclass(frozen=True)
class Story:
    """What happens in a clip, as far as its plan states it.

    Args:
        sources: What sounds.
        quality: ``"clean"``, ``"noisy"``, ``"clipped"`` or ``"muffled"``; None when not stated.
        room: ``"dry"``, ``"room"`` or ``"hall"``; None when not stated.
    """

    sources: tuple[Source, ...] = ()
    quality: str | None = None
    room: str | None = None
