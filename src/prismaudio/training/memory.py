"""Counting the memory and the operations of work on the device ``meta``, where tensors have shapes but no values."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001 - torch has no public name
ATTENTION_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward  # noqa: SLF001
LOWERED = frozenset(
    """
    linear matmul mm bmm addmm addbmm baddbmm mv addmv addr einsum bilinear prelu scaled_dot_product_attention
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d __matmul__ __rmatmul__
    """.split()  # noqa: SIM905 - a list of words
)
"""Functions that autocast computes in half precision on a GPU."""
RAISED = frozenset(
    """
    pow __pow__ __rpow__ rsqrt reciprocal exp expm1 log log2 log10 log1p sum prod cumsum cumprod norm layer_norm
    group_norm rms_norm softmax log_softmax softplus mse_loss l1_loss smooth_l1_loss cross_entropy nll_loss
    cosine_similarity normalize acos asin cosh sinh tan erfinv
    """.split()  # noqa: SIM905
)
"""Functions that autocast computes in float32 on a GPU."""


class Counter(TorchDispatchMode):
    """Counts the bytes of the tensors on a device that are alive, by the results of each operation, and the operations.

    Memory that an operation takes while it runs is not counted, nor what an allocator adds. torch's own counter of
    operations keeps tensors alive, so it cannot be used beside this one.

    Args:
        known: Tensors that exist already; their memory is not counted.
        device: Type of the device.

    Attributes:
        live: Bytes that are alive now.
        peak: The largest number of them since :meth:`reset_peak`.
        flop: Floating-point operations so far: matrix products, convolutions and attention.

    Example:
        >>> with Counter(device="cpu") as counter:
        ...     total = (torch.zeros(16, 16) @ torch.ones(16, 16)).sum()
        >>> counter.live, counter.peak, counter.flop
        (4, 3072, 8192)
    """

    def __init__(self, known: Iterable[Tensor] = (), device: str = "meta") -> None:
        super().__init__()
        self.device = device
        self.live = self.peak = self.flop = 0
        self._alive: dict[int, weakref.ref[Any]] = {}
        for tensor in known:
            self._add(tensor, counted=False)

    def reset_peak(self) -> None:
        """Let the peak begin at what is alive now."""
        self.peak = self.live

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count it, and its results."""
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        packet = func._overloadpacket  # noqa: SLF001 - the key of torch's registry
        if packet in FORMULAS:
            self.flop += int(FORMULAS[packet](*args, **kwargs, out_val=made))
        for value in tree_iter(made):
            if isinstance(value, Tensor) and value.device.type == self.device:
                self._add(value)
        return made

    def _add(self, tensor: Tensor, *, counted: bool = True) -> None:
        storage = tensor.untyped_storage()
        key = id(storage)
        if key in self._alive:
            return
        size = storage.nbytes() if counted else 0

        def free(_: object) -> None:
            self._alive.pop(key, None)
            self.live -= size

        self._alive[key] = weakref.ref(storage, free)
        self.live += size
        self.peak = max(self.peak, self.live)


class DeviceKernels(TorchFunctionMode):
    """Lets tensors on the device ``meta`` keep as much as the kernels of a real device keep of them.

    Attention is that of the memory-efficient kernels. With a data type, matrix products are computed in it as by
    ``torch.autocast("cuda")``, which keeps rounded copies of the trained weights until it ends; on a GPU, RMS norms are
    one kernel.

    Args:
        kind: ``"cuda"`` or ``"cpu"``.
        autocast: Data type of the matrix products; None without autocast.
    """

    def __init__(self, kind: str, autocast: torch.dtype | None = None) -> None:
        super().__init__()
        self.kind, self.autocast, self.caches = kind, autocast, True
        self._copies: dict[int, tuple[Tensor, Tensor]] = {}

    def clear(self) -> None:
        """Drop the rounded weights, as at the end of autocast."""
        self._copies.clear()

    def within(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that is computed in this mode, also where the backward pass calls it, which leaves modes."""

        def wrapped(*args: Any) -> Any:
            with self:
                return function(*args)

        return wrapped

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function, with inputs of the type that autocast chooses."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name not in LOWERED and name not in RAISED:
            return func(*args, **kwargs)
        if self.autocast is not None:
            to = self.autocast if name in LOWERED else torch.float32
            args = [self._cast(value, to) for value in args]
            kwargs = {key: self._cast(value, to) for key, value in kwargs.items()}
        if name == "scaled_dot_product_attention" and args[0].device.type == "meta":
            return _attention(*args, **kwargs)
        if name == "rms_norm" and self.kind == "cuda" and args[0].device.type == "meta":
            return _fused_norm(*args, **kwargs)
        return func(*args, **kwargs)

    def _cast(self, value: Any, to: torch.dtype) -> Any:
        if isinstance(value, (list, tuple)) and any(isinstance(part, Tensor) for part in value):
            return type(value)(self._cast(part, to) for part in value)
        narrow = isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64
        if not narrow or value.dtype == to or value.device.type != "meta":
            return value
        if to == torch.float32 or not (self.caches and value.is_leaf and value.requires_grad):
            return value.to(to)
        if id(value) not in self._copies:
            self._copies[id(value)] = value, value.to(to)
        return self._copies[id(value)][1]


class _FusedNorm(torch.autograd.Function):
    """RMS norm as one kernel, which keeps its input and a factor for each row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        factor = torch.empty(x.shape[:-1], dtype=torch.float32, device=x.device)
        ctx.save_for_backward(x, weight, factor)
        return torch.empty_like(x)

    @staticmethod
    def backward(ctx: Any, _gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, weight, _ = ctx.saved_tensors
        return torch.empty_like(x), torch.empty_like(weight)


def _fused_norm(x: Tensor, shape: Any, weight: Tensor, eps: float | None = None) -> Tensor:  # noqa: ARG001
    made: Tensor = _FusedNorm.apply(x, weight)
    return made


def _attention(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, **options: Any) -> Tensor:
    out: Tensor = ATTENTION(q, k, v, 0.0, bool(options.get("is_causal", False)), attn_mask=attn_mask)[0]
    return out


def _attention_flop(q: Tensor, k: Tensor, v: Tensor, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(q.shape, k.shape, v.shape))


def _attention_backward_flop(_gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, *_: Any, **__: Any) -> int:
    return 2 * _attention_flop(q, k, v)  # without the product that is computed again, as for other kernels


FORMULAS = {**flop_registry, ATTENTION: _attention_flop, ATTENTION_BACKWARD: _attention_backward_flop}
"""Floating-point operations of the operations that take most of the time."""
