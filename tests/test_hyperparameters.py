"""Hyper-parameters of a run: what a logger's table shows."""

from __future__ import annotations

import copy
import pickle
from functools import partial
from pathlib import Path

import yaml
from lightning.pytorch.loggers import CSVLogger
from stages import trainer
from torch.optim import AdamW

from prismaudio.checkpoints import Configured
from prismaudio.data.synthetic import SyntheticDataModule
from prismaudio.hyperparameters import flat
from prismaudio.planners.flash import FlashPlanner
from prismaudio.training.cot_tuning import CotTuningTask
from prismaudio.training.grpo.options import PolicyOptions, RolloutOptions
from prismaudio.training.grpo.windows import RandomWindow
from prismaudio.training.schedule import CosineWithWarmup


class Asker(Configured):
    not_in_folders = frozenset({"address"})

    def __init__(self, address: str = "", size: int = 2) -> None:
        self.size = size


def test_options_objects_and_callables_become_names_and_numbers():
    values = {
        "rollout": RolloutOptions(group_size=4, window=RandomWindow(3)),
        "policy": PolicyOptions(kl_coef=0.04),
        "optimizer": partial(AdamW, lr=0.5, betas=(0.9, 0.99)),
        "asker": Asker("http://secret", 5),
        "lr_scheduler": lambda optimizer: optimizer,
        "lora": None,
    }
    found = flat(values)
    assert {
        "rollout": "RolloutOptions", "rollout.group_size": 4, "rollout.window": "RandomWindow",
        "rollout.window.length": 3, "policy.kl_coef": 0.04, "optimizer": "AdamW", "optimizer.lr": 0.5,
        "optimizer.betas": "0.9, 0.99", "asker": "Asker", "asker.size": 5, "lora": None,
    }.items() <= found.items()  # fmt: skip
    assert "lr_scheduler" not in found
    assert not any("secret" in str(value) or "<" in str(value) for value in found.values())


def test_arguments_survive_copies_and_pickles():
    data = SyntheticDataModule(5, batch_size=3)
    for same in (copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
        assert same.hyperparameters == data.hyperparameters
    assert (data.hyperparameters["count"], data.hyperparameters["batch_size"], data.hyperparameters["side"]) == (
        5,
        3,
        16,
    )


def test_a_run_logs_its_hyperparameters_once(tmp_path, monkeypatch):
    calls = []
    log = CSVLogger.log_hyperparams
    monkeypatch.setattr(CSVLogger, "log_hyperparams", lambda self, found: (calls.append(found), log(self, found)))
    task = CotTuningTask(FlashPlanner(), partial(AdamW, lr=0.25), partial(CosineWithWarmup, warmup_steps=1), seed=7)
    data = SyntheticDataModule(4, 1, batch_size=2, seed=8)
    logger = CSVLogger(tmp_path)
    trainer(tmp_path, max_steps=2, logger=logger).fit(task, data)
    written = yaml.safe_load((Path(logger.log_dir) / "hparams.yaml").read_text())
    assert len(calls) == 1
    assert {
        "task": "CotTuningTask", "planner": "FlashPlanner", "seed": 7, "optimizer": "AdamW", "optimizer.lr": 0.25,
        "lr_scheduler": "CosineWithWarmup", "lr_scheduler.warmup_steps": 1, "lr_scheduler.total_steps": 2,
        "data": "SyntheticDataModule", "data.count": 4, "data.seed": 8,
    }.items() <= written.items()  # fmt: skip


def test_texts_that_are_secrets_are_not_shown() -> None:
    assert flat({"api_key": "abc", "hub.token": "hf", "keys": 3, "n_tokens": 2}) == {"keys": 3, "n_tokens": 2}
