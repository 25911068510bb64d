from __future__ import annotations

import sys

import pytest

TOYS = '''
import os
import signal
from prismaudio import Component, hookimpl
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from prismaudio.rewards.base import Reward
from prismaudio.samplers.base import Sampler

class ToyTask(LightningModule):
    """A task for tests.

    Args:
        sampler: How to sample.
        width: Width of the layer.
        rewards: What to score with.
    """

    def __init__(self, sampler: Sampler, width: int = 3, rewards: dict[str, Reward] | None = None) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be at least 1, not {width}")
        self.layer = torch.nn.Linear(width, 1)
        self.rewards = rewards or {}
        self.sampler = sampler

    def training_step(self, batch, index):
        return self.layer(batch).mean()

    def validation_step(self, batch, index):
        self.log("val_loss", self.layer(batch).mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

class InterruptedTask(ToyTask):
    """One that is interrupted."""

    def training_step(self, batch, index):
        raise KeyboardInterrupt

class TerminatedTask(ToyTask):
    """One whose process is ended."""

    def training_step(self, batch, index):
        os.kill(os.getpid(), signal.SIGTERM)
        return super().training_step(batch, index)

class ToyData(LightningDataModule):
    """Data for tests.

    Args:
        count: How many.
    """

    def __init__(self, count: int = 4) -> None:
        super().__init__()
        self.count = count

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.ones(self.count, 3))

    val_dataloader = train_dataloader

class ToyReward(Reward):
    """A reward for tests.

    Args:
        target_db: Level to reach.
    """

    def __init__(self, target_db: float = -9.0) -> None:
        self.target_db = target_db

    def score(self, audio, sample_rate_hz, caches):
        return audio.mean((1, 2))

@hookimpl
def prismaudio_rewards():
    return [Component("prismaudio_toys:ToyReward", "A toy."), Component("prismaudio_toys:LostReward", "Not there.")]
'''

RECIPE = """\
# A toy.
model:
  class_path: ToyTask
  init_args:
    sampler: EulerSampler
    rewards:
      temporal: ToyReward
data: ToyData
trainer:
  max_steps: 2
  accelerator: cpu
  enable_progress_bar: false
  enable_model_summary: false
  logger: false
  enable_checkpointing: false
"""


@pytest.fixture(scope="session")
def toys(tmp_path_factory):
    """A local plugin; one for all tests, because Python never forgets a class."""
    folder = tmp_path_factory.mktemp("toys")
    (folder / "prismaudio_toys.py").write_text(TOYS)
    sys.path.insert(0, str(folder))
    yield "prismaudio_toys"
    sys.path.remove(str(folder))


@pytest.fixture
def toy(toys, tmp_path, monkeypatch):
    """The path of a recipe whose classes are those of a local plugin; the working directory is empty."""
    monkeypatch.setenv("PRISMAUDIO_PLUGINS", toys)
    recipe = tmp_path / "toy.yaml"
    recipe.write_text(RECIPE)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return str(recipe)
