"""Audio to listen to, with spectrograms, in the logger: of validation clips, and of candidates in training."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

from prismaudio.audio.spectrogram import spectrogram_pixels, spectrogram_png
from prismaudio.checkpoints import within
from prismaudio.errors import RecipeError
from prismaudio.media import replacing, write_wav
from prismaudio.training.contracts import RendersAudio, SamplesCandidates, expect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.loggers import Logger
    from torch import Tensor

    from prismaudio.types import ClipBatch, LatentBatch


@dataclass(frozen=True, eq=False)
class Sample:
    """Audio to log.

    Args:
        name: Its name in the logger, such as ``listening/clip``.
        audio: Audio ``(2, samples)``.
        sample_rate_hz: Its sample rate.
        caption: Text to log with it, such as the plan.
    """

    name: str
    audio: Tensor
    sample_rate_hz: int
    caption: str


class ListeningSamples(Callback):
    """Renders some validation clips, with the same noise each time, and logs their audio and spectrograms.

    Samples are logged to TensorBoard or Weights & Biases; with another logger, or none, they are written to
    ``listening`` in the folder of the run. The reference audio, as the autoencoder reconstructs it, is logged once.

    Args:
        count: Number of clips, the first ones of the validation set.
        every: Validations between logged samples; 1 logs at each.
    """

    def __init__(self, count: int = 4, every: int = 1) -> None:
        self.count, self.every = count, every
        self._batches: list[ClipBatch | LatentBatch] = []
        self._validations = 0
        self._truth_logged = False
        self._folder = Path()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Get the folder of the run; all processes must do this together.

        Raises:
            RecipeError: The task has no autoencoder.
        """
        if not expect(pl_module, RendersAudio, "ListeningSamples").can_render:
            raise RecipeError("ListeningSamples needs an autoencoder: give the task one, or remove the callback")
        self._folder = Path(trainer.log_dir or trainer.default_root_dir)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Store the first clips."""
        if sum(len(kept) for kept in self._batches) < self.count:
            self._batches.append(batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Render and log the clips; with sharded parameters, every process renders."""
        batches, self._batches = self._batches, []
        if trainer.sanity_checking:
            return
        wanted = self._validations % self.every == 0
        self._validations += 1
        if not wanted or not (trainer.is_global_zero or pl_module.device_mesh is not None):
            return
        task = expect(pl_module, RendersAudio, "ListeningSamples")
        samples: list[Sample] = []
        left = min(self.count, sum(len(batch) for batch in batches))
        if pl_module.device_mesh is not None:  # every process must render equally often
            left = int(trainer.strategy.reduce(torch.tensor(left, device=pl_module.device), reduce_op="min"))
        for batch in batches:
            with trainer.precision_plugin.val_step_context():  # as in validation steps
                rendered = task.listening_samples(batch, left)
            samples += self._samples(task, batch, rendered)
            left -= min(left, len(batch))
        if trainer.is_global_zero:
            log_samples(trainer, samples, self._folder)
        self._truth_logged = True

    def _samples(self, task: RendersAudio, batch: Any, rendered: list[tuple[str, Tensor, Tensor, int]]) -> list[Sample]:
        samples = []
        for row, (name, true, made, rate_hz) in enumerate(rendered):
            if not self._truth_logged:
                samples.append(Sample(f"listening/{name}/true", true, rate_hz, task.caption(batch, row, true)))
            samples.append(Sample(f"listening/{name}/rendered", made, rate_hz, task.caption(batch, row, made)))
        return samples


class CandidateSamples(Callback):
    """Logs audio of candidates of Fast-GRPO with their rewards: those of one clip of an update, from best to worst.

    They are ranked by the weighted sum of their rewards; ``count`` of them, evenly spaced from the best, which is 0, to
    the worst, are logged as ``candidates/RANK`` where :class:`ListeningSamples` logs its samples. Where groups are
    split over processes, they are those of the first process.

    Args:
        every: Updates between logged candidates; the first update logs some.
        count: Maximum number of candidates.
    """

    def __init__(self, every: int = 10, count: int = 4) -> None:
        within(1, 1_000_000_000, every=every, count=count)
        self.every, self.count = every, count
        self._folder = Path()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Get the folder of the run; all processes must do this together.

        Raises:
            RecipeError: The task samples no candidates.
        """
        expect(pl_module, SamplesCandidates, "CandidateSamples")
        self._folder = Path(trainer.log_dir or trainer.default_root_dir)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Ask for the candidates of this update, if they are to be logged."""
        task = expect(pl_module, SamplesCandidates, "CandidateSamples")
        if trainer.is_global_zero and task.update % self.every == 0:
            task.keep_candidates()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the candidates that were kept."""
        found = expect(pl_module, SamplesCandidates, "CandidateSamples").kept_candidates()
        if found is None:
            return
        plans = {clip.id: plan for clip, plan in zip(batch.clips, batch.plans, strict=True)}
        order = found.total().argsort(descending=True).tolist()
        ranks = torch.linspace(0, len(order) - 1, min(self.count, len(order))).round().int().tolist()
        samples = []
        for rank in ranks:
            row = order[rank]
            rewards = ", ".join(f"{name} {float(reward[row]):.3f}" for name, reward in found.rewards.items())
            lines = [found.clip_id, str(plans.get(found.clip_id, "")), f"rewards: {rewards}"]
            caption = "\n".join(line for line in lines if line)
            samples.append(Sample(f"candidates/{rank}", found.audio[row], found.sample_rate_hz, caption))
        log_samples(trainer, samples, self._folder)


def log_samples(trainer: Trainer, samples: Sequence[Sample], folder: Path) -> None:
    """Log samples to TensorBoard and Weights & Biases; without them, write files to a folder."""
    loggers = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger | WandbLogger)]
    for sample in samples:
        for logger in loggers:
            log_sample(logger, sample, trainer.global_step)
        if not loggers:
            write_sample(folder, sample, trainer.global_step)


def log_sample(logger: Logger, sample: Sample, step: int) -> None:
    """Log audio, spectrogram and caption; for TensorBoard, which plays one channel, the mean of both channels."""
    spectrogram = spectrogram_pixels(sample.audio, sample.sample_rate_hz)
    if isinstance(logger, WandbLogger):
        audio, rate_hz = [sample.audio.T.numpy()], [sample.sample_rate_hz]
        logger.log_audio(sample.name, audio, step, sample_rate=rate_hz, caption=[sample.caption])
        logger.log_image(f"{sample.name}/spectrogram", [spectrogram], step)
        return
    writer: Any = getattr(logger, "experiment")  # noqa: B009 - its type is TensorBoard's
    writer.add_audio(sample.name, sample.audio.mean(0, keepdim=True).clamp(-1, 1), step, sample.sample_rate_hz)
    writer.add_image(f"{sample.name}/spectrogram", spectrogram, step, dataformats="HWC")
    writer.add_text(f"{sample.name}/plan", sample.caption, step)


def write_sample(folder: Path, sample: Sample, step: int) -> None:
    """Write audio, spectrogram and caption as files."""
    path = folder / f"{file_name(sample.name)}-step{step:07d}"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_wav(sample.audio, sample.sample_rate_hz, path.with_suffix(".wav"))
    with replacing(path.with_suffix(".png")) as part:
        part.write_bytes(spectrogram_png(sample.audio, sample.sample_rate_hz))
    path.with_suffix(".txt").write_text(sample.caption + "\n", encoding="utf-8")


def file_name(name: str) -> str:
    """Convert the name of a sample to a safe relative path.

    Example:
        >>> file_name("listening/street/door@2.5/true"), file_name("listening/../../etc/true")
        ('listening/street/door@2.5/true', 'listening/_/_/etc/true')
    """
    parts = [re.sub(r"[\x00-\x1f\\:*?\"<>|]", "_", part)[:60] for part in name.split("/") if part]
    return "/".join("_" if part in (".", "..") else part for part in parts)
