"""Contract check of metrics."""

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
    """Check that a metric fulfils the contract of :class:`prismaudio.metrics.base.AudioMetric`.

    The merged states of two processes must give the same result as one process; the result must not depend on
    batching or on updates before a reset, must be NaN if nothing was measured, and must be in range; clips without a
    needed input must be skipped.

    Args:
        metric: The metric.
        clip: A clip that it can measure, with frames and audio; by default six seconds of a gong.
        plan: The plan of the clip; by default one with a section for every installed dimension.
        duration_s: Duration of the audio to measure, in seconds.
        tolerance: Allowed difference of equal results, absolute for values up to 1 and relative for larger ones.

    Raises:
        NonconformingError: It violates the contract; the message states how, in one line.
    """
    check = Check(metric)
    check.require(isinstance(metric, AudioMetric), "it is not an AudioMetric")
    listed = all(any(part is network for network in metric.networks) for part in metric.children())
    check.require(listed, "networks must list every network that it holds")
    if clip is None and plan is None:
        cases = example_cases(duration_s)
    else:
        sounds = example_audio(duration_s)[:2]
        cases = [(clip or example_clip(), plan or example_plan(), sound) for sound in (*sounds, *sounds.flip(0, 1))]
    sounds = torch.stack([sound for *_, sound in cases])
    targets = [Target.of(clip, plan) for clip, plan, _ in cases]
    metric = _copy(metric)
    with warnings.catch_warnings():  # torchmetrics warns of metrics without an update
        warnings.simplefilter("ignore")
        check.require(_value(check, metric).isnan(), "with nothing measured its result must be NaN")
        whole = _measured(check, metric, sounds, targets)
        if whole.isnan():
            raise NotTriedError(f"{check.name}: its result is NaN; pass a clip and a plan that it can measure")
        low, high = metric.range
        check.require(
            low - 1e-5 <= whole <= high + 1e-5, f"its result {whole:g} is not in its range {low:g} .. {high:g}"
        )
        _check_merging(check, metric, sounds, targets, whole, tolerance)
        for need in NEEDS:
            lacking = [Target.of(*without(clip, plan, need)) for clip, plan, _ in cases]
            result = _measured(check, metric, sounds, lacking, f"measuring clips without {need}")
            counted = need in metric.needs and not result.isnan()
            check.require(not counted, f"it declares that it needs {need}, but measures clips without it")


def _copy(metric: AudioMetric) -> AudioMetric:
    """A copy of the metric in its initial state."""
    fresh = copy.deepcopy(metric)
    fresh.reset()
    return fresh


def _value(check: Check, metric: AudioMetric) -> Tensor:
    with check.during("computing the result"):
        result = metric.compute()
        single = isinstance(result, Tensor) and result.numel() == 1
        check.require(single, f"its result must be a tensor with one number, not {result}")
    return result.detach().cpu().reshape(())


def _measured(
    check: Check, metric: AudioMetric, sounds: Tensor, targets: Sequence[Target], what: str = "measuring"
) -> Tensor:
    """The result of a fresh copy for all clips in one batch."""
    fresh = _copy(metric)
    _update(check, fresh, sounds, targets, what)
    return _value(check, fresh)


def _update(
    check: Check, metric: AudioMetric, sounds: Tensor, targets: Sequence[Target], what: str = "measuring"
) -> None:
    kept = sounds.clone()
    with check.during(what):
        metric.update(sounds, RATE_HZ, targets)
    check.require(torch.equal(sounds, kept), "it modifies the audio in place")


def _check_merging(
    check: Check, metric: AudioMetric, sounds: Tensor, targets: Sequence[Target], whole: Tensor, tolerance: float
) -> None:
    """Check that batches, processes and earlier epochs do not change the result."""
    single, first, second = _copy(metric), _copy(metric), _copy(metric)
    for row, target in zip(sounds, targets, strict=True):
        _update(check, single, row[None], [target])
    check.close(
        _value(check, single), whole, tolerance, "updated clip by clip, its result differs from that of one batch"
    )
    single.reset()
    check.require(_value(check, single).isnan(), "after a reset its result must be NaN")
    _update(check, single, sounds, targets)
    check.close(_value(check, single), whole, tolerance, "after a reset its result differs")
    half = len(sounds) // 2
    _update(check, first, sounds[:half], targets[:half])
    _update(check, second, sounds[half:], targets[half:])
    with check.during("merging the states of two processes"):
        first.merge_state(second)
    check.close(_value(check, first), whole, tolerance, "the merged result of two halves differs from the whole")
