"""Each flaw is heard where it is, and where it is not."""

import pytest
import torch

from prismaudio.audio.flaws import flat_tops, highs_db, late_energies_db, noise_floors_db, offset_share
from prismaudio.audio.level import noise_floor_db
from prismaudio.audio.reverberation import late_energy_db

RATE_HZ = 16_000
NOTHING = torch.zeros(1, 0)


def noise(level_db: float, seconds: float = 2.0, seed: int = 0) -> torch.Tensor:
    n = round(seconds * RATE_HZ)
    return 10 ** (level_db / 20) * torch.randn(1, 2, n, generator=torch.Generator().manual_seed(seed))


def strike(t60_s: float) -> torch.Tensor:
    """A struck sound at 0.5 s that dies away."""
    since = torch.arange(2 * RATE_HZ) / RATE_HZ - 0.5
    return noise(-10) * 10 ** (-3 * since.clamp(min=0) / t60_s) * (since >= 0) + noise(-80, seed=1)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_the_noise_floor_is_that_of_one_sound(rate_hz) -> None:
    sounds = torch.cat([noise(-40), noise(-60)]) * torch.linspace(0, 1, 32_000)
    wanted = [noise_floor_db(sound, rate_hz) for sound in sounds]
    assert noise_floors_db(sounds, rate_hz).tolist() == pytest.approx(wanted, abs=1e-3)


def test_the_late_energy_is_that_of_one_event() -> None:
    for t60_s in (0.3, 1.5):
        found, count = late_energies_db(strike(t60_s), RATE_HZ, NOTHING, NOTHING)
        assert found.item() == pytest.approx(late_energy_db(strike(t60_s)[0], RATE_HZ, 0.5), abs=0.5)
        assert count.item() == pytest.approx(1, abs=0.1)


def test_onsets_of_what_lasts_and_of_what_is_followed_do_not_count() -> None:
    start_s, stop_s = torch.tensor([[0.4]]), torch.tensor([[1.0]])
    assert late_energies_db(strike(0.3), RATE_HZ, start_s, stop_s)[1] < 0.1
    twice = strike(0.1) + strike(0.1).roll(round(0.25 * RATE_HZ), -1)
    assert late_energies_db(twice, RATE_HZ, NOTHING, NOTHING)[1].item() == pytest.approx(1, abs=0.2)


def test_flat_tops_highs_and_offset() -> None:
    clear = strike(0.5)
    assert flat_tops((8 * clear).clamp(-0.5, 0.5), RATE_HZ) > 3 * flat_tops(clear, RATE_HZ)
    dull = torch.nn.functional.avg_pool1d(clear, 16, 1)
    assert highs_db(dull, RATE_HZ) < highs_db(clear, RATE_HZ) - 10
    assert offset_share(clear + 0.05) > 0.3 > 0.1 > offset_share(clear)


@pytest.mark.parametrize("samples", [1, 50, 3_000])
def test_silence_and_short_sounds_are_finite(samples) -> None:
    for sound in (torch.zeros(1, 2, samples), noise(-10)[..., :samples]):
        values = [measure(sound, RATE_HZ) for measure in (noise_floors_db, flat_tops, highs_db)]
        values += [offset_share(sound), *late_energies_db(sound, RATE_HZ, NOTHING, NOTHING)]
        assert all(value.isfinite().all() for value in values)
