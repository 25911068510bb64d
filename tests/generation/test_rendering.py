from __future__ import annotations

import pytest
import torch

from prismaudio.generation.rendering import limited
from prismaudio.signal.level import true_peak_db


def tone(gain: float) -> torch.Tensor:
    return gain * torch.sin(torch.arange(16_000) / 7).repeat(2, 1)


@pytest.mark.parametrize("gain", [0.95, 2.0, 50.0])
@pytest.mark.parametrize("n_samples", [10, 100, 16_000])
def test_nothing_exceeds_the_ceiling(gain, n_samples):
    audio = tone(gain)[:, :n_samples]
    assert true_peak_db(limited(audio, 16_000), 16_000) <= -0.999


def test_what_is_not_too_loud_is_left_alone():
    assert torch.equal(limited(tone(0.5), 16_000), tone(0.5))
    assert not limited(torch.zeros(2, 100), 16_000).any()


def test_one_blast_does_not_hide_the_rest():
    audio = tone(0.1)
    audio[:, 8000:8100] *= 100
    made = limited(audio, 16_000)
    assert torch.allclose(made[:, :7000], audio[:, :7000], rtol=0.2)
    assert torch.allclose(made[:, 9000:], audio[:, 9000:], rtol=0.2)


def test_both_ears_are_lowered_alike():
    audio = tone(3.0) * torch.tensor([[1.0], [0.25]])
    made = limited(audio, 16_000)
    assert torch.allclose(made[1], made[0] * 0.25, atol=1e-5)
