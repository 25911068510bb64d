"""Fit an autoencoder without gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule

from prismaudio.errors import TrainingError
from prismaudio_studio.autoencoder import ParametricStereoAutoencoder

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
