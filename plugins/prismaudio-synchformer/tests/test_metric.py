from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from prismaudio.errors import DataError
from prismaudio.evaluation.av_benchmark import score_caches, write_cache
from prismaudio.metrics.target import Target
from prismaudio.plan import Plan
from prismaudio.rewards.preparing import prepare
from prismaudio.testing import check_metric
from prismaudio.testing.examples import example_clip
from prismaudio_synchformer.metric import DeSync, ends
from prismaudio_synchformer.offsets import distance_s
from prismaudio_synchformer.reward import SynchformerReward, mono
from prismaudio_synchformer.segments import cut_audio


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


def test_features_have_the_offsets_of_what_they_are_features_of(network, clip, sounds):
    reward = SynchformerReward(network=network)
    cache = reward.prepare(clip, Plan({}))
    expected = torch.stack(reward.logits(sounds, 16_000, [cache] * 3, ends))
    seen = cache["seen"]
    heard = network.encode_audio(torch.cat([cut_audio(row, len(seen)) for row in mono(sounds, 16_000)])).detach()
    heard, metric = heard.unflatten(0, (3, len(seen))), DeSync(network=network, keep=False)
    for index, window in enumerate((slice(0, 14), slice(-14, None))):
        pair = seen[window].expand(3, -1, -1, -1), heard[:, window]
        torch.testing.assert_close(reward.compare(*pair).detach(), expected[:, index], atol=1e-5, rtol=0)
        torch.testing.assert_close(metric.feature_offset_s(*pair), distance_s(expected[:, index], "argmax"))


def test_features_of_another_network_are_refused(network):
    metric = DeSync(network=network, keep=False)
    with pytest.raises(DataError, match="of 5 and 24 dimensions; expected 24"):
        metric.feature_offset_s(torch.zeros(1, 14, 8, 5), torch.zeros(1, 14, 6, 24))


def test_caches_of_av_benchmark_are_scored(network, tmp_path, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    network = deepcopy(network)  # whose likeliest offset is the same for all features
    frames = {name: torch.randn(16, 8, 24, generator=generator) for name in "abc"}
    audio = {name: torch.randn(16, 6, 24, generator=generator) for name in "cba"}
    write_cache(tmp_path / "gt" / "synchformer_video.pth", frames)
    write_cache(tmp_path / "generated" / "synchformer_audio.pth", audio)
    logits = torch.cat(
        [network.compare(frames[n][None, w], audio[n][None, w]) for w in (slice(14), slice(2, 16)) for n in "abc"]
    ).detach()
    network.transformer.off_head.bias.data -= logits.mean(0)
    expected = ((logits - logits.mean(0)).argmax(-1) - 10).abs() / 5
    monkeypatch.setattr("prismaudio_synchformer.reward.load_network", lambda weights: network)
    scores = score_caches(tmp_path / "gt", tmp_path / "generated")["generated"]
    assert scores.values["DeSync"] == pytest.approx(expected.mean().item(), abs=1e-6)
    assert scores.per_clip["DeSync"] == pytest.approx(
        dict(zip("cba", expected.view(2, 3).mean(0).flip(0).tolist(), strict=True))
    )
    assert len(expected.unique()) > 2


def test_caches_without_weights_have_a_reason(tmp_path):
    write_cache(tmp_path / "gt" / "synchformer_video.pth", {"a": torch.zeros(14, 8, 768)})
    write_cache(tmp_path / "generated" / "synchformer_audio.pth", {"a": torch.zeros(14, 6, 768)})
    scores = score_caches(tmp_path / "gt", tmp_path / "generated")["generated"]
    assert "synchformer_state_dict.pth" in scores.reasons["DeSync"]
