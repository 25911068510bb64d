"""Still pictures: a PNG file, and the picture of a sound, drawn without any library."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

FLOOR_DB = -80.0
_DARK_TO_LIGHT = np.array([(0, 0, 8), (50, 12, 96), (140, 40, 120), (222, 74, 90), (252, 160, 90), (252, 248, 190)])


def spectrogram_image(channel: Tensor, width: int, height: int = 150) -> NDArray[np.uint8]:
    """Colours ``(height, width, 3)`` of the level of one channel in dB: time to the right, frequency upwards.

    Example:
        >>> spectrogram_image(torch.zeros(4000), 20).shape
        (150, 20, 3)
    """
    window = 512
    hop = max(1, round(len(channel) / width))
    hann = torch.hann_window(window)
    signal = torch.nn.functional.pad(channel.detach().float().cpu(), (window // 2, window // 2))
    power = torch.stft(signal, window, hop, window=hann / hann.sum(), center=False, return_complex=True).abs().square()
    power = torch.nn.functional.interpolate(power[None, None], (height, width), mode="area")[0, 0].flip(0)
    level = ((10 * torch.log10(power + 1e-12) - FLOOR_DB) / -FLOOR_DB).clamp(0, 1).numpy()
    steps = np.linspace(0, 1, len(_DARK_TO_LIGHT))
    return np.stack([np.interp(level, steps, _DARK_TO_LIGHT[:, c]) for c in range(3)], -1).astype(np.uint8)


def png(image: NDArray[np.uint8]) -> bytes:
    """A PNG file of an image ``(height, width, 3)``.

    Example:
        >>> png(np.zeros((1, 1, 3), np.uint8))[1:4]
        b'PNG'
    """
    height, width = image.shape[:2]
    rows = np.concatenate([np.zeros((height, 1), np.uint8), image.reshape(height, -1)], 1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(rows.tobytes(), 6))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")
