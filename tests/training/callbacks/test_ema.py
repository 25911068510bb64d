"""The average of the weights: its formula, when it is used, and that it survives a pause."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel
from torch import nn

from prismaudio.errors import RecipeError
from prismaudio.training.callbacks.ema import ExponentialMovingAverage, PolicyAverage, ema_decay, policy_decay
from prismaudio.training.contracts import AveragedTask

PUBLISHED = {
    1: 0.0,
    2: 0.0,
    3: 0.4053964424986395,
    4: 0.5613086623491692,
    10: 0.8075499102701247,
    10000: 0.9989999249934,
}


class Line(AveragedTask):
    """One trained weight, one that is frozen, and a note of what validation used."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.frozen = nn.Linear(3, 1, bias=False), nn.Linear(3, 1)
        self.frozen.requires_grad_(False)
        nn.init.constant_(self.line.weight, 1.0)
        self.history, self.validated = [], []

    def training_step(self, batch, index):
        return self.line(batch).sum()

    def validation_step(self, batch, index):
        self.validated.append(self.line.weight.detach().clone())

    def on_train_batch_end(self, *_):
        self.history.append(self.line.weight.detach().clone())

    def configure_optimizers(self):
        return torch.optim.SGD(self.line.parameters(), 0.1)


class Policy(Line):
    """Two steps of the optimizer with each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, index):
        for _ in range(2):
            self.optimizers().zero_grad()
            self.manual_backward(self.line(batch).sum())
            self.optimizers().step()


def fit(folder, task, steps, checkpoint=None, average=None, **options):
    loader = torch.utils.data.DataLoader(torch.ones(4, 3), batch_size=1)
    run = Trainer(
        max_steps=steps, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder, callbacks=[average or ExponentialMovingAverage(beta=0.6)], num_sanity_val_steps=0,
        val_check_interval=steps, check_val_every_n_epoch=None, **options,
    )  # fmt: skip
    run.fit(task, loader, loader, ckpt_path=checkpoint)
    return run


@pytest.mark.parametrize(("step", "decay"), PUBLISHED.items())
def test_the_decay_is_the_published_one(step, decay):
    assert ema_decay(step) == pytest.approx(decay, abs=1e-9)


def test_validation_uses_the_average_and_training_goes_on_with_the_weights(tmp_path):
    task = Line()
    fit(tmp_path, task, 5)
    expected = task.history[0]
    for step, weight in enumerate(task.history, 1):
        expected = weight + (expected - weight) * ema_decay(step, beta=0.6)
    torch.testing.assert_close(task.validated[-1], expected)
    torch.testing.assert_close(task.line.weight.detach(), task.history[-1])
    assert list(dict(task.average.named_parameters())) == ["line/weight"]
    with task.averaged():
        torch.testing.assert_close(task.line.weight.detach(), expected)
    torch.testing.assert_close(task.line.weight.detach(), task.history[-1])


def test_only_steps_of_the_optimizer_count(tmp_path):
    task = Line()
    fit(tmp_path, task, 2, accumulate_grad_batches=4)
    assert torch.equal(task.average["line/weight"], task.line.weight)  # nothing is kept in the first two steps


def test_the_average_survives_a_pause(tmp_path):
    whole, first, second = Line(), Line(), Line()
    fit(tmp_path, whole, 6)
    run = fit(tmp_path, first, 4)
    run.save_checkpoint(tmp_path / "pause.ckpt")
    fit(tmp_path, second, 6, tmp_path / "pause.ckpt")
    assert torch.equal(second.average["line/weight"], whole.average["line/weight"])
    assert torch.equal(second.line.weight, whole.line.weight)


def test_a_task_that_holds_no_average_is_one_line(tmp_path):
    with pytest.raises(RecipeError, match=r"ExponentialMovingAverage needs .*AveragedTask, and BoringModel does not"):
        fit(tmp_path, BoringModel(), 1)


def test_a_beta_that_keeps_everything_is_refused():
    with pytest.raises(RecipeError, match="beta"):
        ExponentialMovingAverage(1.0)


def test_the_average_of_a_policy_moves_every_few_steps(tmp_path):
    task = Line()
    fit(tmp_path, task, 9, average=PolicyAverage())
    expected = torch.lerp(torch.ones(1, 3), task.history[6], 1 - 8 / 17)
    torch.testing.assert_close(task.average["line/weight"].data, expected)


def test_every_step_of_manual_optimisation_counts(tmp_path):
    task = Policy()
    fit(tmp_path, task, 8, average=PolicyAverage())  # the seventh step is the first of the fourth batch
    expected = torch.lerp(torch.ones(1, 3), task.history[3], 1 - 8 / 17)
    torch.testing.assert_close(task.average["line/weight"].data, expected)


def test_the_average_of_a_policy_is_not_the_policy(tmp_path):
    task = Line()
    run = fit(tmp_path, task, 1, average=PolicyAverage())  # the average has not moved
    with task.averaged():
        assert torch.equal(task.line.weight.detach(), torch.ones(1, 3))
    assert torch.equal(task.line.weight.detach(), task.history[-1])
    assert run.global_step == 1


def test_how_often_it_moves_is_a_number_from_1():
    assert [policy_decay(step, every=1) for step in (1, 1000)] == [2 / 11, 0.9]
    with pytest.raises(RecipeError, match="every of PolicyAverage is 0"):
        PolicyAverage(every=0)


def test_all_weights_at_once_are_bitwise_one_by_one(tmp_path):
    task = Line()
    task.other = nn.Linear(5, 7)
    torch.manual_seed(0)
    average = ExponentialMovingAverage(0.7)
    task.start_average()
    for weight in task.parameters():
        if weight.requires_grad:
            nn.init.normal_(weight)
    pairs = list(task.average_pairs())
    expected = [average_.clone().lerp_(weight, 1 - 0.7**2) for weight, average_ in pairs]
    average.decay = lambda step: 0.7
    average._step = 0
    average.on_train_batch_end(SimpleNamespace(global_step=2), task)
    assert len(pairs) == 3
    assert all(torch.equal(found, wanted) for (_, found), wanted in zip(pairs, expected, strict=True))
