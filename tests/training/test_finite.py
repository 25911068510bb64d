from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from prismaudio.errors import TrainingError
from prismaudio.training.cot_tuning import CotTuningTask
from prismaudio.training.finite import NonFiniteGuard, guards
from prismaudio.types import Conditions, LatentBatch

NAN = float("nan")


class Toy(LightningModule):
    """Its loss is the mean of the latents times a weight; at the step ``at`` something is no number."""

    def __init__(self, at=2, *, wrong="loss", manual=False):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.at, self.wrong, self.automatic_optimization = at, wrong, not manual

    def training_step(self, batch, index):
        loss = (self.weight * batch.latents).mean()
        if index == self.at:
            loss = loss * NAN if self.wrong == "loss" else loss + 0 * (self.weight - self.weight.detach()).sqrt().sum()
        if self.automatic_optimization:
            return loss
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return None

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.1)


def batches(count=4, size=2):
    mask = torch.ones(size, 3, dtype=torch.bool)
    return [
        LatentBatch([f"clip{i}-{k}" for k in range(size)], torch.ones(size, 2, 3), mask, Conditions())
        for i in range(count)
    ]


def fit(task, tmp_path, *, data=None, **options):
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[NonFiniteGuard()], default_root_dir=tmp_path, **options,
    )  # fmt: skip
    trainer.fit(task, torch.utils.data.DataLoader(data or batches(), batch_size=None))
    return trainer


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
@pytest.mark.parametrize("wrong", ["loss", "gradient"])
@pytest.mark.parametrize("manual", [False, True])
def test_a_run_ends_before_weights_change(tmp_path, wrong, manual):
    whole = Toy(at=9)
    fit(whole, tmp_path, data=batches(2))
    task = Toy(wrong=wrong, manual=manual)
    with pytest.raises(
        TrainingError, match=rf"the {wrong} of step 2 is NaN or infinite, with the clips clip2-0, clip2-1;"
    ):
        fit(task, tmp_path)
    assert torch.equal(task.weight, whole.weight)


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
def test_of_several_batches_of_one_step_the_wrong_one_is_named(tmp_path):
    with pytest.raises(TrainingError, match=r"the loss of step 1 is NaN or infinite, with the clips clip2-0, clip2-1;"):
        fit(Toy(), tmp_path, accumulate_grad_batches=2)


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
def test_of_many_clips_some_are_named(tmp_path):
    with pytest.raises(TrainingError, match=r"clip2-7 and 12 more; the weights"):
        fit(Toy(), tmp_path, data=batches(size=20))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("wrong", ["loss", "gradient"])
def test_where_gradients_are_scaled_only_the_loss_counts(tmp_path, monkeypatch, wrong):
    """A gradient that is not finite is how the scaler finds its scale; it leaves that step out."""
    task = Toy(wrong=wrong)
    guard = NonFiniteGuard()
    monkeypatch.setattr("prismaudio.training.finite._is_scaled", lambda _: True)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=tmp_path)
    task.weight.grad = torch.full((1,), NAN)
    guard.on_before_backward(trainer, task, torch.tensor(float("inf"), dtype=torch.float16))
    guard.on_before_backward(trainer, task, torch.tensor(NAN if wrong == "loss" else 1.0))
    optimizer = task.configure_optimizers()
    if wrong == "loss":
        with pytest.raises(TrainingError, match="the loss of step 0"):
            guard.on_before_optimizer_step(trainer, task, optimizer)
    else:
        guard.on_before_optimizer_step(trainer, task, optimizer)


def test_a_task_brings_the_guard_unless_the_trainer_has_it(tmp_path):
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=tmp_path)
    assert [type(callback) for callback in guards(trainer)] == [NonFiniteGuard]
    trainer.callbacks += guards(trainer)
    assert guards(trainer) == []
    assert CotTuningTask.configure_callbacks is not LightningModule.configure_callbacks


class Skipping(Toy):
    """With an optimizer that leaves out steps on the device."""

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.1, fused=True)


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
@pytest.mark.parametrize("wrong", ["loss", "gradient"])
@pytest.mark.parametrize("manual", [False, True])
@pytest.mark.parametrize("at", [2, 3])
def test_a_fused_optimizer_skips_the_step_and_the_run_ends_a_step_later(tmp_path, wrong, manual, at):
    whole = Skipping(at=9)
    fit(whole, tmp_path, data=batches(at))
    task = Skipping(at, wrong=wrong, manual=manual)
    with pytest.raises(
        TrainingError, match=rf"the {wrong} of step {at} is NaN or infinite, with the clips clip{at}-0, clip{at}-1;"
    ):
        fit(task, tmp_path)  # of four steps, so that the last one is also seen
    assert torch.equal(task.weight, whole.weight)


class Saving(Callback):
    """Writes a checkpoint after each step."""

    def on_train_batch_end(self, trainer, *_):
        trainer.save_checkpoint(f"{trainer.default_root_dir}/{trainer.global_step}.ckpt")


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
def test_a_skipped_step_is_in_no_checkpoint(tmp_path):
    task = Skipping(2)
    run = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[NonFiniteGuard(), Saving()], default_root_dir=tmp_path,
    )  # fmt: skip
    with pytest.raises(TrainingError, match="the loss of step 2"):
        run.fit(task, torch.utils.data.DataLoader(batches(), batch_size=None))
    assert sorted(path.name for path in tmp_path.glob("*.ckpt")) == ["1.ckpt", "2.ckpt"]
