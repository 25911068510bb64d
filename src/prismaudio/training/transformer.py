"""What the stages that train the transformer share: its parts, its distribution, its checkpoints, its sound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from prismaudio.audio.level import leveled
from prismaudio.autoencoders.base import Autoencoder
from prismaudio.checkpoints import Configured
from prismaudio.data.matching import log_streams
from prismaudio.encoders.base import Encoder, as_components, by_stream
from prismaudio.errors import CheckpointError, RecipeError
from prismaudio.flow.randomness import generator
from prismaudio.flow.times import logit_normal_times
from prismaudio.metrics.base import AudioMetric
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.pretrained import find_folder, load_parts
from prismaudio.samplers.base import Sampler, Velocity
from prismaudio.samplers.euler import EulerSampler
from prismaudio.samplers.guidance import guided_velocity
from prismaudio.scorers import MetricScorer, Scorer, Segment, evaluate
from prismaudio.training.clip_features import ClipFeatures
from prismaudio.training.contracts import AveragedTask
from prismaudio.training.draws import draw
from prismaudio.training.finite import guards
from prismaudio.training.lora import Lora, add_adapters, merged, plain_transformer, save_adapters
from prismaudio.training.schedule import CosineSchedule, Schedule, scheduled_adamw
from prismaudio.training.sharding import (
    compile_forwards,
    recompute_activations,
    shard,
    shard_whole,
    unsharded,
    whole_state,
)
from prismaudio.types import ClipBatch, Conditions, Features, LatentBatch
from prismaudio.weight_files import listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightning.pytorch import Callback

    from prismaudio.scorers import Score
    from prismaudio.types import Clip


class TransformerTask(AveragedTask):
    """Trains a diffusion transformer, in one process or spread over many, whole or through adapters.

    Args:
        transformer: The network to train; None to take it from ``pretrained``.
        encoders: Encoder of each stream that the network is told, by stream name; None to take them from there too.
        autoencoder: Autoencoder of the latents; None to take it from there too, if it has one.
        pretrained: An installed model, or a model folder, with the components that are not given here; what the task
            does not need is passed on to the export.
        learning_rate: Peak learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
        betas: Memory of AdamW's averages.
        schedule: How the learning rate goes.
        metrics: Metrics by name; in validation they hear the sound of every clip's plan. None to hear nothing.
        sampler: How sound is sampled.
        guidance: How closely it follows the plan.
        lora: Train low-rank adapters instead of the weights; None to train the weights.
        compile: Compile the blocks with ``torch.compile``.
        recompute: Compute activations again in the backward pass instead of keeping them.
        seed: Seed of everything random.
    """

    passes = 1
    """Steps of the optimiser with each batch."""

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
        metrics: dict[str, AudioMetric] | None = None,
        sampler: Sampler | None = None,
        guidance: float = 2.0,
        lora: Lora | None = None,
        compile: bool = False,  # noqa: A002, FBT001, FBT002 - the name that everybody knows
        recompute: bool = False,  # noqa: FBT001, FBT002
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._given = load_parts(find_folder(pretrained)) if pretrained else {}
        self.transformer = transformer or _part(self._given, "transformer")
        if unknown := (encoders or {}).keys() - self.transformer.streams.keys():
            known = ", ".join(self.transformer.streams) or "none"
            named = ", ".join(sorted(unknown))
            raise RecipeError(f"encoders of {named}, and the transformer has no such stream; its streams are {known}")
        self.encoders = encoders or by_stream(self._given)
        self.autoencoder: Autoencoder | None
        # not a part of the task, so that its weights, which nobody trains, stay out of checkpoints
        object.__setattr__(self, "autoencoder", autoencoder or self._given.get("autoencoder"))
        if self.autoencoder is not None:
            self.autoencoder.requires_grad_(requires_grad=False).eval()
        self.metrics = nn.ModuleDict(metrics or {})
        self.scorers: list[Scorer] = [
            MetricScorer(m, f"val_{name}", apart=False) for name, m in (metrics or {}).items()
        ]
        self.sampler, self.guidance = sampler or self._given.get("sampler") or EulerSampler(), guidance
        self.guidance_interval = (0.0, 1.0)
        self.learning_rate, self.weight_decay, self.betas = learning_rate, weight_decay, betas
        self.schedule = schedule or CosineSchedule()
        self.lora, self.compile_blocks, self.recompute, self.seed = lora, compile, recompute, seed
        self.transformer.requires_grad_(requires_grad=True).train()
        if lora is not None:
            add_adapters(self.transformer, lora)
            self.strict_loading = False
        self.clips = ClipFeatures(self.autoencoder, self.encoders)
        self._configured = False

    # Set-up ------------------------------------------------------------------------------------------------------
    def setup(self, stage: str) -> None:
        """Bring the autoencoder to the device.

        Raises:
            RecipeError: The precision would round weights, latents and positions.
        """
        if self.trainer.precision in ("16-true", "bf16-true", "64-true"):
            raise RecipeError(f"precision {self.trainer.precision} is not for training; expected bf16-mixed or 32-true")
        if self.autoencoder is not None:
            self.autoencoder.to(self.trainer.strategy.root_device)

    def on_fit_start(self) -> None:
        """Log which streams have no encoder."""
        if self.encoders and self.trainer.is_global_zero:
            log_streams(set(self.encoders), self.stream_dims, "encoders")

    def configure_model(self) -> None:
        """Spread, compile and shrink the transformer, once."""
        if self._configured:
            return
        self._configured = True
        blocks = list(self.transformer.blocks)
        if self.compile_blocks:
            compile_forwards(blocks)
        if self.recompute:
            recompute_activations(blocks)
        if self.device_mesh is not None:
            mesh = self.device_mesh["data_parallel"]
            shard(self.transformer, blocks, mesh)
            if self.average is not None:
                shard_whole(self.average, mesh)

    def configure_optimizers(self) -> Any:
        """AdamW with the schedule."""
        return scheduled_adamw(self, self.learning_rate, self.weight_decay, self.schedule, self.betas, self.passes)

    def configure_callbacks(self) -> list[Callback]:
        """The guard against losses that are no numbers."""
        return guards(self.trainer)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """With adapters, keep only what was trained: what was not is in the model folder; shards are kept whole."""
        if self.lora is not None and self.device_mesh is None:
            trained = {name for name, weight in self.named_parameters() if weight.requires_grad}
            state = checkpoint["state_dict"]
            checkpoint["state_dict"] = {k: v for k, v in state.items() if k in trained or k.startswith("average.")}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """See that all that is trained is there: where weights are frozen, loading leaves alone what is not.

        Raises:
            CheckpointError: It is not.
        """
        if self.lora is not None and self.device_mesh is None:
            trained = {
                name for name, weight in self.transformer.named_parameters(prefix="transformer") if weight.requires_grad
            }
            if missing := sorted(trained - checkpoint["state_dict"].keys()):
                named = listed([f"missing {name}" for name in missing])
                raise CheckpointError(f"the checkpoint has no such adapters as the recipe wants: {named}")

    def components(self) -> dict[str, Any]:
        """What this stage makes and what it was given, by name in a model folder; every process must call this."""
        transformer: nn.Module = self.transformer
        if self.lora is not None or self.device_mesh is not None:
            state = whole_state(self.transformer)
            if self.global_rank == 0:
                transformer = plain_transformer(self.transformer, merged(state, self.lora) if self.lora else state)
        made: dict[str, Any] = {"transformer": transformer, **as_components(self.encoders), "sampler": self.sampler}
        codec: Any = self.autoencoder
        if isinstance(codec, Configured):  # one that can be made again
            made["autoencoder"] = codec
        return {**self._given, **made}

    def save_adapters(self, folder: Path, *, first: bool = True) -> None:
        """Write the adapters, if there are any; every process calls this, and the first one writes."""
        if self.lora is None:
            return
        state = whole_state(self.transformer)
        trained = {name for name, weight in self.transformer.named_parameters() if weight.requires_grad}
        if first:
            save_adapters(folder, state, self.lora, trained)

    # Batches -----------------------------------------------------------------------------------------------------
    def _prepared(self, batch: ClipBatch | LatentBatch) -> LatentBatch:
        """Latents, and conditions in which every stream of the network is there, be it empty.

        A stream that is not there would leave parameters without a gradient, which processes cannot average.
        """
        if isinstance(batch, ClipBatch):
            batch = self.clips.batch(batch, self.device)
        return LatentBatch(batch.ids, batch.latents.float(), batch.mask, self._complete(batch.conditions, len(batch)))

    def _complete(self, conditions: Conditions, count: int) -> Conditions:
        streams = dict(conditions)
        for name, conditioner in self.transformer.streams.items():
            if name not in streams or not streams[name].values.shape[1]:
                values = torch.zeros(count, 1, conditioner.dim, device=self.device)
                streams[name] = Features(values, torch.zeros(values.shape[:2], dtype=torch.bool, device=values.device))
        return Conditions(streams)

    def on_train_batch_start(self, *_: Any) -> None:
        """Let what still draws by itself, such as dropout, go on after a pause as it would have without one."""
        source = generator(self.seed, self.global_step, self.global_rank)
        torch.manual_seed(int(torch.randint(2**62, (), generator=source)))

    # Sound -------------------------------------------------------------------------------------------------------
    def validation_noise(self, batch: LatentBatch) -> Tensor:
        """Noise ``(batch, channels, frames)`` that is always the same for a sample."""
        return draw(batch.ids, self.seed, -1, batch.latents, batch.mask, _some_times).noise

    def velocity(
        self,
        conditions: Conditions,
        n_frames: int,
        network: DiffusionTransformer | None = None,
        *,
        once: bool = True,
    ) -> Velocity:
        """The guided velocity of ``n_frames`` frames, of the transformer or of another network like it.

        For ``once`` see :func:`prismaudio.samplers.guidance.guided_velocity`.
        """
        interval = self.guidance_interval
        network = network or self.transformer
        return guided_velocity(network, conditions, n_frames, self.guidance, interval=interval, once=once)

    @torch.no_grad()
    def render(self, conditions: Conditions, noise: Tensor) -> Tensor:
        """Audio ``(batch, 2, samples)`` that the network makes of conditions; all frames are taken for real."""
        with unsharded(self.transformer):
            velocity = self.velocity(conditions, noise.shape[-1])
            latents = self.sampler.sample(velocity, noise).float()
        with torch.autocast(noise.device.type, enabled=False):
            return self._decoder.decode(latents)

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        return self.transformer.latent_channels

    @property
    def stream_dims(self) -> dict[str, int]:
        """Dim of the features of each stream of the transformer."""
        return {name: conditioner.dim for name, conditioner in self.transformer.streams.items()}

    @property
    def can_render(self) -> bool:
        """Whether it has an autoencoder."""
        return self.autoencoder is not None

    @torch.no_grad()
    def listening_samples(self, batch: ClipBatch | LatentBatch, count: int) -> list[tuple[str, Tensor, Tensor, int]]:
        """Name, true sound and rendered audio ``(2, samples)``, and sample rate, of the first clips of a batch.

        What was rendered is lowered where it is too loud to be played, as generation does.
        """
        ready = self._prepared(batch)
        noise, rate_hz = self.validation_noise(ready), self._decoder.sample_rate_hz
        samples = []
        for row, length in enumerate(ready.mask.sum(1).tolist()[:count]):
            this = torch.tensor([row], device=noise.device)
            true = self._true_sound(batch, ready, row, length)
            made = leveled(self.render(ready.conditions.index(this), noise[this, :, :length]))[0].cpu()
            samples.append((ready.ids[row], true, made, rate_hz))
        return samples

    def _true_sound(self, batch: ClipBatch | LatentBatch, ready: LatentBatch, row: int, length: int) -> Tensor:
        """The true audio ``(2, samples)`` of a clip, as the autoencoder gives it back."""
        return self._decoder.decode(ready.latents[row : row + 1, :, :length])[0].float().cpu()

    def caption(self, batch: ClipBatch | LatentBatch, row: int, sound: Tensor) -> str:
        """What to say of the audio ``(2, samples)`` that was made for a clip of a batch: its plan, or its name."""
        return str(batch.plans[row]) if isinstance(batch, ClipBatch) else batch.ids[row]

    def _measure(self, batch: ClipBatch, sounds: Sequence[Tensor]) -> None:
        """Evaluate what the network makes of the plans: audio ``(2, samples)`` of any lengths."""
        rate_hz = self._decoder.sample_rate_hz
        items = [
            [Segment(sound, rate_hz, clip, plan)]
            for sound, clip, plan in zip(sounds, batch.clips, batch.plans, strict=True)
        ]
        for clip, scores in zip(batch.clips, evaluate(items, self.scorers, strict=True), strict=True):
            self._log_scores(clip, scores)
        for name, metric in self.metrics.items():
            self.log(f"val_{name}", metric, batch_size=len(batch))  # type: ignore[arg-type]

    def _log_scores(self, clip: Clip, scores: Mapping[str, Score]) -> None:
        """Note the scores of one clip; metrics add them up by themselves."""

    @property
    def _decoder(self) -> Autoencoder:
        if self.autoencoder is None:
            raise CheckpointError("sound needs an autoencoder: give one, or the model folder that has it as pretrained")
        return self.autoencoder


def _some_times(count: int, source: torch.Generator) -> Tensor:
    return logit_normal_times(count, generator=source)


def _part(given: Mapping[str, Any], name: str) -> Any:
    if name not in given:
        raise CheckpointError(f"the task has no {name}: give one, or the model folder that has it as pretrained")
    return given[name]
