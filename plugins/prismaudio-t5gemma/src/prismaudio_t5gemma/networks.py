"""The encoders of T5-Gemma and T5 in transformers: sizes, construction, weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import T5Config, T5EncoderModel, T5GemmaConfig, T5GemmaEncoderModel, T5GemmaModuleConfig

from prismaudio.errors import CheckpointError, one_line
from prismaudio.weight_files import fill
from prismaudio.weight_folders import CONFIG, PublishedFolder, read_json, read_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

TOKENIZER = "tokenizer.json"
FOLDER = PublishedFolder(
    repository="google/t5gemma-l-l-ul2-it",
    size_mb=2500,
    licence="Gemma",
    files=(TOKENIZER,),
    bundle="DeepBeepMeep/prismaudio",
)
"""The network whose encoder the published model was trained with."""
SIZES: dict[str, Any] = {
    "model_type": "t5gemma",
    "vocab_size": 256_000,
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "head_dim": 64,
    "query_pre_attn_scalar": 64,
}
"""Sizes of the encoder of T5-Gemma L, named as in its ``config.json``."""
_KEYS = {
    "t5gemma": (
        *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
        *("num_key_value_heads", "head_dim", "hidden_activation", "rms_norm_eps", "attention_bias"),
        *("query_pre_attn_scalar", "sliding_window", "layer_types", "attn_logit_softcapping", "rope_parameters"),
    ),
    "t5": (
        *("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads", "relative_attention_num_buckets"),
        *("relative_attention_max_distance", "layer_norm_epsilon", "feed_forward_proj"),
    ),
}
"""The keys of a ``config.json`` that say what the encoder computes; no other is read."""


def build(sizes: Mapping[str, Any], *, soft_cap: bool) -> tuple[nn.Module, int]:
    """The encoder of a network and the dim of its features.

    Args:
        sizes: ``model_type``, and values of its keys in ``config.json``; missing ones have their default.
        soft_cap: Whether T5-Gemma caps its attention logits.

    Raises:
        CheckpointError: The network is neither T5-Gemma nor T5, or a value is not valid.
    """
    model_type = sizes.get("model_type")
    if model_type not in _KEYS:
        raise CheckpointError(f"the network is a {str(model_type)[:60]!r}; expected {' or '.join(_KEYS)}")
    given = {key: value for key, value in sizes.items() if key != "model_type"}
    if unknown := given.keys() - {*_KEYS[model_type]}:
        raise CheckpointError(f"{model_type} has no size {min(unknown)!r}; expected {', '.join(_KEYS[model_type])}")
    try:
        if model_type == "t5":
            t5 = T5Config(**given, dropout_rate=0.0)
            return T5EncoderModel(t5).encoder, t5.d_model
        encoder = T5GemmaModuleConfig(**given)
        if not soft_cap:
            encoder.attn_logit_softcapping = None
        whole = T5GemmaConfig(encoder=encoder, is_encoder_decoder=False)
        return T5GemmaEncoderModel(whole).encoder, encoder.hidden_size
    except Exception as error:  # transformers raises errors of many kinds
        raise CheckpointError(f"the sizes of {model_type} are not valid: {one_line(error, 200)}") from error


def read_sizes(folder: Path) -> dict[str, Any]:
    """Sizes of the encoder of a folder, for :func:`build`; those that the folder does not state have their default.

    Raises:
        CheckpointError: The configuration cannot be read, or is that of another network.
    """
    config = read_json(folder / CONFIG)
    model_type = config.get("model_type")
    if model_type not in _KEYS:
        raise CheckpointError(
            f"{folder} is a {str(model_type)[:60]!r}; expected T5-Gemma or T5, such as {FOLDER.advice()}"
        )
    stated = config if model_type == "t5" else config.get("encoder")
    if not isinstance(stated, dict):
        raise CheckpointError(f"{folder / CONFIG} describes no encoder; expected {FOLDER.advice()}")
    kinds = {"t5": T5Config, "t5gemma": T5GemmaModuleConfig}
    try:  # the classes know the defaults, and what a key was called in earlier versions
        full = kinds[model_type](**{key: stated[key] for key in (*_KEYS[model_type], "rope_theta") if key in stated})
    except Exception as error:  # transformers raises errors of many kinds
        raise CheckpointError(f"{folder / CONFIG} is not valid: {one_line(error, 200)}") from error
    return {"model_type": model_type, **{key: getattr(full, key) for key in _KEYS[model_type]}}


def load_weights(network: nn.Module, folder: Path) -> None:
    """Load the weights of the encoder, of a whole network or of an encoder alone; those of a decoder are not read."""
    fill(network, _encoder_weights(folder), folder)


def _encoder_weights(folder: Path) -> dict[str, Tensor]:
    def renamed(key: str) -> str | None:
        key = key.removeprefix("model.")
        if key in ("shared.weight", "encoder.embed_tokens.weight"):  # one and the same in T5
            return "embed_tokens.weight"
        return key.removeprefix("encoder.") if key.startswith("encoder.") else None

    weights = read_tensors(folder, renamed)
    if not weights:
        raise CheckpointError(f"{folder} has no weights of an encoder; expected {FOLDER.advice()}")
    return weights
