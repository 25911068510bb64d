"""Fitting an autoencoder that needs no gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule

from prismaudio.errors import TrainingError
from prismaudio_studio.autoencoder import ParametricStereoAutoencoder

if TYPE_CHECKING:
    from prismaudio.types import ClipBatch


class AutoencoderFittingTask(LightningModule):
    """Shows one epoch of sound to an autoencoder and lets it fit its basis.

    Args:
        autoencoder: What to fit.
    """

    def __init__(self, autoencoder: ParametricStereoAutoencoder) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.autoencoder = autoencoder

    def components(self) -> dict[str, Any]:
        """What this stage makes, by its name in a model folder."""
        return {"autoencoder": self.autoencoder}

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """None: nothing is learned by gradient."""
        return []

    def training_step(self, batch: ClipBatch) -> None:
        """Add the batch to the statistics.

        Raises:
            TrainingError: A sound has values that are no numbers, which would be in every statistic.
        """
        if wrong := [clip.id for clip in batch.clips if clip.audio is not None and not clip.audio.isfinite().all()]:
            raise TrainingError(f"the audio of {', '.join(wrong)} holds NaN or infinity; leave it out")
        self.autoencoder.observe(_sound(batch))

    def on_train_batch_end(self, *_: Any) -> None:
        """Fit to everything seen, once all of it was: before the validation at the end of the epoch."""
        if self.trainer.is_last_batch:
            self.autoencoder.fit()

    def validation_step(self, batch: ClipBatch) -> None:
        """Log the log-spectral distance in dB between sound and its reconstruction."""
        audio = _sound(batch)
        rebuilt = self.autoencoder.decode(self.autoencoder.encode(audio))[..., : audio.shape[-1]]
        before, after = self.autoencoder.log_magnitude(audio), self.autoencoder.log_magnitude(rebuilt)
        distance = 8.686 * (before - after).square().mean(1).sqrt().mean()
        self.log("val_spectral_distance_db", distance, prog_bar=True, batch_size=len(batch))


def _sound(batch: ClipBatch) -> torch.Tensor:
    return torch.stack([clip.audio for clip in batch.clips if clip.audio is not None])
