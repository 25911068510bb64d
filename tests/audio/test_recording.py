"""Each flaw is measured where it is present, and not elsewhere."""

import math

import pytest
import torch

from prismaudio.audio.recording import (
    detected_late_energy_db,
    flat_tops,
    highs_db,
    late_energy_db,
    noise_floor_db,
    offset_share,
)

RATE_HZ = 16_000
TIME_S = torch.arange(RATE_HZ) / RATE_HZ
NOTHING = torch.zeros(1, 0)


def noise(level_db: float, seconds: float = 2.0, seed: int = 0) -> torch.Tensor:
    n = round(seconds * RATE_HZ)
    return 10 ** (level_db / 20) * torch.randn(1, 2, n, generator=torch.Generator().manual_seed(seed))


def strike(t60_s: float) -> torch.Tensor:
    """A decaying struck sound at 0.5 s."""
    since = torch.arange(2 * RATE_HZ) / RATE_HZ - 0.5
    return noise(-10) * 10 ** (-3 * since.clamp(min=0) / t60_s) * (since >= 0) + noise(-80, seed=1)


def test_noise_floor_ignores_events() -> None:
    audio = 0.001 * torch.randn(2, RATE_HZ, generator=torch.Generator().manual_seed(0))
    audio[:, 4000:9000] += 0.5
    assert noise_floor_db(audio[None], RATE_HZ).item() == pytest.approx(-60, abs=1)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_the_noise_floor_is_the_level_of_a_tenth_of_the_frames(rate_hz) -> None:
    batch = torch.cat([noise(-40), noise(-60)]) * torch.linspace(0, 1, 32_000)
    length = round(0.02 * rate_hz)
    frames = batch[..., : 32_000 // length * length].reshape(2, 2, -1, length)
    wanted = (10 * frames.square().mean((1, 3)).log10()).quantile(0.1, 1)
    assert noise_floor_db(batch, rate_hz).tolist() == pytest.approx(wanted.tolist(), abs=1e-3)


def test_late_energy_is_the_decay() -> None:
    burst = torch.randn(2, RATE_HZ, generator=torch.Generator().manual_seed(0))
    burst[:, : RATE_HZ // 4] = 0
    for db_per_s in (40, 120):
        decay = burst * 10 ** (-db_per_s / 20 * (TIME_S - 0.25).clamp(min=0))
        # late: mean over 200 .. 350 ms; direct: the first 10 ms
        ease = math.log(10) / 10 * db_per_s
        late = (math.exp(-0.2 * ease) - math.exp(-0.35 * ease)) / 0.15
        direct = (1 - math.exp(-0.01 * ease)) / 0.01
        wanted_db = max(-60, 10 * math.log10(late / direct))
        assert late_energy_db(decay[None], RATE_HZ, torch.tensor([[0.25]])).item() == pytest.approx(wanted_db, abs=1.5)


def test_late_energy_needs_an_audible_event_and_time_after_it() -> None:
    batch = torch.stack([torch.zeros(2, RATE_HZ), torch.ones(2, RATE_HZ)])
    found = late_energy_db(batch, RATE_HZ, torch.tensor([[0.1, 0.8], [0.1, 0.8]]))
    assert found.isnan().tolist() == [[True, True], [False, True]]
    assert found[1, 0] == pytest.approx(0, abs=0.01)


def test_the_late_energy_of_detected_onsets_is_that_of_the_event() -> None:
    for t60_s in (0.3, 1.5):
        found, count = detected_late_energy_db(strike(t60_s), RATE_HZ, NOTHING, NOTHING)
        wanted = late_energy_db(strike(t60_s), RATE_HZ, torch.tensor([[0.5]])).item()
        assert found.item() == pytest.approx(wanted, abs=0.5)
        assert count.item() == pytest.approx(1, abs=0.1)


def test_onsets_of_sustained_and_overlapping_events_are_excluded() -> None:
    start_s, stop_s = torch.tensor([[0.4]]), torch.tensor([[1.0]])
    assert detected_late_energy_db(strike(0.3), RATE_HZ, start_s, stop_s)[1] < 0.1
    twice = strike(0.1) + strike(0.1).roll(round(0.25 * RATE_HZ), -1)
    assert detected_late_energy_db(twice, RATE_HZ, NOTHING, NOTHING)[1].item() == pytest.approx(1, abs=0.2)


def test_flat_tops_highs_and_offset() -> None:
    clear = strike(0.5)
    assert flat_tops((8 * clear).clamp(-0.5, 0.5), RATE_HZ) > 3 * flat_tops(clear, RATE_HZ)
    dull = torch.nn.functional.avg_pool1d(clear, 16, 1)
    assert highs_db(dull, RATE_HZ) < highs_db(clear, RATE_HZ) - 10
    assert offset_share(clear + 0.05) > 0.3 > 0.1 > offset_share(clear)


@pytest.mark.parametrize("samples", [1, 50, 3_000])
def test_silence_and_short_sounds_are_finite(samples) -> None:
    for audio in (torch.zeros(1, 2, samples), noise(-10)[..., :samples]):
        values = [measure(audio, RATE_HZ) for measure in (noise_floor_db, flat_tops, highs_db)]
        values += [offset_share(audio), *detected_late_energy_db(audio, RATE_HZ, NOTHING, NOTHING)]
        assert all(value.isfinite().all() for value in values)
