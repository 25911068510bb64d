"""CUDA graphs of the transformer: a velocity is launched as one graph instead of a thousand kernels.

A velocity of a few clips takes 30 ms to launch from Python and 4 ms to compute on a large GPU. A graph is captured once
for each shape of its inputs and then replayed. It reads the weights at their addresses, so training steps, adapters and
moving averages that change weights in place need no new capture; weights that have moved are noticed.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from prismaudio.downloads import cache_home
from prismaudio.types import Conditions, Features

if TYPE_CHECKING:
    from torch import Tensor, nn

    from prismaudio.models.dit import ConditioningCache, DiffusionTransformer

LOG = logging.getLogger("prismaudio.models")
BUCKET = 32
"""Streams are padded to a multiple of this, so that texts of similar length share a graph."""
MAX_GRAPHS = 8
"""Shapes that are kept; the one that was used longest ago makes room for a new one."""
FIRST_STEPS = 2
"""Steps of a trajectory before its shape is captured, so that the short ones of roll-outs are not."""
MAX_FRAMES = 8_192
"""Latent frames of a batch beyond which kernels take longer than their launch, so that a graph gains nothing."""
Made = TypeVar("Made")
Record = Callable[[Callable[[], Made]], tuple[Callable[[], object], Made]]
"""Runs a function once and returns a function that repeats it, and the result, whose tensors each repetition fills."""


@dataclass(eq=False)
class PaddedConditions:
    """Conditions of a trajectory for :class:`GraphedTransformer`, in the place of a ``ConditioningCache``.

    Args:
        streams: The conditions, padded to multiples of :data:`BUCKET`.
        n_frames: Latent frames, padding included.
        mask: True where a frame is real, bool ``(batch, n_frames)``; None if all are real.
        cache: What is precomputed from them for steps without a graph.
        n_steps: Steps without a graph so far.
    """

    streams: Conditions
    n_frames: int
    mask: Tensor | None = None
    cache: ConditioningCache | None = None
    n_steps: int = 0

    def first(self, count: int) -> PaddedConditions:
        """Those of the first samples of the batch."""
        streams = self.streams.map(lambda stream: stream.map(lambda x: x[:count]))
        return PaddedConditions(streams, self.n_frames, None if self.mask is None else self.mask[:count])


@dataclass(eq=False)
class _Graph:
    """The graphs of one shape: from conditions to their precomputed form, and from that to the velocity.

    Args:
        inputs: Conditions that the first graph reads.
        latents: Latents ``(batch, channels, frames)`` that the second one reads.
        times: Times ``(batch,)`` that the second one reads.
        prepare: Repeats the first graph.
        step: Repeats the second graph.
        velocity: The velocity that the second graph writes.
        prepared: The conditions that the first graph was replayed for.
    """

    inputs: PaddedConditions
    latents: Tensor
    times: Tensor
    prepare: Callable[[], object]
    step: Callable[[], object]
    velocity: Tensor
    prepared: PaddedConditions | None = None


class GraphedTransformer:
    """A transformer whose velocities are replayed from CUDA graphs, for :func:`prismaudio.samplers.guidance`.

    Results are those of the same kernels without a graph, but for the padding of the conditions. The first steps of a
    trajectory of a new shape run without one. On other devices, with gradients, with sharded parameters
    and for large batches, the transformer itself is called. A network that cannot be captured is called, too, after one
    warning that says why. Hooks of the network do not run in a replay, and what decides in Python, such as an adapter
    that is switched off, is that of the capture: call :meth:`clear` after such a change. Threads take turns.

    Args:
        transformer: The network; it is shared, not copied.
        record: Captures a function; None for CUDA graphs on a GPU, and no graphs elsewhere.

    Example:
        >>> from prismaudio.models.dit import DiffusionTransformer
        >>> network = GraphedTransformer(DiffusionTransformer(8, 64, 1, 2, {}))
        >>> cache = network.cache_conditions(Conditions(), 20)
        >>> network(torch.randn(1, 8, 20), torch.rand(1), cache).shape
        torch.Size([1, 8, 20])
    """

    def __init__(self, transformer: DiffusionTransformer, record: Record[Any] | None = None) -> None:
        self.transformer, self._record = transformer, record
        self._graphs: OrderedDict[Hashable, _Graph] = OrderedDict()
        self._addresses: tuple[int, ...] = ()
        self._lock = threading.Lock()
        self.failure = ""
        """Why no graph can be captured; empty while nothing failed."""

    def clear(self) -> None:
        """Drop all graphs and their memory."""
        self._graphs.clear()

    def compile(self) -> None:
        """Compile the blocks with ``torch.compile``: seconds for the first clip, and faster velocities after it.

        All blocks share their code; a second shape is compiled once more, for shapes of any size. Compiled code is kept
        on disk by torch, in PrismAudio's cache folder unless ``TORCHINDUCTOR_CACHE_DIR`` names another.
        """
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_home() / "compiled"))
        for block in self.transformer.blocks:
            block.compile()
        self._graphs.clear()

    def cache_conditions(
        self, conditions: Conditions, n_frames: int, mask: Tensor | None = None
    ) -> PaddedConditions | ConditioningCache:
        """See :meth:`prismaudio.models.dit.DiffusionTransformer.cache_conditions`."""
        if not self._can_graph(conditions, n_frames):
            return self.transformer.cache_conditions(conditions, n_frames, mask)
        addresses = tuple(weight.data_ptr() for weight in self.transformer.parameters())
        if addresses != self._addresses:  # moved to another device, cast or replaced
            self._addresses = addresses
            self._graphs.clear()
        streams = {
            name: stream.padded(-(-stream.mask.shape[1] // BUCKET) * BUCKET) for name, stream in conditions.items()
        }
        return PaddedConditions(Conditions(streams), n_frames, mask)

    def __call__(
        self,
        latents: Tensor,
        times: Tensor,
        conditions: Conditions | ConditioningCache | PaddedConditions,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See :meth:`prismaudio.models.dit.DiffusionTransformer.forward`."""
        if not isinstance(conditions, PaddedConditions):
            return self.transformer(latents, times, conditions, mask)
        with self._lock:
            graph = None if self.failure else self._graph(latents, conditions)
            if graph is not None:
                return self._replayed(graph, latents, times, conditions)
        conditions.n_steps += 1
        if conditions.cache is None:
            streams, n_frames, real = conditions.streams, conditions.n_frames, conditions.mask
            conditions.cache = self.transformer.cache_conditions(streams, n_frames, real)
        return self.transformer(latents, times, conditions.cache)

    @staticmethod
    def _replayed(graph: _Graph, latents: Tensor, times: Tensor, conditions: PaddedConditions) -> Tensor:
        """A velocity of a graph, which prepares the conditions unless the last step was of the same."""
        with torch.inference_mode(mode=False), torch.no_grad(), _device(latents):
            if graph.prepared is not conditions:
                _fill(graph.inputs, conditions)
                graph.prepare()
                graph.prepared = conditions
            graph.latents.copy_(latents)
            graph.times.copy_(times, non_blocking=True)
            graph.step()
            return graph.velocity.to(latents.dtype, copy=True)

    def _can_graph(self, conditions: Conditions, n_frames: int) -> bool:
        """Whether a graph can be captured, and gains anything."""
        rows = max((len(stream.mask) for stream in conditions.values()), default=0)
        return (
            bool(rows)
            and not self.failure
            and not torch.is_grad_enabled()
            and (self._record is not None or self.transformer.pre.weight.is_cuda)
            and rows * n_frames <= MAX_FRAMES
            and not _is_sharded(self.transformer)
        )

    def _graph(self, latents: Tensor, conditions: PaddedConditions) -> _Graph | None:
        """The graphs of a shape; None in its first steps, and, with a warning, if they cannot be captured."""
        kind = latents.device.type
        autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        lengths = tuple((name, stream.mask.shape[1]) for name, stream in conditions.streams.items())
        modes = self.transformer.training, torch.is_inference_mode_enabled()  # compiled code may depend on them
        key = (tuple(latents.shape), conditions.mask is None, lengths, autocast, modes)
        if key not in self._graphs:
            if conditions.n_steps < FIRST_STEPS:
                return None
            try:
                self._graphs[key] = self._captured(latents, conditions, autocast)
                conditions.cache = None
            except torch.OutOfMemoryError:
                self._graphs.clear()
                conditions.n_steps = 0  # with the memory of the others it may fit
                return None
            except RuntimeError as error:
                self._graphs.clear()
                first = error.__context__ or error  # a failed capture says less than what made it fail
                self.failure = " ".join(str(first).split())[:300]
                LOG.warning(
                    "velocities are computed without CUDA graphs, which is slower: the network cannot be captured: %s",
                    self.failure,
                )
                return None
            if len(self._graphs) > MAX_GRAPHS:
                self._graphs.popitem(last=False)
        self._graphs.move_to_end(key)
        return self._graphs[key]

    def _captured(self, latents: Tensor, conditions: PaddedConditions, autocast: torch.dtype | None) -> _Graph:
        network = self.transformer
        # casts of weights are captured, too, so that a replay sees what training has changed
        cast = torch.autocast(latents.device.type, autocast, enabled=autocast is not None, cache_enabled=False)
        with torch.inference_mode(mode=False), torch.no_grad():  # tensors that may be filled in any mode
            streams = conditions.streams.map(lambda stream: stream.map(torch.clone))
            mask = None if conditions.mask is None else conditions.mask.clone()
            inputs = PaddedConditions(streams, conditions.n_frames, mask)
            moving = torch.zeros(latents.shape, device=latents.device)
            times = torch.full((len(latents),), 0.5, device=latents.device)
        record = self._record or functools.partial(capture, pool=torch.cuda.graph_pool_handle())
        with cast, _device(latents):
            prepare, cache = record(lambda: network.cache_conditions(streams, inputs.n_frames, mask))
            step, velocity = record(lambda: network(moving, times, cache))
        return _Graph(inputs, moving, times, prepare, step, velocity)


def capture(function: Callable[[], Made], pool: Any = None) -> tuple[Callable[[], object], Made]:
    """Capture a function as a CUDA graph, after one run that loads kernels and compiles.

    Args:
        function: Computes on the current GPU, without synchronising it.
        pool: Memory pool that is shared with graphs captured before; None for its own. A graph may write over whatever
            the later ones of its pool keep, so they must be replayed in the order in which they were captured.

    Returns:
        A function that replays the graph, and the result of ``function``, which each replay fills.

    Raises:
        RuntimeError: The function does something that cannot be captured.
    """
    caller, side, graph = torch.cuda.current_stream(), torch.cuda.Stream(), torch.cuda.CUDAGraph()
    side.wait_stream(caller)
    with torch.cuda.stream(side):
        function()
    caller.wait_stream(side)
    try:
        # other threads, which read data or score, may use the GPU meanwhile
        with torch.cuda.graph(graph, pool=pool, stream=side, capture_error_mode="thread_local"):
            made = function()
    except RuntimeError:
        # a failed capture leaves its stream, and its state in the random generator, which the next capture ends
        torch.cuda.set_stream(caller)
        with torch.cuda.graph(torch.cuda.CUDAGraph(), capture_error_mode="thread_local"):
            torch.zeros(1, device=caller.device)
        raise
    return graph.replay, made


def _device(latents: Tensor) -> AbstractContextManager[object]:
    """Context in which the GPU of the latents is the current one."""
    return torch.cuda.device(latents.device) if latents.is_cuda else nullcontext()


def _fill(inputs: PaddedConditions, conditions: PaddedConditions) -> None:
    """Copy conditions to those that a graph reads."""
    for name, stream in conditions.streams.items():
        target: Features = inputs.streams[name]
        target.values.copy_(stream.values)
        target.mask.copy_(stream.mask)
    if inputs.mask is not None and conditions.mask is not None:
        inputs.mask.copy_(conditions.mask)


def _is_sharded(module: nn.Module) -> bool:
    """Whether the weights are sharded by FSDP; importing that takes as long as the rest of the command line."""
    from torch.distributed.fsdp import FSDPModule

    return isinstance(module, FSDPModule)
