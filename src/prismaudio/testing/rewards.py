"""Whether a reward keeps its contract."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from prismaudio.audio.resample import resample
from prismaudio.errors import NotApplicableError
from prismaudio.rewards.base import Cache, Reward
from prismaudio.rewards.preparing import cache_key, prepare
from prismaudio.testing.check import Check, NotTriedError
from prismaudio.testing.examples import NEEDS, example_audio, example_clip, example_plan, without
from prismaudio.types import Need

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.plan import Plan
    from prismaudio.types import Clip

OTHER_TEXT = " A second sentence, which says nothing of it, makes the text longer."


def check_reward(
    reward: Reward,
    *,
    clip: Clip | None = None,
    plan: Plan | None = None,
    duration_s: float = 2.0,
    sample_rates_hz: Sequence[int] = (8_000, 16_000, 44_100, 48_000),
    tolerance: float = 1e-4,
    resampling: float = 0.05,
    device: float = 0.02,
) -> None:
    """See that a reward keeps the contract of :class:`prismaudio.rewards.base.Reward`.

    What it declares is true, what it prepares is kept, a score depends on its own row only (of a group-wise one: on
    its own clip only), is the same every time, finite and in range for silence, 0.1 s and every sample rate, hardly
    changes with the sample rate, and can be had on a GPU, if there is one.

    Args:
        reward: The reward.
        clip: A clip that it can judge, with frames and sound; by default six seconds in which a gong is struck.
        plan: The plan of that; by default one with a section for every installed dimension.
        duration_s: Duration of the sounds to score, in seconds.
        sample_rates_hz: Their sample rates.
        tolerance: Largest difference between what must be the same, of scores up to 1; a share of larger ones.
        resampling: Largest difference between the scores of one sound at 16, 44.1 and 48 kHz, in the same way.
        device: Largest difference between CPU and GPU, in the same way.

    Raises:
        NonconformingError: It does not; the text says in one line what is wrong.
        CheckpointError: Its weights are missing.
    """
    check = Check(reward)
    clip, plan = clip or example_clip(), plan or example_plan()
    _check_declared(check, reward)
    cache = _check_prepared(check, reward, clip, plan)
    _check_needs(check, reward, clip, plan, cache)
    caches = [cache, _other_cache(check, reward, clip, plan) or cache]
    sounds = example_audio(duration_s)
    _check_rows(check, reward, sounds, caches, tolerance)
    for rate_hz in sample_rates_hz:
        for seconds in (0.1, duration_s):
            what = f"{seconds:g} s at {rate_hz / 1000:g} kHz"
            _score(check, reward, example_audio(seconds, rate_hz), rate_hz, [cache] * 3, what)
    _check_resampling(check, reward, sounds, cache, resampling)
    _check_odd(check, reward, clip, plan)
    if torch.cuda.is_available():
        _check_cuda(check, reward, sounds, cache, device)


def _check_declared(check: Check, reward: Reward) -> None:
    """What can be seen without calling it."""
    check.that(isinstance(reward, Reward), "it is not a Reward")
    low, high = reward.range
    check.that(low < high, f"its range must be the lowest and the highest score, not {reward.range}")
    check.that(isinstance(reward.higher_is_better, bool), "higher_is_better must be True or False")
    for name, declared in (("needs", reward.needs), ("reads", reward.reads)):
        check.that(declared <= set(NEEDS), f"{name} may hold {', '.join(NEEDS)}, not {sorted(declared)}")
    check.that(reward.needs <= reward.reads, "reads must hold all that it needs")
    check.that(reward.identity == reward.identity, "its identity changes")
    check.that(_lists_networks(reward), "networks must name each network that it has")


def _lists_networks(reward: Reward) -> bool:
    held = [part for part in vars(reward).values() if isinstance(part, nn.Module)]
    return all(any(part is network for network in reward.networks) for part in held)


def _check_prepared(check: Check, reward: Reward, clip: Clip, plan: Plan) -> Cache:
    """What it prepares is tensors on the CPU, the same every time, and can be kept."""
    before = [None if tensor is None else tensor.clone() for tensor in (clip.frames, clip.audio)]
    with check.doing("preparing the clip"):
        try:
            cache = prepare(reward, clip, plan)
        except NotApplicableError as error:
            raise NotTriedError(f"{check.name}: give it a clip and a plan that it can judge: {error}") from error
    for name, value in cache.items():
        on_cpu = isinstance(value, Tensor) and value.device.type == "cpu" and not value.requires_grad
        check.that(on_cpu, f"the cache must hold plain tensors on the CPU, and {name!r} is none")
    for old, new in zip(before, (clip.frames, clip.audio), strict=True):
        check.that(old is None or torch.equal(old, new), "prepare changes the clip in place")  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder, check.doing("keeping what was prepared on disk"):
        torch.rand(1)  # what is drawn next is another number
        _check_same(check, prepare(reward, clip, plan, Path(folder)), cache, "prepared twice")
        _check_same(check, prepare(reward, clip, plan, Path(folder)), cache, "read from disk")
    return cache


def _check_same(check: Check, found: Cache, expected: Cache, how: str) -> None:
    check.that(found.keys() == expected.keys(), f"the cache {how} holds {sorted(found)}, not {sorted(expected)}")
    for name, value in expected.items():
        check.that(found[name].dtype == value.dtype, f"{name!r} {how} is {found[name].dtype}, not {value.dtype}")
        check.close(found[name], value, 1e-6, f"{name!r} of the cache is not the same when {how}, it differs")


def _changed(clip: Clip, plan: Plan, need: Need) -> tuple[Clip, Plan]:
    if need == "video" and clip.frames is not None:
        return dataclasses.replace(clip, frames=255 - clip.frames), plan
    if need == "reference" and clip.audio is not None:
        return dataclasses.replace(clip, audio=-0.5 * clip.audio.flip(-1)), plan
    return clip, plan.replace({name: text + OTHER_TEXT for name, text in plan.items()})


def _check_needs(check: Check, reward: Reward, clip: Clip, plan: Plan, cache: Cache) -> None:
    """What it needs, and what it reads, is what it says."""
    for need in NEEDS:
        lacking = without(clip, plan, need)
        if need in reward.needs:
            found = _prepared(check, reward, *lacking, f"preparing a clip without {need}")
            check.that(found is None, f"it says that it needs {need}, but prepares a clip without")
            continue
        with check.doing(f"preparing a clip without {need}, which it does not say that it needs"):
            prepare(reward, *lacking)
        if need not in reward.reads:
            other = _changed(clip, plan, need)
            same = cache_key(reward, *other) == cache_key(reward, clip, plan)
            check.that(same, f"its fingerprint depends on {need}, which it does not read")
            _check_same(check, prepare(reward, *other), cache, f"prepared of another {need}, which it says not to read")


def _check_odd(check: Check, reward: Reward, clip: Clip, plan: Plan) -> None:
    """Clips with little in them are judged, or it is said why not."""
    short = dataclasses.replace(clip, duration_s=0.1)
    if clip.frames is not None:
        short = dataclasses.replace(short, frames=clip.frames[:3])
    if clip.audio is not None and clip.sample_rate_hz is not None:
        short = dataclasses.replace(short, audio=clip.audio[:, : clip.sample_rate_hz // 10])
    odd = {"0.1 s": (short, plan)}
    if clip.audio is not None:
        odd["a silent reference"] = (dataclasses.replace(clip, audio=torch.zeros_like(clip.audio)), plan)
    if plan:
        sections = {name: text for name, text in plan.items() if name != reward.dimension}
        odd["a plan without its section"] = (clip, type(plan)(sections))
    for what, (odd_clip, odd_plan) in odd.items():
        cache = _prepared(check, reward, odd_clip, odd_plan, f"preparing {what}")
        if cache is not None:
            _score(check, reward, example_audio(1.0)[:1], 16_000, [cache], f"scoring for {what}")


def _prepared(check: Check, reward: Reward, clip: Clip, plan: Plan, what: str) -> Cache | None:
    """What it prepares of a clip; None if it says why it cannot judge that."""
    with check.doing(what):
        try:
            return prepare(reward, clip, plan)
        except NotApplicableError as error:
            check.that(bool(str(error).strip()), f"{what}: it raises NotApplicableError, but does not say why")
    return None


def _other_cache(check: Check, reward: Reward, clip: Clip, plan: Plan) -> Cache | None:
    """What it prepares of another clip, with other lengths where that is possible."""
    if clip.audio is not None:
        clip = dataclasses.replace(clip, audio=0.5 * clip.audio[:, : 3 * clip.audio.shape[-1] // 4])
    return _prepared(check, reward, *_changed(clip, plan, "plan"), "preparing a clip with a longer plan")


def _score(
    check: Check, reward: Reward, audio: Tensor, rate_hz: int, caches: Sequence[Cache], what: str = "scoring"
) -> Tensor:
    """Scores, after what holds for all of them was seen to hold."""
    heard = audio.clone()
    kept = {name: value.clone() for cache in caches for name, value in cache.items()}
    with check.doing(what), torch.no_grad():
        scores = reward.score(audio, rate_hz, caches)
        check.that(isinstance(scores, Tensor), f"score must return a tensor, not a {type(scores).__name__}")
        expected = (len(audio), torch.float32, audio.device.type)
        found = (*scores.shape, scores.dtype, scores.device.type)
        check.that(found == expected, f"score must return {expected} (shape, type, device), it returns {found}")
        check.that(torch.equal(audio, heard), "score changes the sound in place")
        for name, value in caches[-1].items():
            check.that(torch.equal(value.nan_to_num(), kept[name].nan_to_num()), f"score changes {name!r} of a cache")
        check.that(scores.isfinite().all(), f"{what}: scores must be finite, they are {scores.tolist()}")
        low, high = reward.range
        inside = bool(((scores >= low - 1e-5) & (scores <= high + 1e-5)).all())
        check.that(inside, f"{what}: scores must be in its range {low:g} .. {high:g}, they are {scores.tolist()}")
    return scores


def _check_rows(check: Check, reward: Reward, sounds: Tensor, caches: Sequence[Cache], tolerance: float) -> None:
    """A score depends on nothing but its row, or of a group-wise reward on the rows of its clip."""
    first = _score(check, reward, sounds, 16_000, [caches[0]] * 3)
    torch.rand(1)
    check.close(_score(check, reward, sounds, 16_000, [caches[0]] * 3), first, 1e-6, "scores differ when repeated")
    both = _score(check, reward, sounds.repeat(2, 1, 1), 16_000, [caches[0]] * 3 + [caches[1]] * 3)
    check.close(both[:3], first, tolerance, "scores of a clip differ when another clip is in the batch")
    if reward.groupwise:
        return
    for row, cache in enumerate([caches[0]] * 3 + [caches[1]] * 3):
        alone = _score(check, reward, sounds[row % 3][None], 16_000, [cache])
        check.close(both[row, None], alone, tolerance, "rows scored in a batch differ from each scored alone")
    beside = torch.stack([sounds[1], sounds[0].roll(1000, -1).sign(), sounds[0]])
    mixed = _score(check, reward, beside, 16_000, [caches[1], caches[1], caches[0]])
    check.close(mixed[[2, 0]], both[[0, 4]], tolerance, "scores differ with other neighbours in the batch")
    copies = [{name: value.clone() for name, value in caches[0].items()} for _ in range(3)]
    check.close(_score(check, reward, sounds, 16_000, copies), first, tolerance, "scores differ for copies of a cache")


def _check_resampling(check: Check, reward: Reward, sounds: Tensor, cache: Cache, tolerance: float) -> None:
    """One sound has one score, whatever its sample rate."""
    expected = _score(check, reward, sounds, 16_000, [cache] * 3)
    for rate_hz in (44_100, 48_000):
        found = _score(check, reward, resample(sounds, 16_000, rate_hz), rate_hz, [cache] * 3)
        check.close(found, expected, tolerance, f"scores at {rate_hz / 1000:g} kHz differ from those at 16 kHz")


def _check_cuda(check: Check, reward: Reward, sounds: Tensor, cache: Cache, tolerance: float) -> None:
    """It goes to the GPU and comes back."""
    expected = _score(check, reward, sounds, 16_000, [cache] * 3)
    found = _score(check, reward, sounds.cuda(), 16_000, [cache] * 3, "scoring on the GPU")
    check.close(found, expected, tolerance, "scores on the GPU differ from those on the CPU")
    again = _score(check, reward, sounds, 16_000, [cache] * 3, "scoring on the CPU after the GPU")
    check.close(again, expected, tolerance, "scores on the CPU after the GPU differ from those before")
