import pytest
import torch

from prismaudio.metrics.truth import Truth
from prismaudio.testing.metrics import check_metric
from prismaudio.types import Clip
from prismaudio_stereocrw.metric import CrwMse, window_starts
from prismaudio_stereocrw.network import CrwNetwork


@pytest.fixture
def metric():
    torch.manual_seed(0)
    return CrwMse(n_windows=2, n_patches=50, network=CrwNetwork(width=2))


def sounds():
    return 0.1 * torch.randn(3, 2, 8_000, generator=torch.Generator().manual_seed(1))


def truth(sound):
    return Truth.of(Clip("a", 0.5, audio=sound, sample_rate_hz=16_000))


def test_the_error_is_squared_summed_over_clips_and_scaled(metric):
    made, wanted = sounds(), sounds().flip(0)
    metric.update(made, 16_000, [truth(sound) for sound in wanted])
    errors = [float(metric.itd_ms(a, 16_000) - metric.itd_ms(b, 16_000)) for a, b in zip(made, wanted, strict=True)]
    assert metric.compute().item() == pytest.approx(1000 * sum(e**2 for e in errors) / 3)
    assert metric.compute() > 0
    metric.reset()
    metric.update(made, 16_000, [truth(sound) for sound in made])
    assert metric.compute() == 0


def test_it_keeps_the_contract(metric):
    check_metric(metric, duration_s=0.5)


def test_clips_without_reference_do_not_count_and_weights_stay_out_of_checkpoints(metric):
    metric.update(sounds()[:1], 16_000, [Truth.of(Clip("a", 1.0))])
    assert metric.compute().isnan()
    assert not metric.state_dict()


def test_windows_at_one_place_are_heard_once_and_count_each(metric):
    sound, length = sounds()[0, :, :4_000], metric.listener.window_samples
    metric.n_windows = 4  # at 0, 0 and twice at the end
    both = torch.stack([sound[:, :length], sound[:, -length:]])
    assert window_starts(4_000, length, 4) == [0, 0, 4_000 - length, 4_000 - length]
    assert torch.isclose(metric.itd_ms(sound, 16_000), 1000 * metric.listener.delays_s(both).mean().double())


@pytest.mark.parametrize("n_samples", [144_000, 160_000, 20_000])
def test_windows_begin_every_tenth_of_a_second_inside_the_sound(n_samples):
    starts = window_starts(n_samples, 4352, 100)
    assert starts[:4] == [0, 0, 1280, 2880]
    assert starts[-1] == min(n_samples - 4352, 156_480)
