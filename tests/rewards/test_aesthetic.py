"""Recordings are as clean, or as flawed, as the plan asks."""

from typing import ClassVar

import pytest
import torch
from bursts import sound_of
from reward_checks import RATE_HZ, QualityChecks, aesthetic_score

from prismaudio.plan import Plan
from prismaudio.plan.story import Source, Story
from prismaudio.rewards.aesthetic import WEIGHTS, AestheticReward
from prismaudio.rewards.rows import pad_caches
from prismaudio.types import Clip


def muffled(sound: torch.Tensor) -> torch.Tensor:
    """Without what is above 1 kHz."""
    spectrum = torch.fft.rfft(sound)
    spectrum[..., round(1000 * sound.shape[-1] / RATE_HZ) :] = 0
    return torch.fft.irfft(spectrum, sound.shape[-1])


def in_a_hall(sound: torch.Tensor) -> torch.Tensor:
    """With reverberation that dies away by 60 dB in two seconds."""
    n = sound.shape[-1]
    tail = torch.randn(2, n, generator=torch.Generator().manual_seed(1)) * 10 ** (-3 * torch.arange(n) / (2 * RATE_HZ))
    wet = torch.fft.irfft(torch.fft.rfft(sound, 2 * n) * torch.fft.rfft(0.03 * tail, 2 * n), 2 * n)[..., :n]
    return sound + wet


@pytest.fixture(scope="module")
def recordings() -> dict[tuple[str, str], torch.Tensor]:
    """Three knocks in every quality, and clean in a hall, ``(1, 2, samples)`` each."""
    clean = sound_of(Story((Source("gate", (0.5, 1.2, 2.5), None, (20.0, 20.0)),)))[None]
    noise = 0.02 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))
    return {
        ("clean", "dry"): clean,
        ("noisy", "dry"): clean + noise,
        ("clipped", "dry"): (2 * clean).clamp(-0.3, 0.3),
        ("muffled", "dry"): muffled(clean),
        ("clean", "hall"): in_a_hall(clean),
    }


class TestQualities(QualityChecks):
    requests: ClassVar = {
        "clean": "A clean recording. Dry acoustics.",
        "noisy": "A noisy recording. Dry acoustics.",
        "clipped": "A distorted recording. Dry acoustics.",
        "muffled": "A muffled recording. Dry acoustics.",
    }


def test_silence_too_loud_and_an_offset_are_bad(recordings) -> None:
    clean = recordings["clean", "dry"]
    assert aesthetic_score(0 * clean, "") < 0.05
    assert aesthetic_score(clean + 0.2, "") < aesthetic_score(clean, "") - 0.1
    assert aesthetic_score((30 * clean).clamp(-1, 1), "") < aesthetic_score(clean, "") - 0.1


def test_terms_are_named_and_may_be_left_out(recordings) -> None:
    clean = recordings["clean", "dry"]
    reward = AestheticReward({"offset": 1.0})
    cache = reward.prepare(Clip("x", 4.0), Plan({}))
    assert reward.score(clean, RATE_HZ, [cache]) > 0.95
    asked = pad_caches([cache], "asked", "lasting_s", device=clean.device)
    terms = reward.terms(clean, RATE_HZ, *asked, torch.tensor([-20.0]))
    assert set(terms) == set(WEIGHTS)
    assert all(0 <= value <= 1 for value, _ in terms.values())
