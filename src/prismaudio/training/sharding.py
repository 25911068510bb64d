"""Sharding of the transformer over processes, compilation, and activation checkpointing."""

from __future__ import annotations

import functools
import shutil
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint

from prismaudio.errors import CheckpointError
from prismaudio.training.checkpoint_files import replace, temporary
from prismaudio.training.consolidation import check_shards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor, nn
    from torch.distributed.device_mesh import DeviceMesh


class ShardedStrategy(ModelParallelStrategy):
    """FSDP2: parameters, gradients, averages and optimizer states are sharded over all processes.

    In a recipe or on the command line, ``fsdp`` and ``fsdp2`` both mean this strategy.

    Args:
        save_distributed_checkpoint: Whether each process writes its shard of a checkpoint, to a folder; otherwise the
            first process gathers everything and writes one file.
    """

    def __init__(self, save_distributed_checkpoint: bool = True) -> None:  # noqa: FBT001, FBT002 - Lightning's own
        super().__init__(1, 1, save_distributed_checkpoint)
        self._in_shards = save_distributed_checkpoint

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None) -> None:
        """Write a folder of shards to a temporary name, and rename it when every process is done.

        Raises:
            CheckpointError: A process cannot write its shard.
        """
        if not self._in_shards:  # one file, which the first process writes
            super().save_checkpoint(checkpoint, filepath, storage_options)
            return
        target, part = self.broadcast((Path(filepath), temporary(Path(filepath))))
        try:
            super().save_checkpoint(checkpoint, part, storage_options)
        except (CheckpointException, OSError) as error:
            shutil.rmtree(part, ignore_errors=True)
            text = " ".join(str(error).split())[-200:]
            raise CheckpointError(
                f"cannot write the checkpoint {target}: {text}; earlier checkpoints are complete"
            ) from error
        self.barrier()
        for rank in range(2):  # the first process, then the first of each node, for disks that nodes do not share
            if (self.global_rank if rank == 0 else self.local_rank) == 0 and part.is_dir():
                replace(part, target)
            self.barrier()

    def setup_environment(self) -> None:
        """Shard the parameters over all processes of all nodes."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:  # noqa: FBT001
        """Load the state of a run from a file or from shards; no code in it is executed.

        Raises:
            CheckpointError: It holds more than tensors and plain data, or is damaged.
        """
        if Path(checkpoint_path).is_dir():
            check_shards(Path(checkpoint_path))
        return super().load_checkpoint(checkpoint_path, weights_only=True)


def shard(network: nn.Module, blocks: Iterable[nn.Module], mesh: DeviceMesh) -> None:
    """Shard the parameters of a transformer over the processes of a mesh, block by block.

    The projection of the conditions to keys and values is sharded separately, because it is used before its block.
    """
    for block in blocks:
        cross: Any = block.cross_attention
        fully_shard([cross.to_kv, cross.k_norm], mesh=mesh)
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh, reshard_after_forward=False)


def shard_whole(module: nn.Module, mesh: DeviceMesh) -> None:
    """Shard parameters that are never used in a forward, such as averages."""
    fully_shard(module, mesh=mesh)


def compile_forwards(blocks: Iterable[nn.Module]) -> None:
    """Compile the forward of each block, without the hooks that gather its parameters or recompute activations.

    All blocks share their code, which is compiled once for any number of context tokens: without padded frames once for
    the first number of frames and once for any other, with padded frames once for all. In inference mode, that is in
    validation, the blocks are not compiled, since each further shape would take as long as those of training; roll-outs
    are, because training replays them.
    """
    for block in blocks:
        block.forward = functools.partial(_compiled, block.forward, torch.compile(block.forward))


def _compiled(plain: Callable[..., Tensor], compiled: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """The forward of a block, compiled outside of inference mode, with the sizes that differ between batches marked."""
    if torch.is_inference_mode_enabled():
        return plain(*inputs)
    x_BND, rotary, mask, context, context_mask = inputs
    sizes = [(tensor, 2) for tensor in context or ()]
    sizes += [] if context_mask is None else [(context_mask, 3)]
    sizes += [] if mask is None else [(mask, 3), (x_BND, 1), *((tensor, 0) for tensor in rotary)]
    for tensor, dim in sizes:
        torch._dynamo.maybe_mark_dynamic(tensor, dim)  # noqa: SLF001 - torch documents it under this name
    return compiled(*inputs)


def checkpoint_activations(blocks: Iterable[nn.Module]) -> None:
    """Recompute the activations of each block in the backward pass instead of storing them: less memory, more time."""
    for block in blocks:
        block.forward = functools.partial(_checkpointed, block.forward)


def _checkpointed(forward: Callable[..., Tensor], *args: Any) -> Tensor:
    """A forward whose activations are recomputed in the backward pass; itself where there is none."""
    if not torch.is_grad_enabled():
        return forward(*args)
    made: Tensor = checkpoint(forward, *args, use_reentrant=False)
    return made


@contextmanager
def unsharded(network: nn.Module) -> Iterator[None]:
    """Context with the network's own parameters gathered, for methods other than ``forward``; blocks stay sharded."""
    if not isinstance(network, FSDPModule):
        yield
        return
    network.unshard()
    try:
        yield
    finally:
        network.reshard()


def local_shard(value: Tensor) -> Tensor:
    """The local shard of a sharded tensor; other tensors are returned unchanged."""
    return value.to_local() if isinstance(value, DTensor) else value


def whole_state(network: nn.Module, part: str = "") -> dict[str, Any]:
    """The unsharded weights of a network, on the CPU of every process; every process must call this.

    Args:
        network: The network.
        part: Only weights whose name contains this.
    """
    state = {key: value for key, value in network.state_dict().items() if part in key}
    return {
        key: value.full_tensor().cpu() if isinstance(value, DTensor) else value.cpu() for key, value in state.items()
    }


def within_process(strategy: Strategy) -> AbstractContextManager[None]:
    """Context without gradient synchronization over processes; sharded parameters synchronize anyway."""
    return strategy.block_backward_sync() if isinstance(strategy, DDPStrategy) else nullcontext()


def mean_over_processes(value: Tensor) -> Tensor:
    """The mean of a number over all processes; every process must call this."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        value = value.clone()
        torch.distributed.all_reduce(value)
        value /= torch.distributed.get_world_size()
    return value


def max_over_processes(value: Tensor) -> Tensor:
    """The largest of a number over all processes; every process must call this."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        value = value.clone()
        torch.distributed.all_reduce(value, torch.distributed.ReduceOp.MAX)
    return value
