from dataclasses import replace

import pytest
import torch

from prismaudio.metrics.target import Target
from prismaudio.plan import Plan
from prismaudio.rewards.preparing import prepare
from prismaudio.testing import check_metric
from prismaudio.testing.examples import example_clip
from prismaudio_synchformer.metric import DeSync
from prismaudio_synchformer.reward import SynchformerReward


def test_it_keeps_the_contract(network):
    check_metric(DeSync(network=network), clip=example_clip(6.0), duration_s=6.0)


def test_both_windows_of_all_clips_are_pooled(network, clip, sounds):
    metric, reward = DeSync(network=network), SynchformerReward(network=network, offset="argmax")
    metric.update(sounds, 16_000, [Target.of(clip)] * 3)
    scores = reward.score(sounds, 16_000, [reward.prepare(clip, Plan({}))] * 3)  # of nine seconds: the same windows
    assert metric.compute().item() == pytest.approx((2 - 2 * scores).mean().item(), abs=1e-6)


def test_what_is_seen_is_kept_where_scoring_looks_for_it(network, clip, sounds, cache, monkeypatch):
    metric, targets = DeSync(network=network), [Target.of(clip)] * 3
    prepare(SynchformerReward(network=network), clip, Plan({}), cache / "prepared")
    monkeypatch.setattr(SynchformerReward, "prepare", lambda *_: pytest.fail("it was prepared before"))
    metric.update(sounds, 16_000, targets)
    assert metric.windows == 6


def test_of_more_than_nine_seconds_the_middle_does_not_count(network, clip, sounds):
    longer = replace(clip, duration_s=13.5, frames=torch.cat([clip.frames, clip.frames[:113]]))
    heard = torch.cat([sounds, sounds[..., : 9 * 8_000]], 2)
    changed = heard.clone()
    changed[..., 5 * 16_000 : 8 * 16_000] = 0
    results = []
    for audio in (heard, changed):
        metric = DeSync(network=network)
        metric.update(audio, 16_000, [Target.of(longer)] * 3)
        results.append(metric.compute())
    assert torch.equal(*results)


def test_a_clip_that_is_too_short_does_not_count(network, clip, sounds):
    metric = DeSync(network=network)
    short = replace(clip, frames=clip.frames[:100])
    targets = [Target.of(clip), Target.of(short), Target.of(replace(clip, frames=None, fps=None))]
    metric.update(sounds, 16_000, targets)
    assert metric.windows == 2
    assert 0 <= metric.compute() <= 2
