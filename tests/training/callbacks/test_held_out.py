from __future__ import annotations

from types import MappingProxyType, SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from prismaudio.training.callbacks.held_out import HeldOutGuard


def stops(weights, rewards, tolerance=0.01):
    """Whether the guard stops training after each validation, while what is held out falls."""
    guard, acted = HeldOutGuard(tolerance, patience=1), []
    for number, (weight, reward) in enumerate(zip(weights, rewards, strict=True)):
        values = {"val_reward/x": reward, "val_held_out/q": -float(number)}
        run = SimpleNamespace(sanity_checking=False, callback_metrics=values, global_step=number, should_stop=False)
        guard.on_validation_end(run, Played(weight))
        acted.append(run.should_stop)
    return acted


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (0.1, 0.5, 1.0), (1.0, 0.5, 0.1)])
def test_rewards_are_compared_by_the_weights_of_now(weights):
    assert stops(weights, (-1.0, -0.8, -0.6)) == [False, True, True]
    assert stops(weights, (-1.0, -1.2, -1.4)) == [False, False, False]


def test_a_reward_without_a_first_score_begins_later():
    assert stops((1.0,) * 4, (float("nan"), -1.0, -1.0, -0.5)) == [False, False, False, True]


class Played(LightningModule):
    """Logs a reward that rises with the steps, and something held out that falls."""

    held_out = MappingProxyType({"q": None})

    def __init__(self, weight=1.0):
        super().__init__()
        self.layer, self.weight, self.kl_coef = torch.nn.Linear(1, 1), weight, 1.0

    def weights_now(self):
        return {"x": self.weight}

    def raise_kl(self, factor):
        self.kl_coef *= factor

    def training_step(self, batch, index):
        return self.layer(batch).mean()

    def validation_step(self, batch, index):
        self.log_dict({"val_reward/x": float(self.global_step), "a": -self.global_step, "b": 0.0})

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def played(folder, *guards, steps=1, checkpoint=None, **options):
    made, loader = Played(), torch.utils.data.DataLoader(torch.ones(4, 1))
    options = {"num_sanity_val_steps": 0, **options}
    run = Trainer(
        max_steps=steps, default_root_dir=folder, callbacks=[*guards], accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, val_check_interval=1,
        **options,
    )  # fmt: skip
    run.fit(made, loader, loader, ckpt_path=checkpoint)
    return made, run


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.parametrize(("clips", "kl"), [(-1, 2.0), (4, 2.0), (2, 1.0), (0, 1.0)])
def test_a_whole_validation_before_training_is_what_later_ones_are_compared_with(tmp_path, clips, kl):
    made, _ = played(tmp_path, HeldOutGuard(0.1, 1, ["a"], raise_kl=2.0), num_sanity_val_steps=clips)
    assert made.kl_coef == kl


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:You're resuming")
def test_two_guards_of_one_run_remember_each_for_itself(tmp_path):
    def guards():
        return HeldOutGuard(0.1, 1, ["a"], raise_kl=2.0), HeldOutGuard(0.1, 1, ["b"], raise_kl=2.0)

    _, run = played(tmp_path, *guards(), steps=3)
    run.save_checkpoint(tmp_path / "a.ckpt")
    whole, resumed = (played(tmp_path, *guards(), steps=4, checkpoint=path)[0] for path in (None, tmp_path / "a.ckpt"))
    assert whole.kl_coef == resumed.kl_coef == 8.0
