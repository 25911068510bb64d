"""Where a model runs, and in which precision."""

from __future__ import annotations

import torch

from prismaudio.errors import PrismAudioError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def find_device(name: str) -> torch.device:
    """A device that is there; ``auto`` is a GPU if there is one.

    Raises:
        PrismAudioError: There is no such device.

    Example:
        >>> find_device("cpu")
        device(type='cpu')
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # which "meta", a device without memory, cannot do
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise PrismAudioError(f"no device {name!r} here: {reason}; use cpu, cuda or auto") from error
    return device
