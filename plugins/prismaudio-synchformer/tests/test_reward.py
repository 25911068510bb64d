from dataclasses import replace

import pytest
import torch

from prismaudio.audio.resample import resample
from prismaudio.errors import NotApplicableError
from prismaudio.plan import Plan
from prismaudio.rewards.preparing import prepare
from prismaudio.testing import check_reward
from prismaudio.testing.examples import example_clip
from prismaudio_synchformer.reward import SynchformerReward

PLAN = Plan({})


def first_s(clip, seconds):
    return replace(clip, duration_s=seconds, frames=clip.frames[: round(seconds * clip.fps)])


@pytest.mark.parametrize("options", [{}, {"offset": "argmax"}, {"release": True}, {"precision": "bf16"}], ids=str)
def test_it_keeps_the_contract(network, options):
    tolerance = 0.02 if "precision" in options else 1e-4
    reward = SynchformerReward(network=network, **options)
    check_reward(reward, clip=example_clip(6.0), duration_s=6.0, tolerance=tolerance)


def test_scores_tell_sounds_apart_and_what_is_soft_has_no_ties(network, clip, sounds):
    soft, hard = (SynchformerReward(network=network, offset=offset) for offset in ("soft", "argmax"))
    cache = soft.prepare(clip, PLAN)
    assert cache["seen"].shape == (27, 8, 24)
    louder = torch.cat([sounds, 0.9 * sounds, 0.8 * sounds])[[0, 1, 2, 3, 4, 6, 7]]
    scores, steps = (reward.score(louder, 16_000, [cache] * 7) for reward in (soft, hard))
    assert len(set(scores.tolist())) == 7
    assert (10 * 2 * steps - (10 * 2 * steps).round()).abs().max() < 1e-4  # mean of two multiples of 0.1
    assert len(set(steps.tolist())) < 7


def test_the_whole_clip_counts_but_not_in_the_release(network, clip, sounds):
    for release in (False, True):
        reward = SynchformerReward(network=network, release=release, offset="soft")
        cache = reward.prepare(clip, PLAN)
        later = torch.cat([sounds[1, :, : 6 * 16_000], sounds[0, :, 6 * 16_000 :]], 1)
        both = reward.logits(torch.stack([sounds[1], later]), 16_000, [cache] * 2)
        assert both[0].shape == (1 if release else 2, 21)
        torch.testing.assert_close(both[0][0], both[1][0])
        if not release:
            assert (both[0][1] - both[1][1]).abs().max() > 1e-3


def test_a_sound_that_ends_early_is_silent_from_there(network, clip, sounds):
    reward = SynchformerReward(network=network)
    caches = [reward.prepare(clip, PLAN)]
    short = sounds[1:2, :, :50_000]
    filled = torch.nn.functional.pad(short, (0, 9 * 16_000 - 50_000))
    torch.testing.assert_close(reward.score(short, 16_000, caches), reward.score(filled, 16_000, caches))
    longer = torch.cat([sounds[1:2], sounds[:1]], 2)
    expected = reward.score(sounds[1:2], 16_000, caches)
    torch.testing.assert_close(reward.score(longer, 16_000, caches), expected, atol=1e-3, rtol=0)


def test_clips_of_several_lengths_in_one_batch(network, clip, sounds):
    reward = SynchformerReward(network=network)
    caches = [reward.prepare(first_s(clip, seconds), PLAN) for seconds in (9.0, 5.0, 9.0)]
    together = reward.score(sounds, 16_000, caches)
    alone = [reward.score(sound[None], 16_000, [cache]) for sound, cache in zip(sounds, caches, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)


@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
def test_the_sample_rate_does_not_matter(network, clip, sounds, rate_hz):
    reward = SynchformerReward(network=network)
    caches = [reward.prepare(clip, PLAN)] * 3
    quiet = resample(resample(sounds, 16_000, 12_000), 12_000, 16_000)  # nothing at the edge of the band
    other = reward.score(resample(quiet, 16_000, rate_hz), rate_hz, caches)
    torch.testing.assert_close(other, reward.score(quiet, 16_000, caches), atol=0.02, rtol=0)


def test_frames_of_any_rate_are_brought_to_25_a_second(network, clip):
    reward = SynchformerReward(network=network)
    expected = reward.prepare(clip, PLAN)["seen"]
    doubled = replace(clip, frames=clip.frames.repeat_interleave(2, 0), fps=50.0)
    torch.testing.assert_close(reward.prepare(doubled, PLAN)["seen"], expected)
    slower = replace(clip, frames=clip.frames[: 9 * 16], fps=16.0)
    assert reward.prepare(slower, PLAN)["seen"].shape == expected.shape


@pytest.mark.parametrize(("release", "seconds"), [(False, 4.76), (True, 4.96), (False, 0.08)])
def test_a_short_video_has_no_score_but_a_reason(network, clip, release, seconds):
    reward = SynchformerReward(network=network, release=release)
    needed = "5 s" if release else "4.8 s"
    with pytest.raises(NotApplicableError, match=rf"last {seconds:.2f} s; Synchformer needs at least {needed}"):
        prepare(reward, first_s(clip, seconds), PLAN)
    assert prepare(reward, first_s(clip, 5.0), PLAN)["seen"].shape[0] == 14


def test_a_clip_without_frames_has_no_score(network, clip):
    blind = replace(clip, frames=None, fps=None)
    reward = SynchformerReward(network=network)
    for prepared in (lambda: prepare(reward, blind, PLAN), lambda: reward.prepare(blind, PLAN)):
        with pytest.raises(NotApplicableError, match="frames"):
            prepared()


def test_what_was_prepared_with_other_weights_or_for_the_release_is_not_reused(network, other_network):
    rewards = [
        SynchformerReward(network=network),
        SynchformerReward(network=other_network),
        SynchformerReward(network=network, release=True),
        SynchformerReward(network=network, precision="bf16"),
    ]
    assert len({reward.identity for reward in rewards}) == 4
    assert SynchformerReward(network=network, offset="argmax").identity == rewards[0].identity


def test_the_release_sees_a_narrower_part_and_only_frames_2_to_121(network, clip):
    reward = SynchformerReward(network=network, release=True)
    expected = reward.prepare(clip, PLAN)["seen"]
    frames = clip.frames.clone()
    frames[:2], frames[122:] = 0, 0
    assert torch.equal(reward.prepare(replace(clip, frames=frames), PLAN)["seen"], expected)
    frames[121] = 0
    assert not torch.equal(reward.prepare(replace(clip, frames=frames), PLAN)["seen"], expected)
    edge = clip.frames.clone()
    edge[..., :5], edge[..., -5:] = 0, 0  # the middle 224 of 341 columns are seen, or of 298
    assert torch.equal(reward.prepare(replace(clip, frames=edge), PLAN)["seen"], expected)
    whole = SynchformerReward(network=network)
    assert not torch.equal(*(whole.prepare(replace(clip, frames=f), PLAN)["seen"] for f in (clip.frames, edge)))
