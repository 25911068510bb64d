"""From the frames of a clip to the input of a network, as its ``preprocessor_config.json`` says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from prismaudio.errors import CheckpointError
from prismaudio.weight_folders import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE = "preprocessor_config.json"
PREPROCESSING: dict[str, Any] = {
    "size": 224,
    "crop": [224, 224],
    "interpolation": "bicubic",
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
}
"""That of CLIP: length of the shorter side (or height and width) after resizing, height and width of the crop, filter
(``bilinear`` or ``bicubic``), and mean and standard deviation of the colours; None for a step that is left out."""
_FILTERS = {2: "bilinear", 3: "bicubic"}
"""Filters by their number in Pillow."""


def read_preprocessing(folder: Path) -> dict[str, Any]:
    """The preprocessing of a network, named as in :data:`PREPROCESSING`.

    Args:
        folder: Folder with :data:`FILE`.

    Raises:
        CheckpointError: The file cannot be read, or states a step that is not supported.
    """
    given = read_json(folder / FILE)
    found = {
        "size": _size(given.get("size", 224)) if given.get("do_resize", True) else None,
        "crop": _crop(given.get("crop_size", 224)) if given.get("do_center_crop", "crop_size" in given) else None,
        "interpolation": _FILTERS.get(given.get("resample", 3)),
        "mean": given.get("image_mean") if given.get("do_normalize", True) else [0.0] * 3,
        "std": given.get("image_std") if given.get("do_normalize", True) else [1.0] * 3,
    }
    scale = given.get("rescale_factor", 1 / 255) if given.get("do_rescale", True) else 1
    if not isinstance(scale, float) or abs(255 * scale - 1) > 1e-3:
        raise CheckpointError(f"{folder / FILE} scales bytes by {str(scale)[:60]}; expected 1/255")
    check(found, str(folder / FILE))
    return found


def check(preprocessing: Mapping[str, Any], where: str) -> None:
    """Check that a preprocessing has all steps of :data:`PREPROCESSING`, with numbers that they can have.

    Raises:
        CheckpointError: It has not.
    """
    size, crop = preprocessing.get("size"), preprocessing.get("crop")
    valid = (
        preprocessing.keys() == PREPROCESSING.keys()
        and (
            size is None
            or _is_pixels(size)
            or (isinstance(size, list) and len(size) == 2 and all(map(_is_pixels, size)))
        )
        and (crop is None or (isinstance(crop, list) and len(crop) == 2 and all(map(_is_pixels, crop))))
        and preprocessing["interpolation"] in _FILTERS.values()
        and all(_is_colour(preprocessing[name]) for name in ("mean", "std"))
        and all(preprocessing["std"])
    )
    if not valid:
        raise CheckpointError(f"{where} states a preprocessing that is not supported: {str(preprocessing)[:300]}")


def _is_pixels(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 4096


def _is_colour(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(v, int | float) for v in value)


def _size(size: Any) -> Any:
    """Shorter side, or height and width."""
    if isinstance(size, dict):
        return size["shortest_edge"] if "shortest_edge" in size else [size.get("height"), size.get("width")]
    return size


def _crop(size: Any) -> Any:
    return [size.get("height"), size.get("width")] if isinstance(size, dict) else [size, size]


def prepared(frames: Tensor, preprocessing: Mapping[str, Any]) -> Tensor:
    """Frames resized, cropped around the centre and normalised, float ``(time, 3, height, width)`` on the CPU.

    Args:
        frames: Frames uint8 ``(time, 3, height, width)``.
        preprocessing: Named as in :data:`PREPROCESSING`.

    Source:
        The image processors of transformers for Pillow: antialiased resizing in bytes, and a crop that pads with black
        what is smaller.
    """
    height, width = frames.shape[-2:]
    size = preprocessing["size"]
    if isinstance(size, int):
        shorter = min(height, width)
        size = [size * height // shorter, size * width // shorter]
    pixels = frames.cpu()
    if size is not None and list(size) != [height, width]:
        pixels = F.interpolate(pixels, tuple(size), mode=preprocessing["interpolation"], antialias=True)
    if preprocessing["crop"] is not None:
        pixels = _centre(pixels, *preprocessing["crop"])
    mean, std = (torch.tensor(preprocessing[name], dtype=torch.float32)[:, None, None] for name in ("mean", "std"))
    return (pixels / 255 - mean) / std


def _centre(frames: Tensor, height: int, width: int) -> Tensor:
    """The centre of frames, padded with black if they are smaller."""
    more = [max(0, wanted - given) for wanted, given in zip((height, width), frames.shape[-2:], strict=True)]
    if any(more):
        top, left = -(-more[0] // 2), -(-more[1] // 2)
        frames = F.pad(frames, (left, more[1] - left, top, more[0] - top))
    top, left = (frames.shape[-2] - height) // 2, (frames.shape[-1] - width) // 2
    return frames[..., top : top + height, left : left + width]
