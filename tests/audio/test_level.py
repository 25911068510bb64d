"""Peak levels of known waveforms, and the limiter."""

from __future__ import annotations

import math

import pytest
import torch

from prismaudio.audio import level
from prismaudio.audio.level import PEAK, leveled, limit_, peak_db, true_peak_db

RATE_HZ = 16_000
TIME_S = torch.arange(RATE_HZ) / RATE_HZ


def test_the_true_peak_lies_between_the_samples() -> None:
    tone = torch.sin(2 * math.pi * RATE_HZ / 4 * TIME_S + math.pi / 4).repeat(2, 1)  # samples at +-0.707 only
    assert peak_db(tone) == pytest.approx(-3.01, abs=0.05)
    assert true_peak_db(tone[:, 2000:-2000], RATE_HZ) > -0.3


def test_empty_audio_is_silence() -> None:
    assert peak_db(torch.zeros(2, 0)) == -100


def tone(gain: float) -> torch.Tensor:
    return gain * torch.sin(torch.arange(16_000) / 7).repeat(2, 1)


@pytest.mark.parametrize("gain", [0.95, 2.0, 50.0])
@pytest.mark.parametrize("n_samples", [10, 100, 16_000])
def test_nothing_exceeds_the_ceiling(gain, n_samples) -> None:
    audio = tone(gain)[:, :n_samples]
    assert true_peak_db(limit_(audio.clone(), 16_000), 16_000) <= -0.999


def test_audio_below_the_maximum_is_unchanged() -> None:
    assert torch.equal(limit_(tone(0.5), 16_000), tone(0.5))
    assert not limit_(torch.zeros(2, 100), 16_000).any()


def test_single_peak_does_not_attenuate_the_rest() -> None:
    audio = tone(0.1)
    audio[:, 8000:8100] *= 100
    made = limit_(audio.clone(), 16_000)
    assert torch.allclose(made[:, :7000], audio[:, :7000], rtol=0.2)
    assert torch.allclose(made[:, 9000:], audio[:, 9000:], rtol=0.2)


def test_chunks_without_peaks_are_skipped_and_change_nothing(monkeypatch) -> None:
    torch.manual_seed(0)
    audio = 0.1 * torch.randn(2, 200_000)
    for place in (3, 40_000, 65_530, 131_080, 199_999):  # some near the ends of chunks
        audio[:, place] = 3.0
    found = limit_(audio.clone(), 16_000)
    monkeypatch.setattr(level, "LIMITED_SAMPLES", 1 << 21)
    assert torch.equal(found, limit_(audio.clone(), 16_000))


def test_chunked_limiter_equals_one_pass(monkeypatch) -> None:
    torch.manual_seed(0)
    audio = torch.randn(2, 50_000)
    audio[:, 20_000:30_000] *= 0.01
    whole = limit_(audio.clone(), 16_000)
    monkeypatch.setattr(level, "LIMITED_SAMPLES", 3_000)
    monkeypatch.setattr(level, "_PIECE", 5_000)
    torch.testing.assert_close(limit_(audio.clone(), 16_000), whole, atol=1e-6, rtol=1e-5)


def test_both_channels_have_the_same_gain() -> None:
    audio = tone(3.0) * torch.tensor([[1.0], [0.25]])
    made = limit_(audio.clone(), 16_000)
    assert torch.allclose(made[1], made[0] * 0.25, atol=1e-5)


def test_candidates_are_scaled_as_a_whole() -> None:
    audio = torch.stack([tone(4.0), tone(0.5), 0 * tone(1.0)])
    own, common = leveled(audio), leveled(audio, "batch")
    assert own.abs().amax((1, 2)).tolist() == pytest.approx([PEAK, 0.5, 0.0], abs=1e-4)
    assert torch.allclose(common, audio / 4, atol=1e-4)
