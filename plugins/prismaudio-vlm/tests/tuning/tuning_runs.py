"""Runs of CoT fine-tuning on a model of reduced size, in one process or two.

As a script, with the environment that torchrun makes: ``python tuning_runs.py FOLDER``.
"""

from __future__ import annotations

import sys
import warnings
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.optim import AdamW
from torch.utils.data import DataLoader
from two_processes import leave

from prismaudio.builtin import CORE_DIMENSIONS
from prismaudio.data.buckets import batch_loader
from prismaudio.data.synthetic import SyntheticClips
from prismaudio.training.callbacks.export import ExportComponents
from prismaudio.training.cot_tuning import CotTuningTask
from prismaudio.training.lora import Adapters
from prismaudio.training.sharding import ShardedStrategy, whole_state
from prismaudio_vlm.local_planners import VlmPlanner
from prismaudio_vlm.tuning import Tuning

STEPS, STOP = 4, 2
VIEWING = {"fps": 4.0, "moment_fps": 0.0, "frame_size": 16, "frames_as": "images"}
LORA = Tuning(Adapters(rank=4, alpha=8.0))
FULL = Tuning(None, projector=True, gradient_checkpointing=True, pass_size=3)


class Clicks(LightningDataModule):
    """Eight clips, dealt to the processes; all of them together have four a step."""

    def __init__(self):
        super().__init__()
        self.clips = SyntheticClips(0, 8, 1.0, 8.0, 16, 16_000)

    def train_dataloader(self):
        return batch_loader(
            self.clips, [1] * 8, 4 // self.trainer.world_size, seed=1, shuffle=True, trainer=self.trainer
        )  # fmt: skip

    def val_dataloader(self):
        world, rank = self.trainer.world_size, self.trainer.global_rank
        numbers = range(rank * 3 // world, (rank + 1) * 3 // world)  # of two, one has fewer
        batches = [gathered([self.clips.clip(number) for number in numbers])]
        return DataLoader(batches, batch_size=None)


def gathered(pairs):
    from prismaudio.types import ClipBatch

    clips, plans = zip(*pairs, strict=True)
    return ClipBatch(clips, plans)


def task(model, tuning, num_written=0, **options):
    planner = VlmPlanner(str(model), tuning=tuning, max_tokens=8, retries=0, **{**VIEWING, **options})
    made = CotTuningTask(
        planner, partial(AdamW, lr=1e-3), lr_scheduler=None, num_written=num_written, seed=3
    )  # fmt: skip
    made.use_dimensions(CORE_DIMENSIONS)
    return made


def fit(model, folder, tuning, steps=STEPS, checkpoint=None, num_written=0, **trainer):
    """Fine-tune, and give the trained weights, whole."""
    torch.manual_seed(0)  # the first weights of adapters are random
    made = task(model, tuning, num_written)
    run = Trainer(
        max_steps=steps, accelerator="cpu", default_root_dir=folder, logger=False, enable_progress_bar=False,
        callbacks=[
            ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1),
            ExportComponents(str(folder / "model")),
        ],
        enable_model_summary=False, num_sanity_val_steps=0, val_check_interval=1, **trainer,
    )  # fmt: skip
    run.fit(made, Clicks(), ckpt_path=checkpoint)
    losses = {name: run.callback_metrics[name] for name in ("train_loss", "val_loss")}
    return {name: weight.clone() for name, weight in whole_state(made.planner._network).items()} | losses


def both(folder):
    """Everything that two processes do."""
    warnings.filterwarnings("ignore")
    model = folder / "reduced"
    made = {}
    for name, tuning in (("lora", LORA), ("full", FULL)):
        made[f"{name}_ddp"] = fit(model, folder / f"{name}_ddp", tuning, num_written=2, strategy="ddp", devices=2)
        sharded = {"strategy": ShardedStrategy(), "devices": 2}
        made[f"{name}_fsdp"] = fit(model, folder / f"{name}_fsdp", tuning, num_written=2, **sharded)
        pause = folder / f"{name}_fsdp" / f"step={STOP}.ckpt"
        sharded = {"strategy": ShardedStrategy(), "devices": 2}
        made[f"{name}_resumed"] = fit(model, folder / f"{name}_resumed", tuning, checkpoint=pause, **sharded)
    leave(made, folder)


if __name__ == "__main__":
    both(Path(sys.argv[1]))
