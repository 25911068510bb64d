"""The environment of the reinforcement-learning benchmark with the studio model and rewards without weights."""

from __future__ import annotations

import copy
import logging
import time
import warnings
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch.optim import AdamW

from prismaudio.downloads import cache_home
from prismaudio.flow.randomness import normal
from prismaudio.rewards.aesthetic import AestheticReward
from prismaudio.rewards.spatial import SpatialReward
from prismaudio.rewards.temporal import TemporalReward
from prismaudio.samplers.euler import EulerSampler
from prismaudio.training.fast_grpo import FastGrpoTask
from prismaudio.training.grpo.options import PolicyOptions, RewardOptions, RolloutOptions
from prismaudio.types import ClipBatch, LatentBatch
from prismaudio_studio.datamodule import StudioDataModule
from prismaudio_studio.reward import SemanticReward
from rl_benchmark.environment import Environment, path_divergence
from rl_benchmark.learning_curve import Counter, LearningCurve, Point
from rl_benchmark.methods import GROUP, STUDIO_STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from prismaudio.autoencoders.base import Autoencoder
    from rl_benchmark.methods import Method

SAMPLES = 8
"""Samples per clip for the divergence and the variance."""


class StudioEnvironment(Environment):
    """Post-trains the studio model to sample in few steps without guidance, as the recipe ``fast_grpo/studio``.

    Args:
        training: Number of training clips.
        validation: Number of held-out clips for evaluation.
        clips: Number of clips per update.
    """

    name = "studio"
    weights = dict.fromkeys(("semantic", "temporal", "aesthetic", "spatial"), 1.0)
    every = 8
    budgets = (5_000, 10_000, 15_000)

    def __init__(self, training: int = 160, validation: int = 96, clips: int = 4) -> None:
        self.training, self.validation, self.clips = training, validation, clips

    def prepare(self, on_step: Callable[[int, int], None] = lambda *_: None) -> None:
        """Render the clips, or find them in the cache."""
        on_step(0, 1)
        self.data().prepare_data()
        on_step(1, 1)

    def data(self) -> StudioDataModule:
        """The data module of the clips."""
        folder = cache_home() / "benchmark" / "clips"
        return StudioDataModule(self.training, 0, self.validation, self.clips, seed=5, cache_dir=str(folder))

    def run(self, method: Method, learning_rate: float, seed: int, updates: int, budget: float = 0) -> LearningCurve:
        """See :class:`Environment`."""
        task, data = _policy(method, learning_rate, seed), self.data()
        recorder = _Recorder(self, task, updates, budget)
        seed_everything(seed, verbose=False)
        with TemporaryDirectory() as folder, _quietly():
            trainer = Trainer(
                accelerator="cpu",
                devices=1,
                max_steps=-1,
                max_epochs=-1,
                val_check_interval=self.every,
                check_val_every_n_epoch=None,
                num_sanity_val_steps=0,
                callbacks=[recorder],
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                default_root_dir=folder,
            )
            trainer.validate(task, data, verbose=False)
            trainer.fit(task, data)
        return recorder.curve


class _Policy(FastGrpoTask):
    """Validates with noise that does not depend on the seed."""

    def validation_noise(self, batch: LatentBatch) -> Tensor:
        shape = batch.latents.shape[1:]
        return torch.stack([normal(tuple(shape), "evaluation", name) for name in batch.ids])


def _policy(method: Method, learning_rate: float, seed: int) -> _Policy:
    return _Policy(
        rewards={
            "semantic": SemanticReward(),
            "temporal": TemporalReward(),
            "aesthetic": AestheticReward(),
            "spatial": SpatialReward(),
        },
        rollout=RolloutOptions(
            group_size=GROUP,
            branch_size=method.branch_size,
            share_first=method.share_first,
            num_steps=method.num_steps,
            max_tail_steps=method.max_tail_steps,
            window=method.window,
            kernel=method.kernel,
        ),
        policy=PolicyOptions(loss=method.loss, weighting=method.weighting),
        scoring=RewardOptions(weights=dict(StudioEnvironment.weights), advantage=method.advantage, cache=None),
        pretrained="studio",
        optimizer=lambda parameters: AdamW(parameters, learning_rate, weight_decay=1e-4),
        sampler=EulerSampler(STUDIO_STEPS),
        seed=seed,
    )


class _Recorder(Callback):
    """Records the learning curve of a policy, and stops its run."""

    def __init__(self, environment: StudioEnvironment, task: FastGrpoTask, updates: int, budget: float) -> None:
        self.curve, self.environment, self.updates, self.budget = LearningCurve(), environment, updates, budget
        self.base = copy.deepcopy(task.transformer)
        self.counter = Counter(task.transformer)
        self.cpu_s = 0.0

    def on_train_batch_start(self, trainer: Trainer, task: Any, batch: ClipBatch, batch_idx: int) -> None:
        self.counter.counting, self.start_s = True, time.process_time()

    def on_train_batch_end(self, trainer: Trainer, task: Any, outputs: Any, batch: ClipBatch, batch_idx: int) -> None:
        self.cpu_s += time.process_time() - self.start_s
        self.counter.counting = False

    def on_validation_end(self, trainer: Trainer, task: Any) -> None:
        update = trainer.global_step
        rewards = {name: float(trainer.callback_metrics[f"val_reward/{name}"]) for name in self.environment.weights}
        reward = sum(self.environment.weights[name] * value for name, value in rewards.items())
        self.curve.points.append(Point(update, self.counter.count, self.cpu_s, reward))
        if update == self.updates:
            self.curve.rewards = rewards
            self._compare(task)
        trainer.should_stop = update >= self.updates and self.counter.count >= self.budget

    @torch.no_grad()
    def _compare(self, task: FastGrpoTask) -> None:
        """Compute the divergence of the policy from its base, and the ratio of their variances."""
        batch = next(iter(self.environment.data().val_dataloader()))
        conditions = task.clips.conditions(batch.clips, batch.plans)
        autoencoder = cast("Autoencoder", task.autoencoder)
        frames = autoencoder.n_frames(batch.clips[0].duration_s)
        several = conditions.index(torch.arange(len(batch)).repeat_interleave(SAMPLES))
        shape = (len(batch) * SAMPLES, autoencoder.channels, frames)
        policy, base = (task.velocity(several, frames, network) for network in (task.transformer, self.base))
        self.curve.kl = path_divergence(policy, base, shape, STUDIO_STEPS)
        noise, sampler = normal(shape, "variance"), EulerSampler(STUDIO_STEPS)
        policy_variance, base_variance = (
            sampler.sample(velocity, noise).unflatten(0, (-1, SAMPLES)).var(1).sum() for velocity in (policy, base)
        )
        self.curve.variance_ratio = float(policy_variance / base_variance)


@contextmanager
def _quietly() -> Iterator[None]:
    """Context without Lightning's messages on devices and workers."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
