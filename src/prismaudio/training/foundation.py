"""The first stage: the flow-matching foundation model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from prismaudio.autoencoders.base import Autoencoder
from prismaudio.encoders.base import Encoder
from prismaudio.flow.path import interpolate, velocity_target
from prismaudio.flow.times import logit_normal_times, truncated_logit_normal_times
from prismaudio.metrics.base import AudioMetric
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.samplers.base import Sampler
from prismaudio.training.draws import draw
from prismaudio.training.lora import Lora
from prismaudio.training.schedule import Schedule
from prismaudio.training.sharding import mean_over_processes
from prismaudio.training.transformer import TransformerTask
from prismaudio.types import ClipBatch, Conditions, LatentBatch

if TYPE_CHECKING:
    from prismaudio.training.draws import Draws

VALIDATION_TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)


class FoundationTask(TransformerTask):
    """Trains a diffusion transformer to turn noise into the latents of a clip's sound.

    Conditions are dropped in two ways, so that guidance has an unconditional branch that was really trained: all of
    a sample's together, and each stream by itself. With ``swap_video`` the video is sometimes another clip's, so that
    what the plan says wins over what is seen, and editing a section edits the sound.

    Data is clips, whose latents and features are computed on the way and remembered, or latents and features that
    were computed before. Whatever is random depends on the seed, the step and the sample's name alone; only whose
    video is swapped in depends on the batch, too.

    Args:
        transformer: The network to train; None to take it from ``pretrained``.
        encoders: Encoder of each stream that the network is told, by stream name; None to take them from there too.
        autoencoder: Autoencoder of the latents; None to take it from there too, if it has one.
        pretrained: An installed model, or a model folder, with the components that are not given here; what the task
            does not need is passed on to the export.
        learning_rate: Peak learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
        betas: Memory of AdamW's averages.
        schedule: How the learning rate goes; a cosine with 200 steps of warm-up by default.
        drop_all: Chance that a sample loses all conditions.
        drop_each: Chance that a sample loses a stream, for each stream by itself.
        swap_video: Chance that a sample sees the video of another clip of its process's batch, so that the plan wins.
        swapped: Streams of what is seen, which are taken from the other clip then.
        time_sampler: Distribution of the training times; the truncated one is the published one.
        time_mean: Mean of the normal numbers whose logistic are the training times; above 0 favours noise.
        metrics: Metrics by name; in validation they hear the sound of every clip's true plan. None to hear nothing.
        sampler: How that sound is sampled.
        guidance: How closely it follows the plan.
        lora: Train low-rank adapters instead of the weights; None to train the weights.
        compile: Compile the blocks with ``torch.compile``.
        recompute: Compute activations again in the backward pass instead of keeping them.
        seed: Seed of times, noise and dropped conditions.
    """

    def __init__(
        self,
        transformer: DiffusionTransformer | None = None,
        encoders: dict[str, Encoder] | None = None,
        autoencoder: Autoencoder | None = None,
        pretrained: str | None = None,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.98),
        schedule: Schedule | None = None,
        drop_all: float = 0.1,
        drop_each: float = 0.1,
        swap_video: float = 0.0,
        swapped: Sequence[str] = ("video", "sync"),
        time_sampler: Literal["logit_normal", "truncated_logit_normal"] = "logit_normal",
        time_mean: float = 0.0,
        metrics: dict[str, AudioMetric] | None = None,
        sampler: Sampler | None = None,
        guidance: float = 2.0,
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
            schedule,
            metrics,
            sampler,
            guidance,
            lora,
            compile,
            recompute,
            seed,
        )
        self.drop_all, self.drop_each, self.swap_video = drop_all, drop_each, swap_video
        self.swapped = tuple(swapped)
        self.time_sampler, self.time_mean = time_sampler, time_mean

    def _perturbed(self, conditions: Conditions, draws: Draws) -> Conditions:
        """Conditions with video swapped between samples and streams dropped."""
        rows = torch.arange(len(draws.swap), device=draws.swap.device)
        other = conditions.index((rows + (draws.swap < self.swap_video).long()) % len(rows))
        lost_all = draws.drop_all < self.drop_all
        lost = {name: lost_all | (numbers < self.drop_each) for name, numbers in draws.drop_each.items()}
        swapped = {name: other[name] for name in self.swapped if name in other}
        return Conditions({**conditions, **swapped}).drop(lost)

    def _times(self, count: int, source: torch.Generator) -> Tensor:
        if self.time_sampler == "truncated_logit_normal":
            return truncated_logit_normal_times(count, generator=source)
        return logit_normal_times(count, self.time_mean, generator=source)

    def training_step(self, batch: ClipBatch | LatentBatch) -> Tensor:
        """Mean square error of the velocity at random times, over the real frames of all processes' batches."""
        ready = self._prepared(batch)
        draws = draw(ready.ids, self.seed, self.global_step, ready.latents, ready.mask, self._times, ready.conditions)
        error, real = self._loss(ready, draws.noise, draws.times, self._perturbed(ready.conditions, draws))
        loss = error / mean_over_processes(real)
        self.log("train_loss", loss.detach(), prog_bar=True, batch_size=len(batch))
        return loss

    def validation_step(self, batch: ClipBatch | LatentBatch, batch_idx: int) -> None:
        """The same error at fixed times, with the same noise in every epoch."""
        ready = self._prepared(batch)
        noise = self.validation_noise(ready)
        # the mean is over the frames of all clips; Lightning's mean of these counts over processes drops fractions
        count = int(ready.mask.sum()) * self.trainer.world_size
        losses = []
        for time in VALIDATION_TIMES:
            error, real = self._loss(ready, noise, torch.full((len(batch),), time).to(noise), ready.conditions)
            loss = error / real
            self.log(f"val_loss_at_{time}", loss, batch_size=count, sync_dist=True)
            losses.append(loss)
        self.log("val_loss", torch.stack(losses).mean(), prog_bar=True, batch_size=count, sync_dist=True)
        if self.metrics and isinstance(batch, ClipBatch):
            self._measure(batch, list(self.render(ready.conditions, noise)))

    def _loss(self, batch: LatentBatch, noise: Tensor, times: Tensor, conditions: Conditions) -> tuple[Tensor, Tensor]:
        """Square error summed over the real frames, mean over the channels; and how many frames are real."""
        data, mask = batch.latents, batch.mask
        padded = None if bool(mask.all()) else mask
        velocity = self.transformer(interpolate(data, noise, times), times, conditions, padded)
        error = (velocity - velocity_target(data, noise)).square().mean(1)
        return (error * mask).sum(), mask.sum().to(error)
