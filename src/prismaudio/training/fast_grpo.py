"""The third stage: Fast-GRPO, reinforcement learning with a reward for each dimension."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.nn.modules.dropout import _DropoutNd

from prismaudio.audio.level import leveled
from prismaudio.autoencoders.base import Autoencoder
from prismaudio.encoders.base import Encoder
from prismaudio.errors import RecipeError
from prismaudio.flow.kernels import EulerMaruyamaKernel, TransitionKernel
from prismaudio.flow.randomness import normal
from prismaudio.flow.times import release_grid, shortened, uniform_grid
from prismaudio.metrics.base import AudioMetric
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.rewards.base import Reward
from prismaudio.samplers.base import Sampler, Velocity
from prismaudio.samplers.rollout import rollout
from prismaudio.training.candidates import Candidates, Prompts
from prismaudio.training.grpo.advantages import AdvantageEstimator, WeightedSumAdvantage, flat_groups
from prismaudio.training.grpo.divergence import Divergence
from prismaudio.training.grpo.losses import ClippedLoss, PolicyLoss
from prismaudio.training.grpo.reward_weights import RewardWeight, weight_at
from prismaudio.training.grpo.update import Drawn, Objective, accumulate, parts
from prismaudio.training.grpo.weighting import StepWeighting, UniformWeighting
from prismaudio.training.grpo.windows import RandomWindow, Window, WindowSchedule
from prismaudio.training.lora import Lora
from prismaudio.training.notes import Notes, of_all_processes
from prismaudio.training.reference import Reference
from prismaudio.training.rewarded import RewardedTask
from prismaudio.training.schedule import ConstantSchedule, Schedule
from prismaudio.training.sharding import within_process
from prismaudio.types import ClipBatch


class FastGrpoTask(RewardedTask):
    """Aligns a transformer with rewards: makes a group of candidates for every clip, and follows the better ones.

    Most steps of a trajectory are deterministic; those of a short window are random, and only they are trained. What
    comes before the window is shared by the siblings of a branch. An update is one batch of clips: roll out, score,
    normalise, replay, step. Whatever is random depends on the seed, the update and the clip's name alone, so a run that
    is stopped and resumed, or spread over other processes, draws the same.

    Rewards score in a worker while the next candidates of the same update are made; the policy never changes meanwhile.

    Args:
        rewards: Rewards by name, usually that of their dimension.
        weights: How much each counts, a number or a
            :class:`prismaudio.training.grpo.reward_weights.RewardWeight`; 1 for those that are not named.
        held_out: Rewards by name that are only looked at, in validation.
        group: Candidates of a clip.
        branches: Siblings that share the steps before the window; None for the whole group.
        share_first: Compute the first random step, which siblings begin from the same latents, once for all of them,
            in training, too; it changes nothing but the cost.
        steps: Steps of a trajectory in training.
        grid: Its times: ``uniform``, or ``release``, which ends with a step of 0.001.
        after: Steps after the window at most, longer than those of the grid; None for those of the grid.
        window: Which steps are random; two at a random place by default, as in the paper.
        kernel: What a random step is; Euler and Maruyama's with noise 0.7 by default, as in the paper.
        advantage: What becomes of the rewards of a group; their weighted sum in its standard deviations by default.
        loss: What the policy follows; PPO's clipped ratio by default.
        weighting: How much each step counts, with its divergence; all the same by default.
        kl: Weight of the divergence from the model at the beginning; 0 needs no second model.
        kl_form: Which divergence.
        passes: Updates with each rollout.
        trained: Candidates of each group that are trained on, those with the largest advantages (of each process's
            share of it); None for all.
        prompts_at_once: Clips whose candidates are made together.
        rows_at_once: Candidates that are replayed together; None for all that were made together.
        clip_norm: Largest norm of the gradient.
        peaks: ``sample`` lowers each candidate that is too loud by itself; ``batch`` divides all that were made
            together by their common peak, as the released code does.
        split_groups: Spread each group over all processes, rather than whole groups; each then makes candidates for
            the clips of all.
        cache: Folder for what rewards prepare for a clip, by content; ``auto`` for that of PrismAudio, None for none.
        transformer: The network to train; None to take it from ``pretrained``.
        encoders: Encoder of each stream that the network is told, by stream name; None to take them from there too.
        autoencoder: Autoencoder of the latents; None to take it from there too.
        pretrained: An installed model, or a model folder, with the components that are not given here; what the task
            does not need is passed on to the export.
        learning_rate: Peak learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
        betas: Memory of AdamW's averages.
        schedule: How the learning rate goes; constant by default.
        metrics: Metrics by name, of the sound that validation makes.
        sampler: How validation samples; the model's own by default.
        guidance: How closely the conditions are followed, in training and in validation.
        guidance_interval: Lowest and highest flow time with guidance.
        lora: Train low-rank adapters instead of the weights; None to train the weights.
        compile: Compile the blocks with ``torch.compile``.
        recompute: Compute activations again in the backward pass instead of keeping them.
        seed: Seed of everything random.
    """

    def __init__(
        self,
        rewards: dict[str, Reward],
        weights: dict[str, float | RewardWeight] | None = None,
        held_out: dict[str, Reward] | None = None,
        group: int = 16,
        branches: int | None = None,
        share_first: bool = True,  # noqa: FBT001, FBT002 - a recipe names it
        steps: int = 24,
        grid: Literal["uniform", "release"] = "uniform",
        after: int | None = None,
        window: WindowSchedule | None = None,
        kernel: TransitionKernel | None = None,
        advantage: AdvantageEstimator | None = None,
        loss: PolicyLoss | None = None,
        weighting: StepWeighting | None = None,
        kl: float = 0.0,
        kl_form: Divergence = "exact",
        passes: int = 1,
        trained: int | None = None,
        prompts_at_once: int = 1,
        rows_at_once: int | None = None,
        clip_norm: float = 1.0,
        peaks: Literal["sample", "batch"] = "sample",
        split_groups: bool = False,  # noqa: FBT001, FBT002
        cache: str | None = "auto",
        transformer: DiffusionTransformer | None = None,
        encoders: dict[str, Encoder] | None = None,
        autoencoder: Autoencoder | None = None,
        pretrained: str | None = None,
        learning_rate: float = 1e-5,
        weight_decay: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Schedule | None = None,
        metrics: dict[str, AudioMetric] | None = None,
        sampler: Sampler | None = None,
        guidance: float = 1.0,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
        lora: Lora | None = None,
        compile: bool = False,  # noqa: A002, FBT001, FBT002 - the name that everybody knows
        recompute: bool = False,  # noqa: FBT001, FBT002
        seed: int = 0,
    ) -> None:
        super().__init__(
            transformer,
            encoders,
            autoencoder,
            pretrained,
            learning_rate,
            weight_decay,
            betas,
            schedule or ConstantSchedule(),
            metrics,
            sampler,
            guidance,
            lora,
            compile,
            recompute,
            seed,
        )
        self.automatic_optimization = False
        self.guidance_interval = guidance_interval
        self.weights: dict[str, float | RewardWeight] = {**dict.fromkeys(rewards, 1.0), **(weights or {})}
        self.group, self.branches, self.trained = group, branches or group, trained or group
        self.share_first = share_first
        self.grid, self.after = (uniform_grid if grid == "uniform" else release_grid)(steps), after
        self.window, self.kernel = window or RandomWindow(), kernel or EulerMaruyamaKernel()
        self.advantage, self.policy_loss = advantage or WeightedSumAdvantage(), loss or ClippedLoss()
        self.weighting = weighting or UniformWeighting()
        self.kl, self.kl_form, self.passes = kl, kl_form, passes
        self.prompts_at_once, self.rows_at_once = prompts_at_once, rows_at_once
        self.clip_norm, self.peaks, self.split_groups = clip_norm, peaks, split_groups
        self.use_rewards(rewards, held_out or {}, cache)
        adapters = lora is not None and not lora.conditioners
        self.reference = Reference(self.transformer, adapters=adapters) if kl else None
        self.notes = Notes()
        self.transformer.register_forward_hook(self.notes.count)
        self._check()

    def _check(self) -> None:
        """See that the recipe makes sense, before anything is computed.

        Raises:
            RecipeError: It does not.
        """
        known = self.candidate_scorer.scorers
        if unknown := self.weights.keys() - known.keys():
            raise RecipeError(f"weights name {', '.join(sorted(unknown))}, but rewards are {', '.join(sorted(known))}")
        if not known or self.group < 2:
            raise RecipeError(f"{len(known)} rewards and groups of {self.group}: expected a reward, and 2 or more")
        if self.group % self.branches or not 1 <= self.trained <= self.group:
            raise RecipeError(
                f"a group of {self.group} does not consist of branches of {self.branches}, {self.trained} of it trained"
            )
        drops = [name for name, m in self.transformer.named_modules() if isinstance(m, _DropoutNd) and m.p > 0]
        if drops:
            raise RecipeError(
                f"dropout must be off, or a step cannot be replayed: {drops[0]} has it; set dropout of lora to 0"
            )
        self.window.window(len(self.grid) - 1, self.seed, 0)  # says if the trajectory is too short

    def setup(self, stage: str) -> None:
        """See how numbers are kept and candidates spread over processes.

        Raises:
            RecipeError: They cannot be.
        """
        super().setup(stage)
        if self.trainer.precision == "16-mixed":
            raise RecipeError("precision 16-mixed would scale gradients before they are clipped; expected bf16-mixed")
        share = self._share
        if self.after is not None and self.device_mesh is not None and share == 1:
            raise RecipeError(
                "with after, clips may need different numbers of steps, and processes that share parameters wait for "
                "each other at each: leave after out, set split_groups, or use the strategy ddp"
            )
        if self.group % share or (self.group // share) % self.branches:
            raise RecipeError(
                f"a group of {self.group} in branches of {self.branches} cannot be split over {share} processes; set "
                "branches to a divisor of each share"
            )
        if self.trained % share:
            raise RecipeError(f"{self.trained} trained candidates of a group cannot be split over {share} processes")

    def configure_model(self) -> None:
        """Spread the reference like the transformer."""
        if self.reference is not None and not self._configured:
            self.reference.prepare(self.device_mesh, self.trainer.strategy.root_device, self.notes.count)
        super().configure_model()

    # One update --------------------------------------------------------------------------------------------------
    def training_step(self, batch: ClipBatch) -> None:
        """Roll out, score, normalise, replay, step."""
        update = self.update
        self.notes.clear()  # validation may have been in between
        with self.notes.phase("rollout"):
            prompts = self._prompts(batch)
            windows = [self.window.window(len(self.grid) - 1, self.seed, update, name) for name in prompts.ids]
            together = prompts.alike(windows, self.prompts_at_once if self.device_mesh is None else 1)  # equally many
            candidates = [self._roll_out(prompts, rows, window, update) for rows, window in together]
        with self.notes.phase("rewards"):
            rewards, groups = self._judged(candidates)
        advantages = self._advantages(rewards, groups, self.weights_now())
        with self.notes.phase("training"):
            for number in range(self.passes):
                self._improve(candidates, advantages, first=not number)
        found = of_all_processes(self.notes.taken())
        self.log("reward", found.pop("reward"), prog_bar=True, batch_size=len(batch))
        self.log_dict(found, batch_size=len(batch))

    @property
    def update(self) -> int:
        """Rollouts that were learnt from so far."""
        return self.global_step // self.passes

    def raise_kl(self, factor: float) -> None:
        """Multiply the weight of the divergence from the model at the beginning, from now on."""
        self.kl *= factor

    def weights_now(self) -> dict[str, float]:
        """How much each reward counts at this update."""
        return {name: weight_at(weight, self.update) for name, weight in self.weights.items()}

    def _prompts(self, batch: ClipBatch) -> Prompts:
        """The clips to make candidates for: the batch's or, where groups are split, those of all processes' batches."""
        ready = self._prepared(batch)
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            caches = self._caches(batch)
        durations_s = [clip.duration_s for clip in batch.clips]
        prompts = Prompts(ready.ids, ready.mask.sum(1).tolist(), durations_s, ready.conditions, caches)
        if self._share == 1:
            return prompts
        prompts = prompts.of_all_processes(self.device)
        return replace(prompts, conditions=self._complete(prompts.conditions, len(prompts.ids)))

    def _roll_out(self, prompts: Prompts, rows: Sequence[int], window: Window, update: int) -> Candidates:
        """Candidates of some clips, with a window of random steps; their scores are on the way."""
        n_frames, ids = prompts.n_frames[rows[0]], [prompts.ids[row] for row in rows]
        shape = (self._decoder.channels, n_frames)
        share = self.group // self._share
        first = share * (self.global_rank if self.split_groups else 0)
        siblings = range(first, first + share)
        noise = torch.stack(
            [normal(shape, self.seed, "noise", update, name, k) for name in ids for k in siblings[:: self.branches]]
        ).to(self.device)

        def draw(step: int) -> Tensor:
            return torch.stack([normal(shape, self.seed, step, update, name, k) for name in ids for k in siblings])

        once = self.device_mesh is None
        grid = self.grid if self.after is None else shortened(self.grid, window.stop, self.after)
        each = torch.tensor(rows, device=self.device).repeat_interleave(share)
        conditions = prompts.conditions.index(each)
        with torch.no_grad():
            made = rollout(
                self.velocity(conditions, n_frames, once=once),
                noise,
                grid,
                window,
                self.kernel,
                draw,
                branches=self.branches,
                prefix=self.velocity(prompts.conditions.index(each[:: self.branches]), n_frames, once=once),
                share_first=self.share_first,
            )
            with torch.autocast(self.device.type, enabled=False):
                audio = leveled(self._decoder.decode(made.latents), self.peaks)
        names = [name for name in ids for _ in siblings]
        caches = [prompts.caches[row] for row in rows for _ in siblings]
        rate_hz = self._decoder.sample_rate_hz
        audio = audio[..., : round(prompts.durations_s[rows[0]] * rate_hz)]
        return Candidates(names, made, conditions, self.candidate_scorer.submit(audio, rate_hz, names, caches))

    def _judged(self, candidates: Sequence[Candidates]) -> tuple[dict[str, Tensor], Tensor]:
        """Rewards ``(K, rows)`` of all candidates of all processes, by name, and the group of each row.

        What one process has is at ``[rank * count : (rank + 1) * count]``.
        """
        found = self._scores(candidates)
        mine = torch.stack([torch.cat([scores[name] for scores in found]) for name in self.candidate_scorer.scorers])
        groups = torch.cat([some.groups for some in candidates])
        if self.trainer.world_size > 1:
            everybody = cast("Tensor", self.all_gather(mine.to(self.device)))
            mine = everybody.transpose(0, 1).flatten(1).cpu()
            groups = cast("Tensor", self.all_gather(groups.to(self.device))).flatten().cpu()
        return dict(zip(self.candidate_scorer.scorers, mine, strict=True)), groups

    def _scores(self, candidates: Sequence[Candidates]) -> list[dict[str, Tensor]]:
        """Scores of this process's candidates; where one process has none, all stop together."""
        failures = [error for some in candidates if (error := some.scores.exception()) is not None]
        self._stop_together(failures)
        return [some.scores.result() for some in candidates]

    def _advantages(self, rewards: Mapping[str, Tensor], groups: Tensor, weights: Mapping[str, float]) -> Tensor:
        """Advantages of this process's candidates, ``(rows,)``; what a reward does not judge teaches nothing."""
        judged = {name: float(reward.nanmean()) for name, reward in rewards.items()}
        rewards = {name: reward.where(reward.isfinite(), judged[name]).nan_to_num() for name, reward in rewards.items()}
        advantages = self.advantage.estimate(rewards, groups, weights)
        shares = self.advantage.shares(rewards, groups, weights)
        for name, reward in rewards.items():
            self.notes.add(f"reward/{name}", judged[name])
            self.notes.add(f"share/{name}", shares[name])
            self.notes.add(f"flat_groups/{name}", float(flat_groups(reward, groups).float().mean()))
        self.notes.add("reward", sum(weights[name] * mean for name, mean in judged.items() if not math.isnan(mean)))
        count = len(advantages) // self.trainer.world_size
        return advantages[self.global_rank * count : (self.global_rank + 1) * count]

    def _improve(self, candidates: Sequence[Candidates], advantages: Tensor, *, first: bool) -> None:
        """One step of the optimiser, with all candidates."""
        optimizer, scheduler = cast("Any", self.optimizers()), cast("Any", self.lr_schedulers())
        optimizer.zero_grad()
        torch.clear_autocast_cache()  # of weights as they were before the last step
        self._accumulate(candidates, advantages, first=first)
        self.clip_gradients(optimizer, self.clip_norm, "norm")
        optimizer.step()
        scheduler.step()

    def _accumulate(self, candidates: Sequence[Candidates], advantages: Tensor, *, first: bool) -> None:
        """Add the gradient of an update to that of the parameters, see :mod:`prismaudio.training.grpo.update`."""
        objective = Objective(self.policy_loss, self.weighting, self.grid, self.kl, self.kl_form)
        drawn = [self._drawn(some) for some in candidates]
        todo = parts(drawn, advantages, self.trained // self._share, self.rows_at_once)
        # gradients of processes are averaged once, with the last part
        each = accumulate(todo, objective, self.manual_backward, lambda: within_process(self.trainer.strategy))
        for part, found in zip(todo, each, strict=True):
            error = found.pop("ratio_error")
            if first:
                self.notes.add_ratio_error(error, self.update)
            for name, value in found.items():
                self.notes.add(name, value, part.share)

    def _drawn(self, some: Candidates) -> Drawn:
        """Candidates with the networks that their steps are computed again with."""
        n_frames, once, initial = some.rollout.latents.shape[-1], self.device_mesh is None, self.reference

        def policy(rows: Tensor) -> Velocity:
            return self.velocity(some.conditions.index(rows), n_frames, once=once)

        def reference(rows: Tensor) -> Velocity:
            def velocity(latents: Tensor, times: Tensor) -> Tensor:
                with cast("Reference", initial).network() as network:
                    return self.velocity(some.conditions.index(rows), n_frames, network, once=once)(latents, times)

            return velocity

        return Drawn(some.rollout, some.groups, policy, None if initial is None else reference)

    def teardown(self, stage: str) -> None:
        """Let the workers go."""
        self.candidate_scorer.close()

    # Processes ---------------------------------------------------------------------------------------------------
    @property
    def _share(self) -> int:
        """Over how many processes a group is spread."""
        return self.trainer.world_size if self.split_groups else 1
