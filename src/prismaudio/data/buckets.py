"""Batches of clips of similar length, in an order that depends only on the seed and the epoch."""

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
"""Maximum ratio of the longest to the shortest clip of a bucket if no bounds are given."""


class Draw(NamedTuple):
    """A request for a clip.

    Attributes:
        clip: Index of the clip in its dataset.
        epoch: The epoch, as part of the seed of random choices; None for no random choice.
    """

    clip: int
    epoch: int | None = None


class Padding(NamedTuple):
    """How much of the batches of an epoch is padding.

    Args:
        frames: Share of the latent frames that are padding, 0 to 1.
        batches: Share of the batches with padding, 0 to 1; the others need no mask.
    """

    frames: float
    batches: float


class BucketSampler(DistributedSampler[list[Draw]]):
    """Distributed batch sampler; each batch contains clips of one length bucket.

    The clips of a bucket are shuffled and split into global batches, and the batches of all buckets are shuffled. An
    incomplete batch of a bucket is dropped for the epoch; the next epoch drops other clips. A dataset smaller than one
    batch is repeated to fill it. All processes have the same number of batches and disjoint clips, and N processes get
    at each step the clips that one process would get with N times the batch size.

    With ``shuffle=False`` every clip is returned once, in order of length; a last batch with fewer clips than
    processes is repeated until each process has one.

    Args:
        lengths: Latent frames of each clip.
        batch_size: Clips per batch and process.
        seed: Seed of the order.
        bounds: Maximum lengths of the buckets, in latent frames; None to choose them. A bucket smaller than a batch is
            merged with the next longer one.
        shuffle: Whether to shuffle and use buckets, for training.
        rank: Rank of this process.
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
        """Clips per batch of all processes."""
        return self.batch_size * self.num_replicas

    def batches(self, epoch: int) -> list[list[int]]:
        """The global batches of an epoch, in order."""
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

    def padding(self, epoch: int = 0) -> Padding:
        """The padding of the batches that this process gets in an epoch."""
        frames = padded_frames = padded_batches = 0
        for batch in self.batches(epoch):
            first, last = (rank * len(batch) // self.num_replicas for rank in (self.rank, self.rank + 1))
            own = [self.lengths[index] for index in batch[first:last]]
            missing = len(own) * max(own) - sum(own)
            frames += len(own) * max(own)
            padded_frames += missing
            padded_batches += missing > 0
        return Padding(padded_frames / max(frames, 1), padded_batches / max(len(self), 1))

    def __len__(self) -> int:
        if not self.shuffle:
            return math.ceil(len(self.lengths) / self.global_batch)
        return sum(max(1, len(bucket) // self.global_batch) for bucket in self.buckets)


def fill_buckets(lengths: Sequence[int], least: int, bounds: Sequence[int] | None = None) -> list[list[int]]:
    """Group clips by length into buckets of at least ``least`` clips, if there are enough.

    Without bounds, clips of the maximum length, such as those that were cropped to it, have a bucket of their own, in
    which nothing is padded.

    Args:
        lengths: Latent frames of each clip.
        least: Minimum number of clips in a bucket.
        bounds: Maximum lengths of the buckets; None for buckets whose lengths differ by at most a quarter.

    Example:
        >>> fill_buckets([10, 11, 40, 41, 100], 2)
        [[0, 1], [2, 3, 4]]
        >>> fill_buckets([90, 95, 100, 100, 100], 2)
        [[0, 1], [2, 3, 4]]
    """
    order = sorted(range(len(lengths)), key=lambda index: (lengths[index], index))
    n_longest = sum(length == lengths[order[-1]] for length in lengths) if order else 0
    if bounds is None and least <= n_longest and least <= len(order) - n_longest:
        return [*_greedy(lengths, order[:-n_longest], least, None), order[-n_longest:]]
    return _greedy(lengths, order, least, bounds)


def _greedy(lengths: Sequence[int], order: Sequence[int], least: int, bounds: Sequence[int] | None) -> list[list[int]]:
    """Fill buckets with clips in order of length."""
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
    """Data loader whose sampler is a :class:`BucketSampler` and whose dataset is indexed by lists of draws."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """The batches; the traceback of an error in a worker is reduced to its message."""
        try:
            yield from super().__iter__()
        except PrismAudioError as error:
            raise type(error)(str(error).splitlines()[-1].partition("Error: ")[2] or str(error)) from error


class ResumableLoader(BatchLoader):
    """A data loader that resumes within an epoch; Lightning saves and restores its state."""

    given = 0
    """Number of batches of this epoch that were returned."""
    resumed = (-1, 0)
    """The epoch of the checkpoint to resume from, and the number of its batches that were returned."""

    def state_dict(self) -> dict[str, int]:
        """The epoch and the number of its batches that were returned."""
        sampler = self.sampler
        if not isinstance(sampler, BucketSampler):  # replaced by Lightning's overfit_batches
            return {}
        return {"epoch": sampler.epoch, "given": self.given, "global_batch": sampler.global_batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Resume from this state if the global batch size is unchanged, else from the start of the epoch."""
        sampler = self.sampler
        if state and isinstance(sampler, BucketSampler) and state["global_batch"] == sampler.global_batch:
            self.resumed = (state["epoch"], state["given"])

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """The batches of an epoch, or the remaining ones after a resume."""
        sampler = self.sampler
        epoch, given = self.resumed
        if isinstance(sampler, BucketSampler):  # evaluated at the first batch, when the epoch is set
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
    """Create the loader of a data module: shuffled and resumable for training, otherwise in order.

    Args:
        clips: Dataset that returns a batch for a list of :class:`Draw`.
        lengths: Length of each clip; a batch contains clips of similar length.
        batch_size: Clips per batch and process.
        seed: Seed of the order.
        bounds: Maximum lengths of the buckets; None to choose them.
        shuffle: Whether to shuffle, for training.
        trainer: Trainer that provides rank and number of processes, and whose device decides whether batches are
            copied to page-locked memory; None for one process.
        workers: Number of worker processes.
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
        pin_memory=trainer is not None and trainer.strategy.root_device.type == "cuda",
    )


def identity_collate(batch: Any) -> Any:
    """Return a batch unchanged; the dataset has already collated it."""
    return batch
