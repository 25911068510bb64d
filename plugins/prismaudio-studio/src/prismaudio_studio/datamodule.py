"""The studio world as a Lightning data module."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from prismaudio.data.buckets import Draw, batch_loader
from prismaudio.hyperparameters import RecordsArguments
from prismaudio.types import Clip, ClipBatch
from prismaudio_studio.narration import written
from prismaudio_studio.world.bank import SoundBank
from prismaudio_studio.world.cache import ClipCache

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
        return cache.clip(index), written(cache.story(index), self.strategy, words)


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
    ) -> None:
        super().__init__()
        self.counts = {"plain": plain, "randomised": randomised}
        self.validation, self.batch_size, self.seed, self.workers = validation, batch_size, seed, workers
        self.cache_dir, self.strategy, self.recordings = Path(cache_dir), strategy, recordings

    @cached_property
    def _bank(self) -> SoundBank | None:
        return None if self.recordings is None else SoundBank(self.recordings)

    def _caches(self, *, held_out: bool) -> list[ClipCache]:
        return [
            ClipCache(
                self.cache_dir,
                split,
                self.seed,
                self.validation if held_out else count,
                held_out=held_out,
                bank=self._bank,
            )
            for split, count in self.counts.items()
            if count
        ]

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
