"""Conversion between the published PrismAudio transformer and conditioners and ours: keys and shapes.

Source: the published checkpoints' keys and configuration, PrismAudio at 86eed40, from its specification.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from prismaudio.errors import CheckpointError
from prismaudio.models.layers import RotaryEmbedding
from prismaudio.weight_files import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

_DIT, _CONDITIONERS = "model.model.", "conditioner.conditioners."
_LAYER, _BLOCK = f"{_DIT}transformer.layers.{{n}}.", "blocks.{n}."
NAMES = (
    (f"{_DIT}timestep_features.weight", "time_embedding.frequencies"),
    (f"{_DIT}to_timestep_embed.{{rest}}", "time_embedding.mlp.{rest}"),
    (f"{_DIT}to_cond_embed.{{rest}}", "to_context.{rest}"),
    (f"{_DIT}to_add_embed.{{rest}}", "to_added.video.{rest}"),
    (f"{_DIT}to_sync_embed.{{rest}}", "to_added.sync.{rest}"),
    (f"{_DIT}preprocess_conv.{{rest}}", "pre.{rest}"),
    (f"{_DIT}postprocess_conv.{{rest}}", "post.{rest}"),
    (f"{_DIT}transformer.gate", "gates.video"),
    (f"{_DIT}transformer.sync_gate", "gates.sync"),
    (f"{_DIT}transformer.project_in.{{rest}}", "project_in.{rest}"),
    (f"{_DIT}transformer.project_out.{{rest}}", "project_out.{rest}"),
    (f"{_LAYER}pre_norm.gamma", f"{_BLOCK}self_norm.weight"),
    (f"{_LAYER}self_attn.{{rest}}", f"{_BLOCK}self_attention.{{rest}}"),
    (f"{_LAYER}cross_attend_norm.gamma", f"{_BLOCK}cross_norm.weight"),
    (f"{_LAYER}cross_attn.{{rest}}", f"{_BLOCK}cross_attention.{{rest}}"),
    (f"{_LAYER}ff_norm.gamma", f"{_BLOCK}feed_norm.weight"),
    (f"{_LAYER}ff.ff.0.proj.{{rest}}", f"{_BLOCK}feed_forward.project_in.{{rest}}"),
    (f"{_LAYER}ff.ff.2.{{rest}}", f"{_BLOCK}feed_forward.project_out.{{rest}}"),
    (f"{_CONDITIONERS}sync_features.sync_pos_emb", "conditioners.sync.position"),
    (f"{_CONDITIONERS}video_features.embedder.{{rest}}", "conditioners.video.{rest}"),
    (f"{_CONDITIONERS}text_features.embedder.{{rest}}", "conditioners.text.{rest}"),
    (f"{_CONDITIONERS}sync_features.embedder.{{rest}}", "conditioners.sync.{rest}"),
)
"""Published key and our key of each parameter; ``{n}`` is a block, ``{rest}`` the end; the first match applies."""

BETA, ROTARY = f"{_LAYER}{{rest}}.beta", f"{_DIT}transformer.rotary_pos_emb.inv_freq"
DEAD = (
    BETA,
    ROTARY,
    f"{_DIT}empty_clip_feat",
    f"{_DIT}empty_sync_feat",
    f"{_CONDITIONERS}{{rest}}.proj_out.{{end}}",
)
"""Published entries that are constants or unused in the forward pass."""


def dit_key(official: str) -> str | None:
    """Map a published key to ours; None for a dead entry, which is dropped.

    Raises:
        KeyError: The key is not one of the published transformer.

    Example:
        >>> dit_key("model.model.transformer.layers.7.ff.ff.2.bias")
        'blocks.7.feed_forward.project_out.bias'
    """
    if any(_pattern(name).fullmatch(official) for name in DEAD):
        return None
    return _renamed(official, NAMES)


def published_key(ours: str) -> str:
    """Invert :func:`dit_key`.

    Example:
        >>> published_key("gates.sync")
        'model.model.transformer.sync_gate'
    """
    return _renamed(ours, ((new, old) for old, new in NAMES))


def dit_weights(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert published weights to those of :class:`~prismaudio.models.dit.DiffusionTransformer`.

    Args:
        official: Weights by published key, ``model.model. …`` and ``conditioner.conditioners. …``.

    Raises:
        CheckpointError: A key is unknown, or a constant has an unexpected value.
    """
    problems, weights = [], {}
    for key, value in official.items():
        try:
            ours = dit_key(key)
        except KeyError:
            problems.append(f"unknown {key}")
            continue
        if ours is not None:
            weights[ours] = ours_shaped(ours, value)
        elif not value.is_meta and (problem := _wrong_constant(key, value)):
            problems.append(problem)
    if problems:
        raise CheckpointError(f"not the published transformer: {listed(sorted(problems))}")
    return weights


def ours_shaped(ours: str, value: Tensor) -> Tensor:
    """Remove the broadcasting axes of size 1 from a published parameter.

    Example:
        >>> ours_shaped("gates.video", torch.zeros(1, 1, 8)).shape
        torch.Size([8])
    """
    if ours.startswith("gates.") or ours == "time_embedding.frequencies":
        return value.flatten()
    return value.flatten(0, 2) if ours == "conditioners.sync.position" and value.ndim == 4 else value


def published_shaped(ours: str, value: Tensor) -> Tensor:
    """Invert :func:`ours_shaped`."""
    if ours == "time_embedding.frequencies":
        return value[:, None]
    return value[None, None] if ours.startswith("gates.") or ours == "conditioners.sync.position" else value


def _wrong_constant(key: str, value: Tensor) -> str | None:
    if _pattern(BETA).fullmatch(key) and value.any():
        return f"{key} is not zero"
    if key == ROTARY and not torch.allclose(value.float(), RotaryEmbedding.rates_of(2 * len(value)), rtol=1e-2):
        return f"{key} has unexpected rotary rates"
    return None


def _pattern(name: str) -> re.Pattern[str]:
    escaped = re.escape(name)
    for placeholder, pattern in (("n", r"(?P<n>\d+)"), ("rest", "(?P<rest>.+)"), ("end", ".+")):
        escaped = escaped.replace(rf"\{{{placeholder}\}}", pattern)
    return re.compile(escaped)


def _renamed(key: str, names: Iterable[tuple[str, str]]) -> str:
    for old, new in names:
        if match := _pattern(old).fullmatch(key):
            return new.format(**match.groupdict())
    raise KeyError(key)
