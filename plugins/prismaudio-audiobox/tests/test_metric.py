import pytest
import torch

from prismaudio.metrics.target import Target
from prismaudio.plan.story import Story
from prismaudio.testing.metrics import check_metric
from prismaudio_audiobox.metric import AudioboxAesthetics
from prismaudio_audiobox.network import AXES
from prismaudio_audiobox.rating import Rater

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
