from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from prismaudio.encoders.base import Encoder
from prismaudio.encoders.brightness import BrightnessEncoder
from prismaudio.registry import discover
from prismaudio.samplers.base import Sampler
from prismaudio.samplers.euler import EulerSampler
from prismaudio.testing import NonconformingError, check_encoder, check_sampler

SAMPLERS = [entry.name for entry in discover().entries if entry.kind == "samplers" and entry.plugin.name == "core"]


def test_the_encoder_of_the_core_passes():
    check_encoder(BrightnessEncoder())


class Bright(Encoder):
    """Brightness of each frame."""

    dim, rate_hz = 1, 25.0

    def encode(self, clip, plan):
        return clip.frames.float().mean((1, 2, 3))[:, None] / 255


def encoder(function, **attributes):
    return type("Bad", (Bright,), {"encode": function, **attributes})()


ENCODERS = {
    "float32 (time, 2)": encoder(Bright.encode, dim=2),
    "150 features for 6 s at 10 a second": encoder(lambda s, c, p: torch.zeros(150, 1), rate_hz=10.0),
    "differ when encoded again": encoder(lambda s, c, p: torch.rand(150, 1)),
    "must be finite": encoder(lambda s, c, p: torch.full((150, 1), torch.nan)),
    "changes the frames": encoder(lambda s, c, p: c.frames.fill_(0).float().mean((1, 2, 3))[:, None]),
    "encoding: KeyError": encoder(lambda s, c, p: p["smell"]),
}


@pytest.mark.parametrize("said", ENCODERS)
def test_what_is_wrong_with_an_encoder_is_one_line(said):
    check_encoder(Bright())
    with pytest.raises(NonconformingError) as caught:
        check_encoder(ENCODERS[said])
    assert said in str(caught.value)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_samplers_of_the_core_pass(name):
    check_sampler(discover().load("samplers", name)(5))


def bad_sampler(function):
    return type("Bad", (Sampler,), {"sample": function})()


def stepping(self, velocity, noise, on_step=None, first=1.0, last=0.0, mix=0.0, tell=1):
    times = torch.linspace(first, last, 5)
    for step, (now, later) in enumerate(pairwise(times)):
        noise = noise + (later - now) * velocity(noise + mix * noise.mean(0), now.expand(len(noise)))
        if on_step is not None:
            on_step(step + tell, 4)
    return noise


SAMPLER_FAULTS = {
    "does not arrive": {"last": 0.3},
    "the first time must be 1": {"first": 0.9},
    "made in a batch differs": {"mix": 0.001},
    "it was told [(0, 4)": {"tell": 0},
}


@pytest.mark.parametrize("said", SAMPLER_FAULTS)
def test_what_is_wrong_with_a_sampler_is_one_line(said):
    check_sampler(bad_sampler(stepping))
    fault = bad_sampler(lambda s, v, n, on=None: stepping(s, v, n, on, **SAMPLER_FAULTS[said]))
    with pytest.raises(NonconformingError) as caught:
        check_sampler(fault, reaches=0.1)
    assert said in str(caught.value)


def test_a_sampler_must_stop_and_tell():
    def swallow(self, velocity, noise, on_step=None):
        def quiet(done, total):
            try:
                on_step(done, total)
            except Exception:  # noqa: BLE001
                return

        return EulerSampler(3).sample(velocity, noise, quiet if on_step else None)

    with pytest.raises(NonconformingError, match="able to stop"):
        check_sampler(bad_sampler(swallow))
    with pytest.raises(NonconformingError, match="never calls on_step"):
        check_sampler(bad_sampler(lambda s, v, n, on=None: EulerSampler(3).sample(v, n)))
