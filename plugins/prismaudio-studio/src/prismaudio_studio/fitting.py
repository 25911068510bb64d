"""Fit an autoencoder, and what a planner takes for the studio, without gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule

from prismaudio.errors import TrainingError
from prismaudio.pretrained import load_parts
from prismaudio_studio.autoencoder import ParametricStereoAutoencoder
from prismaudio_studio.planner.event import EventPlanner
from prismaudio_studio.planner.studio import LIMIT, StudioPlanner

if TYPE_CHECKING:
    from prismaudio.types import ClipBatch


class AutoencoderFittingTask(LightningModule):
    """Fits the basis of an autoencoder to one epoch of audio.

    Args:
        autoencoder: The autoencoder to fit.
    """

    def __init__(self, autoencoder: ParametricStereoAutoencoder) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.autoencoder = autoencoder

    def components(self) -> dict[str, Any]:
        """The components to export, by their names in a model folder."""
        return {"autoencoder": self.autoencoder}

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """No optimizers."""
        return []

    def training_step(self, batch: ClipBatch) -> None:
        """Add the batch to the statistics.

        Raises:
            TrainingError: The audio of a clip has NaN or infinite values, which would spoil the statistics, or another
                sample rate than the autoencoder.
        """
        expected = self.autoencoder.sample_rate_hz
        if other := {clip.sample_rate_hz for clip in batch.clips} - {expected}:
            raise TrainingError(
                f"the audio of the clips has {other.pop()} Hz, the autoencoder expects {expected} Hz; "
                "set sample_rate_hz of both to the same"
            )
        if wrong := [clip.id for clip in batch.clips if clip.audio is not None and not clip.audio.isfinite().all()]:
            raise TrainingError(
                f"the audio of {', '.join(wrong)} holds NaN or infinity, expected finite samples; remove these clips"
            )
        self.autoencoder.observe(_audio(batch))

    def on_train_batch_end(self, *_: Any) -> None:
        """Fit after the last batch, before the validation at the end of the epoch."""
        if self.trainer.is_last_batch:
            self.autoencoder.fit()

    def validation_step(self, batch: ClipBatch) -> None:
        """Log the log-spectral distance in dB between the audio and its reconstruction."""
        audio = _audio(batch)
        rebuilt = self.autoencoder.decode(self.autoencoder.encode(audio))[..., : audio.shape[-1]]
        before, after = self.autoencoder.log_magnitude(audio), self.autoencoder.log_magnitude(rebuilt)
        distance = 8.686 * (before - after).square().mean(1).sqrt().mean()
        self.log("val_spectral_distance_db", distance, prog_bar=True, batch_size=len(batch))


def _audio(batch: ClipBatch) -> torch.Tensor:
    return torch.stack([clip.audio for clip in batch.clips if clip.audio is not None])


class PlannerFittingTask(LightningModule):
    """Fits the part of a planner that tells clips of the studio from footage to one epoch of clips.

    Args:
        pretrained: Model folder whose planner, an ``EventPlanner`` with trained weights, it becomes.
    """

    def __init__(self, pretrained: str) -> None:
        super().__init__()
        self.automatic_optimization = False
        trained = load_parts(pretrained).get("planner")
        if not isinstance(trained, EventPlanner):
            raise TrainingError(f"{pretrained} has no EventPlanner; train one first, with studio/planner")
        self.planner = StudioPlanner(**trained.config)
        self.planner.network.load_state_dict(trained.network.state_dict())

    def components(self) -> dict[str, Any]:
        """The components to export, by their names in a model folder."""
        return {"planner": self.planner}

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """No optimizers."""
        return []

    def training_step(self, batch: ClipBatch) -> None:
        """Look at the clips of the batch."""
        for clip in batch.clips:
            if clip.frames is not None:
                self.planner.observe(clip.frames)

    def on_train_batch_end(self, *_: Any) -> None:
        """Fit after the last batch, before the validation at the end of the epoch."""
        if self.trainer.is_last_batch:
            self.planner.fit()

    def validation_step(self, batch: ClipBatch) -> None:
        """Log how strange held-out clips of the studio are, and the share that would be taken for footage."""
        strangeness = torch.tensor([self.planner.strangeness(clip) for clip in batch.clips])
        self.log("val_strangeness", strangeness.mean(), prog_bar=True, batch_size=len(batch))
        self.log("val_mistaken", (strangeness > LIMIT).float().mean(), prog_bar=True, batch_size=len(batch))
