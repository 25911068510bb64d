"""Base class of tasks that score rendered audio with rewards."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from prismaudio.audio.level import leveled
from prismaudio.audio.resample import resample
from prismaudio.downloads import cache_home
from prismaudio.errors import DataError, PrismAudioError
from prismaudio.scorers import RewardScorer
from prismaudio.training.candidate_scores import CandidateScorer
from prismaudio.training.transformer import TransformerTask
from prismaudio.types import ClipBatch, LatentBatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prismaudio.rewards.base import Cache, Reward
    from prismaudio.scorers import Score
    from prismaudio.types import Clip


class RewardedTask(TransformerTask):
    """Base task that renders the audio of clips from their conditions alone and scores it with rewards."""

    candidate_scorer: CandidateScorer
    held_out: Mapping[str, Reward]

    def use_rewards(self, rewards: Mapping[str, Reward], held_out: Mapping[str, Reward], cache: str | None) -> None:
        """Set the rewards.

        Args:
            rewards: Rewards that are optimized, by name.
            held_out: Rewards that are evaluated in validation only, by name.
            cache: Folder of prepared caches of the rewards; ``auto`` for PrismAudio's cache folder, None to store none.
        """
        folder = None if cache is None else cache_home() / "prepared" if cache == "auto" else Path(cache)
        self.candidate_scorer, self.held_out = CandidateScorer(rewards, folder), held_out
        named = {f"val_reward/{name}": reward for name, reward in rewards.items()}
        named |= {f"val_held_out/{name}": reward for name, reward in held_out.items()}
        self.scorers += [RewardScorer(reward, name, folder=folder) for name, reward in named.items()]
        self.means = nn.ModuleDict({name: MeanMetric(nan_strategy="ignore") for name in named})

    def _prepared(self, batch: ClipBatch | LatentBatch) -> LatentBatch:
        """Conditions and lengths of clips; their latents, which are not needed, are zero.

        Raises:
            DataError: The batch has features but no clips, which the rewards need.
        """
        if isinstance(batch, LatentBatch):
            raise DataError("rewards need clips and plans besides the features: set prompts of ManifestDataModule")
        if batch.features is not None:
            return super()._prepared(batch.features)
        codec = self._decoder
        lengths = torch.tensor([codec.n_frames(clip.duration_s) for clip in batch.clips])
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        with torch.autocast(self.device.type, enabled=False):  # as in generation
            conditions = self.clips.conditions(batch.clips, batch.plans).to(self.device)
        latents = torch.zeros(len(batch), codec.channels, mask.shape[1], device=self.device)
        ids = [clip.id for clip in batch.clips]
        return LatentBatch(ids, latents, mask.to(self.device), self._complete(conditions, len(batch)))

    def on_validation_epoch_start(self) -> None:
        """Reset the means, which an earlier ``validate`` may have left."""
        for mean in self.means.values():
            cast("MeanMetric", mean).reset()

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """Evaluate all rewards on deterministic samples, with the same noise in every validation."""
        audio = self._render_clips(batch)
        with torch.autocast(self.device.type, enabled=False):  # as in training
            self._evaluate(batch, audio)

    def _log_scores(self, clip: Clip, scores: Mapping[str, Score]) -> None:
        """Add the scores of a clip to the means, with the sign that makes higher better."""
        for scorer in self.scorers:
            score = scores[scorer.name]
            if isinstance(scorer, RewardScorer):
                if score.value is None:
                    self.candidate_scorer.log_once(scorer.name.partition("/")[2], clip, score.reason)
                value = math.nan if score.value is None else score.value if scorer.higher_is_better else -score.value
                cast("MeanMetric", self.means[scorer.name]).update(value)

    def _evaluate(self, batch: ClipBatch, audio: Sequence[Tensor]) -> None:
        """Evaluate rendered audio of the clips, ``(2, samples)`` each, and log rewards and metrics."""
        super()._evaluate(batch, audio)
        for name, mean in self.means.items():
            self.log(name, cast("MeanMetric", mean), batch_size=len(batch))

    def _render_clips(self, batch: ClipBatch) -> list[Tensor]:
        """Rendered audio ``(2, samples)`` of each clip; clips of one length are rendered together."""
        ready = self._prepared(batch)
        noise, lengths = self.validation_noise(ready), ready.mask.sum(1)
        rendered: dict[int, Tensor] = {}
        several = lengths.unique().tolist()
        if self.device_mesh is not None:  # every process must call the network equally often
            several += several[-1:] * (self._largest(len(several)) - len(several))
        for n_frames in several:
            rows = (lengths == n_frames).nonzero().flatten()
            made = leveled(self.render(ready.conditions.index(rows), noise[rows, :, :n_frames]))
            rendered |= dict(zip(rows.tolist(), made, strict=True))
        rate_hz = self._decoder.sample_rate_hz
        return [rendered[row][:, : round(clip.duration_s * rate_hz)] for row, clip in enumerate(batch.clips)]

    def _largest(self, count: int) -> int:
        """The maximum of ``count`` over all processes; every process must call this."""
        largest = self.trainer.strategy.reduce(torch.tensor(count, device=self.device), reduce_op="max")
        return int(cast("Tensor", largest))

    def _stop_together(self, failures: Sequence[BaseException]) -> None:
        """Raise in all processes if a reward failed in any, so that none waits; every process must call this.

        Args:
            failures: Failures of this process.

        Raises:
            PrismAudioError: A reward failed in another process; a failure of this process is raised itself.
        """
        if self._largest(len(failures)):
            raise next(
                iter(failures), PrismAudioError("a reward failed in another process, whose error names the clip")
            )

    def _caches(self, batch: ClipBatch) -> list[dict[str, Cache | None]]:
        """Prepared caches of each reward for the clips; a failure in one process is raised in all."""
        caches: list[dict[str, Cache | None]] = []
        failures: list[BaseException] = []
        try:
            caches += [
                self.candidate_scorer.prepare(clip, plan) for clip, plan in zip(batch.clips, batch.plans, strict=True)
            ]
        except Exception as error:  # noqa: BLE001 - raised again in all processes
            failures.append(error)
        self._stop_together(failures)
        return caches

    def _reference_audio(self, batch: ClipBatch | LatentBatch, ready: LatentBatch, row: int, length: int) -> Tensor:
        """The audio of the clip; silence for a clip without audio."""
        rate_hz = self._decoder.sample_rate_hz
        clip = cast("ClipBatch", batch).clips[row]
        if clip.audio is None or clip.sample_rate_hz is None:
            return torch.zeros(2, length * self._decoder.hop)
        return resample(clip.audio.float().cpu(), clip.sample_rate_hz, rate_hz)

    def caption(self, batch: ClipBatch | LatentBatch, row: int, audio: Tensor) -> str:
        """The plan, and the rewards of the audio."""
        clip, plan = cast("ClipBatch", batch).clips[row], cast("ClipBatch", batch).plans[row]
        caches = [self.candidate_scorer.prepare(clip, plan)]
        scores = self.candidate_scorer.score(
            audio[None].to(self.device), self._decoder.sample_rate_hz, [clip.id], caches
        )
        text = ", ".join(f"{name} {float(score):.3f}" for name, score in scores.items())
        return f"{plan}\nrewards: {text}"
