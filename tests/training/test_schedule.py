"""The schedules against the published numbers and their own promises."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule

from prismaudio.errors import RecipeError
from prismaudio.training.schedule import (
    ConstantSchedule,
    CosineSchedule,
    InverseSchedule,
    inverse_lr,
    scheduled_adamw,
)

PUBLISHED = {0: 1.000000000000001e-06, 1: 1.9899900500746275e-06, 10: 1.0465651304642542e-05, 500: 9.91020759111863e-05}


@pytest.mark.parametrize(("step", "rate"), PUBLISHED.items())
def test_the_inverse_schedule_is_the_published_one(step, rate):
    assert 1e-4 * inverse_lr(step) == pytest.approx(rate, rel=1e-6)
    assert InverseSchedule().factor(step, 7) == inverse_lr(step)


def test_the_cosine_rises_and_falls():
    factors = [CosineSchedule(10).factor(step, 110) for step in range(120)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10] == pytest.approx(1)
    assert factors[60] == pytest.approx(0.51)
    assert factors[110:] == pytest.approx([0.02] * 10)
    assert CosineSchedule(10).factor(11, 5) == pytest.approx(0.02)  # a run that is shorter than its warm-up


def test_a_run_that_only_a_time_ends():
    assert CosineSchedule(10).factor(10**6, float("inf")) == 1


def test_the_constant_one_stays():
    assert [ConstantSchedule(2).factor(step, 9) for step in range(4)] == [0.5, 1, 1, 1]
    assert ConstantSchedule().factor(0, 9) == 1


def test_a_learning_rate_below_zero_is_refused():
    with pytest.raises(RecipeError, match="learning_rate is -1"):
        scheduled_adamw(LightningModule(), -1.0, 0.0, ConstantSchedule())


@pytest.mark.parametrize(("max_steps", "total"), [(-1, 12), (6, 6)])
def test_a_run_of_epochs_has_as_many_steps_as_passes_over_its_batches(max_steps, total):
    seen = []

    class Noted(ConstantSchedule):
        def factor(self, step, n_steps):
            seen.append(n_steps)
            return 1.0

    module = torch.nn.Linear(2, 2)
    module.trainer = SimpleNamespace(estimated_stepping_batches=6, max_steps=max_steps)
    scheduled_adamw(module, 1e-3, 0.0, Noted(), passes=2)
    assert set(seen) == {total}
