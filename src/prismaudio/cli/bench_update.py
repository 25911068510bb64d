"""``prismaudio bench update``: cost of one update of Fast-GRPO, by phase."""

from __future__ import annotations

import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, Trainer
from rich.console import Console

from prismaudio import __version__
from prismaudio.autoencoders.oobleck import OobleckAutoencoder
from prismaudio.benchmarks import Benchmark, Report
from prismaudio.benchmarks.speed import random_conditions
from prismaudio.cli.arguments import names, number, positive
from prismaudio.cli.bench_rewards import RANDOM, rewards
from prismaudio.devices import find_device, synchronize
from prismaudio.errors import PrismAudioError
from prismaudio.flow.kernels import RhoKernel
from prismaudio.models.dit import DiffusionTransformer, published_streams
from prismaudio.profiling import GIB, Profile
from prismaudio.registry import discover
from prismaudio.testing.examples import example_clip, example_plan
from prismaudio.training.fast_grpo import FastGrpoTask
from prismaudio.training.grpo.options import PolicyOptions, RewardOptions, RolloutOptions
from prismaudio.training.grpo.windows import RandomWindow
from prismaudio.training.lora import Lora
from prismaudio.types import ClipBatch, LatentBatch

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from prismaudio.rewards.base import Reward

COLUMNS = ("seconds", "forwards", "evaluations", "peak_gib", "gpu_gib")
PHASES = ("rollout", "decode", "rewards", "training")
REWARDS = ("TemporalReward", "AestheticReward", "SpatialReward")
PRECISIONS = ("bf16-mixed", "32-true")
SIZES = ("published", "small")
FRAME_SIZE = 256


class UpdateBenchmark(Benchmark):
    """Time the updates of the recipe fast_grpo/recommended on a transformer and an autoencoder with random weights.

    Each round makes two updates: one whose phases are timed, each until the device is done with it, and one that is
    timed as a whole, in which the rewards overlap with decoding. A first update is not timed.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of ``prismaudio bench update``."""
        installed = tuple(discover().names("rewards"))
        parser.add_argument("--clips", type=positive, default=8, help="clips of an update")
        parser.add_argument("--group-size", type=positive, default=16, help="candidates of each clip")
        parser.add_argument("--steps", type=positive, default=10, help="steps of a trajectory")
        parser.add_argument("--window", type=positive, default=1, metavar="STEPS", help="stochastic steps")
        parser.add_argument("--guidance", type=number(0, 100), default=1.0, help="scale of classifier-free guidance")
        parser.add_argument("--lora-rank", type=positive, default=32, metavar="RANK", help="rank of the adapters")
        parser.add_argument(
            "--duration", type=number(0.5, 600), default=9.0, metavar="SECONDS", help="length of the clips"
        )
        parser.add_argument(
            "--rewards",
            type=names("reward", installed),
            default=tuple(name for name in REWARDS if name in installed),
            help="comma-separated rewards; with random weights where the published ones are missing",
        )
        parser.add_argument("--precision", choices=PRECISIONS, default="bf16-mixed", help="of the trainer")
        parser.add_argument("--size", choices=SIZES, default="published", help="small is for a trial on a CPU")
        parser.add_argument("--rollout-batch-size", type=positive, metavar="CLIPS", help="clips sampled together")
        parser.add_argument(
            "--train-micro-batch-size", type=positive, metavar="SAMPLES", help="samples of a backward pass"
        )
        parser.add_argument("--rounds", type=positive, default=3, help="repetitions of each measurement")
        parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 or auto")

    @classmethod
    def measure(cls, options: argparse.Namespace) -> Report:
        """Run the updates.

        Raises:
            PrismAudioError: No reward can be created.
        """
        device = find_device(options.device)
        missing: dict[str, str] = {}
        with (
            tempfile.TemporaryDirectory() as folder,
            Console(stderr=True).status("building the model") as status,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # Lightning's, about loaders and loggers
            scored = dict(rewards(discover(), list(options.rewards), Path(folder), missing))
            if not scored:
                reasons = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
                raise PrismAudioError(
                    f"no reward can be created ({reasons or 'none is given'}); name others in --rewards"
                )
            torch.manual_seed(0)
            task = new_task(options, {name.removesuffix(RANDOM): reward for name, reward in scored.items()})
            timer = UpdateTimer(options.rounds, status.update)
            trainer = Trainer(
                accelerator="gpu" if device.type == "cuda" else "cpu",
                devices=[device.index or 0] if device.type == "cuda" else 1,
                precision=options.precision,
                max_steps=1 + 2 * options.rounds,
                max_epochs=-1,
                callbacks=[timer],
                default_root_dir=folder,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            batches: Any = [example_batch(options, task)]
            trainer.fit(task, torch.utils.data.DataLoader(batches, batch_size=None))
        timer.report.meta = {
            "clips": options.clips,
            "group_size": options.group_size,
            "duration_s": options.duration,
            "precision": options.precision,
            "parameters": sum(p.numel() for p in task.transformer.parameters()),
            "rewards": ", ".join(scored),
            "device": torch.cuda.get_device_name(device)
            if device.type == "cuda"
            else f"{torch.get_num_threads()} threads",
            "versions": {"prismaudio": __version__, "torch": torch.__version__},
            "skipped": missing,
        }
        return timer.report

    @classmethod
    def show(cls, report: Report, options: argparse.Namespace, console: Console) -> None:
        """Print a line for each phase, then the environment and the skipped rewards."""
        title = f"{options.clips} clips of {options.duration:g} s, {options.group_size} candidates each"
        console.print(report.listing(title))
        hidden = ("versions", "skipped")
        console.print(", ".join(f"{name} {value}" for name, value in report.meta.items() if name not in hidden))
        for name, reason in report.meta["skipped"].items():
            console.print(f"{name} was left out: {reason}", highlight=False)


class UpdateTimer(Callback):
    """Times updates, by phase and as a whole in turn.

    Args:
        rounds: Repetitions of both.
        on_step: Called with the name of what is timed next.
    """

    def __init__(self, rounds: int, on_step: Callable[[str], None]) -> None:
        self.report, self.rounds, self.on_step = Report(COLUMNS), rounds, on_step

    def on_train_batch_start(self, trainer: Trainer, task: Any, batch: ClipBatch, batch_idx: int) -> None:
        """Start the clock."""
        by_phase = trainer.global_step % 2 == 1
        self.profile = Profile().__enter__() if by_phase else None
        self.on_step(f"update {trainer.global_step + 1} of {1 + 2 * self.rounds}")
        synchronize(task.device)
        if task.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(task.device)
        self.start_s = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, task: Any, outputs: Any, batch: ClipBatch, batch_idx: int) -> None:
        """Add the row of the update, or those of its phases."""
        cuda = task.device.type == "cuda"
        synchronize(task.device)
        seconds, logged = time.perf_counter() - self.start_s, trainer.callback_metrics
        if self.profile is not None:
            self.profile.__exit__()
            for name in PHASES:
                found = self.profile.phases[name]
                self._add(name, found.seconds, logged, f"/{name}")
                self.report.add(name, "peak_gib", found.peak_bytes / GIB)
                if cuda:
                    self.report.add(name, "gpu_gib", found.device_bytes / GIB)
        elif trainer.global_step > 1:  # the first update is a warm-up
            self._add("update", seconds, logged, "")
            if cuda:
                self.report.add("update", "gpu_gib", torch.cuda.max_memory_allocated(task.device) / GIB)

    def _add(self, row: str, seconds: float, logged: Any, of: str) -> None:
        self.report.add(row, "seconds", seconds)
        for column, key in (("forwards", "forwards"), ("evaluations", "nfe")):
            if key + of in logged:
                self.report.add(row, column, float(logged[key + of]))


def new_task(options: argparse.Namespace, scored: dict[str, Reward]) -> FastGrpoTask:
    """The task of the recipe ``fast_grpo/recommended``, with random weights."""
    if options.size == "small":
        streams = published_streams(64, {"video": (16, 64), "sync": (16, 64), "text": (16, 64)})
        transformer = DiffusionTransformer(64, 64, 2, 2, streams)
        autoencoder = OobleckAutoencoder(width=2, multipliers=(1, 2), strides=(32, 64))
    else:
        transformer, autoencoder = DiffusionTransformer(), OobleckAutoencoder()
    return FastGrpoTask(
        scored,
        transformer=transformer,
        encoders={},
        autoencoder=autoencoder,
        rollout=RolloutOptions(
            group_size=options.group_size,
            num_steps=options.steps,
            max_tail_steps=4,
            window=RandomWindow(options.window, latest=0.8),
            kernel=RhoKernel(1.0),
            rollout_batch_size=options.rollout_batch_size,
        ),
        policy=PolicyOptions(kl_coef=0.002, train_micro_batch_size=options.train_micro_batch_size),
        scoring=RewardOptions(cache=None),
        guidance=options.guidance,
        lora=Lora(rank=options.lora_rank, alpha=2.0 * options.lora_rank),
        optimizer=lambda parameters: torch.optim.AdamW(parameters, 1e-4, weight_decay=0.0),
    )


def example_batch(options: argparse.Namespace, task: FastGrpoTask) -> ClipBatch:
    """Clips with random features of every stream, as long as those of the published encoders."""
    clip, plan = example_clip(options.duration, FRAME_SIZE, sample_rate_hz=44_100), example_plan()
    clips = [replace(clip, id=f"clip {index}") for index in range(options.clips)]
    conditions = random_conditions(task.stream_dims, options.duration, len(clips))
    codec: Any = task.autoencoder
    n_frames = codec.n_frames(options.duration)
    latents, mask = (
        torch.zeros(len(clips), codec.channels, n_frames),
        torch.ones(len(clips), n_frames, dtype=torch.bool),
    )
    features = LatentBatch([clip.id for clip in clips], latents, mask, conditions)
    return ClipBatch(clips, [plan] * len(clips), features)
