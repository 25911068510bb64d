"""The third stage: Fast-GRPO, reinforcement learning with a reward for each dimension."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from lightning.pytorch.cli import LRSchedulerCallable, ReduceLROnPlateau
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.modules.dropout import _DropoutNd
from torchmetrics import MeanMetric

from prismaudio.audio.level import leveled
from prismaudio.checkpoints import Configured
from prismaudio.errors import RecipeError
from prismaudio.flow.kernels import EulerMaruyamaKernel
from prismaudio.flow.randomness import normal
from prismaudio.flow.times import release_grid, shorten_tail, uniform_grid
from prismaudio.rewards.base import Reward
from prismaudio.samplers.base import Velocity
from prismaudio.samplers.rollout import Rollout, RowVelocity, Trajectory, n_evaluations, n_samples, rollout
from prismaudio.training.candidates import Candidates, Prompts, ScoredCandidates, entropy
from prismaudio.training.contracts import DryPhase
from prismaudio.training.grpo.advantages import WeightedSumAdvantage, flat_groups, std_within_groups
from prismaudio.training.grpo.losses import ClippedLoss
from prismaudio.training.grpo.options import PolicyOptions, RewardOptions, RolloutOptions
from prismaudio.training.grpo.reward_weights import RewardWeight, weight_at
from prismaudio.training.grpo.update import (
    MicroBatch,
    Objective,
    ReplayBatch,
    accumulate_gradients,
    micro_batch_loss,
    micro_batches,
)
from prismaudio.training.grpo.weighting import UniformWeighting
from prismaudio.training.grpo.windows import RandomWindow, Window
from prismaudio.training.reference import Reference
from prismaudio.training.rewarded import RewardedTask
from prismaudio.training.sharding import within_process
from prismaudio.training.update_log import UpdateLog, reduce_over_processes
from prismaudio.types import ClipBatch, Conditions

if TYPE_CHECKING:
    from concurrent.futures import Future

    from lightning.pytorch import Callback
    from torch.optim import Optimizer

    from prismaudio.models.dit import DiffusionTransformer
    from prismaudio.types import LatentBatch

DRY_UPDATES = 32
"""Updates over whose windows the work of a dry run is averaged."""


class FastGrpoTask(RewardedTask):
    """Post-trains a transformer with rewards: samples a group of candidates per clip and trains on their advantages.

    Most steps of a trajectory are deterministic; those of a short window are stochastic, and only they are trained. The
    candidates of a branch share the steps before the window. An update is one batch of clips: roll out, score, compute
    advantages, replay, step. The candidates of all its clips are sampled in lockstep, see
    :func:`prismaudio.samplers.rollout.rollout`. All random numbers depend on the seed, the update and the clip's name
    alone, so a run that is resumed, or distributed over other processes, draws the same numbers.

    Rewards are computed in worker threads while the candidates of the next clip of the same update are decoded or
    sampled. The next update waits for them: its candidates are those of another policy.

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
        self._keep_next = False
        self._kept: tuple[str, Tensor, dict[str, Future[Tensor]]] | None = None
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

    def components(self) -> dict[str, Any]:
        """The components; settings have the guidance that the policy was trained with, as the sampler has its steps."""
        found = super().components()
        settings = found.get("settings")
        if isinstance(settings, Configured):
            given: dict[str, Any] = dict(settings.config)
            own = {"guidance": self.guidance, "guidance_interval": list(self.guidance_interval), "rescale": 0.0}
            given |= {name: value for name, value in own.items() if name in given}
            found["settings"] = type(settings)(**given)
        return found

    def configure_callbacks(self) -> list[Callback]:
        """The guard against losses that are not finite, once the trainer's options are known to be supported.

        Raises:
            RecipeError: The trainer is to accumulate or clip gradients, which the task does itself.
        """
        n_batches, limit = self.trainer.accumulate_grad_batches, self.trainer.gradient_clip_val
        if n_batches != 1:
            raise RecipeError(
                f"trainer.accumulate_grad_batches is {n_batches}, but an update of FastGrpoTask is one batch of clips, "
                f"whose gradients it accumulates itself: remove it, and multiply batch_size of the data by {n_batches}"
                "; rollout.rollout_batch_size and policy.train_micro_batch_size limit the memory"
            )
        if limit:
            raise RecipeError(
                f"trainer.gradient_clip_val is {limit}, but FastGrpoTask clips gradients itself: remove it, and set "
                "policy.max_grad_norm"
            )
        return super().configure_callbacks()

    def setup(self, stage: str) -> None:
        """Validate the precision and how candidates are split over processes.

        Raises:
            RecipeError: An option of the trainer is not supported.
        """
        super().setup(stage)
        if self.trainer.precision == "16-mixed":
            raise RecipeError("precision 16-mixed would scale gradients before they are clipped; expected bf16-mixed")
        n_shares = self._n_shares
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
            self.reference.prepare(self.device_mesh, self.trainer.strategy.root_device)
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
        with self.update_log.phase("rollout"):
            prompts = self._prompts(batch)
            windows = self._windows(prompts.ids, update)
            batches = prompts.batches(windows, self._rollout_batch_size, self._max_padding)
            idle = self._n_idle([[windows[row] for row in rows] for rows in batches])
        candidates = [self._candidates(prompts, rows, [windows[row] for row in rows], update) for rows in batches]
        if idle:
            with self.update_log.phase("rollout"):
                self._idle(prompts, idle)
        with self.update_log.phase("rewards"):
            rewards, groups = self._score_all(candidates)
        advantages = self._advantages(rewards, groups, self.weights_now())
        with self.update_log.phase("training"):
            optimizer, scheduler = cast("Any", self.optimizers()), cast("Any", self.lr_schedulers())
            for epoch in range(self.policy_options.num_inner_epochs):
                optimizer.zero_grad()
                self._replay(candidates, advantages, first=epoch == 0)
                self.update_log.add("learning_rate", optimizer.param_groups[0]["lr"])
                self.update_log.add("grad_norm", self._clip_gradients(optimizer))
                optimizer.step()
                if scheduler is not None:
                    scheduler.step()
        self.update_log.add("entropy", entropy(candidates))
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
        prompts = Prompts(ready.ids, list(ready.lengths), durations_s, ready.conditions, caches)
        if self._n_shares == 1:
            return prompts
        prompts = prompts.gather(self.device)
        return replace(prompts, conditions=self._complete(prompts.conditions, len(prompts.ids)))

    def dry_run(self, batch: LatentBatch, optimizer: Optimizer) -> Iterator[DryPhase]:
        """See :meth:`prismaudio.training.contracts.DryRuns.dry_run`; the work of roll-outs is a mean over windows."""
        count = len(batch) * self._n_shares
        each = torch.arange(count) // self._n_shares
        seconds = batch.latents.shape[-1] * self._decoder.hop / self._decoder.sample_rate_hz
        names = [f"clip {row}" for row in range(count)]
        conditions = batch.conditions.index(each.to(self.device))
        prompts = Prompts(names, [batch.lengths[0]] * count, [seconds] * count, conditions, [{}] * count)
        windows = [self._windows(names, update) for update in range(DRY_UPDATES)]
        per_clip = sum(map(self._n_samples, windows)) / len(windows) / count
        sampled: list[Candidates] = []
        alike: dict[int, list[list[int]]] = {}
        for rows in prompts.batches(windows[0], self._rollout_batch_size, self._max_padding):
            alike.setdefault(len(rows), []).append(rows)
        for rows, *others in alike.values():
            own = [windows[0][row] for row in rows]
            yield DryPhase("rollout", per_clip * len(rows) * (1 + len(others)) / self._n_samples(own))
            first = self._sampled(prompts, rows, own, 0)
            sampled += [first, *(first.clone() for _ in others[:-1])]
            if others:  # the last one, beside the candidates of the others
                yield DryPhase("rollout", 0)
                sampled.append(self._sampled(prompts, others[-1], [windows[0][row] for row in others[-1]], 0))
        yield DryPhase("decode", count, autocast=False)
        with torch.no_grad():
            leveled(self._decoder.decode(sampled[0].rollout.latents[: len(self._members)]), self.peaks)
        todo, objective = self._micro_batches(sampled, torch.zeros(count * len(self._members)))
        same: dict[tuple[int, int], list[MicroBatch]] = {}
        for some in todo:
            same.setdefault((len(some.rows), some.source.rollout.evaluated(some.index)), []).append(some)
        optimizer.zero_grad(set_to_none=len(todo) == 1)  # else a later micro-batch has the gradients of earlier ones
        for one, *more in same.values():
            yield DryPhase("training", (1 + len(more)) * self.policy_options.num_inner_epochs)
            terms, _ = micro_batch_loss(one, objective)
            (one.share * terms.mean()).backward()
            del terms
        yield DryPhase("optimizer", self.policy_options.num_inner_epochs, autocast=False)
        optimizer.step()

    def _n_samples(self, windows: Sequence[Window]) -> int:
        """How many samples the network is evaluated for in the roll-outs of clips with these windows."""
        share_first = self.rollout_options.share_first
        return n_samples(self._trajectories(windows), self.branch_size, share_first=share_first)

    def _windows(self, names: Sequence[str], update: int) -> list[Window]:
        """The window of each clip in an update."""
        return [self.window.window(len(self.grid) - 1, self.seed, update, name) for name in names]

    def _candidates(self, prompts: Prompts, rows: list[int], windows: Sequence[Window], update: int) -> Candidates:
        """Sample candidates of some clips, and submit their audio to the rewards."""
        with self.update_log.phase("rollout"):
            sampled = self._sampled(prompts, rows, windows, update)
        with self.update_log.phase("decode"):
            parts = sampled.rollout.latents.split(len(self._members))
            scores = [self._submit(prompts, row, latents) for row, latents in zip(rows, parts, strict=True)]
        return replace(sampled, scores=scores)

    def _sampled(self, prompts: Prompts, rows: list[int], windows: Sequence[Window], update: int) -> Candidates:
        """Sample candidates of some clips, without scores."""
        names, members = [prompts.ids[row] for row in rows], self._members
        each = torch.tensor(rows).repeat_interleave(len(members))
        conditions = prompts.conditions.index(each.to(self.device, non_blocking=True))
        sampled = self._roll_out(conditions, names, [prompts.n_frames[row] for row in rows], windows, update)
        return Candidates([name for name in names for _ in members], sampled, conditions, [])

    def _roll_out(
        self, conditions: Conditions, ids: Sequence[str], lengths: Sequence[int], windows: Sequence[Window], update: int
    ) -> Rollout:
        """Sample candidates of some clips in lockstep; shorter clips are padded, and masked.

        Args:
            conditions: Conditions of each candidate.
            ids: Name of each clip.
            lengths: Latent frames of each clip.
            windows: The window of each clip.
            update: Completed updates.
        """
        members = self._members
        real = torch.arange(max(lengths)) < torch.tensor(lengths).repeat_interleave(len(members))[:, None]
        mask = None if real.all() else real.to(self.device, non_blocking=True)
        noise, draws = self._noise(ids, lengths, windows, update)
        return rollout(
            self._row_velocity(conditions, max(lengths), mask),
            noise,
            draws,
            self._trajectories(windows),
            self.kernel,
            branch_size=self.branch_size,
            share_first=self.rollout_options.share_first,
            window_batch_size=self._micro_batch_size,
            mask=mask,
        )

    def _trajectories(self, windows: Sequence[Window]) -> list[Trajectory]:
        """The trajectory of each branch of clips with these windows."""
        tail, each = self.rollout_options.max_tail_steps, {}
        for window in windows:
            grid = self.grid if tail is None else shorten_tail(self.grid, window.stop, tail)
            each[window] = Trajectory(grid, window)
        return [each[window] for window in windows for _ in self._members[:: self.branch_size]]

    def _noise(
        self, ids: Sequence[str], lengths: Sequence[int], windows: Sequence[Window], update: int
    ) -> tuple[Tensor, Tensor]:
        """Initial noise of each branch and noise of each stochastic step, zero in the padding, in one transfer."""
        members, shape = self._members, (self._decoder.channels, max(lengths))
        branches, n_steps = members[:: self.branch_size], len(windows[0])
        n_first = len(ids) * len(branches)
        n_rows = n_first + n_steps * len(ids) * len(members)
        drawn = torch.zeros(n_rows, *shape, pin_memory=self.device.type == "cuda")
        noise = drawn[:n_first].view(len(ids), len(branches), *shape)
        draws = drawn[n_first:].view(n_steps, len(ids), len(members), *shape)
        for clip, (name, n_frames, window) in enumerate(zip(ids, lengths, windows, strict=True)):
            own = (shape[0], n_frames)
            for row, k in enumerate(branches):
                noise[clip, row, :, :n_frames] = normal(own, self.seed, "noise", update, name, k)
            for index, step in enumerate(window):
                for row, k in enumerate(members):
                    draws[index, clip, row, :, :n_frames] = normal(own, self.seed, step, update, name, k)
        drawn = drawn.to(self.device, non_blocking=True)
        return drawn[:n_first], drawn[n_first:].view(n_steps, len(ids) * len(members), *shape)

    @torch.no_grad()
    def _submit(self, prompts: Prompts, row: int, latents: Tensor) -> dict[str, Future[Tensor]]:
        """Decode the candidates of a clip, without padding, and submit their audio to the rewards."""
        rate_hz = self._decoder.sample_rate_hz
        audio = leveled(self.decode(latents[..., : prompts.n_frames[row]]), self.peaks)
        audio = audio[..., : round(prompts.durations_s[row] * rate_hz)]
        names, caches = [prompts.ids[row]] * len(audio), [prompts.caches[row]] * len(audio)
        scores = self.candidate_scorer.submit(audio, rate_hz, names, caches)
        if self._keep_next:
            self._keep_next, self._kept = False, (prompts.ids[row], audio.cpu(), scores)
        return scores

    def keep_candidates(self) -> None:
        """Keep the candidates of one clip of the next update, for :meth:`kept_candidates`."""
        self._keep_next = True

    def kept_candidates(self) -> ScoredCandidates | None:
        """Candidates of one clip that this process sampled, once; None where none were kept."""
        kept, self._kept = self._kept, None
        if kept is None:
            return None
        name, audio, scores = kept
        rewards = {reward: score.result() for reward, score in scores.items()}
        return ScoredCandidates(name, audio, self._decoder.sample_rate_hz, rewards, self.weights_now())

    def _n_idle(self, batches: Sequence[Sequence[Window]]) -> int:
        """How much less often this process evaluates the network than the one with the longest trajectories.

        Processes gather sharded parameters together, in every forward pass, so all must make equally many.
        """
        if self.device_mesh is None:
            return 0
        share_first, size = self.rollout_options.share_first, self._micro_batch_size
        count = sum(
            n_evaluations(self._trajectories(each), self.branch_size, share_first=share_first, window_batch_size=size)
            for each in batches
        )
        return self._largest(count) - count

    @torch.no_grad()
    def _idle(self, prompts: Prompts, count: int) -> None:
        """Evaluate the network a number of times without using the results."""
        conditions = prompts.conditions.index(torch.zeros(1, dtype=torch.long, device=self.device))
        velocity = self.velocity(conditions, prompts.n_frames[0], cache=False)
        latents = torch.zeros(1, self._decoder.channels, prompts.n_frames[0], device=self.device)
        for _ in range(count):
            velocity(latents, torch.ones(1))

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
        each = [scores for some in candidates for scores in some.scores]
        failures = [error for scores in each for score in scores.values() if (error := score.exception()) is not None]
        self._stop_together(failures)
        return [{name: score.result() for name, score in scores.items()} for scores in each]

    def _advantages(self, found: Mapping[str, Tensor], groups: Tensor, weights: Mapping[str, float]) -> Tensor:
        """Advantages ``(rows,)`` of the candidates of this process; a missing score counts as its reward's mean."""
        means = {name: float(reward.nanmean()) for name, reward in found.items()}
        rewards = {name: reward.where(reward.isfinite(), means[name]).nan_to_num() for name, reward in found.items()}
        total = torch.stack([weights[name] * reward for name, reward in rewards.items()]).sum(0)
        advantages = self.advantage.estimate(rewards, groups, weights)
        shares = self.advantage.shares(rewards, groups, weights)
        for name, reward in rewards.items():
            self.update_log.add(f"reward/{name}", means[name])
            self.update_log.add(f"share/{name}", shares[name])
            self.update_log.add(f"flat_groups/{name}", float(flat_groups(reward, groups).float().mean()))
            scored = found[name].isfinite()
            self.update_log.add(f"reward_std/{name}", std_within_groups(reward[scored], groups[scored]))
        self.update_log.add("reward_std", std_within_groups(total, groups))
        self.update_log.add("reward", sum(weights[name] * mean for name, mean in means.items() if not math.isnan(mean)))
        count = len(advantages) // self.trainer.world_size
        return advantages[self.global_rank * count : (self.global_rank + 1) * count]

    def _replay(self, candidates: Sequence[Candidates], advantages: Tensor, *, first: bool) -> None:
        """Replay all candidates and accumulate their gradient, see :mod:`prismaudio.training.grpo.update`."""
        torch.clear_autocast_cache()  # it holds the weights of before the last optimizer step
        todo, objective = self._micro_batches(candidates, advantages)
        # processes average their gradients once, with the last micro-batch
        found = accumulate_gradients(
            todo, objective, self.manual_backward, lambda: within_process(self.trainer.strategy)
        )
        for name, value, share in found:
            if name != "ratio_error":
                self.update_log.add(name, value, share)
            elif first:
                self.update_log.add_ratio_error(value, self.update)

    def _micro_batches(
        self, candidates: Sequence[Candidates], advantages: Tensor
    ) -> tuple[list[MicroBatch], Objective]:
        """The micro-batches of an update, and its objective."""
        form = self.policy_options.kl_form
        objective = Objective(self.policy_loss, self.weighting, self.grid, self.kl_coef, form)
        sampled = [self._replay_batch(some) for some in candidates]
        top_k = self.train_top_k // self._n_shares
        return micro_batches(sampled, advantages, top_k, self._micro_batch_size), objective

    def _replay_batch(self, some: Candidates) -> ReplayBatch:
        """A rollout with the networks that its steps are replayed with."""
        n_frames, mask, initial = some.rollout.latents.shape[-1], some.rollout.mask, self.reference

        def reference(rows: Tensor) -> Velocity:
            def velocity(latents: Tensor, times: Tensor) -> Tensor:
                with cast("Reference", initial).network() as network:
                    return self._row_velocity(some.conditions, n_frames, mask, network)(rows)(latents, times)

            return velocity

        policy = self._row_velocity(some.conditions, n_frames, mask)
        groups = torch.arange(len(some.ids)) // (self.group_size // self._n_shares)  # a clip may come twice
        return ReplayBatch(some.rollout, groups, policy, None if initial is None else reference)

    # Networks ----------------------------------------------------------------------------------------------------
    def _row_velocity(
        self, conditions: Conditions, n_frames: int, mask: Tensor | None, network: DiffusionTransformer | None = None
    ) -> RowVelocity:
        """The velocity of any rows of a batch, whose evaluations are counted."""
        lowest, highest = self.guidance_interval

        def of_rows(rows: Tensor) -> Velocity:
            own = None if mask is None else mask[rows]
            cache = self.device_mesh is None  # sharded parameters are there in a forward pass only
            velocity = self.velocity(conditions.index(rows), n_frames, network, mask=own, cache=cache)

            def counted(latents: Tensor, times: Tensor) -> Tensor:
                guided = self.guidance != 1 and bool(((times >= lowest) & (times <= highest)).any())  # times on the CPU
                self.update_log.count(len(latents) * (2 if guided else 1))
                return velocity(latents, times)

            return counted

        return of_rows

    def on_validation_epoch_end(self) -> None:
        """Log ``val_reward``, the sum of the mean rewards with the weights of this update."""
        super().on_validation_epoch_end()
        means = {name: cast("MeanMetric", self.means[f"val_reward/{name}"]).compute() for name in self.weights}
        terms = [weight * means[name] for name, weight in self.weights_now().items() if not means[name].isnan()]
        total = torch.stack(terms).sum() if terms else torch.tensor(math.nan, device=self.device)
        self.log("val_reward", total, prog_bar=True)

    def _clip_gradients(self, optimizer: Any) -> float:
        """Scale down gradients that are larger than ``max_grad_norm``, and return their norm before."""
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(weights, self.policy_options.max_grad_norm or math.inf)
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def _log_update(self, batch_size: int) -> None:
        """Log the statistics of the update, over all processes."""
        found = reduce_over_processes(self.update_log.pop())
        self.log("reward", found.pop("reward"), prog_bar=True, batch_size=batch_size)
        self.log_dict(found, batch_size=batch_size)

    def teardown(self, stage: str) -> None:
        """Shut down the worker thread of the rewards, and free what rendering holds on a GPU."""
        super().teardown(stage)
        self.candidate_scorer.close()

    # Processes ---------------------------------------------------------------------------------------------------
    @property
    def _n_shares(self) -> int:
        """Number of processes that a group is split over."""
        return self.trainer.world_size if self.rollout_options.split_groups else 1

    @property
    def _members(self) -> range:
        """Numbers of the candidates of a clip that this process samples."""
        share = self.group_size // self._n_shares
        first = share * (self.global_rank if self.rollout_options.split_groups else 0)
        return range(first, first + share)

    @property
    def _rollout_batch_size(self) -> int | None:
        """Maximum number of clips that are sampled together; None for all."""
        return self.rollout_options.rollout_batch_size or (1 if self.device.type == "cpu" else None)

    @property
    def _micro_batch_size(self) -> int:
        """Maximum number of samples of a backward pass, and of an evaluation of the stochastic steps."""
        return self.policy_options.train_micro_batch_size or len(self._members)

    @property
    def _max_padding(self) -> float:
        """Largest share of padding in a clip's row.

        A CPU takes as long for a padded frame as for a real one; for a GPU, one evaluation of half-filled rows is less
        than two. Processes with sharded parameters need as many batches as the others.
        """
        return 1.0 if self.device_mesh is not None else 0.0 if self.device.type == "cpu" else 0.5
