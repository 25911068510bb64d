"""VideoPrism's video-text network on transformers' classes, with attention in blocks of queries.

Shape letters: B batch, T frames, N tokens of a frame, D dim, H heads, Q queries, K keys, E dim of a head.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface, VideoPrismTextConfig, VideoPrismVisionConfig
from transformers.masking_utils import eager_mask
from transformers.models.videoprism.modeling_videoprism import VideoPrismTextModel, VideoPrismVideoModel

if TYPE_CHECKING:
    from collections.abc import Mapping

ATTENTION = "prismaudio_blocks"
MAX_LOGITS = 1 << 25
"""Attention logits that are computed at once: 128 MB in float32."""
SIZES: dict[str, int] = {
    "image_size": 288,
    "patch_size": 18,
    "num_frames": 8,
    "dim": 1024,
    "num_heads": 16,
    "mlp_dim": 4096,
    "num_spatial_layers": 24,
    "num_temporal_layers": 4,
    "num_auxiliary_layers": 2,
}
"""Sizes of the video tower of ``videoprism_lvt_public_v1_large``."""


def blocked_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention with soft-capped logits, for a block of queries after the other.

    The logits of the auxiliary layers, ``(heads, 256 * T, 256 * T)``, would take 5.4 GB for 36 frames; those of a block
    have at most :data:`MAX_LOGITS` values.

    Args:
        module: The attention layer.
        query: Queries ``(B, H, Q, E)``.
        key: Keys ``(B, H, K, E)``.
        value: Values ``(B, H, K, E)``.
        attention_mask: Added to the logits, ``(B, 1, Q, K)``; None for none.
        scaling: Factor of the logits; None for one over the root of E.
        softcap: Logits are ``softcap * tanh(logits / softcap)``; None for logits as they are.

    Returns:
        The output ``(B, Q, H, E)``, and None for the weights, which are not kept.
    """
    del module
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    n_rows = max(1, MAX_LOGITS // (query.shape[0] * query.shape[1] * key.shape[2]))
    blocks = []
    for start in range(0, query.shape[2], n_rows):
        rows = slice(start, start + n_rows)
        logits = query[:, :, rows] @ key.transpose(2, 3) * scaling
        if softcap is not None:
            logits = softcap * torch.tanh(logits / softcap)
        if attention_mask is not None:
            logits = logits + attention_mask[:, :, rows]
        blocks.append(logits.softmax(-1, dtype=torch.float32).to(query.dtype) @ value)
    return torch.cat(blocks, 2).transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, blocked_attention)
AttentionMaskInterface.register(ATTENTION, eager_mask)


def vision_config(sizes: Mapping[str, int]) -> VideoPrismVisionConfig:
    """Transformers' configuration of a video tower of some sizes, named as in :data:`SIZES`."""
    return VideoPrismVisionConfig(
        image_size=sizes["image_size"],
        tubelet_size=(1, sizes["patch_size"], sizes["patch_size"]),
        num_frames=sizes["num_frames"],
        hidden_size=sizes["dim"],
        num_attention_heads=sizes["num_heads"],
        intermediate_size=sizes["mlp_dim"],
        num_spatial_layers=sizes["num_spatial_layers"],
        num_temporal_layers=sizes["num_temporal_layers"],
        num_auxiliary_layers=sizes["num_auxiliary_layers"],
    )


def sizes_of(config: VideoPrismVisionConfig) -> dict[str, int]:
    """The inverse of :func:`vision_config`.

    Example:
        >>> sizes_of(vision_config(SIZES)) == SIZES
        True
    """
    image_size = config.image_size if isinstance(config.image_size, int) else config.image_size[0]
    return {
        "image_size": image_size,
        "patch_size": config.tubelet_size[1],
        "num_frames": config.num_frames,
        "dim": config.hidden_size,
        "num_heads": config.num_attention_heads,
        "mlp_dim": config.intermediate_size,
        "num_spatial_layers": config.num_spatial_layers,
        "num_temporal_layers": config.num_temporal_layers,
        "num_auxiliary_layers": config.num_auxiliary_layers,
    }


class VideoTower(nn.Module):
    """The video encoder: a factorised vision transformer, auxiliary layers over all tokens, and attention pooling.

    Args:
        config: Its sizes.
        attention: Name of the attention function in transformers.

    Source:
        ``FactorizedVideoCLIP`` of google-deepmind/videoprism; frame embeddings are its ``frame_embeddings``.
    """

    def __init__(self, config: VideoPrismVisionConfig, attention: str = ATTENTION) -> None:
        super().__init__()
        config._attn_implementation = attention  # noqa: SLF001 - what from_pretrained sets, too
        self.model = VideoPrismVideoModel(config)

    def forward(self, pixels_BTCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings of each frame ``(B, T, D)`` and of each clip ``(B, D)``, of length 1.

        Args:
            pixels_BTCHW: Frames, 4 a second, float in 0 .. 1 ``(B, T, 3, size, size)``.
        """
        dtype, n_frames = next(self.parameters()).dtype, pixels_BTCHW.shape[1]
        found = self.model(pixels_BTCHW.to(dtype), interpolate_pos_encoding=True)
        tokens_BTND = found.last_hidden_state.unflatten(1, (n_frames, -1))
        frames = self.model.head_layernorm(self.model.head(tokens_BTND.flatten(0, 1))[0])[:, 0]
        frames = F.normalize(frames.float(), dim=-1).unflatten(0, tokens_BTND.shape[:2])
        return frames, F.normalize(found.pooler_output[:, 0].float(), dim=-1)


class TextTower(nn.Module):
    """The text encoder: a causal transformer whose last token is the embedding.

    Args:
        config: Its sizes.
    """

    def __init__(self, config: VideoPrismTextConfig) -> None:
        super().__init__()
        config._attn_implementation = ATTENTION  # noqa: SLF001
        self.model = VideoPrismTextModel(config)
        n_positions, dim = config.max_position_embeddings, config.hidden_size
        self.model.embeddings.position_embedding.copy_(positions(n_positions, dim))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Embeddings ``(B, D)`` of length 1 of token ids ``(B, tokens)`` where the mask is 1."""
        found: Tensor = self.model(input_ids=ids, attention_mask=mask).pooler_output
        return F.normalize(found.float(), dim=-1)


def positions(count: int, dim: int) -> Tensor:
    """Sinusoidal positions ``(count, dim)`` of the text encoder.

    Source:
        The time scales of the Flax checkpoint, ``exp(-i ln(10000) / (dim / 2 - 1))``; transformers' own table divides
        by ``dim / 2``, which changes embeddings by 5e-3.
    """
    scales = torch.exp(-torch.arange(dim // 2) * (math.log(10_000) / max(dim // 2 - 1, 1)))
    angles = torch.arange(count)[:, None] * scales
    return torch.cat([angles.sin(), angles.cos()], 1)
