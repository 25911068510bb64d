"""Structured content of a plan: sources with their times and directions, recording quality and room."""

from __future__ import annotations

from dataclasses import dataclass

SIDE_DEG = 60.0
"""Azimuth of the edge of the frame, in degrees; networks use it as the unit of directions."""
RINGING_S = 0.25
"""Time after an onset during which a struck source is assumed to be audible and to mask others."""


@dataclass(frozen=True)
class Event:
    """One onset of a sound.

    Args:
        time_s: Seconds from the start of the clip.
        what: The noun of the source, for example ``"dog"``.
        azimuth_deg: Direction, -90 (left) .. 90 (right); None when it is not stated.
        level_db: Peak level in dB relative to full scale; None when it is not stated.
    """

    time_s: float
    what: str
    azimuth_deg: float | None = None
    level_db: float | None = None


@dataclass(frozen=True)
class Source:
    """A sound source.

    Args:
        what: The noun of the source, for example ``"dog"``.
        onsets_s: Times in seconds at which it begins to sound.
        end_s: End in seconds of a sustained sound (rolling, continuous); None for sounds that decay by themselves.
        azimuth_deg: Direction at the first onset and at the end, -90 (left) .. 90 (right); None when not stated.
        size: ``"small"``, ``"medium"`` or ``"large"``; None when not stated.
    """

    what: str
    onsets_s: tuple[float, ...]
    end_s: float | None = None
    azimuth_deg: tuple[float, float] | None = None
    size: str | None = None

    @property
    def last_s(self) -> float:
        """The end of the source or else its last onset, in seconds; 0 for a source without times."""
        return self.end_s if self.end_s is not None else self.onsets_s[-1] if self.onsets_s else 0.0

    def azimuth_at(self, time_s: float) -> float | None:
        """Return the direction at a time, interpolated linearly between first onset and end; None when not stated.

        :func:`prismaudio.audio.interaural.azimuths_deg` is the vectorised version.

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
    """The events and the acoustic attributes that a plan states.

    Args:
        sources: The sound sources.
        quality: ``"clean"``, ``"noisy"``, ``"clipped"`` or ``"muffled"``; None when not stated.
        room: ``"dry"``, ``"room"`` or ``"hall"``; None when not stated.
    """

    sources: tuple[Source, ...] = ()
    quality: str | None = None
    room: str | None = None
