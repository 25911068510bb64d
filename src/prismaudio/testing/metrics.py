"""Whether a metric keeps its contract."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.metrics.base import AudioMetric
from prismaudio.metrics.target import Target
from prismaudio.testing.check import Check, NotTriedError
from prismaudio.testing.examples import NEEDS, example_audio, example_cases, example_clip, example_plan, without

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.plan import Plan
    from prismaudio.types import Clip

RATE_HZ = 16_000


def check_metric(
    metric: AudioMetric,
    *,
    clip: Clip | None = None,
    plan: Plan | None = None,
    duration_s: float = 2.0,
    tolerance: float = 1e-4,
) -> None:
    """See that a metric keeps the contract of :class:`prismaudio.metrics.base.AudioMetric`.

    Two processes with half of the clips each come to what one comes to with all; how clips are batched and what was
    measured before a reset does not matter; with nothing measured the result is NaN; clips that lack what it needs do
    not count; the result is in range.

    Args:
        metric: The metric; it is reset.
        clip: A clip that it can judge, with frames and sound; by default six seconds in which a gong is struck.
        plan: The plan of that; by default one with a section for every installed dimension.
        duration_s: Duration of the sounds to measure, in seconds.
        tolerance: Largest difference between what must be the same, of results up to 1; a share of larger ones.

    Raises:
        NonconformingError: It does not; the text says in one line what is wrong.
    """
    check = Check(metric)
    check.that(isinstance(metric, AudioMetric), "it is not a AudioMetric")
    listed = all(any(part is network for network in metric.networks) for part in metric.children())
    check.that(listed, "networks must name each network that it has")
    if clip is None and plan is None:
        cases = example_cases(duration_s)
    else:
        sounds = example_audio(duration_s)[:2]
        cases = [(clip or example_clip(), plan or example_plan(), sound) for sound in (*sounds, *sounds.flip(0, 1))]
    sounds = torch.stack([sound for *_, sound in cases])
    targets = [Target.of(clip, plan) for clip, plan, _ in cases]
    metric = _copy(metric)
    with warnings.catch_warnings():  # torchmetrics warns of metrics that have seen nothing
        warnings.simplefilter("ignore")
        check.that(_value(check, metric).isnan(), "with nothing measured its result must be NaN")
        whole = _measured(check, metric, sounds, targets)
        if whole.isnan():
            raise NotTriedError(f"{check.name}: its result is NaN; give it a clip and a plan that it can judge")
        low, high = metric.range
        check.that(low - 1e-5 <= whole <= high + 1e-5, f"its result {whole:g} is not in its range {low:g} .. {high:g}")
        _check_merging(check, metric, sounds, targets, whole, tolerance)
        for need in NEEDS:
            lacking = [Target.of(*without(clip, plan, need)) for clip, plan, _ in cases]
            result = _measured(check, metric, sounds, lacking, f"measuring clips without {need}")
            counted = need in metric.needs and not result.isnan()
            check.that(not counted, f"it says that it needs {need}, but counts clips without")


def _copy(metric: AudioMetric) -> AudioMetric:
    """A metric of the same kind that has measured nothing."""
    fresh = copy.deepcopy(metric)
    fresh.reset()
    return fresh


def _value(check: Check, metric: AudioMetric) -> Tensor:
    with check.doing("computing the result"):
        result = metric.compute()
        single = isinstance(result, Tensor) and result.numel() == 1
        check.that(single, f"its result must be a tensor with one number, not {result}")
    return result.detach().cpu().reshape(())


def _measured(
    check: Check, metric: AudioMetric, sounds: Tensor, targets: Sequence[Target], what: str = "measuring"
) -> Tensor:
    """What a fresh copy comes to, all clips in one batch."""
    fresh = _copy(metric)
    _update(check, fresh, sounds, targets, what)
    return _value(check, fresh)


def _update(
    check: Check, metric: AudioMetric, sounds: Tensor, targets: Sequence[Target], what: str = "measuring"
) -> None:
    heard = sounds.clone()
    with check.doing(what):
        metric.update(sounds, RATE_HZ, targets)
    check.that(torch.equal(sounds, heard), "it changes the sound in place")


def _check_merging(
    check: Check, metric: AudioMetric, sounds: Tensor, targets: Sequence[Target], whole: Tensor, tolerance: float
) -> None:
    """Batches, processes and earlier epochs make no difference."""
    single, first, second = _copy(metric), _copy(metric), _copy(metric)
    for row, truth in zip(sounds, targets, strict=True):
        _update(check, single, row[None], [truth])
    check.close(_value(check, single), whole, tolerance, "clip by clip its result differs from that of one batch")
    single.reset()
    check.that(_value(check, single).isnan(), "after a reset its result must be NaN")
    _update(check, single, sounds, targets)
    check.close(_value(check, single), whole, tolerance, "after a reset its result differs")
    half = len(sounds) // 2
    _update(check, first, sounds[:half], targets[:half])
    _update(check, second, sounds[half:], targets[half:])
    with check.doing("adding up the states of two processes"):
        first.merge_state(second)
    check.close(_value(check, first), whole, tolerance, "two halves added up differ from the whole")
