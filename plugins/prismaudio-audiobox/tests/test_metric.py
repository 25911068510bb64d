import pytest
import torch

from prismaudio.metrics.target import Target
from prismaudio.plan.story import Story
from prismaudio.testing.metrics import check_metric
from prismaudio_audiobox import rating
from prismaudio_audiobox.metric import (
    AudioboxAesthetics,
    AudioboxComplexity,
    AudioboxEnjoyment,
    AudioboxUsefulness,
)
from prismaudio_audiobox.network import AXES
from prismaudio_audiobox.rating import Rater
from prismaudio_audiobox.weights import SCALES

TRUTHS = [Target.from_story(Story())] * 3


def sounds():
    return 0.1 * torch.randn(3, 2, 30_000, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("axis", AXES)
def test_it_is_the_mean_of_an_axis(network, axis):
    metric = AudioboxAesthetics(axis, network=network)
    metric.update(sounds(), 16_000, TRUTHS)
    rated = Rater(network=network).rate(sounds(), 16_000)
    assert metric.compute().item() == pytest.approx(rated.mean(0)[AXES.index(axis)].item(), abs=1e-5)
    assert metric.higher_is_better == (axis != "PC")
    assert not metric.state_dict()


def test_it_keeps_the_contract(network):
    check_metric(AudioboxAesthetics("PC", network=network))


@pytest.mark.parametrize(
    ("kind", "axis"), [(AudioboxEnjoyment, "CE"), (AudioboxUsefulness, "CU"), (AudioboxComplexity, "PC")]
)
def test_the_other_axes_have_metrics_without_arguments(network, kind, axis):
    metric, same = kind(network=network), AudioboxAesthetics(axis, network=network)
    for one in (metric, same):
        one.update(sounds(), 16_000, TRUTHS)
    assert metric.compute() == same.compute()
    assert metric.higher_is_better == (axis != "PC")


def test_metrics_of_the_same_weights_share_a_network_that_rates_a_clip_once(network, monkeypatch):
    made = []
    monkeypatch.setattr(rating, "load_published", lambda _: (made.append(1) or network, SCALES))
    rating.shared_rater.cache_clear()
    first, second = AudioboxAesthetics("PQ"), AudioboxEnjoyment()
    calls = []
    rate = first.rater.rate
    monkeypatch.setattr(first.rater, "rate", lambda *given: calls.append(1) or rate(*given))
    for clip in sounds():
        for metric in (first, second):
            metric.update(clip[None], 16_000, TRUTHS[:1])
    assert (len(made), len(calls)) == (1, 3)
    rated = rate(sounds(), 16_000).mean(0)
    assert first.compute().item() == pytest.approx(rated[AXES.index("PQ")].item(), abs=1e-5)
    assert second.compute().item() == pytest.approx(rated[AXES.index("CE")].item(), abs=1e-5)
    rating.shared_rater.cache_clear()
