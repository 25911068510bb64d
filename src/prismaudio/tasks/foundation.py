"""The first stage: the flow-matching foundation model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from prismaudio.autoencoders.base import Autoencoder
from prismaudio.checkpoints import load_components
from prismaudio.encoders.base import Encoder
from prismaudio.errors import CheckpointError
from prismaudio.flow.path import interpolate, velocity_target
from prismaudio.flow.times import logit_normal_times
from prismaudio.metrics.base import SoundMetric
from prismaudio.metrics.truth import Truth
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.samplers.base import Sampler
from prismaudio.samplers.euler import EulerSampler
from prismaudio.samplers.guidance import guided_velocity
from prismaudio.tasks.schedule import adamw_with_cosine
from prismaudio.types import Conditions, Features

if TYPE_CHECKING:
    from prismaudio.cot.plan import Plan
    from prismaudio.types import Clip, ClipBatch

VALIDATION_TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)


class FoundationTask(LightningModule):
    """Trains a diffusion transformer to turn noise into the latents of a clip's sound.

    Conditions are dropped in two ways, so that guidance has an unconditional branch that was really trained: all of
    a sample's together, and each stream by itself. In some samples the video is another clip's, so that what the
    plan says wins over what is seen, and editing a section edits the sound.

    Args:
        transformer: The network to train; None to take it from ``pretrained``.
        encoders: Encoder of each stream that the network is told, by stream name; None to take them from there too.
        autoencoder: Autoencoder of the latents; None to take it from there too.
        pretrained: Model folder with the components that are not given here.
        learning_rate: Peak learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
        warmup_steps: Steps of linear warm-up.
        drop_all: Chance that a sample loses all conditions.
        drop_each: Chance that a sample loses a stream, for each stream by itself.
        swap_video: Chance that a sample sees the video of another clip.
        time_mean: Mean of the normal numbers whose logistic are the training times; above 0 favours noise.
        metrics: Metrics by name; in validation they hear the sound of every clip's true plan. None to hear nothing.
        sampler: How that sound is sampled.
        guidance: How closely it follows the plan.
    """

    def __init__(
        self,
        transformer: DiffusionTransformer | None = None,
        encoders: dict[str, Encoder] | None = None,
        autoencoder: Autoencoder | None = None,
        pretrained: str | None = None,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.01,
        warmup_steps: int = 200,
        drop_all: float = 0.1,
        drop_each: float = 0.1,
        swap_video: float = 0.4,
        time_mean: float = 0.0,
        metrics: dict[str, SoundMetric] | None = None,
        sampler: Sampler | None = None,
        guidance: float = 2.0,
    ) -> None:
        super().__init__()
        given = load_components(Path(pretrained)) if pretrained else {}
        self.transformer = (transformer or _part(given, "transformer")).requires_grad_(requires_grad=True)
        self.encoders = encoders or {k.removesuffix("_encoder"): v for k, v in given.items() if k.endswith("_encoder")}
        self.autoencoder = (autoencoder or _part(given, "autoencoder")).requires_grad_(requires_grad=False)
        self.metrics = nn.ModuleDict(metrics or {})
        self.sampler, self.guidance = sampler or EulerSampler(), guidance
        self.learning_rate, self.weight_decay, self.warmup_steps = learning_rate, weight_decay, warmup_steps
        self.drop_all, self.drop_each, self.swap_video, self.time_mean = drop_all, drop_each, swap_video, time_mean
        self._latents: dict[str, Tensor] = {}
        self._video: dict[str, Tensor] = {}

    def components(self) -> dict[str, Any]:
        """What this stage makes, by its name in a model folder."""
        encoders = {f"{stream}_encoder": encoder for stream, encoder in self.encoders.items()}
        return {"transformer": self.transformer, **encoders, "sampler": self.sampler}

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine decay."""
        return adamw_with_cosine(self, self.learning_rate, self.weight_decay, self.warmup_steps)

    # Batches -----------------------------------------------------------------------------------------------------
    @torch.no_grad()
    def latents(self, clips: list[Clip]) -> Tensor:
        """Latents ``(batch, channels, frames)`` of the clips' sound; each clip is encoded once."""
        for clip in clips:
            if clip.id not in self._latents and clip.audio is not None:
                self._latents[clip.id] = self.autoencoder.encode(clip.audio[None])[0].half()
        return torch.stack([self._latents[clip.id] for clip in clips]).to(self.device).float()

    @torch.no_grad()
    def conditions(self, clips: list[Clip], plans: list[Plan]) -> Conditions:
        """Conditions of a batch; features of pictures are computed once for each clip."""
        streams = {}
        for name, encoder in self.encoders.items():
            if name in ("video", "sync"):
                rows = [self._seen(name, encoder, clip, plan) for clip, plan in zip(clips, plans, strict=True)]
            else:
                rows = [encoder.encode(clip, plan) for clip, plan in zip(clips, plans, strict=True)]
            streams[name] = Features.pad(rows)
        return Conditions(**streams).to(self.device)

    def _seen(self, stream: str, encoder: Encoder, clip: Clip, plan: Plan) -> Tensor:
        key = f"{stream}/{clip.id}"
        if key not in self._video:
            self._video[key] = encoder.encode(clip, plan).half().cpu()
        return self._video[key].float()

    def _perturbed(self, conditions: Conditions) -> Conditions:
        """Conditions with video swapped between samples and streams dropped."""
        batch = len(next(s.mask for s in vars(conditions).values() if s is not None))
        chance = torch.rand(batch, device=self.device)
        lost_all = chance < self.drop_all
        swapped = (torch.rand(batch, device=self.device) < self.swap_video).long()
        rows = torch.arange(batch, device=self.device)
        other = conditions.index((rows + swapped) % batch)
        lost = {name: lost_all | (torch.rand(batch, device=self.device) < self.drop_each) for name in self.encoders}
        mixed = {**vars(conditions), "video": other.video, "sync": other.sync}
        return Conditions(**mixed).drop(**lost)

    # Steps -------------------------------------------------------------------------------------------------------
    def training_step(self, batch: ClipBatch) -> Tensor:
        """Mean square error of the velocity at random times."""
        data = self.latents(batch.clips)
        conditions = self._perturbed(self.conditions(batch.clips, batch.plans))
        times = logit_normal_times(len(data), self.time_mean).to(data)
        loss = self._loss(data, torch.randn_like(data), times, conditions)
        self.log("train_loss", loss.detach(), prog_bar=True, batch_size=len(batch))
        return loss

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """The same error at fixed times, with the same noise in every epoch."""
        data = self.latents(batch.clips)
        conditions = self.conditions(batch.clips, batch.plans)
        noise = torch.randn(data.shape, generator=torch.Generator().manual_seed(batch_idx)).to(data)
        losses = []
        for time in VALIDATION_TIMES:
            loss = self._loss(data, noise, torch.full((len(data),), time).to(data), conditions)
            self.log(f"val_loss_at_{time}", loss, batch_size=len(batch))
            losses.append(loss)
        self.log("val_loss", torch.stack(losses).mean(), prog_bar=True, batch_size=len(batch))
        if self.metrics:
            self._listen(batch, conditions, noise)

    def _listen(self, batch: ClipBatch, conditions: Conditions, noise: Tensor) -> None:
        """Let the metrics hear what the network makes of the true plans."""
        velocity = guided_velocity(self.transformer, conditions, noise.shape[-1], self.guidance)
        audio = self.autoencoder.decode(self.sampler.sample(velocity, noise))
        rate_hz = self.autoencoder.sample_rate_hz
        pairs = zip(batch.clips, batch.plans, strict=True)
        truths = [Truth.from_story(plan.story, clip.audio, rate_hz) for clip, plan in pairs]
        for name, metric in self.metrics.items():
            metric.update(audio, rate_hz, truths)  # type: ignore[operator]
            self.log(f"val_{name}", metric, batch_size=len(batch))  # type: ignore[arg-type]

    def _loss(self, data: Tensor, noise: Tensor, times: Tensor, conditions: Conditions) -> Tensor:
        velocity = self.transformer(interpolate(data, noise, times), times, conditions)
        return (velocity - velocity_target(data, noise)).square().mean()


def _part(given: dict[str, Any], name: str) -> Any:
    if name not in given:
        raise CheckpointError(f"the task has no {name}: give one, or the model folder that has it as pretrained")
    return given[name]
