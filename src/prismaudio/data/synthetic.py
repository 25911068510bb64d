"""Clips of clicks and flashes generated in memory, to test a recipe without data."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from prismaudio.checkpoints import within
from prismaudio.data.buckets import Draw, batch_loader
from prismaudio.hyperparameters import RecordsArguments
from prismaudio.plan import Plan
from prismaudio.plan.story import SIDE_DEG, Source, Story
from prismaudio.plan.writing import describe
from prismaudio.types import Clip, ClipBatch

CLICK_S = 0.05
"""Duration of a click."""


class SyntheticClips(Dataset[ClipBatch]):
    """Clips in which one side of the frame flashes a few times, with clicks from that side.

    Args:
        first: Number of the first clip; each number defines a clip.
        count: Number of clips.
        duration_s: Duration of each clip in seconds.
        fps: Frames per second.
        side: Height and width of the frames in pixels.
        sample_rate_hz: Sample rate of the audio.
        seed: Seed of the clips.
    """

    def __init__(
        self, first: int, count: int, duration_s: float, fps: float, side: int, sample_rate_hz: int, seed: int = 0
    ) -> None:
        self.first, self.count, self.duration_s, self.fps = first, count, duration_s, fps
        self.side, self.sample_rate_hz, self.seed = side, sample_rate_hz, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, draws: Sequence[Draw] | int) -> ClipBatch:
        draws = [Draw(draws)] if isinstance(draws, int) else draws
        clips, plans = zip(*(self.clip(draw.clip) for draw in draws), strict=True)
        return ClipBatch(clips, plans)

    def clip(self, index: int) -> tuple[Clip, Plan]:
        """A clip and its target plan."""
        name = f"click-{self.seed}-{self.first + index}"
        rng = random.Random(name)
        n_frames, on_the_right = round(self.duration_s * self.fps), rng.random() < 0.5
        places = sorted(rng.sample(range(1, n_frames), min(3, n_frames - 1, rng.randint(1, 3))))
        frames = torch.full((n_frames, 3, self.side, self.side), 32, dtype=torch.uint8)
        half = slice(self.side // 2, None) if on_the_right else slice(self.side // 2)
        frames[places, :, :, half] = 224
        azimuth_deg = SIDE_DEG / 2 if on_the_right else -SIDE_DEG / 2
        source = Source("click", tuple(place / self.fps for place in places), None, (azimuth_deg, azimuth_deg))
        audio = self._audio(source, torch.Generator().manual_seed(rng.randrange(2**31)))
        clip = Clip(name, self.duration_s, frames, self.fps, audio, self.sample_rate_hz)
        return clip, Plan(describe(Story((source,), "clean", "dry")))

    def _audio(self, source: Source, generator: torch.Generator) -> torch.Tensor:
        audio = torch.zeros(2, round(self.duration_s * self.sample_rate_hz))
        n_click = round(CLICK_S * self.sample_rate_hz)
        decay = torch.linspace(0, -5, n_click).exp()
        gains = torch.tensor([[0.1], [0.3]] if (source.azimuth_deg or (0.0,))[0] > 0 else [[0.3], [0.1]])
        for onset_s in source.onsets_s:
            piece = audio[:, round(onset_s * self.sample_rate_hz) :][:, :n_click]
            piece += (gains * decay * torch.randn(n_click, generator=generator))[:, : piece.shape[1]]
        return audio.clamp(-1, 1)


class SyntheticDataModule(RecordsArguments, LightningDataModule):
    """Clips of clicks and flashes with their target plans, generated in memory, to test a recipe without data.

    Args:
        count: Number of training clips.
        validation: Number of validation clips.
        batch_size: Clips per batch.
        duration_s: Duration of each clip in seconds.
        fps: Frames per second.
        side: Height and width of the frames in pixels.
        sample_rate_hz: Sample rate of the audio.
        seed: Seed of the clips and of their order.
    """

    def __init__(
        self,
        count: int = 32,
        validation: int = 8,
        batch_size: int = 4,
        duration_s: float = 2.0,
        fps: float = 8.0,
        side: int = 16,
        sample_rate_hz: int = 16_000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        within(1, 1e9, count=count, batch_size=batch_size, side=side, sample_rate_hz=sample_rate_hz)
        within(0, 1e9, validation=validation)
        within(0.1, 1000, duration_s=duration_s, fps=fps)
        self.count, self.validation, self.batch_size, self.seed = count, validation, batch_size, seed
        self.form = (duration_s, fps, side, sample_rate_hz, seed)

    def train_dataloader(self) -> DataLoader[Any]:
        """Training clips, shuffled; resumable from a checkpoint."""
        return self._loader(SyntheticClips(0, self.count, *self.form), shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """Validation clips, in order."""
        return self._loader(SyntheticClips(self.count, self.validation, *self.form))

    def _loader(self, clips: SyntheticClips, *, shuffle: bool = False) -> DataLoader[Any]:
        lengths = [1] * len(clips)
        return batch_loader(clips, lengths, self.batch_size, self.seed, shuffle=shuffle, trainer=self.trainer)
