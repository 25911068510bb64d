"""The training benchmark: steps of the foundation stage, relative to the peak of the machine."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, Trainer
from torch.optim import AdamW

from prismaudio import __version__
from prismaudio.benchmarks import Report
from prismaudio.benchmarks.speed import MATMUL, N_TOKENS, PRODUCTS, RATES_HZ, count_flop
from prismaudio.data.datamodule import ManifestDataModule
from prismaudio.data.features import FeatureSet
from prismaudio.data.latents import LatentClips
from prismaudio.data.shards import shard_bytes
from prismaudio.devices import synchronize
from prismaudio.errors import PrismAudioError
from prismaudio.profiling import peak_bytes
from prismaudio.training.callbacks.ema import ExponentialMovingAverage
from prismaudio.training.foundation import FoundationTask
from prismaudio.training.schedule import InverseLR
from prismaudio.types import LATENTS, Conditions, Features, LatentBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from prismaudio.models.conditioners import Conditioner
    from prismaudio.models.dit import DiffusionTransformer

COLUMNS = ("seconds", "tflop_per_s", "share_of_peak", "steps_per_s", "clips_per_s", "data_wait_share")
DTYPES = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
"""Data type of the matrix products, by ``trainer.precision``."""
SAMPLE_RATE_HZ, HOP = 44_100, 2048
"""Sample rate of the published autoencoder, and samples per latent frame."""
DISTINCT_BATCHES = 16
"""Batches of different clips that are written; the clips are repeated under other names."""
PROFILED = 2
"""Steps that are profiled."""
Shape = tuple[int, int, tuple[tuple[str, int], ...], bool]
"""Clips, latent frames, features of each stream, and whether frames are padded."""


class FeatureClips(ManifestDataModule):
    """Random latents and features in files, as :class:`ManifestDataModule` reads them, in one long epoch.

    Args:
        folder: The folder.
        times: How often each clip comes in the epoch, each time with another name.
        batch_size: Clips per batch and process.
        duration_s: Length of the crops in seconds.
        workers: Number of worker processes.
    """

    def __init__(self, folder: Path, times: int, batch_size: int, duration_s: float, workers: int) -> None:
        super().__init__(
            str(folder), batch_size=batch_size, max_s=duration_s, validation=0.0, workers=workers, verify=False
        )
        self.times = times

    def setup(self, stage: str) -> None:
        """Index the files, and repeat the clips."""
        super().setup(stage)
        clips = self.sets["train"]
        if isinstance(clips, LatentClips):
            found = clips.found
            rows = [replace(row, id=f"{row.id} {turn}") for turn in range(self.times) for row in found.records]
            clips.found = FeatureSet(rows, found.streams, found.latents)


class SpeedMeter(Callback):
    """Times the steps of a training in rounds, and before each round the peak of the device.

    Args:
        warmup: Steps before the first round.
        steps: Steps of a round.
        side: Size of the square matrices whose product defines the peak.
        dtype: Their data type.
        n_rounds: Rounds, after which further steps are profiled.
    """

    def __init__(self, warmup: int, steps: int, side: int, dtype: torch.dtype, n_rounds: int) -> None:
        self.warmup, self.steps, self.side, self.dtype, self.n_rounds = warmup, steps, side, dtype, n_rounds
        self.rounds: list[dict[str, float]] = []
        """Seconds by name, of each round: a matrix product, a step and its parts."""
        self.warmup_s = 0.0
        self.shapes: list[Shape] = []
        self.padded_frames = self.frames = 0
        self.tokens: list[tuple[Tensor, int]] = []
        self.profile: torch.profiler.profile | None = None
        self._marks: list[Any] = []
        self._start_s = self._round_s = self._end_s = self._wait_s = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Begin the warm-up."""
        self._start_s = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: LatentBatch, batch_idx: int) -> None:
        """Begin a round, or count the wait for the batch."""
        device = pl_module.device
        step = trainer.global_step - self.warmup
        if step < 0 or self.profile is not None:
            return
        if step == self.n_rounds * self.steps:
            self.profile = torch.profiler.profile()
            self.profile.start()
            return
        if step % self.steps:
            self._wait_s += time.perf_counter() - self._end_s
        else:
            synchronize(device)
            self.warmup_s = self.warmup_s or time.perf_counter() - self._start_s
            trainer.strategy.barrier()
            self.rounds.append({"matmul": matmul_s(self.side, self.dtype, device)})
            self._wait_s, self._marks = 0.0, []
            self._round_s = time.perf_counter()
        self._describe(batch)
        self._marks.append(_mark(device))

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        """Mark the end of the backward pass."""
        if trainer.global_step >= self.warmup and self.profile is None:
            self._marks.append(_mark(pl_module.device))

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        """Mark the end of the step, and end a round."""
        step = trainer.global_step - self.warmup
        if step <= 0 or self.profile is not None:
            return
        self._marks.append(_mark(pl_module.device))
        if step % self.steps == 0:
            synchronize(pl_module.device)
            parts = [list(map(_between, self._marks[i::3], self._marks[i + 1 :: 3])) for i in range(2)]
            self.rounds[-1] |= {
                "step": (time.perf_counter() - self._round_s) / self.steps,
                "forward and backward": sum(parts[0]) / self.steps,
                "optimizer": sum(parts[1]) / self.steps,
                "data": self._wait_s / max(self.steps - 1, 1),  # the first batch of a round is there already
            }
        self._end_s = time.perf_counter()

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """End the profile."""
        if self.profile is not None:
            synchronize(pl_module.device)
            self.profile.stop()

    def kernels(self, count: int) -> dict[str, float]:
        """The kernels, on a CPU the operators, that took most of the profiled time, and their shares of it."""
        if self.profile is None:
            return {}
        found = self.profile.key_averages()
        on_gpu = any(event.device_type.name == "CUDA" for event in found)
        taken = {
            event.key: event.self_device_time_total if on_gpu else event.self_cpu_time_total
            for event in found
            if not on_gpu or event.device_type.name == "CUDA"
        }
        total = max(sum(taken.values()), 1e-9)
        largest = sorted(taken, key=lambda name: -taken[name])[:count]
        return {name[:120]: round(taken[name] / total, 4) for name in largest}

    def _describe(self, batch: LatentBatch) -> None:
        """Store the shape of a batch, and how much of it is padding."""
        frames = batch.mask.shape[1]
        lengths = tuple((name, stream.mask.shape[1]) for name, stream in batch.conditions.items())
        self.shapes.append((len(batch), frames, lengths, batch.padded_mask is not None))
        self.frames += len(batch) * frames
        self.padded_frames += len(batch) * frames - sum(batch.lengths)
        self.tokens += [(stream.mask.sum(), stream.mask.numel()) for stream in batch.conditions.values()]


@dataclass
class TrainingSpeed:
    """Trains a foundation model with Lightning's trainer on random features in files, and measures its steps.

    Each round measures a matrix product, then some steps, so that other load affects all rows.

    Args:
        make: Creates the network.
        accelerator: ``"cpu"`` or ``"cuda"``.
        devices: Number of processes, one for each device, with DDP.
        precision: ``trainer.precision``.
        batch_size: Clips per batch and process.
        duration_s: Length of the crops in seconds.
        steps: Steps of a round.
        rounds: Rounds.
        warmup: Steps before the first round, in which kernels are compiled.
        compiled: Whether to compile the blocks.
        averaged: Whether to update moving averages of the weights.
        workers: Processes that read the features.
        short: Share of the clips that are shorter than the crop, which pads batches.
        n_kernels: Kernels that the report lists, those that take most of the time.
        side: Size of the square matrices whose product defines the peak; None for that of ``prismaudio bench model``.
    """

    make: Callable[[], DiffusionTransformer]
    accelerator: str = "cpu"
    devices: int = 1
    precision: str = "32-true"
    batch_size: int = 1
    duration_s: float = 9.0
    steps: int = 2
    rounds: int = 3
    warmup: int = 1
    compiled: bool = False
    averaged: bool = True
    workers: int = 0
    short: float = 0.0
    n_kernels: int = 0
    side: int | None = None
    meter: SpeedMeter = field(init=False)

    def run(self) -> Report | None:
        """Train and measure; None in all processes but the first.

        Raises:
            PrismAudioError: The memory of the device is not sufficient.
        """
        side = self.side or (4 * MATMUL if self.accelerator == "cuda" else MATMUL)
        self.meter = SpeedMeter(self.warmup, self.steps, side, DTYPES[self.precision], self.rounds)
        callbacks = [*([ExponentialMovingAverage()] if self.averaged else []), self.meter]
        total = self.warmup + self.rounds * self.steps
        trainer = Trainer(
            accelerator=self.accelerator,
            devices=self.devices,
            strategy="ddp" if self.devices > 1 else "auto",
            precision=self.precision,  # type: ignore[arg-type]
            max_steps=total + (PROFILED if self.n_kernels else 0),
            gradient_clip_val=1.0,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        task = FoundationTask(
            transformer=self.make(),
            optimizer=partial(AdamW, lr=1e-4, weight_decay=1e-3),
            lr_scheduler=InverseLR,
            time_sampler="truncated_logit_normal",
            compile=self.compiled,
        )
        n_clips = self.batch_size * self.devices * min(total, DISTINCT_BATCHES)
        with TemporaryDirectory(prefix="prismaudio-") as folder:
            write_features(Path(folder), task.transformer, n_clips, self.duration_s, self.short)
            times = 2 + math.ceil(total / DISTINCT_BATCHES)
            try:
                trainer.fit(task, FeatureClips(Path(folder), times, self.batch_size, self.duration_s, self.workers))
            except torch.OutOfMemoryError as error:
                raise PrismAudioError(
                    f"a batch of {self.batch_size} does not fit; set a smaller --batch-size"
                ) from error
        return self._report(side, task) if trainer.is_global_zero else None

    def _report(self, side: int, task: FoundationTask) -> Report:
        from torch._dynamo.utils import counters  # takes a second to import

        meter, report = self.meter, Report(COLUMNS)
        with torch.device("meta"):
            twin = self.make()
        counts = Counter(meter.shapes)
        flop = sum(count * training_flop(twin, shape) for shape, count in counts.items()) / len(meter.shapes)
        for taken_s in meter.rounds:
            peak = 2 * side**3 / taken_s["matmul"]
            for row, work in (("matmul", 2 * side**3), ("step", flop), ("forward and backward", flop)):
                report.add(row, "seconds", taken_s[row])
                report.add(row, "tflop_per_s", work / taken_s[row] / 1e12)
                report.add(row, "share_of_peak", work / taken_s[row] / peak)
            report.add("optimizer", "seconds", taken_s["optimizer"])
            report.add("data", "seconds", taken_s["data"])
            report.add("step", "steps_per_s", 1 / taken_s["step"])
            report.add("step", "clips_per_s", self.batch_size * self.devices / taken_s["step"])
            report.add("step", "data_wait_share", taken_s["data"] / taken_s["step"])
        step_s = report.cell("step", "seconds") or {"mean": 0.0}
        cuda = self.accelerator == "cuda"
        n_features = sum(count for _, count in meter.tokens)
        n_real = sum(int(real) for real, _ in meter.tokens)
        report.meta = {
            "parameters": sum(weight.numel() for weight in task.transformer.parameters()),
            "precision": self.precision,
            "batch_size": self.batch_size,
            "devices": self.devices,
            "compiled": self.compiled,
            "averaged": self.averaged,
            "duration_s": self.duration_s,
            "tflop_per_step": round(flop / 1e12, 3),
            "shapes": len(counts),
            "graphs": counters["stats"]["unique_graphs"],
            "padded_frames": round(meter.padded_frames / meter.frames, 4),
            "padded_features": round(1 - n_real / n_features, 4),
            "masked_batches": round(sum(shape[3] for shape in meter.shapes) / len(meter.shapes), 4),
            "warmup_s": round(meter.warmup_s, 1),
            "compile_s": round(max(meter.warmup_s - self.warmup * step_s["mean"], 0.0), 1) if self.compiled else None,
            "peak_memory_gib": round((torch.cuda.max_memory_allocated() if cuda else peak_bytes()) / 2**30, 2),
            "device": torch.cuda.get_device_name() if cuda else f"{torch.get_num_threads()} threads",
            "kernels": meter.kernels(self.n_kernels),
            "versions": {"prismaudio": __version__, "torch": torch.__version__},
        }
        return report


def write_features(
    folder: Path, network: DiffusionTransformer, n_clips: int, duration_s: float, short: float = 0.0
) -> None:
    """Write random latents and features of clips in half precision, as ``prismaudio extract`` does.

    Texts have 80 to 160 tokens.

    Args:
        folder: The folder.
        network: The network whose streams they are for.
        n_clips: Number of clips.
        duration_s: Length of the crops in seconds.
        short: Share of the clips that are up to a half shorter than the crop; the others are longer.
    """
    rng, source = random.Random(0), torch.Generator().manual_seed(0)
    streams: Mapping[str, Conditioner] = network.streams
    for first in range(0, n_clips, 64):
        clips = {}
        for index in range(first, min(first + 64, n_clips)):
            length_s = duration_s * (rng.uniform(0.5, 1) if rng.random() < short else 1.1)
            shapes = {LATENTS: (network.latent_channels, round(length_s * SAMPLE_RATE_HZ / HOP))}
            for name, conditioner in streams.items():
                timed = max(1, round(RATES_HZ.get(name, 0) * length_s))
                shapes[name] = (timed if name in RATES_HZ else rng.randint(N_TOKENS // 2, N_TOKENS), conditioner.dim)
            clips[f"clip {index}"] = {
                name: torch.randn(shape, generator=source).half() for name, shape in shapes.items()
            }
        described = {name: {"rate_hz": RATES_HZ.get(name), "width": part.dim} for name, part in streams.items()}
        latents = {"sample_rate_hz": SAMPLE_RATE_HZ, "hop": HOP, "channels": network.latent_channels}
        description = {"format": 1, "latents": latents, "streams": described}
        (folder / f"shard-{first // 64:05d}.safetensors").write_bytes(shard_bytes(clips, {}, description))


def training_flop(network: DiffusionTransformer, shape: Shape) -> int:
    """Floating-point operations of a forward and a backward pass: matrix products, convolutions and attention.

    Args:
        network: The network; on the device ``meta`` nothing is computed.
        shape: Shape of the batch.
    """
    n_clips, n_frames, lengths, padded = shape
    device = network.project_in.weight.device
    streams = {}
    for name, length in lengths:
        values = torch.zeros(n_clips, length, network.streams[name].dim, device=device)
        streams[name] = Features(values, torch.ones(n_clips, length, dtype=torch.bool, device=device))
    latents = torch.zeros(n_clips, network.latent_channels, n_frames, device=device)
    mask = torch.ones(n_clips, n_frames, dtype=torch.bool, device=device) if padded else None
    times = torch.zeros(n_clips, device=device)
    return count_flop(lambda: network(latents, times, Conditions(streams), mask).sum().backward())


def matmul_s(side: int, dtype: torch.dtype, device: torch.device) -> float:
    """Seconds of a product of two square matrices, after one product that is not timed."""
    square = torch.randn(side, side, device=device, dtype=dtype)
    product = torch.mm(square, square)
    synchronize(device)
    start_s = time.perf_counter()
    for _ in range(PRODUCTS):
        torch.mm(square, square, out=product)
    synchronize(device)
    return (time.perf_counter() - start_s) / PRODUCTS


def _mark(device: torch.device) -> Any:
    """The present time of a device."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _between(start: Any, end: Any) -> float:
    """Seconds between two times of a device that has reached both."""
    return end - start if isinstance(start, float) else start.elapsed_time(end) / 1000
