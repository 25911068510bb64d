"""The model at the beginning of post-training, from which the policy should not go far."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from prismaudio.training.sharding import shard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch
    from torch.distributed.device_mesh import DeviceMesh

    from prismaudio.models.dit import DiffusionTransformer


class Reference:
    """A frozen copy of a transformer or, where only adapters are trained, the transformer without them.

    It is no part of a task, so it is in no checkpoint: a run that is resumed copies the same model again.

    Args:
        transformer: The transformer that is going to be trained, as it is now.
        adapters: Whether only adapters in it are.
    """

    def __init__(self, transformer: DiffusionTransformer, *, adapters: bool) -> None:
        self._transformer = transformer
        self._copy = None if adapters else copy.deepcopy(transformer).requires_grad_(requires_grad=False)

    def prepare(self, mesh: DeviceMesh | None, device: torch.device, hook: Callable[..., Any]) -> None:
        """Bring the copy to where the transformer is.

        Args:
            mesh: Processes that the parameters are spread over, if they are.
            device: The device of this process.
            hook: Forward hook of the copy; that of the transformer does for the transformer.
        """
        if self._copy is not None:
            self._copy.to(device).register_forward_hook(hook)
            if mesh is not None:
                shard(self._copy, list(self._copy.blocks), mesh["data_parallel"])

    @contextmanager
    def network(self) -> Iterator[DiffusionTransformer]:
        """The network of the reference, while the context lasts."""
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
