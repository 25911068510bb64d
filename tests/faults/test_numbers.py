"""NaN in training, from files to weights."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
import torch

from prismaudio.errors import CheckpointError
from prismaudio.pretrained import load_parts
from prismaudio.training.callbacks.export import ExportComponents

TWO = """
import sys, torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from prismaudio.errors import TrainingError
from prismaudio.training.finite import NonFiniteGuard
from prismaudio.types import Conditions, LatentBatch

class Toy(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch, index):
        loss = self.layer(batch.latents.mean(-1)).mean()
        return loss * float("nan") if self.global_rank == 1 and index == 2 else loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())

    def train_dataloader(self):
        mask = torch.ones(1, 3, dtype=torch.bool)
        names = [[f"clip{self.global_rank}-{i}"] for i in range(4)]
        batches = [LatentBatch(some, torch.ones(1, 2, 3), mask, Conditions()) for some in names]
        return torch.utils.data.DataLoader(batches, batch_size=None)

task = Toy()
trainer = Trainer(
    max_epochs=1, accelerator="cpu", devices=2, strategy="ddp", logger=False, default_root_dir=sys.argv[1],
    enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
    callbacks=[NonFiniteGuard(), ModelCheckpoint(sys.argv[1], "{step}", every_n_train_steps=1, save_last=True)],
)
try:
    trainer.fit(task)
except TrainingError as error:
    print(error, all(bool(weight.isfinite().all()) for weight in task.parameters()))
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.mark.slow
def test_where_one_process_computes_nan_all_stop_and_name_its_clips(tmp_path):
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    shared |= {"MASTER_PORT": free_port(), "TORCHELASTIC_RUN_ID": "test", "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, str(tmp_path)],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in processes:
        said, errors = process.communicate(timeout=300)
        assert "the loss of step 2 is NaN or infinite, with the clips clip1-2;" in said, errors[-4000:]
        assert said.strip().endswith("True")
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 2


def test_weights_that_are_no_numbers_are_not_exported(tiny_model_folder, tmp_path):
    class Task(torch.nn.Module):
        def components(self):
            components = load_parts(tiny_model_folder)
            next(components["transformer"].parameters()).data.fill_(float("nan"))
            return components

    with pytest.raises(CheckpointError, match="the transformer has NaN or infinity in 1 of"):
        ExportComponents(str(tmp_path / "model")).export(Task())
    assert not (tmp_path / "model").exists()
