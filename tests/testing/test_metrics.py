from __future__ import annotations

import pytest
import torch

from prismaudio.metrics.base import AudioMetric
from prismaudio.registry import discover
from prismaudio.testing import NonconformingError, check_metric

MINE = [entry.name for entry in discover().entries if entry.kind == "metrics" and entry.plugin.name == "core"]


@pytest.mark.parametrize("name", MINE)
def test_the_metrics_of_the_core_pass(name):
    check_metric(discover().load("metrics", name)())


class Level(AudioMetric):
    """Mean level over that of the reference."""

    needs = frozenset({"reference"})
    range = (0.0, 10.0)

    def __init__(self):
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def observe(self, sound, sample_rate_hz, truth):
        self.total = self.total + sound.square().mean().sqrt()
        self.count = self.count + 1

    def compute(self):
        return self.total / self.count


class Forgetful(Level):
    def __init__(self):
        super().__init__()
        self.sounds = []

    def reset(self):
        super().reset()
        self.sounds = []

    def observe(self, sound, sample_rate_hz, truth):
        self.sounds.append(sound.square().mean().sqrt())

    def compute(self):
        return torch.stack(self.sounds).mean() if self.sounds else torch.tensor(torch.nan)


class Lasting(Forgetful):
    def reset(self):
        AudioMetric.reset(self)


class OfBatches(Level):
    def update(self, audio, sample_rate_hz, targets):
        self.observe(audio[0], sample_rate_hz, targets[0])


class Loud(Level):
    def observe(self, sound, sample_rate_hz, truth):
        super().observe(sound.mul_(2), sample_rate_hz, truth)


class Undeclared(Level):
    needs = frozenset()

    def observe(self, sound, sample_rate_hz, truth):
        super().observe(sound * truth.clip.frames.float().mean(), sample_rate_hz, truth)


class Careless(Level):
    def take(self, sound, sample_rate_hz, truth):
        self.observe(sound, sample_rate_hz, truth)


BAD = {
    "two halves added up differ": Forgetful(),
    "after a reset its result must be NaN": Lasting(),
    "clip by clip its result differs": OfBatches(),
    "changes the sound in place": Loud(),
    "measuring clips without video: AttributeError": Undeclared(),
    "needs reference, but counts clips without": Careless(),
    "must be NaN": type("Bad", (Level,), {"compute": lambda self: self.total / self.count.clamp(min=1)})(),
    "must be a tensor with one number": type("Bad", (Level,), {"compute": lambda self: 3.0})(),
    "not in its range": type("Bad", (Level,), {"range": (1.0, 2.0)})(),
}


def test_a_good_one_passes():
    check_metric(Level())


@pytest.mark.parametrize("said", BAD)
def test_what_is_wrong_is_one_line(said):
    with pytest.raises(NonconformingError) as caught:
        check_metric(BAD[said])
    assert said in str(caught.value)
