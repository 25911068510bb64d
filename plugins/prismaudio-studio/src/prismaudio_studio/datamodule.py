"""The studio world as a Lightning data module."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from prismaudio.data.buckets import Draw, batch_loader
from prismaudio.hyperparameters import RecordsArguments
from prismaudio.types import Clip, ClipBatch
from prismaudio_studio.narration import renamed, written
from prismaudio_studio.words import CLASSES
from prismaudio_studio.world.bank import SoundBank
from prismaudio_studio.world.cache import ClipCache
from prismaudio_studio.world.sampling import SPLITS

if TYPE_CHECKING:
    from prismaudio.plan import Plan


class StudioClips(Dataset[ClipBatch]):
    """Batches of rendered clips with their plans.

    Args:
        caches: Caches of rendered clips.
        seed: Seed of the wording of the plans.
        strategy: Form of the plans, see :func:`prismaudio.cot.strategies.restructured`.
    """

    def __init__(self, caches: Sequence[ClipCache], seed: int = 0, strategy: str = "decomposed") -> None:
        self.places = [(cache, index) for cache in caches for index in range(len(cache))]
        self.seed, self.strategy = seed, strategy

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, draws: Sequence[Draw] | int) -> ClipBatch:
        draws = [Draw(draws)] if isinstance(draws, int) else draws
        clips, plans = zip(*map(self.clip, draws), strict=True)
        return ClipBatch(clips, plans)

    def clip(self, draw: Draw) -> tuple[Clip, Plan]:
        """A clip with its plan, which is worded differently in each epoch."""
        cache, index = self.places[draw.clip]
        words = index if draw.epoch is None else f"{self.seed} {draw.epoch} {draw.clip}"
        story = cache.story(index)
        if draw.epoch is not None:
            story = renamed(story, random.Random(words))
        return cache.clip(index), written(story, self.strategy, words)


class StudioDataModule(RecordsArguments, LightningDataModule):
    """Clips of the procedural studio world with their ground-truth plans, rendered once and cached on disk.

    Args:
        plain: Number of training clips of the plain split.
        randomised: Number of training clips of the randomised split.
        validation: Number of held-out validation clips of each split that is trained on.
        batch_size: Clips per batch.
        seed: Seed of the scenes.
        cache_dir: Folder for the rendered clips; about 0.7 MB per clip.
        workers: Number of processes that render clips.
        strategy: Form of the plans: none, all words in random order in one text, one text, or sections.
        recordings: Table of recordings that things sound like, see ``prismaudio studio recordings``; None for synthesis
            alone. Held-out clips use held-out sources.
        recorded: Number of training clips of families that sound like recordings, half of them plain and half
            randomised; it needs ``recordings``, of which the synthetic classes then use none.
        sample_rate_hz: Sample rate of the audio, that of the autoencoder.
        best: Train on at most so many recordings of each family, those in which it is heard most clearly by the column
            ``heard`` of the table, see ``prismaudio studio recordings --heard``; None for all.
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
        strategy: Literal["none", "random", "monolithic", "decomposed"] = "decomposed",
        recordings: str | None = None,
        recorded: int = 0,
        sample_rate_hz: int = 16_000,
        best: int | None = None,
    ) -> None:
        super().__init__()
        if recorded < 0 or recorded % 2:
            raise ValueError(f"recorded is {recorded}; expected an even number, half of each split")
        if recorded and recordings is None:
            raise ValueError(f"recorded is {recorded} and recordings is not set; give a table of recordings")
        if best is not None and not recorded:
            raise ValueError(f"best is {best} and recorded is 0; it chooses among recordings of families: set recorded")
        self.counts = {"plain": plain, "randomised": randomised}
        self.recorded, self.sample_rate_hz, self.best = recorded, sample_rate_hz, best
        self.validation, self.batch_size, self.seed, self.workers = validation, batch_size, seed, workers
        self.cache_dir, self.strategy, self.recordings = Path(cache_dir), strategy, recordings

    @cached_property
    def _bank(self) -> SoundBank | None:
        return None if self.recordings is None else SoundBank(self.recordings, best=self.best)

    def _caches(self, *, held_out: bool) -> list[ClipCache]:
        bank = None if self.recorded else self._bank
        caches = [
            self._cache(split, count, bank, CLASSES, held_out=held_out) for split, count in self.counts.items() if count
        ]
        if self.recorded and self._bank is not None:
            cast = self._bank.held_out if held_out else self._bank.cast
            caches += [self._cache(split, self.recorded // 2, self._bank, cast, held_out=held_out) for split in SPLITS]
        return caches

    def _cache(
        self, split: str, count: int, bank: SoundBank | None, cast: Sequence[str], *, held_out: bool
    ) -> ClipCache:
        count = self.validation if held_out else count
        rate_hz = self.sample_rate_hz
        return ClipCache(
            self.cache_dir, split, self.seed, count, held_out=held_out, bank=bank, cast=cast, sample_rate_hz=rate_hz
        )

    def prepare_data(self) -> None:
        """Render the clips that are not cached."""
        for held_out in (False, True):
            for cache in self._caches(held_out=held_out):
                cache.prepare(self.workers)

    def train_dataloader(self) -> DataLoader[Any]:
        """Training clips in random order, with plans worded differently in each epoch."""
        return self._loader(held_out=False)

    def val_dataloader(self) -> DataLoader[Any]:
        """Held-out clips."""
        return self._loader(held_out=True)

    def _loader(self, *, held_out: bool) -> DataLoader[Any]:
        clips = StudioClips(self._caches(held_out=held_out), self.seed, self.strategy)
        lengths = [1] * len(clips)
        return batch_loader(clips, lengths, self.batch_size, self.seed, shuffle=not held_out, trainer=self.trainer)
