"""How well the events of audio follow those of a plan or of the reference: when anything sounds, and how loud."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING

import torch

from prismaudio.audio.activity import active_intervals
from prismaudio.audio.covering import cut
from prismaudio.audio.onsets import detect_onsets
from prismaudio.audio.spectral import decibels
from prismaudio.errors import NotApplicableError
from prismaudio.metrics.base import MeanOfClips, reference_audio
from prismaudio.metrics.plans import SoundEvent, sound_events, temporal_iou
from prismaudio.plan.story import RINGING_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from prismaudio.metrics.target import Target

LEAD_S = 0.01
"""An event is measured from this much before its onset."""
SILENT_DB = -80.0
"""Level below which an event counts as left out, and at which it is measured."""


class IntervalIoU(MeanOfClips):
    """Mean over clips of the temporal intersection over union of when the audio sounds and when it should."""

    dimension, range = "temporal", (0.0, 1.0)

    @abstractmethod
    def true_events(self, target: Target, duration_s: float) -> Sequence[SoundEvent]:
        """The intervals in which something should sound.

        Raises:
            NotApplicableError: They are not known.
        """

    def observe(self, audio: Tensor, sample_rate_hz: int, target: Target) -> None:
        """Add the intersection over union of audio ``(2, samples)``; 0 for silence."""
        true = self.true_events(target, audio.shape[-1] / sample_rate_hz)
        iou = temporal_iou(_sounding(audio, sample_rate_hz), true)
        self.add(torch.tensor(iou, dtype=torch.float64))


class TemporalIoU(IntervalIoU):
    """Mean over clips of the temporal intersection over union of the time in which audio sounds and planned events.

    The events are those of the plan: a sound without a stated end lasts 0.25 s, see
    :func:`prismaudio.metrics.plans.sound_events`. See :func:`prismaudio.audio.activity.active_intervals` for when audio
    sounds: a background as loud as the events does, and takes the value down.
    """

    needs = frozenset({"plan"})

    def true_events(self, target: Target, duration_s: float) -> Sequence[SoundEvent]:
        """The events of the plan; see :meth:`IntervalIoU.true_events`."""
        events = [event for event in sound_events(target.story, duration_s) if event.end_s > event.start_s]
        if not events:
            raise NotApplicableError("the plan states no times")
        return events


class ReferenceTemporalIoU(IntervalIoU):
    """Mean over clips of the temporal intersection over union of the times in which audio and reference sound.

    See :func:`prismaudio.audio.activity.active_intervals` for when they sound.
    """

    needs = frozenset({"reference"})

    def true_events(self, target: Target, duration_s: float) -> Sequence[SoundEvent]:
        """The times in which the reference sounds; see :meth:`IntervalIoU.true_events`."""
        audio, sample_rate_hz = reference_audio(target)
        events = _sounding(audio[..., : math.ceil(duration_s * sample_rate_hz)], sample_rate_hz)
        if not events:
            raise NotApplicableError("the reference is silent")
        return events


class EventLevelError(MeanOfClips):
    """Mean over clips of the error of the levels of events, relative to one another, in dB.

    The level of an event is that of the 0.25 s after its onset, from 0.01 s before it. Of a clip it is the mean
    absolute difference from the levels in the reference, after the mean difference is taken off, so that the loudness
    of the whole does not count. Events are those of the plan, or without one the onsets of the reference; there must be
    two of them. An event that is left out counts as one of -80 dB.
    """

    dimension, needs, range = "temporal", frozenset({"reference"}), (0.0, math.inf)
    higher_is_better = False

    def observe(self, audio: Tensor, sample_rate_hz: int, target: Target) -> None:
        """Add the error of audio ``(2, samples)``."""
        reference, rate_hz = reference_audio(target)
        times_s = [event.time_s for event in target.events] or detect_onsets(reference, rate_hz)
        duration_s = min(audio.shape[-1] / sample_rate_hz, reference.shape[-1] / rate_hz)
        times_s = [time_s for time_s in times_s if time_s < duration_s - LEAD_S]
        if len(times_s) < 2:
            raise NotApplicableError("it compares the levels of two or more events")
        apart_db = event_levels_db(audio, sample_rate_hz, times_s) - event_levels_db(reference, rate_hz, times_s)
        self.add((apart_db - apart_db.mean()).abs().mean())


def event_levels_db(audio: Tensor, sample_rate_hz: int, times_s: Sequence[float]) -> Tensor:
    """Levels in dB ``(events,)`` of audio ``(2, samples)`` around each onset, at least -80 dB.

    An event is measured from 0.01 s before its onset to 0.25 s after it.

    Example:
        >>> audio = torch.full((2, 16_000), 0.1)
        >>> audio[:, 8_000:] = 1.0
        >>> event_levels_db(audio, 16_000, [0.1, 0.6]).round().tolist()
        [-20.0, 0.0]
    """
    parts = [cut(audio, sample_rate_hz, time_s - LEAD_S, LEAD_S + RINGING_S) for time_s in times_s]
    power = torch.stack([part.double().square().mean() if part.numel() else torch.zeros(()) for part in parts])
    return decibels(power.double(), SILENT_DB)


def _sounding(audio: Tensor, sample_rate_hz: int) -> list[SoundEvent]:
    return [SoundEvent(start_s, end_s) for start_s, end_s in active_intervals(audio, sample_rate_hz)]
