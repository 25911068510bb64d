import pytest
import torch

from prismaudio.metrics.itd import window_starts
from prismaudio.metrics.target import Target
from prismaudio.testing.metrics import check_metric
from prismaudio.types import Clip
from prismaudio_stereocrw.metric import CrwMse
from prismaudio_stereocrw.network import CrwNetwork


@pytest.fixture
def metric():
    torch.manual_seed(0)
    return CrwMse(n_windows=2, n_patches=50, network=CrwNetwork(width=2))


def sounds():
    return 0.1 * torch.randn(3, 2, 8_000, generator=torch.Generator().manual_seed(1))


def truth(sound):
    return Target.of(Clip("a", 0.5, audio=sound, sample_rate_hz=16_000))


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
    metric.update(sounds()[:1], 16_000, [Target.of(Clip("a", 1.0))])
    assert metric.compute().isnan()
    assert not metric.state_dict()


def test_windows_at_one_position_are_evaluated_once_and_counted_each(metric):
    sound, length = sounds()[0, :, :4_000], metric.estimator.window_samples
    metric.n_windows = 4  # at 0, 0 and twice at the end
    both = torch.stack([sound[:, :length], sound[:, -length:]])
    assert window_starts(4_000, 4, length).tolist() == [0, 0, 4_000 - length, 4_000 - length]
    assert torch.isclose(metric.itd_ms(sound, 16_000), 1000 * metric.estimator.delays_s(both).mean().double())


@pytest.mark.parametrize(
    ("seconds", "release", "n_windows", "last_s"),
    [
        (0.5, False, 5, 0.5),
        (12.0, False, 120, 12.0),
        (0.5, True, 100, 0.5),
        (12.0, True, 100, 10.05),
    ],
)
def test_audio_is_covered_to_its_end_unless_as_published(seconds, release, n_windows, last_s):
    metric = CrwMse(release=release, n_patches=50, network=CrwNetwork(width=2))
    length, heard = metric.estimator.window_samples, []
    assert length == (3840 + 512 if release else 3840 + 49)
    metric.estimator.delays_s = lambda windows: heard.append(windows[:, 0, -1]) or heard[-1][:, None]
    time_s = torch.arange(round(16_000 * seconds)).repeat(2, 1) / 16_000
    ends_s = (window_starts(time_s.shape[-1], n_windows, length).double() + length - 1) / 16_000
    assert metric.itd_ms(time_s, 16_000).item() == pytest.approx(1000 * ends_s.mean().item(), rel=1e-5)
    assert torch.cat(heard).max().item() == pytest.approx(last_s, abs=0.01)
