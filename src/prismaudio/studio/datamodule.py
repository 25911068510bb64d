"""The studio world as a Lightning data module."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

from lightning.pytorch import LightningDataModule
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from prismaudio.cot.narration import narrate
from prismaudio.studio.cache import ClipCache
from prismaudio.types import Clip, ClipBatch

if TYPE_CHECKING:
    from prismaudio.cot.plan import Plan

Item = tuple[Clip, "Plan"]


class StudioClips(Dataset[Item]):
    """Clips of a cache, each with a plan that tells its story.

    Args:
        cache: The rendered clips.
        varied: Tell a story in other words each time it is asked for; otherwise always in the same words.
    """

    def __init__(self, cache: ClipCache, *, varied: bool) -> None:
        self.cache = cache
        self.varied = varied

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, index: int) -> Item:
        rng = random.Random() if self.varied else random.Random(index)
        if self.varied:
            rng.seed(random.getrandbits(64))  # follows the seed of the run
        return self.cache.clip(index), narrate(self.cache.story(index), rng)


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

    def train_dataloader(self) -> DataLoader[Item]:
        """Training clips in random order, told in new words each time."""
        clips: ConcatDataset[Item] = ConcatDataset(
            [StudioClips(cache, varied=True) for cache in self._caches(held_out=False)]
        )
        return DataLoader(clips, batch_size=self.batch_size, shuffle=True, drop_last=True, collate_fn=collate)

    def val_dataloader(self) -> DataLoader[Item]:
        """Held-out clips."""
        clips: ConcatDataset[Item] = ConcatDataset(
            [StudioClips(cache, varied=False) for cache in self._caches(held_out=True)]
        )
        return DataLoader(clips, batch_size=self.batch_size, collate_fn=collate)


def collate(items: list[Item]) -> ClipBatch:
    """Clips and plans of a batch, apart."""
    clips, plans = zip(*items, strict=True)
    return ClipBatch(clips, plans)
