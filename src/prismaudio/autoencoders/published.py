"""The weights of published Oobleck autoencoders as those of ours, in :mod:`prismaudio.autoencoders.oobleck`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from torch import Tensor

_NORMS = {
    "weight_g": "size",
    "weight_v": "direction",
    "parametrizations.weight.original0": "size",
    "parametrizations.weight.original1": "direction",
}
"""Both ways in which torch names the two parts of a normalised weight."""
_NORMED = re.compile(rf"^(.*)\.({'|'.join(map(re.escape, _NORMS))})$")


def oobleck_key(official: str) -> str:
    """Our name of a weight or, for either part of a normalised one, of what they make together.

    Example:
        >>> oobleck_key("decoder.layers.1.layers.2.layers.1.weight_g")
        'decoder.1.2.1.weight'
        >>> oobleck_key("encoder.layers.1.layers.3.alpha")
        'encoder.1.3.alpha'
    """
    normed = _NORMED.match(official)
    return re.sub(r"\.layers\.", ".", f"{normed[1]}.weight" if normed else official)


def oobleck_weights(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by our names, with the normalisation multiplied out.

    Args:
        official: Weights by their published names, ``encoder.layers. …`` and ``decoder.layers. …``.

    Raises:
        KeyError: Of a normalised weight one part is missing; its text is the key that is.
    """
    weights: dict[str, Tensor] = {}
    parts: dict[str, dict[str, tuple[str, Tensor]]] = {}
    for key, value in official.items():
        normed = _NORMED.match(key)
        if normed:
            parts.setdefault(oobleck_key(key), {})[_NORMS[normed[2]]] = (key, value)
        else:
            weights[oobleck_key(key)] = _picture(key, value)
    for name, pair in parts.items():
        if len(pair) < len({*_NORMS.values()}):
            ((key, _),) = pair.values()
            raise KeyError(other_part(key))
        weights[name] = _picture(name, _multiplied(pair["size"][1], pair["direction"][1]))
    return weights


def other_part(key: str) -> str:
    """The other key of a normalised weight.

    Example:
        >>> other_part("encoder.layers.0.weight_g"), other_part("x.parametrizations.weight.original1")
        ('encoder.layers.0.weight_v', 'x.parametrizations.weight.original0')
    """
    for first, second in (("_g", "_v"), ("original0", "original1")):
        for mine, its in ((first, second), (second, first)):
            if key.endswith(mine):
                return key.removesuffix(mine) + its
    return key


def _multiplied(size: Tensor, direction: Tensor) -> Tensor:
    """The weight: its direction over all axes but the first, times its size; in float32."""
    direction, size = direction.float(), size.float()
    if direction.is_meta:
        return torch.empty_like(direction)
    return direction * (size / torch.linalg.vector_norm(direction, dim=(1, 2), keepdim=True))


def _picture(key: str, value: Tensor) -> Tensor:
    """Kernels get the height of a frame one pixel high."""
    return value.unsqueeze(2) if key.endswith("weight") and value.ndim == 3 else value


def oobleck_shapes(ours: Mapping[str, tuple[int, ...]], given: Collection[str]) -> dict[str, tuple[int, ...]]:
    """Shapes that published weights have, by published name, for the way in which a file names normalised weights.

    Args:
        ours: Shapes by our names.
        given: Names in the file.

    Example:
        >>> oobleck_shapes({"encoder.0.weight": (8, 2, 1, 7)}, [])
        {'encoder.layers.0.weight_g': (8, 1, 1), 'encoder.layers.0.weight_v': (8, 2, 7)}
    """
    shapes: dict[str, tuple[int, ...]] = {}
    is_new = any("parametrizations" in key for key in given)
    parts = ("parametrizations.weight.original0", "parametrizations.weight.original1")
    for name, shape in ours.items():
        official = re.sub(r"\.(\d+)", r".layers.\1", name)
        if len(shape) < 4 or official in given:  # no kernel, or one whose norm was multiplied out
            shapes[official] = shape if len(shape) < 4 else (*shape[:2], shape[3])
            continue
        size, direction = parts if is_new else ("weight_g", "weight_v")
        stem = official.removesuffix("weight")
        shapes |= {stem + size: (shape[0], 1, 1), stem + direction: (*shape[:2], shape[3])}
    return shapes


def oobleck_arguments(official: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Constructor arguments of the autoencoder that published weights belong to, as far as their shapes tell.

    Args:
        official: Shapes by published name.
    """
    ends = ("weight", "weight_v", "parametrizations.weight.original1")

    def kernel(layer: str) -> Sequence[int] | None:
        shapes = (official[f"{layer}.{end}"] for end in ends if f"{layer}.{end}" in official)
        return next((shape for shape in shapes if len(shape) == 3 and min(shape) > 0), None)

    first, last = kernel("encoder.layers.0"), kernel("decoder.layers.0")
    stages: list[Sequence[int]] = []
    while stage := kernel(f"encoder.layers.{len(stages) + 1}.layers.4"):
        stages.append(stage)
    arguments: dict[str, Any] = {"latent_channels": last[1]} if last else {}
    if first and stages:
        arguments["width"] = first[0]
        arguments["multipliers"] = [after // first[0] for after, *_ in stages]
        arguments["strides"] = [length // 2 for *_, length in stages]
    return arguments
