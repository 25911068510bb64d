"""The network of Audiobox Aesthetics: WavLM and one MLP per axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import WavLMConfig, WavLMModel

if TYPE_CHECKING:
    from transformers.models.wavlm.modeling_wavlm import WavLMAttention, WavLMEncoderLayer

AXES = ("CE", "CU", "PC", "PQ")
"""Content enjoyment, content usefulness, production complexity, production quality."""


class AudioboxNetwork(nn.Module):
    """Rates audio on four axes.

    Args:
        config: Configuration of WavLM; None for the published one, WavLM base.
        n_linear: Number of linear layers per axis.

    Source:
        https://github.com/facebookresearch/audiobox-aesthetics (``AesMultiOutput``). WavLM is that of ``transformers``
        with a fused attention of the same values and another padding mask.

    Example:
        >>> tiny = WavLMConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        ...                    conv_dim=(8,) * 7, num_conv_pos_embedding_groups=2)
        >>> AudioboxNetwork(tiny).eval()(torch.zeros(3, 16_000), torch.tensor([16_000, 100, 8000])).shape
        torch.Size([3, 4])
    """

    def __init__(self, config: WavLMConfig | None = None, n_linear: int = 5) -> None:
        super().__init__()
        config = WavLMConfig() if config is None else config
        self.wavlm_model = WavLMModel(config)
        self.proj_layer = nn.ModuleDict({axis: perceptron(config.hidden_size, n_linear) for axis in AXES})
        even = torch.full((config.num_hidden_layers + 1,), 1 / (config.num_hidden_layers + 1))
        self.layer_weights = nn.ParameterDict({axis: nn.Parameter(even.clone()) for axis in AXES})

    def forward(self, audio: Tensor, lengths: Tensor) -> Tensor:
        """Ratings ``(batch, 4)``, standardized to the training data of the authors.

        Args:
            audio: Mono audio ``(batch, samples)`` at 16 kHz.
            lengths: Samples of each row before padding, int64 ``(batch,)``.
        """
        layers, mask = self.layers(audio, lengths)
        valid = mask[..., None].to(layers[0].dtype)
        n_valid = valid.sum(1).clamp(min=1)
        means = torch.stack([(layer * valid).sum(1) / n_valid for layer in layers], dim=1)
        weights = torch.stack([self.layer_weights[axis].softmax(-1) for axis in AXES])
        embedded = F.normalize(torch.einsum("nlw,al->anw", means, weights), dim=-1)
        return torch.cat([self.proj_layer[axis](row) for axis, row in zip(AXES, embedded, strict=True)], dim=-1)

    def layers(self, audio: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """Hidden states of WavLM: the input of the first layer and the output of every layer, and the frame mask.

        Args:
            audio: See :meth:`forward`.
            lengths: See :meth:`forward`.

        Returns:
            Features ``(batch, frames, dim)`` of each layer, and a mask, bool ``(batch, frames)``.
        """
        wavlm = self.wavlm_model
        x, _ = wavlm.feature_projection(wavlm.feature_extractor(audio).transpose(1, 2))
        mask = frame_mask(lengths, audio.shape[-1], x.shape[1])
        x = x.masked_fill(~mask[..., None], 0)
        x = wavlm.encoder.layer_norm(x + wavlm.encoder.pos_conv_embed(x))
        found = [x]
        layers = cast("list[WavLMEncoderLayer]", wavlm.encoder.layers)
        positions = layers[0].attention.compute_bias(x.shape[1], x.shape[1])
        for layer in layers:
            x = layer.layer_norm(x + attend(layer.attention, x, positions, mask))
            x = layer.final_layer_norm(x + layer.feed_forward(x))
            found.append(x)
        return found, mask


def perceptron(dim: int, n_linear: int) -> nn.Sequential:
    """An MLP with layer normalization and GELU between its linear layers, and a scalar output."""
    hidden = [part for _ in range(n_linear - 1) for part in (nn.Linear(dim, dim), nn.LayerNorm(dim), nn.GELU())]
    return nn.Sequential(*hidden, nn.Linear(dim, 1))


def frame_mask(lengths: Tensor, n_samples: int, n_frames: int) -> Tensor:
    """Frames before padding, bool ``(batch, n_frames)``: those whose equal share of the samples begins before it.

    Example:
        >>> frame_mask(torch.tensor([144_000]), 160_000, 499).sum(1)  # 449 by the rule of transformers
        tensor([450])
    """
    share = n_samples // n_frames
    return torch.arange(n_frames, device=lengths.device) * share < lengths[:, None]


def attend(attention: WavLMAttention, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
    """Self-attention with the gated relative positions of WavLM.

    Args:
        attention: The ``WavLMAttention`` whose weights are used.
        x: Features ``(batch, frames, dim)``.
        positions: Bias of the relative positions ``(heads, frames, frames)``.
        mask: False for padding, bool ``(batch, frames)``.
    """

    def by_head(features: Tensor) -> Tensor:
        return features.unflatten(-1, (len(positions), -1)).transpose(1, 2)

    first, second = attention.gru_rel_pos_linear(by_head(x)).unflatten(-1, (2, 4)).sum(-1).sigmoid().chunk(2, -1)
    gated = (first * (second * attention.gru_rel_pos_const - 1) + 2) * positions
    query, key, value = (by_head(part(x)) for part in (attention.q_proj, attention.k_proj, attention.v_proj))
    bias = gated.masked_fill(~mask[:, None, None], -torch.inf).to(query.dtype)
    found = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    return attention.out_proj(found.transpose(1, 2).flatten(2))
