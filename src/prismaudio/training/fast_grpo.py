"""The third stage: Fast-GRPO, reinforcement learning with a reward for each dimension."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
from lightning.pytorch.cli import LRSchedulerCallable, ReduceLROnPlateau
from torch import Tensor
from torch.nn.modules.dropout import _DropoutNd

from prismaudio.audio.level import leveled
from prismaudio.errors import RecipeError
from prismaudio.flow.kernels import EulerMaruyamaKernel
from prismaudio.flow.randomness import normal
from prismaudio.flow.times import release_grid, shorten_tail, uniform_grid
from prismaudio.rewards.base import Reward
from prismaudio.samplers.base import Velocity
from prismaudio.samplers.rollout import rollout
from prismaudio.training.candidates import Candidates, Prompts
from prismaudio.training.grpo.advantages import WeightedSumAdvantage, flat_groups
from prismaudio.training.grpo.losses import ClippedLoss
from prismaudio.training.grpo.options import PolicyOptions, RewardOptions, RolloutOptions
from prismaudio.training.grpo.reward_weights import RewardWeight, weight_at
from prismaudio.training.grpo.update import Objective, ReplayBatch, accumulate_gradients, micro_batches
from prismaudio.training.grpo.weighting import UniformWeighting
from prismaudio.training.grpo.windows import RandomWindow, Window
from prismaudio.training.reference import Reference
from prismaudio.training.rewarded import RewardedTask
from prismaudio.training.sharding import within_process
from prismaudio.training.update_log import UpdateLog, reduce_over_processes
from prismaudio.types import ClipBatch


class FastGrpoTask(RewardedTask):
    """Post-trains a transformer with rewards: samples a group of candidates per clip and trains on their advantages.

    Most steps of a trajectory are deterministic; those of a short window are stochastic, and only they are trained. The
    candidates of a branch share the steps before the window. An update is one batch of clips: roll out, score, compute
    advantages, replay, step. All random numbers depend on the seed, the update and the clip's name alone, so a run that
    is resumed, or distributed over other processes, draws the same numbers.

    Rewards are computed in a worker thread while the next candidates of the same update are sampled; the policy does
    not change during a rollout.

    Args:
        rewards: Rewards by name, usually that of their dimension.
        rollout: How candidates are sampled.
        policy: How the policy is updated with the candidates.
        scoring: How candidates are scored, and how rewards become advantages.
        guidance_interval: Lowest and highest flow time with guidance, in training and in validation.
        kwargs: See :class:`prismaudio.training.transformer.TransformerTask`.
    """

    adamw: ClassVar[Mapping[str, Any]] = {"lr": 1e-5, "weight_decay": 1e-4, "betas": (0.9, 0.999)}

    def __init__(
        self,
        rewards: dict[str, Reward],
        rollout: RolloutOptions = RolloutOptions(),  # noqa: B008 - it is frozen
        policy: PolicyOptions = PolicyOptions(),  # noqa: B008
        scoring: RewardOptions = RewardOptions(),  # noqa: B008
        lr_scheduler: LRSchedulerCallable | None = None,
        guidance: float = 1.0,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
        **kwargs: Any,
    ) -> None:
        super().__init__(lr_scheduler=lr_scheduler, guidance=guidance, **kwargs)
        self.automatic_optimization = False
        self.guidance_interval = guidance_interval
        self.rollout_options, self.policy_options = rollout, policy
        self.group_size = rollout.group_size
        self.branch_size = rollout.branch_size or rollout.group_size
        self.grid = (uniform_grid if rollout.grid == "uniform" else release_grid)(rollout.num_steps)
        self.window, self.kernel = rollout.window or RandomWindow(), rollout.kernel or EulerMaruyamaKernel()
        self.policy_loss, self.weighting = policy.loss or ClippedLoss(), policy.weighting or UniformWeighting()
        self.kl_coef, self.steps_per_batch = policy.kl_coef, policy.num_inner_epochs
        self.train_top_k = policy.train_top_k or rollout.group_size
        self.advantage, self.peaks = scoring.advantage or WeightedSumAdvantage(), scoring.peaks
        self.weights: dict[str, float | RewardWeight] = {**dict.fromkeys(rewards, 1.0), **scoring.weights}
        self.use_rewards(rewards, scoring.held_out, scoring.cache)
        adapters = self.lora is not None and not self.lora.conditioners
        self.reference = Reference(self.transformer, adapters=adapters) if self.kl_coef else None
        self.update_log = UpdateLog()
        self.transformer.register_forward_hook(self.update_log.count)
        self._check()

    def _check(self) -> None:
        """Validate options that depend on each other.

        Raises:
            RecipeError: An option does not fit the rewards, the group or the network.
        """
        known = self.candidate_scorer.scorers
        if not known:
            raise RecipeError("rewards is empty; expected at least one reward")
        if unknown := self.weights.keys() - known.keys():
            raise RecipeError(f"weights name {', '.join(sorted(unknown))}, but rewards are {', '.join(sorted(known))}")
        if self.train_top_k > self.group_size:
            raise RecipeError(f"train_top_k is {self.train_top_k}; expected group_size {self.group_size} or less")
        drops = [name for name, m in self.transformer.named_modules() if isinstance(m, _DropoutNd) and m.p > 0]
        if drops:
            raise RecipeError(
                f"dropout must be 0, since steps are replayed, but {drops[0]} has dropout; set dropout of lora to 0"
            )

    def setup(self, stage: str) -> None:
        """Validate the precision and how candidates are split over processes.

        Raises:
            RecipeError: An option of the trainer is not supported.
        """
        super().setup(stage)
        if self.trainer.precision == "16-mixed":
            raise RecipeError("precision 16-mixed would scale gradients before they are clipped; expected bf16-mixed")
        n_shares = self._n_shares
        if self.rollout_options.max_tail_steps is not None and self.device_mesh is not None and n_shares == 1:
            raise RecipeError(
                "with max_tail_steps, clips may have different numbers of steps, and processes with sharded parameters "
                "synchronize at each: remove max_tail_steps, set split_groups, or use the strategy ddp"
            )
        if self.group_size % n_shares or (self.group_size // n_shares) % self.branch_size:
            raise RecipeError(
                f"a group of {self.group_size} in branches of {self.branch_size} cannot be split over {n_shares} "
                "processes; set branch_size to a divisor of each share"
            )
        if self.train_top_k % n_shares:
            raise RecipeError(f"train_top_k {self.train_top_k} cannot be split over {n_shares} processes")

    def configure_model(self) -> None:
        """Shard the reference model like the transformer."""
        if self.reference is not None and not self._configured:
            self.reference.prepare(self.device_mesh, self.trainer.strategy.root_device, self.update_log.count)
        super().configure_model()

    def configure_optimizers(self) -> Any:
        """The optimizer and its schedule.

        Raises:
            RecipeError: The schedule depends on a validated metric.
        """
        found = super().configure_optimizers()
        if isinstance(found.get("lr_scheduler", {}).get("scheduler"), ReduceLROnPlateau):
            raise RecipeError("FastGrpoTask steps the schedule without a metric; expected no ReduceLROnPlateau")
        return found

    # One update --------------------------------------------------------------------------------------------------
    def training_step(self, batch: ClipBatch) -> None:
        """Roll out, score, compute advantages, replay, step."""
        update = self.update
        self.update_log.clear()  # of an earlier validation
        with self.update_log.phase("rollout"):
            prompts = self._prompts(batch)
            windows = [self.window.window(len(self.grid) - 1, self.seed, update, name) for name in prompts.ids]
            batches = prompts.batches(windows, self._rollout_batch_size)
            candidates = [self._roll_out(prompts, rows, window, update) for rows, window in batches]
        with self.update_log.phase("rewards"):
            rewards, groups = self._score_all(candidates)
        advantages = self._advantages(rewards, groups, self.weights_now())
        with self.update_log.phase("training"):
            optimizer, scheduler = cast("Any", self.optimizers()), cast("Any", self.lr_schedulers())
            for epoch in range(self.policy_options.num_inner_epochs):
                optimizer.zero_grad()
                self._replay(candidates, advantages, first=epoch == 0)
                self.clip_gradients(optimizer, self.policy_options.max_grad_norm, "norm")
                optimizer.step()
                if scheduler is not None:
                    scheduler.step()
        self._log_update(len(batch))

    @property
    def update(self) -> int:
        """Completed updates."""
        return self.global_step // self.steps_per_batch

    def raise_kl(self, factor: float) -> None:
        """Multiply ``kl_coef``, for all later updates."""
        self.kl_coef *= factor

    def weights_now(self) -> dict[str, float]:
        """Weight of each reward at this update."""
        return {name: weight_at(weight, self.update) for name, weight in self.weights.items()}

    def _prompts(self, batch: ClipBatch) -> Prompts:
        """The clips of the update: those of the batch or, where groups are split, of the batches of all processes."""
        ready = self._prepared(batch)
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            caches = self._caches(batch)
        durations_s = [clip.duration_s for clip in batch.clips]
        prompts = Prompts(ready.ids, ready.mask.sum(1).tolist(), durations_s, ready.conditions, caches)
        if self._n_shares == 1:
            return prompts
        prompts = prompts.gather(self.device)
        return replace(prompts, conditions=self._complete(prompts.conditions, len(prompts.ids)))

    def _roll_out(self, prompts: Prompts, rows: Sequence[int], window: Window, update: int) -> Candidates:
        """Sample candidates of some clips, and submit their audio to the rewards."""
        n_frames, ids = prompts.n_frames[rows[0]], [prompts.ids[row] for row in rows]
        shape = (self._decoder.channels, n_frames)
        share = self.group_size // self._n_shares
        first = share * (self.global_rank if self.rollout_options.split_groups else 0)
        members = range(first, first + share)
        noise = torch.stack(
            [normal(shape, self.seed, "noise", update, name, k) for name in ids for k in members[:: self.branch_size]]
        ).to(self.device)

        def draw(step: int) -> Tensor:
            return torch.stack([normal(shape, self.seed, step, update, name, k) for name in ids for k in members])

        cache, tail = self.device_mesh is None, self.rollout_options.max_tail_steps
        grid = self.grid if tail is None else shorten_tail(self.grid, window.stop, tail)
        each = torch.tensor(rows, device=self.device).repeat_interleave(share)
        conditions = prompts.conditions.index(each)
        with torch.no_grad():
            sampled = rollout(
                self.velocity(conditions, n_frames, cache=cache),
                noise,
                grid,
                window,
                self.kernel,
                draw,
                branch_size=self.branch_size,
                prefix=self.velocity(prompts.conditions.index(each[:: self.branch_size]), n_frames, cache=cache),
                share_first=self.rollout_options.share_first,
            )
            with torch.autocast(self.device.type, enabled=False):
                audio = leveled(self._decoder.decode(sampled.latents), self.peaks)
        names = [name for name in ids for _ in members]
        caches = [prompts.caches[row] for row in rows for _ in members]
        rate_hz = self._decoder.sample_rate_hz
        audio = audio[..., : round(prompts.durations_s[rows[0]] * rate_hz)]
        return Candidates(names, sampled, conditions, self.candidate_scorer.submit(audio, rate_hz, names, caches))

    def _score_all(self, candidates: Sequence[Candidates]) -> tuple[dict[str, Tensor], Tensor]:
        """Rewards ``(rows,)`` of the candidates of all processes, by name, and the group of each row.

        The rows of a process are ``[rank * count : (rank + 1) * count]``.
        """
        found = self._scores(candidates)
        own = torch.stack([torch.cat([scores[name] for scores in found]) for name in self.candidate_scorer.scorers])
        groups = torch.cat([some.groups for some in candidates])
        if self.trainer.world_size > 1:
            gathered = cast("Tensor", self.all_gather(own.to(self.device)))
            own = gathered.transpose(0, 1).flatten(1).cpu()
            groups = cast("Tensor", self.all_gather(groups.to(self.device))).flatten().cpu()
        return dict(zip(self.candidate_scorer.scorers, own, strict=True)), groups

    def _scores(self, candidates: Sequence[Candidates]) -> list[dict[str, Tensor]]:
        """Scores of the candidates of this process; a failure in one process stops all of them."""
        failures = [error for some in candidates if (error := some.scores.exception()) is not None]
        self._stop_together(failures)
        return [some.scores.result() for some in candidates]

    def _advantages(self, rewards: Mapping[str, Tensor], groups: Tensor, weights: Mapping[str, float]) -> Tensor:
        """Advantages ``(rows,)`` of the candidates of this process; a missing score counts as its reward's mean."""
        means = {name: float(reward.nanmean()) for name, reward in rewards.items()}
        rewards = {name: reward.where(reward.isfinite(), means[name]).nan_to_num() for name, reward in rewards.items()}
        advantages = self.advantage.estimate(rewards, groups, weights)
        shares = self.advantage.shares(rewards, groups, weights)
        for name, reward in rewards.items():
            self.update_log.add(f"reward/{name}", means[name])
            self.update_log.add(f"share/{name}", shares[name])
            self.update_log.add(f"flat_groups/{name}", float(flat_groups(reward, groups).float().mean()))
        self.update_log.add("reward", sum(weights[name] * mean for name, mean in means.items() if not math.isnan(mean)))
        count = len(advantages) // self.trainer.world_size
        return advantages[self.global_rank * count : (self.global_rank + 1) * count]

    def _replay(self, candidates: Sequence[Candidates], advantages: Tensor, *, first: bool) -> None:
        """Replay all candidates and accumulate their gradient, see :mod:`prismaudio.training.grpo.update`."""
        torch.clear_autocast_cache()  # it holds the weights of before the last optimizer step
        options = self.policy_options
        objective = Objective(self.policy_loss, self.weighting, self.grid, self.kl_coef, options.kl_form)
        sampled = [self._replay_batch(some) for some in candidates]
        top_k = self.train_top_k // self._n_shares
        todo = micro_batches(sampled, advantages, top_k, options.train_micro_batch_size)
        # processes average their gradients once, with the last micro-batch
        each = accumulate_gradients(
            todo, objective, self.manual_backward, lambda: within_process(self.trainer.strategy)
        )
        for micro_batch, found in zip(todo, each, strict=True):
            error = found.pop("ratio_error")
            if first:
                self.update_log.add_ratio_error(error, self.update)
            for name, value in found.items():
                self.update_log.add(name, value, micro_batch.share)

    def _replay_batch(self, some: Candidates) -> ReplayBatch:
        """A rollout with the networks that its steps are replayed with."""
        n_frames, cache, initial = some.rollout.latents.shape[-1], self.device_mesh is None, self.reference

        def policy(rows: Tensor) -> Velocity:
            return self.velocity(some.conditions.index(rows), n_frames, cache=cache)

        def reference(rows: Tensor) -> Velocity:
            def velocity(latents: Tensor, times: Tensor) -> Tensor:
                with cast("Reference", initial).network() as network:
                    return self.velocity(some.conditions.index(rows), n_frames, network, cache=cache)(latents, times)

            return velocity

        return ReplayBatch(some.rollout, some.groups, policy, None if initial is None else reference)

    def _log_update(self, batch_size: int) -> None:
        """Log the statistics of the update, over all processes."""
        found = reduce_over_processes(self.update_log.pop())
        self.log("reward", found.pop("reward"), prog_bar=True, batch_size=batch_size)
        self.log_dict(found, batch_size=batch_size)

    def teardown(self, stage: str) -> None:
        """Shut down the worker thread of the rewards."""
        self.candidate_scorer.close()

    # Processes ---------------------------------------------------------------------------------------------------
    @property
    def _n_shares(self) -> int:
        """Number of processes that a group is split over."""
        return self.trainer.world_size if self.rollout_options.split_groups else 1

    @property
    def _rollout_batch_size(self) -> int:
        """Clips whose candidates are sampled together; 1 where parameters are sharded, for equal forwards."""
        return self.rollout_options.rollout_batch_size if self.device_mesh is None else 1
