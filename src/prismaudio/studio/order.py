"""The order in which training sees clips: the same for the same seed and epoch, wherever a run goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from torch.utils.data import DistributedSampler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Item = TypeVar("Item")
Batch = TypeVar("Batch")


class ShuffledBatches(Generic[Item, Batch]):
    """Batches in an order that depends on the seed and the epoch, and that goes on within an epoch.

    Lightning sets the epoch, and stores in checkpoints where it is. Every process gets its share of one order, so
    that the batches of all processes together are what one process would see in larger batches.

    Args:
        n_items: How many items there are.
        item: Gives an item from its number and the epoch.
        collate: Makes a batch of items.
        batch_size: Items in a batch of one process.
        seed: Seed of the order.
        shares: Into how many shares the order is dealt.
        share: Which of them this process has.

    Example:
        >>> batches = ShuffledBatches(6, lambda index, epoch: index, sorted, 3, seed=1)
        >>> first, second = batches
        >>> batches.load_state_dict({"epoch": 0, "done": 1})
        >>> list(batches) == [second]
        True
    """

    def __init__(
        self,
        n_items: int,
        item: Callable[[int, int], Item],
        collate: Callable[[list[Item]], Batch],
        batch_size: int,
        seed: int = 0,
        shares: int = 1,
        share: int = 0,
    ) -> None:
        items: Any = range(n_items)
        self.sampler: DistributedSampler[int] = DistributedSampler(
            items, shares, share, shuffle=True, seed=seed, drop_last=True
        )
        self.item, self.collate, self.batch_size = item, collate, batch_size
        self.done = 0
        self._resumed = (-1, 0)

    def __len__(self) -> int:
        return len(self.sampler) // self.batch_size

    def __iter__(self) -> Iterator[Batch]:
        """Batches of the epoch, without those that were seen before the checkpoint that a run goes on from."""
        epoch, done = self.sampler.epoch, 0  # asked when the first batch is, for only then the epoch is set
        if self._resumed[0] == epoch:
            done = self._resumed[1]
        self._resumed, self.done = (-1, 0), done
        order = list(self.sampler)
        for number in range(done, len(self)):
            self.done = number + 1
            some = order[number * self.batch_size : (number + 1) * self.batch_size]
            yield self.collate([self.item(index, epoch) for index in some])

    def state_dict(self) -> dict[str, int]:
        """Where the order is."""
        return {"epoch": self.sampler.epoch, "done": self.done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there."""
        self._resumed = (state["epoch"], state["done"])
