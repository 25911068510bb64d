"""What a task needs to let rewards judge the sound that its transformer makes."""

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
    """Makes sound of clips of which nothing need be known but their frames and plans, and lets rewards judge it."""

    candidate_scorer: CandidateScorer
    held_out: Mapping[str, Reward]

    def use_rewards(self, rewards: Mapping[str, Reward], held_out: Mapping[str, Reward], cache: str | None) -> None:
        """Take rewards on.

        Args:
            rewards: Those that are followed, by name.
            held_out: Those that are only looked at.
            cache: Folder for what they prepare for a clip; ``auto`` for that of PrismAudio, None for none.
        """
        folder = None if cache is None else cache_home() / "prepared" if cache == "auto" else Path(cache)
        self.candidate_scorer, self.held_out = CandidateScorer(rewards, folder), held_out
        named = {f"val_reward/{name}": reward for name, reward in rewards.items()}
        named |= {f"val_held_out/{name}": reward for name, reward in held_out.items()}
        self.scorers += [RewardScorer(reward, name, folder=folder) for name, reward in named.items()]
        self.means = nn.ModuleDict({name: MeanMetric(nan_strategy="ignore") for name in named})

    def _prepared(self, batch: ClipBatch | LatentBatch) -> LatentBatch:
        """Conditions of clips and how long they are; of their latents nothing is known, so they are zero.

        Raises:
            DataError: There are no clips, but only features, and rewards need to know what they judge.
        """
        if isinstance(batch, LatentBatch):
            raise DataError("rewards need clips and their plans beside the features: set prompts of ManifestDataModule")
        if batch.features is not None:
            return super()._prepared(batch.features)
        codec = self._decoder
        lengths = torch.tensor([codec.n_frames(clip.duration_s) for clip in batch.clips])
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        with torch.autocast(self.device.type, enabled=False):  # as generation encodes them
            conditions = self.clips.conditions(batch.clips, batch.plans).to(self.device)
        latents = torch.zeros(len(batch), codec.channels, mask.shape[1], device=self.device)
        ids = [clip.id for clip in batch.clips]
        return LatentBatch(ids, latents, mask.to(self.device), self._complete(conditions, len(batch)))

    def on_validation_epoch_start(self) -> None:
        """Begin to count anew; what an earlier ``validate`` left cannot be added to in ``fit``."""
        for mean in self.means.values():
            cast("MeanMetric", mean).reset()

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """What the rewards and the held-out ones say of deterministic samples, with the same noise each time."""
        sounds = self._sounds(batch)
        with torch.autocast(self.device.type, enabled=False):  # as in training
            self._measure(batch, sounds)

    def _log_scores(self, clip: Clip, scores: Mapping[str, Score]) -> None:
        """Add the scores of a clip to the means, turned so that higher is better."""
        for scorer in self.scorers:
            score = scores[scorer.name]
            if isinstance(scorer, RewardScorer):
                if score.value is None:
                    self.candidate_scorer.log_once(scorer.name.partition("/")[2], clip, score.reason)
                value = math.nan if score.value is None else score.value if scorer.higher_is_better else -score.value
                cast("MeanMetric", self.means[scorer.name]).update(value)

    def _measure(self, batch: ClipBatch, sounds: Sequence[Tensor]) -> None:
        """Log what rewards and metrics say of the audio ``(2, samples)`` of clips."""
        super()._measure(batch, sounds)
        for name, mean in self.means.items():
            self.log(name, cast("MeanMetric", mean), batch_size=len(batch))

    def _sounds(self, batch: ClipBatch) -> list[Tensor]:
        """Audio ``(2, samples)`` of each clip; those of one length are made together."""
        ready = self._prepared(batch)
        noise, lengths = self.validation_noise(ready), ready.mask.sum(1)
        sounds: dict[int, Tensor] = {}
        several = lengths.unique().tolist()
        if self.device_mesh is not None:  # every process must go through the network equally often
            several += several[-1:] * (self._largest(len(several)) - len(several))
        for n_frames in several:
            rows = (lengths == n_frames).nonzero().flatten()
            made = leveled(self.render(ready.conditions.index(rows), noise[rows, :, :n_frames]))
            sounds |= dict(zip(rows.tolist(), made, strict=True))
        rate_hz = self._decoder.sample_rate_hz
        return [sounds[row][:, : round(clip.duration_s * rate_hz)] for row, clip in enumerate(batch.clips)]

    def _largest(self, count: int) -> int:
        """The largest of the numbers that all processes give; every process must call this."""
        largest = self.trainer.strategy.reduce(torch.tensor(count, device=self.device), reduce_op="max")
        return int(cast("Tensor", largest))

    def _stop_together(self, failures: Sequence[BaseException]) -> None:
        """Stop where a reward failed in any process, so that none waits for another; every process must call this.

        Args:
            failures: Those of this process.

        Raises:
            PrismAudioError: It failed elsewhere; a failure here is raised as it is.
        """
        if self._largest(len(failures)):
            raise next(iter(failures), PrismAudioError("a reward failed in another process, which says for which clip"))

    def _caches(self, batch: ClipBatch) -> list[dict[str, Cache | None]]:
        """What each reward knows of the clips; where one process cannot know it, all stop together."""
        caches: list[dict[str, Cache | None]] = []
        failures: list[BaseException] = []
        try:
            caches += [
                self.candidate_scorer.prepare(clip, plan) for clip, plan in zip(batch.clips, batch.plans, strict=True)
            ]
        except Exception as error:  # noqa: BLE001 - it is raised again, after the others know
            failures.append(error)
        self._stop_together(failures)
        return caches

    def _true_sound(self, batch: ClipBatch | LatentBatch, ready: LatentBatch, row: int, length: int) -> Tensor:
        """The clip's own sound; silence for a silent clip."""
        rate_hz = self._decoder.sample_rate_hz
        clip = cast("ClipBatch", batch).clips[row]
        if clip.audio is None or clip.sample_rate_hz is None:
            return torch.zeros(2, length * self._decoder.hop)
        return resample(clip.audio.float().cpu(), clip.sample_rate_hz, rate_hz)

    def caption(self, batch: ClipBatch | LatentBatch, row: int, sound: Tensor) -> str:
        """The plan, and what the rewards say of the sound."""
        clip, plan = cast("ClipBatch", batch).clips[row], cast("ClipBatch", batch).plans[row]
        caches = [self.candidate_scorer.prepare(clip, plan)]
        scores = self.candidate_scorer.score(
            sound[None].to(self.device), self._decoder.sample_rate_hz, [clip.id], caches
        )
        said = ", ".join(f"{name} {float(score):.3f}" for name, score in scores.items())
        return f"{plan}\nrewards: {said}"
