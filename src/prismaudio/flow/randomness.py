"""Randomness that depends on its key alone, so that a resumed run and many processes draw the same."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def generator(*key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A source of randomness that depends on its key alone.

    Args:
        key: Numbers and texts.
        device: Device that it draws on; each kind of device draws other numbers.

    Example:
        >>> int(torch.randint(1000, (), generator=generator(1, "a")))
        380
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "little") >> 1)


def normal(shape: tuple[int, ...], *key: int | str) -> Tensor:
    """Standard normal numbers of a shape, float32 on the CPU, that depend on their key alone.

    Example:
        >>> bool((normal((2, 3), 0, "clip") == normal((2, 3), 0, "clip")).all())
        True
    """
    return torch.randn(shape, generator=generator(*key))
