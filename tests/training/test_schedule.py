"""The optimizer of a task and its schedule: published numbers, torch's classes, and one change of the rate a step."""

from __future__ import annotations

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import ReduceLROnPlateau
from stages import trainer
from torch.optim import SGD, AdamW, lr_scheduler
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, OneCycleLR

from prismaudio.errors import RecipeError
from prismaudio.training.schedule import CosineWithWarmup, InverseLR, configure_optimizer, inverse_lr

PUBLISHED = {0: 1.000000000000001e-06, 1: 1.9899900500746275e-06, 10: 1.0465651304642542e-05, 500: 9.91020759111863e-05}
ADAMW = {"lr": 1e-3, "weight_decay": 0.01, "betas": (0.9, 0.98)}


def optimizer(lr=1.0):
    return SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def rates(schedule, steps):
    """The rate of each step."""
    found = []
    for _ in range(steps):
        found.append(schedule.optimizer.param_groups[0]["lr"])
        schedule.optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize(("step", "rate"), PUBLISHED.items())
def test_the_inverse_schedule_is_the_published_one(step, rate):
    assert 1e-4 * inverse_lr(step) == pytest.approx(rate, rel=1e-6)
    assert rates(InverseLR(optimizer(1e-4)), step + 1)[-1] == 1e-4 * inverse_lr(step)


def test_the_cosine_rises_and_falls():
    factors = rates(CosineWithWarmup(optimizer(), 10, total_steps=110), 120)
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10] == pytest.approx(1)
    assert factors[60] == pytest.approx(0.51)
    assert factors[110:] == pytest.approx([0.02] * 10)
    with pytest.raises(RecipeError, match="floor 2"):
        CosineWithWarmup(optimizer(), floor=2.0)


def test_a_run_that_only_a_time_ends_has_no_decay(caplog):
    schedule = CosineWithWarmup(optimizer(), 10)
    assert schedule.factor(10**6) == 1
    schedule.use_run_length(math.inf)
    assert schedule.factor(10**6) == 1
    assert not caplog.records


def test_a_warm_up_that_is_longer_than_the_run_is_warned_of(caplog):
    schedule = CosineWithWarmup(optimizer(), 10)
    schedule.use_run_length(5)
    (record,) = caplog.records
    assert "warmup_steps is 10, but the run has 5 optimizer steps" in record.getMessage()
    assert "reaches 50 % of its peak" in record.getMessage()
    assert rates(schedule, 3) == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("schedule", "warning"),
    [
        (partial(LinearLR, start_factor=0.02, total_iters=49), "total_iters is 49, but the run has 6 optimizer steps"),
        (partial(InverseLR, warmup=0.99), "warmup is 0.99, but the run has 6 optimizer steps"),
        (partial(LinearLR, start_factor=0.02, total_iters=5), ""),
        (partial(LinearLR, start_factor=1.0, end_factor=0.1, total_iters=50), ""),
        (partial(InverseLR, warmup=0.5), ""),
    ],
)
def test_other_warm_ups_that_a_run_ends_in_are_warned_of(schedule, warning, caplog):
    made = configure_optimizer(layers(), None, schedule, defaults=ADAMW)
    found = rates(made["lr_scheduler"]["scheduler"], 6)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == bool(warning)
    assert all(warning in message and f"reaches {max(found) / 1e-3 * 100:.0f} %" in message for message in messages)


def test_a_checkpoint_holds_no_settings_so_a_longer_run_has_its_own_length():
    first, second = CosineWithWarmup(optimizer(), 2), CosineWithWarmup(optimizer(), 2)
    first.use_run_length(4)
    second.use_run_length(8)
    rates(first, 3)
    second.load_state_dict(first.state_dict())
    assert (second.total_steps, second.last_epoch) == (8, 3)


def test_a_state_of_the_schedules_of_0_1_loads():
    old = LambdaLR(optimizer(), lambda step: 1 / (1 + step))
    rates(old, 3)
    new = CosineWithWarmup(optimizer(), 2, total_steps=8)
    new.load_state_dict(old.state_dict())
    assert rates(new, 2)[1] == new.factor(4)


def layers():
    made = torch.nn.Linear(2, 2)
    made.frozen = torch.nn.Parameter(torch.zeros(2, 2), requires_grad=False)
    made.trainer = SimpleNamespace(estimated_stepping_batches=6, max_steps=6)
    return made


def test_gains_have_no_weight_decay_and_frozen_weights_are_left_out():
    made = layers()
    for given in (None, partial(AdamW, lr=0.5, weight_decay=0.25)):
        weights, gains = configure_optimizer(made, given, None, defaults=ADAMW)["optimizer"].param_groups
        assert [len(weights["params"]), len(gains["params"])] == [1, 1]
        assert weights["params"][0] is made.weight
        assert gains["params"][0] is made.bias
        assert (weights["weight_decay"], gains["weight_decay"]) == (0.25 if given else 0.01, 0.0)
        assert weights["betas"] == ((0.9, 0.999) if given else (0.9, 0.98))


def test_classes_of_torch_work_and_a_constant_rate_needs_none():
    made = layers()
    assert configure_optimizer(made, None, None, defaults=ADAMW).keys() == {"optimizer"}
    for kind in (partial(LinearLR, start_factor=0.5, total_iters=1), partial(CosineAnnealingLR, T_max=6)):
        found = configure_optimizer(made, partial(SGD, lr=1.0), kind, defaults=ADAMW)["lr_scheduler"]
        assert (type(found["scheduler"]), found["interval"]) == (kind.func, "step")
    plateau = partial(ReduceLROnPlateau, monitor="val_loss")
    assert configure_optimizer(made, None, plateau, defaults=ADAMW)["lr_scheduler"]["monitor"] == "val_loss"


def test_what_torch_refuses_is_an_error_of_the_recipe():
    with pytest.raises(RecipeError, match="the optimizer rejects its arguments: Invalid learning rate: -1"):
        configure_optimizer(layers(), partial(AdamW, lr=-1.0), None, defaults=ADAMW)
    with pytest.raises(RecipeError, match="schedule rejects its arguments"):
        configure_optimizer(layers(), None, OneCycleLR, defaults=ADAMW)
    with pytest.raises(RecipeError, match=r"name lightning\.pytorch\.cli\.ReduceLROnPlateau, with monitor"):
        configure_optimizer(layers(), None, lr_scheduler.ReduceLROnPlateau, defaults=ADAMW)


@pytest.mark.parametrize(("max_steps", "total"), [(-1, 12), (6, 6)])
def test_a_run_of_epochs_has_as_many_steps_as_inner_epochs_over_its_batches(max_steps, total):
    made = layers()
    made.trainer.max_steps = max_steps
    found = configure_optimizer(made, None, CosineWithWarmup, defaults=ADAMW, steps_per_batch=2)
    assert found["lr_scheduler"]["scheduler"].total_steps == total
    ours = configure_optimizer(made, None, partial(CosineWithWarmup, total_steps=9), defaults=ADAMW, steps_per_batch=2)
    assert ours["lr_scheduler"]["scheduler"].total_steps == 9


class Logged(LightningModule):
    """Keeps the rate of every optimizer step."""

    def __init__(self):
        super().__init__()
        self.layer, self.rates = torch.nn.Linear(1, 1), []

    def training_step(self, batch, index):
        return self.layer(batch).mean()

    def on_before_optimizer_step(self, optimizer):
        self.rates.append(optimizer.param_groups[0]["lr"])

    def configure_optimizers(self):
        schedule = partial(CosineWithWarmup, warmup_steps=2)
        return configure_optimizer(self, partial(SGD, lr=1.0), schedule, defaults=ADAMW)


def test_the_rate_changes_once_an_optimizer_step(tmp_path):
    module = Logged()
    loader = torch.utils.data.DataLoader(torch.ones(8, 1))
    trainer(tmp_path, max_epochs=1, accumulate_grad_batches=2).fit(module, loader)
    expected = CosineWithWarmup(optimizer(), 2, total_steps=4)
    assert module.rates == pytest.approx([expected.factor(step) for step in range(4)])


def test_a_resumed_optimizer_is_fused_as_the_run_that_resumes_it_would_be():
    for fused in (None, True):
        optimizer = configure_optimizer(layers(), partial(AdamW, fused=fused), None, defaults=ADAMW)["optimizer"]
        state = optimizer.state_dict()
        optimizer.load_state_dict({**state, "param_groups": [{**g, "fused": not fused} for g in state["param_groups"]]})
        assert [group["fused"] for group in optimizer.param_groups] == [fused, fused]


def test_a_linear_schedule_of_no_steps_is_no_warm_up():
    kind = partial(LinearLR, start_factor=0.5, total_iters=0)
    assert (
        configure_optimizer(layers(), partial(SGD, lr=1.0), kind, defaults=ADAMW)["lr_scheduler"]["interval"] == "step"
    )
