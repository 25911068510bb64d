"""The published weights of Audiobox Aesthetics, renamed for :class:`AudioboxNetwork`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prismaudio.downloads import PublishedFile
from prismaudio.errors import CheckpointError
from prismaudio.paths import expanded
from prismaudio.weight_files import fill, read_weights
from prismaudio_audiobox.network import AXES, AudioboxNetwork

if TYPE_CHECKING:
    from collections.abc import Mapping

PUBLISHED = PublishedFile(
    name="audiobox-aesthetics.safetensors",
    size_mb=416,
    licence="CC-BY-4.0",
    page="https://huggingface.co/facebook/audiobox-aesthetics",
    repository="facebook/audiobox-aesthetics",
    path="model.safetensors",
)
SCALES = {
    "CE": (5.06865, 1.93029),
    "CU": (5.73633, 1.75669),
    "PC": (3.18591, 1.86637),
    "PQ": (6.57505, 1.51466),
}
"""Mean and standard deviation of each axis in the training data, to scale ratings back to about 1 .. 10."""

RENAMED = (
    (r"conv_layers\.0\.2\.", "conv_layers.0.layer_norm."),
    (r"conv_layers\.(\d+)\.0\.", r"conv_layers.\1.conv."),
    (r"^wavlm_model\.layer_norm\.", "wavlm_model.feature_projection.layer_norm."),
    (r"\.post_extract_proj\.", ".feature_projection.projection."),
    (r"\.mask_emb$", ".masked_spec_embed"),
    (r"\.pos_conv\.0\.weight_g$", ".pos_conv_embed.conv.parametrizations.weight.original0"),
    (r"\.pos_conv\.0\.weight_v$", ".pos_conv_embed.conv.parametrizations.weight.original1"),
    (r"\.pos_conv\.0\.bias$", ".pos_conv_embed.conv.bias"),
    (r"\.self_attn\.grep_a$", ".attention.gru_rel_pos_const"),
    (r"\.self_attn\.grep_linear\.", ".attention.gru_rel_pos_linear."),
    (r"\.self_attn\.relative_attention_bias\.", ".attention.rel_attn_embed."),
    (r"\.self_attn\.", ".attention."),
    (r"\.self_attn_layer_norm\.", ".layer_norm."),
    (r"\.fc1\.", ".feed_forward.intermediate_dense."),
    (r"\.fc2\.", ".feed_forward.output_dense."),
)
"""Names of the published WavLM, and those of transformers, to be replaced in this order."""


def our_name(published: str) -> str:
    """The name that a published tensor has in :class:`AudioboxNetwork`.

    Example:
        >>> our_name("wavlm_model.encoder.layers.3.self_attn.k_proj.bias")
        'wavlm_model.encoder.layers.3.attention.k_proj.bias'
    """
    if not published.startswith("wavlm_model."):
        return published
    for pattern, replacement in RENAMED:
        published = re.sub(pattern, replacement, published)
    return published


def fill_published(network: AudioboxNetwork, weights: Mapping[str, Tensor], source: object) -> None:
    """Load weights by their published names, with or without the prefix ``model.``; see ``weight_files.fill``."""
    fill(network, {our_name(key.removeprefix("model.")): value for key, value in weights.items()}, source)


def published_weights(
    weights: str | None = None,
) -> tuple[dict[str, Tensor], dict[str, tuple[float, float]], Path]:
    """The published tensors by the names of the authors, mean and standard deviation of each axis, and the file.

    Args:
        weights: See :func:`load_published`.

    Raises:
        CheckpointError: They cannot be found, or cannot be read without executing code.
    """
    if weights is not None and (inside := expanded(weights) / "model.safetensors").exists():
        weights = str(inside)
    path = PUBLISHED.find(weights)
    tensors = {key.removeprefix("model."): value for key, value in read_weights(path).items()}
    return tensors, SCALES if path.suffix == ".safetensors" else _scales(path), path


def load_published(weights: str | None = None) -> tuple[AudioboxNetwork, dict[str, tuple[float, float]]]:
    """The published network in eval mode, and mean and standard deviation of each axis.

    Args:
        weights: ``checkpoint.pt``, ``model.safetensors``, a folder with the latter or a repository of the hub; None for
            the default locations, then the repository of the authors.

    Raises:
        CheckpointError: They cannot be found, or are those of another network.
    """
    tensors, scales, path = published_weights(weights)
    with torch.device("meta"):
        network = AudioboxNetwork()
    fill_published(network, tensors, path)
    return network, scales


def _scales(path: Path) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of each axis stored in a ``checkpoint.pt``, else the published ones."""
    content: Any = torch.load(path, "cpu", weights_only=True, mmap=True)
    stated = content.get("target_transform")
    if stated is None:
        return SCALES
    try:
        return {axis: (float(stated[axis]["mean"]), float(stated[axis]["std"])) for axis in AXES}
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} does not state mean and std of {', '.join(AXES)} in target_transform") from error
