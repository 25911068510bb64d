"""Batches of clips of like length, in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from torch.utils.data import DataLoader, Dataset, DistributedSampler

from prismaudio.errors import PrismAudioError

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

GROWTH = 1.25
"""How much longer than the shortest clip of a bucket its longest one may be, where no bounds are given."""


class Draw(NamedTuple):
    """A clip that is asked for.

    Args:
        clip: Number of the clip in its data set.
        epoch: In which epoch, for what is drawn anew in each one; None where nothing is drawn.
    """

    clip: int
    epoch: int | None = None


class BucketSampler(DistributedSampler[list[Draw]]):
    """Gives each process its share of every batch; a batch holds clips of one bucket of lengths.

    The clips of a bucket are shuffled, cut into batches for all processes together, and the batches of all buckets are
    shuffled. What is left of a bucket, less than a batch, is left out of this epoch; other clips are in the next. A
    set with less than one batch in all is repeated until it makes one. So each process has as many batches as every
    other, none of the same clips, and N processes see at each step what one would see with N times the batch size.

    With ``shuffle=False`` every clip is given once, in the order of their lengths; a last batch of fewer clips than
    processes is repeated until each has one.

    Args:
        lengths: Latent frames of each clip.
        batch_size: Clips in a batch of one process.
        seed: Seed of the order.
        bounds: Longest lengths of the buckets, in latent frames; None to choose them. A bucket with less than a batch
            joins the next longer one.
        shuffle: Whether this is training.
        rank: Number of this process.
        n_ranks: Number of processes.

    Example:
        >>> sampler = BucketSampler([9, 8, 2, 1, 9, 8], 2, seed=1)
        >>> sorted(sorted(sampler.lengths[draw.clip] for draw in batch) for batch in sampler)[0]
        [1, 2]
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        seed: int = 0,
        bounds: Sequence[int] | None = None,
        *,
        shuffle: bool = True,
        rank: int = 0,
        n_ranks: int = 1,
    ) -> None:
        super().__init__(lengths, n_ranks, rank, shuffle, seed)  # type: ignore[arg-type]
        self.lengths, self.batch_size, self.first = list(lengths), batch_size, 0
        self.buckets = fill_buckets(self.lengths, self.global_batch, bounds) if shuffle else []

    @property
    def global_batch(self) -> int:
        """Clips of a batch of all processes."""
        return self.batch_size * self.num_replicas

    def batches(self, epoch: int) -> list[list[int]]:
        """The batches of all processes together, in order."""
        if not self.shuffle:
            return self._in_order()
        rng = random.Random(f"batches {self.seed} {epoch}")
        made = []
        for bucket in self.buckets:
            order = rng.sample(bucket, len(bucket))
            while len(order) < self.global_batch:
                order += order[: self.global_batch - len(order)]
            n_whole = len(order) // self.global_batch
            made += [order[i * self.global_batch : (i + 1) * self.global_batch] for i in range(n_whole)]
        rng.shuffle(made)
        return made

    def _in_order(self) -> list[list[int]]:
        order = sorted(range(len(self.lengths)), key=lambda index: (self.lengths[index], index))
        made = [order[i : i + self.global_batch] for i in range(0, len(order), self.global_batch)]
        if made and (short := self.num_replicas - len(made[-1])) > 0:
            made[-1] += (made[-1] * short)[:short]
        return made

    def __iter__(self) -> Iterator[list[Draw]]:
        epoch = self.epoch if self.shuffle else None
        for batch in self.batches(self.epoch)[self.first :]:
            first, last = (rank * len(batch) // self.num_replicas for rank in (self.rank, self.rank + 1))
            yield [Draw(index, epoch) for index in batch[first:last]]

    def __len__(self) -> int:
        if not self.shuffle:
            return math.ceil(len(self.lengths) / self.global_batch)
        return sum(max(1, len(bucket) // self.global_batch) for bucket in self.buckets)


def fill_buckets(lengths: Sequence[int], least: int, bounds: Sequence[int] | None = None) -> list[list[int]]:
    """Clips by length, in buckets of at least ``least`` clips if there are as many.

    Args:
        lengths: Latent frames of each clip.
        least: Clips that a bucket needs.
        bounds: Longest lengths of the buckets; None for buckets whose lengths differ by a quarter at most.

    Example:
        >>> fill_buckets([10, 11, 40, 41, 100], 2)
        [[0, 1], [2, 3, 4]]
    """
    order = sorted(range(len(lengths)), key=lambda index: (lengths[index], index))
    buckets: list[list[int]] = []
    longest = -1.0
    limits = sorted(bounds or [])
    for index in order:
        length = lengths[index]
        if length > longest:
            longest = next((x for x in limits if x >= length), float("inf")) if limits else length * GROWTH
            if not buckets or len(buckets[-1]) >= least:
                buckets.append([])
        buckets[-1].append(index)
    if len(buckets) > 1 and len(buckets[-1]) < least:
        last = buckets.pop()
        buckets[-1] += last
    return buckets


class BatchLoader(DataLoader[Any]):
    """Loads whole batches: its sampler is a :class:`BucketSampler`, its data set takes lists of draws."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """The batches; what a process that reads has to say is said in one line."""
        try:
            yield from super().__iter__()
        except PrismAudioError as error:
            raise type(error)(str(error).splitlines()[-1].partition("Error: ")[2] or str(error)) from error


class ResumableLoader(BatchLoader):
    """A data loader that goes on within an epoch where a checkpoint was made; Lightning saves and gives its state."""

    given = 0
    """Batches of this epoch that were given."""
    resumed = (-1, 0)
    """The epoch of the checkpoint to go on from, and the batches of it that were given."""

    def state_dict(self) -> dict[str, int]:
        """Epoch, and batches of it that were given."""
        sampler = self.sampler
        if not isinstance(sampler, BucketSampler):  # Lightning's overfit_batches puts another one in its place
            return {}
        return {"epoch": sampler.epoch, "given": self.given, "global_batch": sampler.global_batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there, if batches are as large as they were; otherwise at the beginning of the epoch."""
        sampler = self.sampler
        if state and isinstance(sampler, BucketSampler) and state["global_batch"] == sampler.global_batch:
            self.resumed = (state["epoch"], state["given"])

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """The batches of an epoch, or what is left of it."""
        sampler = self.sampler
        epoch, given = self.resumed
        if isinstance(sampler, BucketSampler):  # asked when the first batch is, for only then the epoch is set
            self.given = sampler.first = given if epoch == sampler.epoch else 0
            self.resumed = (-1, 0)
        for batch in super().__iter__():
            self.given += 1
            yield batch


def batch_loader(
    clips: Dataset[Any],
    lengths: Sequence[int],
    batch_size: int,
    seed: int = 0,
    bounds: Sequence[int] | None = None,
    *,
    shuffle: bool = False,
    trainer: Trainer | None = None,
    workers: int = 0,
) -> DataLoader[Any]:
    """The loader of a data module: shuffled and resumable for training, otherwise in order.

    Args:
        clips: Gives a batch for a list of :class:`Draw`.
        lengths: Length of each clip; a batch holds clips of like length.
        batch_size: Clips in a batch of one process.
        seed: Seed of the order.
        bounds: Longest lengths of the buckets; None to choose them.
        shuffle: Whether this is training.
        trainer: Says how many processes there are; one without it.
        workers: Processes that read.
    """
    kwargs = None if trainer is None else trainer.distributed_sampler_kwargs
    rank, n_ranks = (kwargs["rank"], kwargs["num_replicas"]) if kwargs else (0, 1)
    sampler = BucketSampler(lengths, batch_size, seed, bounds, shuffle=shuffle, rank=rank, n_ranks=n_ranks)
    kind = ResumableLoader if shuffle else BatchLoader
    return kind(
        clips,
        batch_size=None,
        sampler=sampler,
        num_workers=workers,
        collate_fn=identity_collate,
        persistent_workers=workers > 0,
    )


def identity_collate(batch: Any) -> Any:
    """A batch that the data set has put together already."""
    return batch
