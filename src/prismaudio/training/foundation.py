"""The first stage: the flow-matching foundation model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from prismaudio.checkpoints import within
from prismaudio.devices import HostCopy
from prismaudio.flow.path import interpolate, velocity_target
from prismaudio.flow.times import logit_normal_times, truncated_logit_normal_times
from prismaudio.training.contracts import DryPhase
from prismaudio.training.draws import draw
from prismaudio.training.sharding import mean_over_processes
from prismaudio.training.transformer import LOG, TransformerTask
from prismaudio.types import ClipBatch, Conditions, LatentBatch

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from prismaudio.training.draws import Draws

VALIDATION_TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)


class FoundationTask(TransformerTask):
    """Trains a diffusion transformer with flow matching to map noise to the latents of a clip's audio.

    Conditions are dropped in two ways, so that the unconditional branch of guidance is trained: all streams of a sample
    together, and each stream by itself. With ``swap_video`` the video is sometimes that of another clip, so that the
    plan has precedence over the video, and editing a section edits the audio.

    Batches hold clips, whose latents and features are computed on the fly and cached in memory, or precomputed latents
    and features. All random numbers depend on the seed, the step and the sample's name alone; only the choice of
    the other video also depends on the batch. Noise is drawn on the device, so that a run that is resumed on another
    kind of device goes on with other noise.

    Args:
        drop_all: Probability that all conditions of a sample are dropped.
        drop_each: Probability that a stream of a sample is dropped, for each stream independently.
        swap_video: Probability that the video of a sample is replaced by that of another clip of its process's batch,
            so that the plan takes precedence where both disagree; a sample with no other stream keeps its own.
        swapped: Streams that are computed from the video, which are replaced together.
        time_sampler: Distribution of the training times; the truncated one is the published one.
        time_mean: Mean of the logits of the training times, for ``logit_normal``; above 0 favours times near the noise.
        kwargs: See :class:`prismaudio.training.transformer.TransformerTask`.
    """

    def __init__(
        self,
        drop_all: float = 0.1,
        drop_each: float = 0.1,
        swap_video: float = 0.0,
        swapped: Sequence[str] = ("video", "sync"),
        time_sampler: Literal["logit_normal", "truncated_logit_normal"] = "logit_normal",
        time_mean: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        within(0, 1, drop_all=drop_all, drop_each=drop_each, swap_video=swap_video)
        self.drop_all, self.drop_each, self.swap_video = drop_all, drop_each, swap_video
        self.swapped = tuple(swapped)
        self.time_sampler, self.time_mean = time_sampler, time_mean
        self._shown: HostCopy | None = None
        self._told_of_clips = False

    def _perturbed(self, conditions: Conditions, draws: Draws) -> Conditions:
        """Conditions with videos swapped between samples and streams dropped."""
        lost_all = draws.drop_all < self.drop_all
        lost = {name: lost_all | (numbers < self.drop_each) for name, numbers in draws.drop_each.items()}
        return Conditions({**conditions, **self._swapped(conditions, draws)}).drop(lost)

    def _swapped(self, conditions: Conditions, draws: Draws) -> Conditions:
        """The streams of the video, of some samples those of the next sample."""
        if not self.swap_video:
            return Conditions()
        rows = torch.arange(len(draws.swap), device=draws.swap.device)
        told = sum(stream.mask.any(1) for name, stream in conditions.items() if name not in self.swapped) > 0
        swap = (draws.swap < self.swap_video) & told
        videos = Conditions({name: conditions[name] for name in self.swapped if name in conditions})
        return videos.index((rows + swap.long()) % len(rows))

    def _times(self, count: int, source: torch.Generator) -> Tensor:
        if self.time_sampler == "truncated_logit_normal":
            return truncated_logit_normal_times(count, generator=source)
        return logit_normal_times(count, self.time_mean, generator=source)

    def training_step(self, batch: ClipBatch | LatentBatch) -> Tensor:
        """Mean squared error of the velocity at random times, over the real frames of the batches of all processes."""
        ready = self._prepared(batch)
        draws = draw(
            ready.ids, self.seed, self.global_step, ready.latents, ready.lengths, self._times, ready.conditions
        )
        error, real = self._loss(ready, draws.noise, draws.times, self._perturbed(ready.conditions, draws))
        loss = error / mean_over_processes(real)
        self._log_loss(loss.detach(), len(batch))
        return loss

    def _log_loss(self, loss: Tensor, count: int) -> None:
        """Log the loss of a step.

        Lightning reads what the progress bar shows at every step, which would wait for a GPU; there the bar shows, as
        ``loss``, the loss of the step before.
        """
        self.log("train_loss", loss, prog_bar=not loss.is_cuda, batch_size=count)
        if loss.is_cuda:
            if self._shown is not None:
                self.log("loss", self._shown.get(), prog_bar=True, logger=False, batch_size=count)
            self._shown = HostCopy(loss)

    def validation_step(self, batch: ClipBatch | LatentBatch, batch_idx: int) -> None:
        """Mean squared error at fixed times, with the same noise in every validation."""
        ready = self._prepared(batch)
        noise = self.validation_noise(ready)
        # the mean is over the frames of all clips; Lightning's mean of these counts over processes drops fractions
        count = sum(ready.lengths) * self.trainer.world_size
        losses = []
        for time in VALIDATION_TIMES:
            error, real = self._loss(ready, noise, torch.full((len(batch),), time).to(noise), ready.conditions)
            loss = error / real
            self.log(f"val_loss_at_{time}", loss, batch_size=count, sync_dist=True)
            losses.append(loss)
        self.log("val_loss", torch.stack(losses).mean(), prog_bar=True, batch_size=count, sync_dist=True)
        if self.metrics and isinstance(batch, ClipBatch):
            self._evaluate(batch, list(self.render(ready.conditions, noise)))
        elif self.metrics and not self._told_of_clips and self.trainer.is_global_zero:
            self._told_of_clips = True
            LOG.warning(
                "metrics (%s) are not computed, because the validation data are features without clips: train on a "
                "manifest without features, or remove the metrics and measure the exported model with prismaudio score",
                ", ".join(self.metrics),
            )

    def dry_run(self, batch: LatentBatch, optimizer: Optimizer) -> Iterator[DryPhase]:
        """See :meth:`prismaudio.training.contracts.DryRuns.dry_run`."""
        yield DryPhase("forward")
        noise, times = torch.zeros_like(batch.latents), batch.latents.new_zeros(len(batch))
        error, real = self._loss(batch, noise, times, batch.conditions)
        loss = error / real
        yield DryPhase("backward")
        optimizer.zero_grad()
        loss.backward()
        yield DryPhase("optimizer", autocast=False)
        optimizer.step()

    def _loss(self, batch: LatentBatch, noise: Tensor, times: Tensor, conditions: Conditions) -> tuple[Tensor, Tensor]:
        """Squared error, summed over the real frames and averaged over the channels, and the number of real frames."""
        data, mask = batch.latents, batch.mask
        velocity = self.transformer(interpolate(data, noise, times), times, conditions, batch.padded_mask)
        error = (velocity - velocity_target(data, noise)).square().mean(1)
        return (error * mask).sum(), mask.sum().to(error)
