"""The reference model of post-training: the policy before the first update."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prismaudio.training.sharding import shard

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from torch import Tensor
    from torch.distributed.device_mesh import DeviceMesh

    from prismaudio.models.dit import DiffusionTransformer


class Reference:
    """A frozen copy of a transformer or, where only adapters are trained, the transformer without them.

    It is not a submodule of the task, so checkpoints do not hold it: a resumed run copies the same model again.

    Args:
        transformer: The transformer before training.
        adapters: Whether only adapters in it are trained.
    """

    def __init__(self, transformer: DiffusionTransformer, *, adapters: bool) -> None:
        self._transformer = transformer
        self._copy = None if adapters else copy.deepcopy(transformer).requires_grad_(requires_grad=False)

    @property
    def weights(self) -> list[Tensor]:
        """The weights of the copy; none where only adapters are trained."""
        return [] if self._copy is None else [*self._copy.parameters(), *self._copy.buffers()]

    def prepare(self, mesh: DeviceMesh | None, device: torch.device) -> None:
        """Move the copy to the device, and shard it like the transformer.

        Args:
            mesh: Device mesh that parameters are sharded over; None without sharding.
            device: The device of this process.
        """
        if self._copy is not None:
            self._copy.to(device)
            if mesh is not None:
                shard(self._copy, list(self._copy.blocks), mesh["data_parallel"])

    @contextmanager
    def network(self) -> Iterator[DiffusionTransformer]:
        """Context with the network of the reference model."""
        if self._copy is not None:
            yield self._copy
            return
        from peft.tuners.tuners_utils import BaseTunerLayer

        layers = [layer for layer in self._transformer.modules() if isinstance(layer, BaseTunerLayer)]
        for layer in layers:
            layer.enable_adapters(enabled=False)
        try:
            yield self._transformer
        finally:
            for layer in layers:
                layer.enable_adapters(enabled=True)
