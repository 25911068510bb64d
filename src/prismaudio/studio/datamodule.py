"""The studio world as a Lightning data module."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

from lightning.pytorch import LightningDataModule
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from prismaudio.plan.narration import narrate
from prismaudio.studio.cache import ClipCache
from prismaudio.studio.order import ShuffledBatches
from prismaudio.types import Clip, ClipBatch

if TYPE_CHECKING:
    from prismaudio.plan.plan import Plan

Item = tuple[Clip, "Plan"]


class StudioClips(Dataset[Item]):
    """Clips of a cache, each with a plan that tells its story.

    Args:
        cache: The rendered clips.
    """

    def __init__(self, cache: ClipCache) -> None:
        self.cache = cache

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, index: int) -> Item:
        return self.told(index, index)

    def told(self, index: int, words: int | str) -> Item:
        """A clip, with its story in words that depend on ``words``."""
        return self.cache.clip(index), narrate(self.cache.story(index), random.Random(words))


class StudioDataModule(LightningDataModule):
    """Clips of the procedural studio world with their true plans, rendered once and kept on disk.

    Args:
        plain: Training clips of the plain split.
        randomised: Training clips of the randomised split.
        validation: Held-out validation clips of each split that is trained on.
        batch_size: Clips in a batch.
        seed: Seed of the scenes.
        cache_dir: Folder for the rendered clips; about 0.7 MB a clip.
        workers: Processes that render clips.
    """

    def __init__(
        self,
        plain: int = 4000,
        randomised: int = 4000,
        validation: int = 64,
        batch_size: int = 16,
        seed: int = 1,
        cache_dir: str = "runs/studio/clips",
        workers: int = 2,
    ) -> None:
        super().__init__()
        self.counts = {"plain": plain, "randomised": randomised}
        self.validation, self.batch_size, self.seed, self.workers = validation, batch_size, seed, workers
        self.cache_dir = Path(cache_dir)

    def _caches(self, *, held_out: bool) -> list[ClipCache]:
        return [
            ClipCache(self.cache_dir, split, self.seed, self.validation if held_out else count, held_out=held_out)
            for split, count in self.counts.items()
            if count
        ]

    def prepare_data(self) -> None:
        """Render what is missing."""
        for held_out in (False, True):
            for cache in self._caches(held_out=held_out):
                cache.prepare(self.workers)

    def train_dataloader(self) -> ShuffledBatches[Item, ClipBatch]:
        """Training clips in random order, told in new words in each epoch."""
        clips = [(StudioClips(cache), i) for cache in self._caches(held_out=False) for i in range(len(cache))]

        def item(index: int, epoch: int) -> Item:
            part, number = clips[index]
            return part.told(number, f"{self.seed} {epoch} {index}")

        shares = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        return ShuffledBatches(len(clips), item, collate, self.batch_size, self.seed, *shares)

    def val_dataloader(self) -> DataLoader[Item]:
        """Held-out clips."""
        clips: ConcatDataset[Item] = ConcatDataset([StudioClips(cache) for cache in self._caches(held_out=True)])
        return DataLoader(clips, batch_size=self.batch_size, collate_fn=collate)


def collate(items: list[Item]) -> ClipBatch:
    """Clips and plans of a batch, apart."""
    clips, plans = zip(*items, strict=True)
    return ClipBatch(clips, plans)
