"""Selection of devices, the supported precisions, waiting for a GPU, and copies that do not wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from prismaudio.errors import PrismAudioError

if TYPE_CHECKING:
    from torch import Tensor

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def find_device(name: str) -> torch.device:
    """The device of that name, checked to be usable; ``auto`` selects CUDA if it is available, else the CPU.

    Raises:
        PrismAudioError: The device is not available.

    Example:
        >>> find_device("cpu")
        device(type='cpu')
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # fails on "meta", a device without memory
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise PrismAudioError(f"device {name!r} is not available: {reason}; use cpu, cuda or auto") from error
    return device


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done its work; other devices have none left."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class HostCopy:
    """A copy of a small tensor in the memory of the host, which a GPU makes while it and the host work on.

    Args:
        value: The tensor; it may be changed afterwards.

    Example:
        >>> HostCopy(torch.ones(2)).get()
        tensor([1., 1.])
    """

    def __init__(self, value: Tensor) -> None:
        self._arrived: torch.cuda.Event | None = None
        if not value.is_cuda:
            self._copy = value.detach().clone()
            return
        self._copy = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
        self._copy.copy_(value.detach(), non_blocking=True)
        self._arrived = torch.cuda.Event(blocking=True)
        self._arrived.record(torch.cuda.current_stream(value.device))

    def get(self) -> Tensor:
        """The copy; waits for the work that the GPU was given before the copy, and not for what it was given since."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._copy
