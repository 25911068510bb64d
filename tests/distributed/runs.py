"""What the tests of two processes run, and what they compare it with: a tiny transformer on latents of many lengths.

As a script, with the environment that torchrun makes: ``python runs.py FOLDER``.
"""

from __future__ import annotations

import sys
import warnings
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from streams import streams
from torch.optim import AdamW
from torch.utils.data import DataLoader, Dataset
from two_processes import leave

from prismaudio.autoencoders.base import Autoencoder
from prismaudio.data.buckets import batch_loader
from prismaudio.encoders.base import Encoder
from prismaudio.errors import PrismAudioError
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.plan import Plan
from prismaudio.rewards.base import Reward
from prismaudio.samplers.euler import EulerSampler
from prismaudio.training.callbacks.ema import ExponentialMovingAverage
from prismaudio.training.callbacks.export import ExportComponents
from prismaudio.training.callbacks.listening import ListeningSamples
from prismaudio.training.fast_grpo import FastGrpoTask
from prismaudio.training.foundation import FoundationTask
from prismaudio.training.grpo.advantages import WeightedSumAdvantage
from prismaudio.training.grpo.options import PolicyOptions, RewardOptions, RolloutOptions
from prismaudio.training.lora import Lora
from prismaudio.training.schedule import InverseLR
from prismaudio.training.sharding import ShardedStrategy, whole_state
from prismaudio.types import Clip, ClipBatch, Conditions, Features, LatentBatch

STEPS, STOP = 5, 3


class Held(Autoencoder):
    """Holds each latent's first two channels for a few samples."""

    sample_rate_hz, hop, channels = 8000, 160, 6

    def encode(self, audio):
        return audio[..., :: self.hop].repeat(1, 3, 1)

    def decode(self, latents):
        return latents[:, :2].repeat_interleave(self.hop, -1).tanh()


def collate(items):
    names, lengths, latents, words = zip(*items, strict=True)
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    padded = torch.stack([torch.nn.functional.pad(x, (0, max(lengths) - x.shape[1])) for x in latents])
    text = Features.pad(list(words))
    return LatentBatch(list(names), padded, mask, Conditions(text=text))


class Items(Dataset):
    """A batch for each list of draws."""

    def __init__(self, item, collate):
        self.item, self.collate = item, collate

    def __getitem__(self, draws):
        return self.collate([self.item(draw.clip) for draw in draws])


class Lengths(LightningDataModule):
    """Latents of different lengths, dealt to the processes; all of them together have four a step."""

    def item(self, index):
        source = torch.Generator().manual_seed(index)
        length = 6 + index
        words = torch.randn(1 + index % 3, 5, generator=source)
        return f"clip {index}", length, torch.randn(6, length, generator=source), words

    def train_dataloader(self):
        items, size = Items(self.item, collate), 4 // self.trainer.world_size
        return batch_loader(items, [1] * 12, size, seed=1, shuffle=True, trainer=self.trainer)

    def val_dataloader(self):
        world, rank = self.trainer.world_size, self.trainer.global_rank
        share = [self.item(i) for i in range(rank * 3 // world, (rank + 1) * 3 // world)]  # of two, one has fewer
        return DataLoader([collate(share)], batch_size=None)


def task():
    torch.manual_seed(0)
    network = DiffusionTransformer(6, 64, 2, 2, streams(64, video=4, text=5))
    for weight in network.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.05)
    return FoundationTask(
        transformer=network, autoencoder=Held(), swap_video=0.0, sampler=EulerSampler(2),
        lr_scheduler=partial(InverseLR, warmup=0.5),
    )  # fmt: skip


def fit(folder, steps=STEPS, checkpoint=None, **options):
    """Train, and give the trained state, whole: weights, averages and validation loss."""
    average = ExponentialMovingAverage(0.6)
    callbacks = [average, ListeningSamples(2), ExportComponents(str(folder / "model"))]
    callbacks.append(ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1))
    run = Trainer(
        max_steps=steps, accelerator="cpu", default_root_dir=folder, callbacks=callbacks, logger=False,
        enable_progress_bar=False, enable_model_summary=False, gradient_clip_val=0.5, num_sanity_val_steps=0,
        check_val_every_n_epoch=None, val_check_interval=2, **options,
    )  # fmt: skip
    made = task()
    run.fit(made, Lengths(), ckpt_path=checkpoint)
    state = {**whole_state(made.transformer), **whole_state(made.average)}
    return {**state, "val_loss": run.callback_metrics["val_loss"]}


ADAPTED = {"lora": Lora(rank=2, alpha=4)}


class Right(Reward):
    """Right louder than left."""

    dimension = "spatial"

    def score(self, audio, sample_rate_hz, caches):
        return audio[:, 1].mean(1) - audio[:, 0].mean(1)


class Choosy(Right):
    """Fails for one clip."""

    def prepare(self, clip, plan):
        if clip.id == "clip 3":
            raise PrismAudioError("clip 3 has no frames")
        return super().prepare(clip, plan)


class Numbered(Encoder):
    """Text of a clip: how long its plan is."""

    dim, rate_hz = 5, None

    def encode(self, clip, plan):
        return torch.full((2, 5), len(plan["semantic"]) / 10)


class Prompts(LightningDataModule):
    """Clips of two lengths, dealt to the processes; all of them together have four an update."""

    def item(self, index):
        return Clip(f"clip {index}", 0.2 + 0.1 * (index % 2)), Plan({"semantic": "a" * (1 + index)})

    def train_dataloader(self):
        items, size = Items(self.item, gathered), 4 // self.trainer.world_size
        return batch_loader(items, [1] * 8, size, seed=1, shuffle=True, trainer=self.trainer)


def gathered(items):
    clips, plans = zip(*items, strict=True)
    return ClipBatch(clips, plans)


def align(folder, steps=3, checkpoint=None, options=None, reward=None, *, split_groups=False, **trainer):
    """Post-train, and give the trained weights, whole."""
    made = FastGrpoTask(
        {"spatial": reward or Right()},
        transformer=task().transformer, encoders={"text": Numbered()}, autoencoder=Held(),
        rollout=RolloutOptions(
            group_size=4, num_steps=6, branch_size=2, split_groups=split_groups, max_tail_steps=2, rollout_batch_size=4,
        ),
        policy=PolicyOptions(kl_coef=0.1), scoring=RewardOptions(cache=None, advantage=WeightedSumAdvantage("batch")),
        optimizer=partial(AdamW, lr=1e-3, weight_decay=1e-4), **(options or {}),
    )  # fmt: skip
    run = Trainer(
        max_steps=steps, accelerator="cpu", default_root_dir=folder, logger=False, enable_progress_bar=False,
        callbacks=[ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)],
        enable_model_summary=False, num_sanity_val_steps=0, **trainer,
    )  # fmt: skip
    run.fit(made, Prompts(), ckpt_path=checkpoint)
    return {
        **whole_state(made.transformer),
        **{name: run.callback_metrics[name] for name in ("ratio_error", "nfe", "kl")},
    }


def complaint(folder, **options):
    """What is said where post-training fails."""
    try:
        align(folder, **options)
    except PrismAudioError as error:
        return str(error)
    return "nothing"


def both(folder):
    """Everything that two processes do."""
    warnings.filterwarnings("ignore")
    made = {
        "ddp": fit(folder / "ddp", strategy="ddp", devices=2),
        "fsdp": fit(folder / "fsdp", strategy=ShardedStrategy(), devices=2),
    }
    pause = folder / "fsdp" / f"step={STOP}.ckpt"
    made["resumed"] = fit(folder / "resumed", checkpoint=pause, strategy=ShardedStrategy(), devices=2)
    made["align_ddp"] = align(folder / "align", strategy="ddp", devices=2)
    made["align_fsdp"] = align(folder / "align_fsdp", strategy=ShardedStrategy(), devices=2)
    made["align_split"] = align(folder / "split", split_groups=True, strategy="ddp", devices=2)
    made["align_lora"] = align(folder / "lora", options=ADAPTED, strategy="ddp", devices=2)
    pause = folder / "align_fsdp" / "step=2.ckpt"
    made["align_resumed"] = align(folder / "again", checkpoint=pause, strategy=ShardedStrategy(), devices=2)
    complaints = [None, None]
    said = complaint(folder / "choosy", reward=Choosy(), strategy="ddp", devices=2)
    torch.distributed.all_gather_object(complaints, said)
    made["complaints"] = sorted(complaints)
    leave(made, folder)


if __name__ == "__main__":
    both(Path(sys.argv[1]))
