"""Selection of devices, and the supported precisions."""

from __future__ import annotations

import torch

from prismaudio.errors import PrismAudioError

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
