"""Overlaps and levels of events have known values on constructed sounds."""

from __future__ import annotations

import pytest
import torch

from prismaudio.audio.activity import active_intervals
from prismaudio.metrics.events import EventLevelError, ReferenceTemporalIoU, TemporalIoU, event_levels_db
from prismaudio.metrics.target import Target
from prismaudio.plan import Plan
from prismaudio.testing import check_metric
from prismaudio.types import Clip

RATE_HZ = 16_000


def sounding(*events: tuple[float, float, float], floor: float = 0.0, duration_s: float = 4.0) -> torch.Tensor:
    """Noise of an amplitude between two times, over a noise floor."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, round(duration_s * RATE_HZ), generator=generator).clamp(-3, 3) / 3
    gain = torch.full((noise.shape[1],), floor)
    for start_s, end_s, amplitude in events:
        gain[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)] = amplitude
    return noise * gain


def measured(metric, audio, *, plan="", reference=None):
    clip = Clip("a", 4.0, audio=reference, sample_rate_hz=None if reference is None else RATE_HZ)
    metric.update(audio[None], RATE_HZ, [Target.of(clip, Plan.parse(plan) if plan else None)])
    return metric.skipped.get(0, float(metric.compute()))


@pytest.mark.parametrize("floor", [0.0, 0.001, 0.05])
def test_what_is_over_the_noise_sounds(floor):
    (first, second) = active_intervals(sounding((1, 1.5, 0.8), (2, 3, 0.4), floor=floor), RATE_HZ)
    assert first == pytest.approx((1, 1.5), abs=0.011)
    assert second == pytest.approx((2, 3), abs=0.011)


def test_a_sound_without_pauses_sounds_all_the_time_and_silence_never():
    assert active_intervals(sounding((0, 4, 0.5)), RATE_HZ) == [(0.0, 4.0)]
    assert active_intervals(torch.zeros(2, RATE_HZ), RATE_HZ) == []
    assert active_intervals(torch.zeros(2, 0), RATE_HZ) == []
    assert len(active_intervals(sounding((1, 2, 0.5), (2.04, 3, 0.5)), RATE_HZ)) == 1
    assert len(active_intervals(sounding((1, 2, 0.5), (2.06, 3, 0.5)), RATE_HZ)) == 2


@pytest.mark.parametrize(("shift_s", "iou"), [(0.0, 1.0), (1.0, 1 / 3), (2.0, 0.0)])
def test_the_overlap_with_the_plan_and_with_the_reference(shift_s, iou):
    audio = sounding((1 + shift_s, 3 + shift_s, 0.5), duration_s=6.0)
    plan = "<Temporal> The engine sounds from 1.00 s to 3.00 s."
    assert measured(TemporalIoU(), audio, plan=plan) == pytest.approx(iou, abs=0.01)
    assert measured(ReferenceTemporalIoU(), audio, reference=sounding((1, 3, 0.1))) == pytest.approx(iou, abs=0.01)


def test_silence_overlaps_with_nothing_and_a_silent_reference_says_nothing():
    silence, plan = torch.zeros(2, 4 * RATE_HZ), "<Temporal> The engine sounds from 1.00 s to 3.00 s."
    assert measured(TemporalIoU(), silence, plan=plan) == 0
    assert measured(ReferenceTemporalIoU(), silence, reference=sounding((1, 3, 0.1))) == 0
    assert measured(ReferenceTemporalIoU(), sounding((1, 3, 0.1)), reference=silence) == "the reference is silent"
    assert measured(TemporalIoU(), silence, plan="<Semantic> An engine.") == "the plan states no times"


def test_levels_are_compared_among_the_events_of_a_clip():
    plan = "<Temporal> The dog barks at 1.00 s and 2.00 s."
    reference = sounding((1, 1.3, 0.5), (2, 2.3, 0.05))
    louder = 2 * reference
    level = sounding((1, 1.3, 0.5), (2, 2.3, 0.5))
    left_out = sounding((1, 1.3, 0.5))
    for audio, error_db in ((reference, 0.0), (louder, 0.0), (level, 10.0)):
        assert measured(EventLevelError(), audio, plan=plan, reference=reference) == pytest.approx(error_db, abs=0.3)
        assert measured(EventLevelError(), audio, reference=reference) == pytest.approx(error_db, abs=0.3)
    second_db = float(event_levels_db(reference, RATE_HZ, [2.0]))
    assert measured(EventLevelError(), left_out, plan=plan, reference=reference) == pytest.approx(
        (second_db + 80) / 2, abs=0.1
    )
    one = "<Temporal> The dog barks at 1.00 s."
    assert "two or more events" in measured(EventLevelError(), audio, plan=one, reference=reference)


@pytest.mark.parametrize("metric", [TemporalIoU, ReferenceTemporalIoU, EventLevelError])
def test_the_contract(metric):
    check_metric(metric())
