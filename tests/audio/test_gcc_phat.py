"""Delays that were put in are found; rows do not know of each other; silence has no side."""

from __future__ import annotations

import pytest
import torch

from prismaudio.audio.gcc_phat import consensus, gcc_phat_itd_s, gcc_phat_itds_s

RATE_HZ = 16_000


def delayed(samples: int, seed: int = 0, n: int = 12_000) -> torch.Tensor:
    """Noise ``(2, n)`` whose right channel is later by some samples."""
    noise = 0.1 * torch.randn(n + 100, generator=torch.Generator().manual_seed(seed))
    return torch.stack([noise[50 : 50 + n], noise[50 - samples : 50 - samples + n]])


@pytest.mark.parametrize("samples", [-24, -7, 0, 7, 24])
def test_the_delay_is_found(samples) -> None:
    found = gcc_phat_itds_s(delayed(samples), RATE_HZ, n_frames=16)
    assert found.shape == (16,)
    assert torch.allclose(found * RATE_HZ, torch.full((16,), float(samples)), atol=1e-3)
    halves = gcc_phat_itd_s(delayed(samples).repeat_interleave(2, -1)[..., 1:], 2 * RATE_HZ, n_frames=4)
    assert float(halves * RATE_HZ) == pytest.approx(samples, abs=0.6)


def test_a_batch_is_its_rows_in_any_shape() -> None:
    rows = torch.stack([delayed(5), delayed(-9, 1), torch.zeros(2, 12_000), 100 * delayed(3, 2)])
    alone = torch.stack([gcc_phat_itd_s(row, RATE_HZ, n_frames=8) for row in rows])
    assert torch.equal(gcc_phat_itd_s(rows, RATE_HZ, n_frames=8), alone)
    assert torch.equal(gcc_phat_itd_s(rows.reshape(2, 2, 2, -1), RATE_HZ, n_frames=8), alone.reshape(2, 2))


@pytest.mark.parametrize("n", [1, 100, 3840, 3900])
def test_short_sound_and_silence_are_finite(n) -> None:
    for audio in (delayed(0, n=n), torch.zeros(2, n)):
        assert gcc_phat_itds_s(audio, RATE_HZ).shape == (512,)
        assert gcc_phat_itd_s(audio, RATE_HZ) == 0


def test_consensus_follows_the_many() -> None:
    values = torch.tensor([[3.0, 3.01, 2.99, 40.0, -7.0], [2.0, 2.0, 2.0, 2.0, 2.0]])
    assert consensus(values, 0.05).tolist() == pytest.approx([3, 2], abs=1e-6)
