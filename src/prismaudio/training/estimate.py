"""Memory and operations of a training step, counted on the device ``meta`` without data, weights or a GPU.

The step of the task itself is run, so that the tensors that are alive at each moment are those of training. What is
sharded over devices, or comes with several of them, is computed from the counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor

from prismaudio.autoencoders.oobleck import OobleckAutoencoder
from prismaudio.benchmarks.speed import N_TOKENS, RATES_HZ
from prismaudio.errors import RecipeError
from prismaudio.rewards.base import Reward
from prismaudio.training.contracts import DryPhase, DryRuns
from prismaudio.training.fast_grpo import FastGrpoTask
from prismaudio.training.memory import Counter, DeviceKernels
from prismaudio.training.schedule import make_optimizer
from prismaudio.training.transformer import TransformerTask
from prismaudio.types import LATENTS, Conditions, Features, LatentBatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch.optim import Optimizer

    from prismaudio.models.dit import DiffusionTransformer
    from prismaudio.rewards.base import Cache

HALVES: Mapping[str, torch.dtype] = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
"""Data type of the matrix products by ``trainer.precision``; float32 for others."""
SAMPLE_RATE_HZ, HOP = 44_100, 2048
"""Sample rate of the published autoencoder, and samples per latent frame, where a task has no autoencoder."""
META = torch.device("meta")


@dataclass(frozen=True)
class RunSettings:
    """How a task is trained.

    Args:
        kind: ``"cuda"`` or ``"cpu"``.
        devices: Processes, one for each device, on all nodes.
        sharded: Whether FSDP2 shards weights, averages, gradients and optimizer states over them.
        precision: ``trainer.precision``.
        n_clips: Clips per batch and process.
        duration_s: Their length in seconds.
        averaged: Whether there are moving averages of the trained weights.
    """

    kind: Literal["cuda", "cpu"] = "cuda"
    devices: int = 1
    sharded: bool = False
    precision: str = "32-true"
    n_clips: int = 1
    duration_s: float = 9.0
    averaged: bool = False


@dataclass
class PhaseCost:
    """What a part of a step takes on a device.

    Args:
        bytes: Peak memory besides what stays from step to step.
        flop: Floating-point operations: matrix products, convolutions and attention.
    """

    bytes: int = 0
    flop: float = 0.0


@dataclass
class StepCost:
    """What training takes on each device.

    Args:
        parameters: Numbers of parameters by kind.
        held: Bytes that stay from step to step, by what they are.
        phases: The parts of a step, by name.
        checkpoint_bytes: Size of a checkpoint.
    """

    parameters: dict[str, int]
    held: dict[str, int]
    phases: dict[str, PhaseCost] = field(default_factory=dict)
    checkpoint_bytes: int = 0

    @property
    def activations(self) -> int:
        """Bytes of activations and temporary tensors in the part of a step that has most of them."""
        return max((phase.bytes for phase in self.phases.values()), default=0)

    @property
    def peak_bytes(self) -> int:
        """Peak memory of tensors on a device."""
        return sum(self.held.values()) + self.activations

    @property
    def flop(self) -> float:
        """Floating-point operations of a step on a device."""
        return sum(phase.flop for phase in self.phases.values())


class PlaceholderReward(Reward):
    """Stands for a reward whose scores are not needed."""

    def score(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Cache]) -> Tensor:
        """Zeros ``(batch,)``."""
        return audio.new_zeros(len(audio))


def estimate_step(task: TransformerTask, settings: RunSettings) -> StepCost:
    """Count memory and operations of a step of a task; the task is moved to the device ``meta``, and cannot be trained.

    Args:
        task: The task, without a trainer.
        settings: How it is trained.

    Raises:
        RecipeError: The step of the task cannot be run without data.
    """
    if not isinstance(task, DryRuns):
        raise RecipeError(f"the step of {type(task).__name__} cannot be estimated; expected a task with dry_run")
    kernels = DeviceKernels(settings.kind, HALVES.get(settings.precision))
    _prepare(task, settings, kernels)
    trained = [weight for weight in task.parameters() if weight.requires_grad]
    if settings.averaged:
        task.start_average()
    optimizer = make_optimizer(trained, task.optimizer, task.adamw)
    for weight in trained:
        weight.grad = torch.zeros_like(weight)
    optimizer.step()  # creates its state
    optimizer.zero_grad()
    states = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    cost = _held(task, settings, states)
    known = [*task.parameters(), *task.buffers(), *_decoders(task), *_reference(task), *states]
    with Counter(known) as counter, kernels:
        for weight in trained:
            weight.grad = torch.zeros_like(weight)
        _count(task, example_batch(task, settings), optimizer, counter, kernels, cost)
    return cost


def example_batch(task: TransformerTask, settings: RunSettings) -> LatentBatch:
    """A batch of clips of one length on the device ``meta``, with features of every stream."""
    count, lengths = settings.n_clips, feature_lengths(task, settings.duration_s)
    n_frames = lengths.pop(LATENTS)
    streams = {}
    for name, length in lengths.items():
        values = torch.zeros(count, length, task.stream_dims[name], device=META)
        streams[name] = Features(values, torch.ones(count, length, dtype=torch.bool, device=META))
    latents = torch.zeros(count, task.latent_channels, n_frames, device=META)
    mask = torch.ones(count, n_frames, dtype=torch.bool, device=META)
    names = [f"clip {row}" for row in range(count)]
    return LatentBatch(names, latents, mask, Conditions(streams), (n_frames,) * count)


def feature_lengths(task: TransformerTask, duration_s: float) -> dict[str, int]:
    """Number of features of a clip by stream, and of its latents.

    The rate of a stream is that of its encoder, else that of the published encoders; without one it is a text.

    Args:
        task: The task.
        duration_s: Length of the clip in seconds.
    """
    codec = task.autoencoder
    rate_hz = SAMPLE_RATE_HZ / HOP if codec is None else codec.sample_rate_hz / codec.hop
    found = {LATENTS: max(1, round(rate_hz * duration_s))}
    for name in task.stream_dims:
        encoder = task.encoders.get(name)
        rate = RATES_HZ.get(name) if encoder is None else encoder.rate_hz
        found[name] = N_TOKENS if rate is None else max(1, round(rate * duration_s))
    return found


def storage_bytes(task: TransformerTask, duration_s: float) -> int:
    """Bytes of a clip's latents and features on disk, in half precision as ``prismaudio extract`` writes them."""
    dims = {LATENTS: task.latent_channels, **task.stream_dims}
    return sum(2 * length * dims[name] for name, length in feature_lengths(task, duration_s).items())


def n_bytes(tensor: Tensor) -> int:
    """Bytes of the elements of a tensor."""
    return tensor.numel() * tensor.element_size()


def _prepare(task: TransformerTask, settings: RunSettings, kernels: DeviceKernels) -> None:
    """Move a task to the device ``meta``, as a trainer would to its device."""
    one = SimpleNamespace(root_device=META)
    task.trainer = cast("Any", SimpleNamespace(world_size=settings.devices, global_rank=0, strategy=one))
    task.compile_blocks = False  # compiled blocks keep less
    task.to(META)
    if task.autoencoder is not None:
        task.autoencoder.to(META)
        if settings.kind == "cuda" and settings.precision == "bf16-mixed":
            task.decode_in_half()
        if settings.kind == "cpu" and isinstance(task.autoencoder, OobleckAutoencoder):
            task.autoencoder.in_tiles = True
    if isinstance(task, FastGrpoTask) and settings.kind == "cpu" and task.rollout_options.rollout_batch_size is None:
        task.rollout_options = replace(task.rollout_options, rollout_batch_size=1)  # what a CPU uses
    for block in task.transformer.blocks if task.gradient_checkpointing else ():
        block.forward = kernels.within(block.forward)
    task.configure_model()


def _held(task: TransformerTask, settings: RunSettings, states: Sequence[Tensor]) -> StepCost:
    """What stays on a device from step to step."""
    average = list(task.average.values()) if task.average is not None else []
    trained = [weight for weight in task.parameters() if weight.requires_grad]
    own = {id(weight) for weight in (*average, *trained)}
    frozen = [weight for weight in (*task.parameters(), *task.buffers()) if id(weight) not in own]
    decoders, reference = _decoders(task), _reference(task)
    shares = settings.devices if settings.sharded else 1
    held = {
        "trained weights": _total(trained) // shares,
        "frozen weights": _total(frozen) // shares,
        "moving averages": _total(average) // shares,
        "reference model": _total(reference) // shares,
        "autoencoder": _total(decoders),
        "gradients": _total(trained) // shares,
        "gradient buckets of DDP": _total(trained) if settings.devices > 1 and not settings.sharded else 0,
        "optimizer state": _total(states) // shares,
        "weights gathered by FSDP2": _gathered(task.transformer) if settings.sharded else 0,
    }
    parameters = {
        "trained": sum(weight.numel() for weight in trained),
        "frozen": sum(weight.numel() for weight in frozen),
        "autoencoder": 0 if task.autoencoder is None else sum(x.numel() for x in task.autoencoder.parameters()),
    }
    kept = _total(frozen) if task.keeps_frozen else 0
    return StepCost(parameters, held, checkpoint_bytes=_total(trained) + kept + _total(average) + _total(states))


def _count(
    task: Any, batch: LatentBatch, optimizer: Optimizer, counter: Counter, kernels: DeviceKernels, cost: StepCost
) -> None:
    """Run a step, and add memory and operations of its parts to a cost."""
    gradients = sum(map(n_bytes, (weight for group in optimizer.param_groups for weight in group["params"])))
    autocast, phase, before = kernels.autocast, DryPhase(""), 0

    def close() -> None:
        found = cost.phases.setdefault(phase.name, PhaseCost())
        found.bytes = max(found.bytes, counter.peak - gradients)
        found.flop += phase.repeats * (counter.flop - before)

    for following in task.dry_run(batch, optimizer):
        if phase.name:
            close()
            kernels.clear()
        # in automatic optimization, Lightning ends autocast after the forward pass
        kernels.caches = not (phase.name and task.automatic_optimization)
        kernels.autocast = autocast if following.autocast else None
        phase, before = following, counter.flop
        counter.reset_peak()
    close()


def _decoders(task: TransformerTask) -> list[Tensor]:
    """The weights of the autoencoder, and of its copy in half precision."""
    codec = task.decoder_in_use
    return [] if codec is None else [*codec.parameters(), *codec.buffers()]


def _reference(task: TransformerTask) -> list[Tensor]:
    """The weights of the copy of a reference model."""
    reference = task.reference if isinstance(task, FastGrpoTask) else None
    return [] if reference is None else reference.weights


def _gathered(network: DiffusionTransformer) -> int:
    """Weights and gradients outside of blocks, and those of two blocks, of which the second is fetched ahead."""
    blocks = [_total(block.parameters()) for block in network.blocks]
    trained = [_total(w for w in block.parameters() if w.requires_grad) for block in network.blocks]
    rest = _total(network.parameters()) - sum(blocks)
    rest_trained = _total(w for w in network.parameters() if w.requires_grad) - sum(trained)
    return rest + rest_trained + 2 * max(blocks, default=0) + max(trained, default=0)


def _total(tensors: Iterable[Tensor]) -> int:
    return sum(map(n_bytes, tensors))
