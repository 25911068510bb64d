"""Loudness follows ITU-R BS.1770 at every sample rate."""

import pytest
import torch

from prismaudio.audio.loudness import HIGH_PASS, SHELF, k_weighting, loudness_lufs


def sine(level_db, rate_hz=16_000, hertz=997.0, seconds=2):
    return 10 ** (level_db / 20) * torch.sin(2 * torch.pi * hertz * torch.arange(seconds * rate_hz) / rate_hz).repeat(
        1, 2, 1
    )


def by_recursion(audio):
    """Recursive implementation of the two filters, with the mean power over all samples."""
    for above, below in (SHELF, HIGH_PASS):
        made = torch.zeros_like(audio)
        for n in range(audio.shape[-1]):
            value = sum(above[k] * audio[..., n - k] for k in range(3) if n >= k)
            made[..., n] = value - sum(below[k] * made[..., n - k] for k in (1, 2) if n >= k)
        audio = made
    return 10 * audio.square().mean(-1).sum(-1).log10() - 0.691


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_sine_has_the_loudness_of_the_standard_and_silence_is_gated(rate_hz) -> None:
    assert loudness_lufs(sine(-20, rate_hz), rate_hz).item() == pytest.approx(-20, abs=0.05)
    followed = torch.nn.functional.pad(sine(-20, rate_hz), (0, 8 * rate_hz))
    assert loudness_lufs(followed, rate_hz).item() == pytest.approx(-20, abs=0.7)
    assert loudness_lufs(0 * followed, rate_hz).item() == -70


def test_much_softer_parts_are_gated() -> None:
    both = torch.cat([sine(-20), sine(-36)], -1)
    assert loudness_lufs(both, 16_000).item() == pytest.approx(-20, abs=0.5)


def test_the_filters_at_48_khz_are_those_of_the_standard() -> None:
    noise = 0.1 * torch.randn(1, 2, 4_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert loudness_lufs(noise, 48_000).item() == pytest.approx(by_recursion(noise).item(), abs=0.01)
    turn = torch.exp(-2j * torch.pi * torch.tensor(1_000.0, dtype=torch.float64) / 48_000)
    above, below = (sum(c * turn**n for n, c in enumerate(side)) for side in SHELF)
    up, down = (sum(c * turn**n for n, c in enumerate(side)) for side in HIGH_PASS)
    assert k_weighting(48_000, 48_000)[1_000] == pytest.approx(complex(above / below * up / down), abs=1e-5)


def test_batch_equals_its_samples() -> None:
    batch = torch.cat([sine(-10), sine(-30), 0 * sine(-30)])
    alone = [loudness_lufs(audio[None], 16_000).item() for audio in batch]
    assert loudness_lufs(batch, 16_000).tolist() == pytest.approx(alone, abs=1e-4)


@pytest.mark.oracle
@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_equals_pyloudnorm(rate_hz) -> None:
    pyloudnorm = pytest.importorskip("pyloudnorm")
    generator = torch.Generator().manual_seed(0)
    envelope = torch.linspace(-50, -10, 6 * rate_hz).div(20)
    noise = 10**envelope * torch.randn(1, 2, 6 * rate_hz, generator=generator)
    for audio in (noise, sine(-23, rate_hz, 60.0), sine(-23, rate_hz, 4_000.0)):
        theirs = pyloudnorm.Meter(rate_hz).integrated_loudness(audio[0].T.double().numpy())
        assert loudness_lufs(audio, rate_hz).item() == pytest.approx(theirs, abs=0.3)
