"""Base class of the stages that train the transformer: components, sharding, checkpoints, rendering."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from prismaudio.audio.level import leveled
from prismaudio.autoencoders.base import Autoencoder
from prismaudio.autoencoders.half import HalfPrecisionDecoder
from prismaudio.checkpoints import Configured
from prismaudio.data.matching import log_streams
from prismaudio.encoders.base import Encoder, as_components, by_stream
from prismaudio.errors import CheckpointError, RecipeError
from prismaudio.flow.times import logit_normal_times
from prismaudio.metrics.base import AudioMetric
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.models.graphs import GraphedTransformer
from prismaudio.pretrained import load_parts
from prismaudio.samplers.base import Sampler, Velocity
from prismaudio.samplers.euler import EulerSampler
from prismaudio.samplers.guidance import guided_velocity
from prismaudio.scorers import OF_MANY, MetricScorer, Scorer, Segment, evaluate
from prismaudio.training.clip_features import ClipFeatures
from prismaudio.training.contracts import AveragedTask
from prismaudio.training.draws import draw
from prismaudio.training.finite import guards
from prismaudio.training.lora import Lora, add_adapters, merged, plain_transformer, remove_adapters, save_adapters
from prismaudio.training.schedule import CosineWithWarmup, configure_optimizer
from prismaudio.training.sharding import (
    checkpoint_activations,
    compile_forwards,
    shard,
    shard_whole,
    unsharded,
    whole_state,
)
from prismaudio.types import ClipBatch, Conditions, Features, LatentBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning.pytorch import Callback

    from prismaudio.scorers import Score
    from prismaudio.types import Clip

LOG = logging.getLogger("prismaudio.training")


class TransformerTask(AveragedTask):
    """Base task that trains a diffusion transformer, in one or more processes, in full or by low-rank adapters.

    Args:
        transformer: The network to train; None for that of ``pretrained``.
        encoders: Encoder of each stream of the network, by stream name; None for those of ``pretrained``.
        autoencoder: Autoencoder of the latents; None for that of ``pretrained``, if it has one.
        pretrained: An installed model, or a model folder, that provides the components not given here; its components
            that the task does not use, such as the planner, are copied to the export.
        optimizer: Optimizer, such as ``{class_path: AdamW, init_args: {lr: 1.0e-4}}``; parameters of at most one
            dimension have no weight decay. None for AdamW with learning rate 1e-3, weight decay 0.01 and betas
            (0.9, 0.98), in ``FastGrpoTask`` with 1e-5, 1e-4 and (0.9, 0.999).
        lr_scheduler: Learning-rate schedule, stepped with the optimizer; None for a constant rate.
        metrics: Metrics by name, computed in validation on audio that is rendered with the reference plans.
        sampler: Sampler in validation; None for that of ``pretrained``, or ``EulerSampler``.
        guidance: Scale of classifier-free guidance; 1 disables it.
        lora: Train low-rank adapters instead of the weights; None to train the weights.
        compile: Compile the blocks with ``torch.compile``.
        gradient_checkpointing: Recompute activations in the backward pass instead of storing them.
        seed: Seed of all random numbers.
    """

    adamw: ClassVar[Mapping[str, Any]] = {"lr": 1e-3, "weight_decay": 0.01, "betas": (0.9, 0.98)}
    """Arguments of AdamW where no optimizer is given."""
    steps_per_batch = 1
    """Optimizer steps with each batch."""

    def __init__(
        self,
        transformer: DiffusionTransformer | None = None,
        encoders: dict[str, Encoder] | None = None,
        autoencoder: Autoencoder | None = None,
        pretrained: str | None = None,
        optimizer: OptimizerCallable | None = None,
        lr_scheduler: LRSchedulerCallable | None = lambda optimizer: CosineWithWarmup(optimizer, warmup_steps=200),
        metrics: dict[str, AudioMetric] | None = None,
        sampler: Sampler | None = None,
        guidance: float = 2.0,
        lora: Lora | None = None,
        compile: bool = False,  # noqa: A002, FBT001, FBT002 - as torch names it
        gradient_checkpointing: bool = False,  # noqa: FBT001, FBT002
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._given = load_parts(pretrained) if pretrained else {}
        self.transformer = transformer or _part(self._given, "transformer")
        if unknown := (encoders or {}).keys() - self.transformer.streams.keys():
            known = ", ".join(self.transformer.streams) or "none"
            named = ", ".join(sorted(unknown))
            raise RecipeError(f"encoders name {named}, but the streams of the transformer are {known}")
        self.encoders = encoders or by_stream(self._given)
        self.autoencoder: Autoencoder | None
        # not a submodule, so that its frozen weights stay out of checkpoints
        object.__setattr__(self, "autoencoder", autoencoder or self._given.get("autoencoder"))
        if self.autoencoder is not None:
            self.autoencoder.requires_grad_(requires_grad=False).eval()
        self.metrics = nn.ModuleDict(metrics or {})
        self.scorers: list[Scorer] = [
            MetricScorer(m, f"val_{name}", per_item=False) for name, m in (metrics or {}).items()
        ]
        self.sampler, self.guidance = sampler or self._given.get("sampler") or EulerSampler(), guidance
        self.guidance_interval = (0.0, 1.0)
        self.optimizer, self.lr_scheduler = optimizer, lr_scheduler
        self.lora, self.compile_blocks, self.seed = lora, compile, seed
        self.gradient_checkpointing = gradient_checkpointing
        self.transformer.requires_grad_(requires_grad=True).train()
        if lora is not None:
            add_adapters(self.transformer, lora)
            self.strict_loading = False
        self.clips = ClipFeatures(self.autoencoder, self.encoders)
        self._graphs = GraphedTransformer(self.transformer)  # of rendering, which needs no gradients
        self._half_decoder: Autoencoder | None
        object.__setattr__(self, "_half_decoder", None)
        self._configured = False
        self._skipped: dict[str, str] = {}  # why a clip of this validation was not measured, by metric
        self._explained: set[str] = set()
        self._cautioned: set[str] = set()
        self._has_evaluated = False

    # Set-up ------------------------------------------------------------------------------------------------------
    def setup(self, stage: str) -> None:
        """Move the autoencoder to the device; with bf16-mixed on a GPU, it decodes in half precision.

        Raises:
            RecipeError: The precision would round weights, latents and positions.
        """
        super().setup(stage)
        if self.autoencoder is not None:
            device = self.trainer.strategy.root_device
            self.autoencoder.to(device)
            if device.type == "cuda" and self.trainer.precision == "bf16-mixed":
                self.decode_in_half()

    def decode_in_half(self) -> None:
        """Decode with a copy of the autoencoder in half precision, if there is one that can."""
        if self.autoencoder is not None and self.autoencoder.half_precision:
            decoder = HalfPrecisionDecoder(self.autoencoder)
            if self.compile_blocks:
                decoder.compile_decoder()
            object.__setattr__(self, "_half_decoder", decoder)

    def teardown(self, stage: str) -> None:
        """Free what rendering holds on a GPU."""
        self._graphs.clear()
        object.__setattr__(self, "_half_decoder", None)

    def on_fit_start(self) -> None:
        """Log the hyper-parameters, and which streams have no encoder."""
        super().on_fit_start()
        if self.encoders and self.trainer.is_global_zero:
            log_streams(set(self.encoders), self.stream_dims, "encoders")

    def configure_model(self) -> None:
        """Shard and compile the transformer and checkpoint its activations, once."""
        if self._configured:
            return
        self._configured = True
        blocks = list(self.transformer.blocks)
        if self.compile_blocks:
            compile_forwards(blocks)
        if self.gradient_checkpointing:
            checkpoint_activations(blocks)
        if self.device_mesh is not None:
            mesh = self.device_mesh["data_parallel"]
            shard(self.transformer, blocks, mesh)
            if self.average is not None:
                shard_whole(self.average, mesh)

    def configure_optimizers(self) -> Any:
        """The optimizer and its schedule, see :func:`prismaudio.training.schedule.configure_optimizer`."""
        return configure_optimizer(
            self, self.optimizer, self.lr_scheduler, defaults=self.adamw, steps_per_batch=self.steps_per_batch
        )

    def configure_callbacks(self) -> list[Callback]:
        """The guard against losses that are not finite."""
        return guards(self.trainer)

    @property
    def keeps_frozen(self) -> bool:
        """Without adapters; with them, the frozen weights are in the model folder."""
        return self.lora is None

    def components(self) -> dict[str, Any]:
        """The trained and the given components, by name in a model folder; every process must call this."""
        transformer: nn.Module = self.transformer
        if self.lora is not None or self.device_mesh is not None:
            state = whole_state(self.transformer)
            if self.global_rank == 0:
                transformer = plain_transformer(self.transformer, merged(state, self.lora) if self.lora else state)
        made: dict[str, Any] = {"transformer": transformer, **as_components(self.encoders), "sampler": self.sampler}
        codec: Any = self.autoencoder
        if isinstance(codec, Configured):  # it can be rebuilt from its configuration
            made["autoencoder"] = codec
        return {**self._given, **made}

    def save_adapters(self, folder: Path, *, first: bool = True) -> None:
        """Write the adapters, or remove those of other weights; every process calls this, and the first one writes."""
        if self.lora is None:
            if first:
                remove_adapters(folder)
            return
        state = whole_state(self.transformer)
        trained = {name for name, weight in self.transformer.named_parameters() if weight.requires_grad}
        if first:
            save_adapters(folder, state, self.lora, trained)

    # Batches -----------------------------------------------------------------------------------------------------
    def _prepared(self, batch: ClipBatch | LatentBatch) -> LatentBatch:
        """Latents and conditions of a batch, with every stream of the network; a missing stream is empty.

        A stream that is absent would leave parameters without a gradient, which processes cannot average.
        """
        if isinstance(batch, ClipBatch):
            batch = self.clips.batch(batch, self.device)
        conditions = self._complete(batch.conditions, len(batch))
        return LatentBatch(batch.ids, batch.latents.float(), batch.mask, conditions, batch.lengths)

    def _complete(self, conditions: Conditions, count: int) -> Conditions:
        streams = dict(conditions)
        for name, conditioner in self.transformer.streams.items():
            if name not in streams or not streams[name].values.shape[1]:
                values = torch.zeros(count, 1, conditioner.dim, device=self.device)
                streams[name] = Features(values, torch.zeros(values.shape[:2], dtype=torch.bool, device=values.device))
        return Conditions(streams)

    # Audio -------------------------------------------------------------------------------------------------------
    def validation_noise(self, batch: LatentBatch) -> Tensor:
        """Noise ``(batch, channels, frames)`` that depends on the seed and the sample's name alone.

        It is drawn on the CPU, so that it is the same on every device.
        """
        like = torch.empty(batch.latents.shape)
        return draw(batch.ids, self.seed, -1, like, batch.lengths, _some_times).noise.to(batch.latents)

    def velocity(
        self,
        conditions: Conditions,
        n_frames: int,
        network: DiffusionTransformer | None = None,
        *,
        mask: Tensor | None = None,
        cache: bool = True,
    ) -> Velocity:
        """The guided velocity of ``n_frames`` frames, of the transformer or of another network like it.

        Everything that the task samples or replays is a call of this. For ``mask`` and ``cache`` see
        :func:`prismaudio.samplers.guidance.guided_velocity`.
        """
        used, interval = network or self._graphs, self.guidance_interval
        return guided_velocity(used, conditions, n_frames, self.guidance, interval=interval, mask=mask, cache=cache)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents ``(batch, channels, frames)`` without padding to audio ``(batch, 2, samples)``.

        Everything that the task renders is a call of this.
        """
        with torch.autocast(latents.device.type, enabled=False):
            return self._decoder.decode(latents)

    @torch.no_grad()
    def render(self, conditions: Conditions, noise: Tensor) -> Tensor:
        """Render audio ``(batch, 2, samples)`` from conditions and noise; all frames are real, without padding."""
        with unsharded(self.transformer):
            velocity = self.velocity(conditions, noise.shape[-1])
            latents = self.sampler.sample(velocity, noise).float()
        return self.decode(latents)

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
        """Name, reference audio and rendered audio ``(2, samples)``, and sample rate, of the first clips of a batch.

        Rendered audio is limited to full scale, as in generation.
        """
        ready = self._prepared(batch)
        noise, rate_hz = self.validation_noise(ready), self._decoder.sample_rate_hz
        samples = []
        for row, length in enumerate(ready.lengths[:count]):
            this = torch.tensor([row], device=noise.device)
            reference = self._reference_audio(batch, ready, row, length)
            made = leveled(self.render(ready.conditions.index(this), noise[this, :, :length]))[0].cpu()
            samples.append((ready.ids[row], reference, made, rate_hz))
        return samples

    def _reference_audio(self, batch: ClipBatch | LatentBatch, ready: LatentBatch, row: int, length: int) -> Tensor:
        """The reference audio ``(2, samples)`` of a clip, as the autoencoder reconstructs it."""
        return self._decoder.decode(ready.latents[row : row + 1, :, :length])[0].float().cpu()

    def caption(self, batch: ClipBatch | LatentBatch, row: int, audio: Tensor) -> str:
        """Caption of the audio ``(2, samples)`` of a clip of a batch: its plan, or its name."""
        return str(batch.plans[row]) if isinstance(batch, ClipBatch) else batch.ids[row]

    def _evaluate(self, batch: ClipBatch, audio: Sequence[Tensor]) -> None:
        """Evaluate rendered audio of the clips, ``(2, samples)`` each, with all scorers, and log the metrics."""
        self._has_evaluated = True
        rate_hz = self._decoder.sample_rate_hz
        items = [
            [Segment(waveform, rate_hz, clip, plan)]
            for waveform, clip, plan in zip(audio, batch.clips, batch.plans, strict=True)
        ]
        for clip, scores in zip(batch.clips, evaluate(items, self.scorers, strict=True), strict=True):
            self._log_scores(clip, scores)
            for name in self.metrics:
                if (reason := scores[f"val_{name}"].reason) != OF_MANY:
                    self._skipped[name] = f"clip {clip.id}: {reason}"
        for name, metric in self.metrics.items():
            self.log(f"val_{name}", metric, batch_size=len(batch))  # type: ignore[arg-type]

    def on_validation_epoch_end(self) -> None:
        """Log once why a metric has no value, or what its reader must know."""
        skipped, self._skipped = self._skipped, {}
        evaluated, self._has_evaluated = self._has_evaluated, False
        if not evaluated or self.trainer.sanity_checking:
            return
        for name, metric in self.metrics.items():  # in every process, because a metric gathers to compute
            value = cast("AudioMetric", metric).compute()
            is_new = self.trainer.is_global_zero and name in skipped and name not in self._explained
            if is_new and bool(value.isnan().any()):
                self._explained.add(name)
                LOG.warning("val_%s is NaN, because no clip was measured (%s)", name, skipped[name])
            measured = cast("AudioMetric", metric)
            if name in self._cautioned or type(measured).caution is AudioMetric.caution:
                continue
            with measured.sync_context():  # all processes read the same, so that they go on alike
                caution = measured.caution()
            if caution:
                self._cautioned.add(name)
                if self.trainer.is_global_zero:
                    LOG.warning("val_%s: %s", name, caution)

    def _log_scores(self, clip: Clip, scores: Mapping[str, Score]) -> None:
        """Accumulate the scores of a clip; metrics accumulate theirs themselves."""

    @property
    def decoder_in_use(self) -> Autoencoder | None:
        """The autoencoder, or its copy in half precision where that decodes; None without one."""
        return self._half_decoder or self.autoencoder

    @property
    def _decoder(self) -> Autoencoder:
        if self.autoencoder is None:
            raise CheckpointError(
                "rendering needs an autoencoder: set autoencoder, or pretrained to a model folder that has one"
            )
        return self._half_decoder or self.autoencoder


def _some_times(count: int, source: torch.Generator) -> Tensor:
    return logit_normal_times(count, generator=source)


def _part(given: Mapping[str, Any], name: str) -> Any:
    if name not in given:
        raise CheckpointError(f"the task has no {name}: set {name}, or pretrained to a model folder that has one")
    return given[name]
