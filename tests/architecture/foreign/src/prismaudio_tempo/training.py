"""A data module and a task."""

import torch
from lightning.pytorch import LightningDataModule
from torch import nn

from prismaudio.autoencoders.base import Autoencoder
from prismaudio.data.buckets import batch_loader
from prismaudio.data.synthetic import SyntheticClips
from prismaudio.encoders.base import Encoder
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.plan import Plan
from prismaudio.training.contracts import AveragedTask
from prismaudio.types import Conditions, Features


class TempoClips(SyntheticClips):
    """Clicks and flashes whose plans state the tempo."""

    def clip(self, index):
        clip, plan = super().clip(index)
        n_events = len(plan.story.sources[0].onsets_s)
        return clip, Plan({**plan, "tempo": f"There are {n_events} events."})


class TempoDataModule(LightningDataModule):
    """Clips whose plans have a section for every dimension that is installed.

    Args:
        count: Training clips.
        batch_size: Clips in a batch of one process.
    """

    def __init__(self, count: int = 16, batch_size: int = 4) -> None:
        super().__init__()
        self.count, self.batch_size, self.dimensions = count, batch_size, []

    def use_dimensions(self, dimensions):
        self.dimensions = [dimension.name for dimension in dimensions]

    def setup(self, stage):
        assert "tempo" in self.dimensions

    def train_dataloader(self):
        clips = TempoClips(0, self.count, 2.0, 8.0, 16, 16_000)
        return batch_loader(clips, [1] * self.count, self.batch_size, shuffle=True, trainer=self.trainer)

    def val_dataloader(self):
        clips = TempoClips(self.count, 4, 2.0, 8.0, 16, 16_000)
        return batch_loader(clips, [1] * 4, self.batch_size, trainer=self.trainer)


class RegressionTask(AveragedTask):
    """Teaches a transformer to give the latents of a clip at once, from no noise: a task of its own, with averages.

    Args:
        transformer: The network.
        encoders: Encoder of each stream.
        autoencoder: Autoencoder of the latents.
        rate: Learning rate.
    """

    def __init__(
        self,
        transformer: DiffusionTransformer,
        encoders: dict[str, Encoder],
        autoencoder: Autoencoder,
        rate: float = 1e-2,
    ) -> None:
        super().__init__()
        self.transformer, self.encoders, self.rate = transformer, encoders, rate
        self.autoencoder = autoencoder.requires_grad_(requires_grad=False)

    def components(self):
        encoders = {f"{name}_encoder": encoder for name, encoder in self.encoders.items()}
        return {"transformer": self.transformer, "autoencoder": self.autoencoder, **encoders}

    def configure_optimizers(self):
        return torch.optim.SGD(self.transformer.parameters(), self.rate)

    def training_step(self, batch):
        latents = self.autoencoder.encode(torch.stack([clip.audio for clip in batch.clips]))
        streams = {
            name: Features.pad([encoder.encode(*pair) for pair in zip(batch.clips, batch.plans, strict=True)])
            for name, encoder in self.encoders.items()
        }
        made = self.transformer(torch.zeros_like(latents), torch.zeros(len(latents)), Conditions(streams))
        return nn.functional.mse_loss(made, latents)
