from __future__ import annotations

import pytest
import torch

from prismaudio.errors import NotApplicableError
from prismaudio.metrics.target import Target
from prismaudio.metrics.width import ReferenceWidth, StereoWidth, stereo_width
from prismaudio.testing import check_metric
from prismaudio.types import Clip

NOISE = torch.randn(2, 160_000, generator=torch.Generator().manual_seed(0))


def test_equal_independent_and_opposite_channels():
    mono = NOISE[:1].expand(2, -1)
    assert stereo_width(mono) == 0
    assert stereo_width(NOISE) == pytest.approx(0.5, abs=0.01)
    assert stereo_width(mono * torch.tensor([[1.0], [-1.0]])) == 1
    assert stereo_width(torch.stack([NOISE[0], 0 * NOISE[0]])) == pytest.approx(0.5)


def test_silence_has_no_width():
    with pytest.raises(NotApplicableError, match="silent"):
        stereo_width(torch.zeros(2, 100))


def test_the_width_of_the_reference_is_that_of_the_reference():
    target = Target.of(Clip("a", 10.0, audio=NOISE, sample_rate_hz=16_000), None)
    widths = []
    for metric in (StereoWidth(), ReferenceWidth()):
        metric.update(NOISE[None, :1].expand(1, 2, -1), 16_000, [target])
        widths.append(float(metric.compute()))
    assert widths == pytest.approx([0.0, 0.5], abs=0.01)


@pytest.mark.parametrize("metric", [StereoWidth, ReferenceWidth])
def test_the_contract(metric):
    check_metric(metric())
