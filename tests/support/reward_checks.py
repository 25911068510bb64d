"""Checks that a reward depends on its own dimension and hardly on the others, for the core and for plugins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from prismaudio.audio.resample import resample
from prismaudio.errors import NotApplicableError
from prismaudio.plan import Plan
from prismaudio.plan.words import QUALITIES
from prismaudio.rewards import Cache, Reward, prepare
from prismaudio.rewards.aesthetic import AestheticReward
from prismaudio.rewards.spatial import SpatialReward
from prismaudio.rewards.temporal import TemporalReward
from prismaudio.types import Clip

RATE_HZ = 16_000
KINDS = [TemporalReward, AestheticReward, SpatialReward]
FORMS = [
    TemporalReward(),
    TemporalReward("frames"),
    AestheticReward(),
    SpatialReward(),
    SpatialReward("reference"),
    SpatialReward("trajectory", points=[(0.0, -20.0), (2.0, 30.0)]),
]
NEEDING_A_SECTION = [TemporalReward("plan"), SpatialReward("plan")]


def named(reward: Reward) -> str:
    """The name of a reward among tests."""
    return f"{type(reward).__name__}-{getattr(reward, 'against', '')}"


@dataclass(frozen=True)
class Clips:
    """Plans and their audio ``(n, 2, samples)``."""

    plans: list[Plan]
    audio: Tensor

    def caches(self, reward: Reward) -> list[Cache]:
        """Prepared caches of a reward for the clips."""
        clips = [Clip(f"clip {i}", 4.0, audio=audio, sample_rate_hz=RATE_HZ) for i, audio in enumerate(self.audio)]
        return [prepare(reward, clip, plan) for clip, plan in zip(clips, self.plans, strict=True)]

    def score(self, reward: Reward, audio: Tensor | None = None) -> Tensor:
        """Scores of this audio, or of other audio of the same shape."""
        return reward.score(self.audio if audio is None else audio, RATE_HZ, self.caches(reward))


def degraded(name: str, audio: Tensor) -> Tensor:
    """Audio ``(batch, 2, samples)`` degraded in one dimension; the semantic one by the audio of another clip."""
    n = round(0.3 * RATE_HZ)
    if name == "temporal":
        return torch.nn.functional.pad(audio, (n, 0))[..., : audio.shape[-1]]
    if name == "aesthetic":
        return audio + 0.01 * torch.randn(audio.shape, generator=torch.Generator().manual_seed(0))
    return audio.flip(1) if name == "spatial" else audio.roll(1, 0)


class RewardChecks:
    """Tests of the reward that ``kind`` creates, on ``clips``."""

    noise: tuple[float, float]
    """Lowest and highest noise level of candidates that differ slightly."""

    def test_a_row_is_scored_alike_alone_and_in_a_batch(self, kind, clips) -> None:
        reward = kind()
        caches = clips.caches(reward)
        together = reward.score(clips.audio, RATE_HZ, caches)
        alone = [reward.score(clips.audio[i : i + 1], RATE_HZ, caches[i : i + 1]) for i in range(5)]
        assert torch.allclose(together[:5], torch.cat(alone), atol=1e-4)
        assert torch.equal(together, reward.score(clips.audio, RATE_HZ, caches))
        repeated = reward.score(clips.audio[:1].expand(6, -1, -1), RATE_HZ, 6 * caches[:1])
        assert torch.allclose(repeated, together[:1].expand(6), atol=1e-4)

    @pytest.mark.parametrize("samples", [1, 100, 1600, 30_000])
    def test_any_length_and_silence_have_finite_scores(self, kind, samples, clips) -> None:
        reward = kind()
        caches = clips.caches(reward)[:3]
        sounds = torch.stack([torch.zeros(2, samples), torch.rand(2, samples) - 0.5, torch.ones(2, samples)])
        scores = reward.score(sounds, RATE_HZ, caches)
        assert scores.isfinite().all()
        assert (scores >= 0).all()
        assert (scores <= 1).all()
        assert scores[0] < 0.1

    @pytest.mark.parametrize("rate_hz", [22_050, 44_100, 48_000])
    def test_the_sample_rate_hardly_matters(self, kind, rate_hz, clips) -> None:
        reward = kind()
        caches = clips.caches(reward)
        same = reward.score(resample(clips.audio, RATE_HZ, rate_hz), rate_hz, caches)
        assert (same - reward.score(clips.audio, RATE_HZ, caches)).abs().max() < 0.1

    def test_it_falls_with_its_own_dimension_and_hardly_with_the_others(self, kind, clips) -> None:
        reward = kind()
        whole = clips.score(reward)
        assert whole.mean() > 0.6
        for name in ("temporal", "aesthetic", "spatial"):
            fall = (whole - clips.score(reward, degraded(name, clips.audio))).mean()
            assert fall > 0.2 if name == kind.dimension else fall < 0.2, name
        if kind is not AestheticReward:
            assert clips.score(reward, degraded("semantic", clips.audio)).mean() < 0.6 * whole.mean()

    def test_candidates_of_a_clip_are_distinguished(self, kind, clips) -> None:
        """Candidates that differ slightly have different scores."""
        reward = kind()
        noise = torch.randn(8, 2, clips.audio.shape[-1], generator=torch.Generator().manual_seed(0))
        sounds = clips.audio[:1] + torch.linspace(*self.noise, 8)[:, None, None] * noise
        scores = reward.score(sounds, RATE_HZ, 8 * clips.caches(reward)[:1])
        assert len(scores.unique()) == 8


def check_needs_its_section(reward: Reward, whole: Plan) -> None:
    """Check that a reward is not applicable to a plan without its section, with the reason."""
    plan = Plan({name: text for name, text in whole.items() if name != reward.dimension})
    with pytest.raises(NotApplicableError, match=f"no <{reward.dimension.capitalize()}> section"):
        prepare(reward, Clip("x", 4.0), plan)
    with pytest.raises(NotApplicableError, match=r"needs a plan|no <"):
        prepare(reward, Clip("x", 4.0), Plan({}))


def aesthetic_score(audio: Tensor, text: str) -> float:
    """Aesthetic score of audio ``(1, 2, samples)`` for an aesthetic section; none for an empty text."""
    reward = AestheticReward()
    plan = Plan({"aesthetic": text}) if text else Plan({"semantic": "Someone knocks."})
    return reward.score(audio, RATE_HZ, [reward.prepare(Clip("x", 4.0), plan)]).item()


class QualityChecks:
    """Tests on ``recordings`` ``(1, 2, samples)``: the same sound by quality and room."""

    requests: ClassVar[Mapping[str, str]]
    """Aesthetic section that requests each quality in a dry room."""

    @pytest.mark.parametrize("quality", QUALITIES)
    def test_the_requested_quality_scores_best(self, quality, recordings) -> None:
        scores = {name: aesthetic_score(recordings[name, "dry"], self.requests[quality]) for name in QUALITIES}
        assert max(scores, key=scores.__getitem__) == quality, scores

    def test_clean_is_the_default_target(self, recordings) -> None:
        scores = {name: aesthetic_score(recordings[name, "dry"], "") for name in QUALITIES}
        assert max(scores, key=scores.__getitem__) == "clean", scores

    def test_rooms_are_distinguished_if_the_plan_names_one(self, recordings) -> None:
        dry, hall = recordings["clean", "dry"], recordings["clean", "hall"]
        assert aesthetic_score(dry, "Dry acoustics.") > aesthetic_score(hall, "Dry acoustics.") + 0.05
        assert aesthetic_score(hall, "A large hall.") > aesthetic_score(dry, "A large hall.") + 0.05
