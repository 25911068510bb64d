"""Each reward hears what it is for in held-out scenes of the studio, and nothing else."""

from __future__ import annotations

import pytest
import torch

from prismaudio.audio.resample import resample
from prismaudio.errors import NotApplicableError
from prismaudio.plan import Plan
from prismaudio.rewards import prepare
from prismaudio.rewards.aesthetic import AestheticReward
from prismaudio.rewards.spatial import SpatialReward
from prismaudio.rewards.temporal import TemporalReward
from prismaudio.testing import check_reward
from prismaudio.testing.examples import example_plan
from prismaudio.types import Clip
from prismaudio_studio.reward import SemanticReward

REWARDS = [SemanticReward, TemporalReward, AestheticReward, SpatialReward]
RATE_HZ = 16_000
PLAN = example_plan({"semantic": "A bell rings.", "temporal": "The bell sounds at 0.50 s and 1.00 s."})


def damaged(name, audio):
    """Sounds ``(batch, 2, samples)`` with one dimension damaged; semantics by the sound of another clip."""
    n = round(0.3 * RATE_HZ)
    if name == "temporal":
        return torch.nn.functional.pad(audio, (n, 0))[..., : audio.shape[-1]]
    if name == "aesthetic":
        return audio + 0.01 * torch.randn(audio.shape, generator=torch.Generator().manual_seed(0))
    return audio.flip(1) if name == "spatial" else audio.roll(1, 0)


@pytest.mark.parametrize(
    "reward",
    [
        SemanticReward(),
        TemporalReward(),
        TemporalReward("pictures"),
        AestheticReward(),
        SpatialReward(),
        SpatialReward("reference"),
        SpatialReward("trajectory", points=[(0.0, -20.0), (2.0, 30.0)]),
    ],
    ids=lambda reward: f"{type(reward).__name__}-{getattr(reward, 'against', '')}",
)
def test_the_contract_is_kept(reward) -> None:
    check_reward(reward, plan=PLAN)


@pytest.mark.parametrize("kind", REWARDS)
def test_a_row_is_scored_alike_alone_and_in_a_batch(kind, clips) -> None:
    reward = kind()
    caches = clips.caches(reward)
    together = reward.score(clips.audio, RATE_HZ, caches)
    alone = [reward.score(clips.audio[i : i + 1], RATE_HZ, caches[i : i + 1]) for i in range(5)]
    assert torch.allclose(together[:5], torch.cat(alone), atol=1e-4)
    assert torch.equal(together, reward.score(clips.audio, RATE_HZ, caches))
    siblings = reward.score(clips.audio[:1].expand(6, -1, -1), RATE_HZ, 6 * caches[:1])
    assert torch.allclose(siblings, together[:1].expand(6), atol=1e-4)


@pytest.mark.parametrize("kind", REWARDS)
@pytest.mark.parametrize("samples", [1, 100, 1600, 30_000])
def test_any_length_and_silence_have_finite_scores(kind, samples, clips) -> None:
    reward = kind()
    caches = clips.caches(reward)[:3]
    sounds = torch.stack([torch.zeros(2, samples), torch.rand(2, samples) - 0.5, torch.ones(2, samples)])
    scores = reward.score(sounds, RATE_HZ, caches)
    assert scores.isfinite().all()
    assert (scores >= 0).all()
    assert (scores <= 1).all()
    assert scores[0] < 0.1


@pytest.mark.parametrize("kind", REWARDS)
@pytest.mark.parametrize("rate_hz", [22_050, 44_100, 48_000])
def test_the_sample_rate_hardly_matters(kind, rate_hz, clips) -> None:
    reward = kind()
    caches = clips.caches(reward)
    same = reward.score(resample(clips.audio, RATE_HZ, rate_hz), rate_hz, caches)
    assert (same - reward.score(clips.audio, RATE_HZ, caches)).abs().max() < 0.1


@pytest.mark.parametrize("kind", REWARDS)
def test_it_falls_with_its_own_dimension_and_hardly_with_the_others(kind, clips) -> None:
    reward = kind()
    whole = clips.score(reward)
    assert whole.mean() > 0.6
    for name in ("temporal", "aesthetic", "spatial"):
        fall = (whole - clips.score(reward, damaged(name, clips.audio))).mean()
        assert fall > 0.2 if name == kind.dimension else fall < 0.2, name
    if kind is not AestheticReward:
        assert clips.score(reward, damaged("semantic", clips.audio)).mean() < 0.6 * whole.mean()


@pytest.mark.parametrize("kind", [SemanticReward, TemporalReward, SpatialReward])
def test_a_plan_without_its_section_is_not_applicable(kind, clips) -> None:
    plan = Plan({name: text for name, text in clips.plans[0].items() if name != kind.dimension})
    reward = kind(**({} if kind is SemanticReward else {"against": "plan"}))
    with pytest.raises(NotApplicableError, match=f"no <{kind.dimension.capitalize()}> section"):
        prepare(reward, Clip("x", 4.0), plan)
    with pytest.raises(NotApplicableError, match=r"needs a plan|no <"):
        prepare(reward, Clip("x", 4.0), Plan({}))


@pytest.mark.parametrize("kind", REWARDS)
def test_siblings_are_told_apart(kind, clips) -> None:
    """Hardly any ties among candidates that differ a little."""
    reward = kind()
    noise = torch.randn(8, 2, clips.audio.shape[-1], generator=torch.Generator().manual_seed(0))
    sounds = clips.audio[:1] + torch.linspace(0.001, 0.02, 8)[:, None, None] * noise
    scores = reward.score(sounds, RATE_HZ, 8 * clips.caches(reward)[:1])
    assert len(scores.unique()) == 8
