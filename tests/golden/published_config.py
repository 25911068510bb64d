"""The published transformer's configuration, in terms of ours: what its golden files are replayed with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prismaudio.models.conditioners import FeatureConditioner, SyncConditioner

if TYPE_CHECKING:
    from collections.abc import Mapping

SYNC_LENGTHS = (194, 216)
"""Latent frames and synchronisation features of nine seconds, to which the published length rule is tied."""
_SIZES = {"io_channels": "latent_channels", "embed_dim": "dim", "depth": "depth", "num_heads": "heads"}
_FIXED = {
    "transformer_type": "continuous_transformer",
    "attn_kwargs": {"qk_norm": "rns"},
    "use_gated": True,
    "use_sync_gated": True,
    "patch_size": 1,
    "global_cond_type": "prepend",
    "timestep_cond_type": "global",
}
"""Options of which the published model needs one value, and so do we."""


def sync_frames(n_features: int) -> int:
    """To how many frames the published model brings synchronisation features, whatever the length of its latents.

    Ours brings them to the length of the latents, which is the same for the nine seconds that it was trained on.

    Example:
        >>> sync_frames(216), sync_frames(24)
        (194, 21)
    """
    latents, features = SYNC_LENGTHS
    return int(latents * n_features / features)


def published_dit(config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of :class:`~prismaudio.models.dit.DiffusionTransformer` for a published model configuration.

    Args:
        config: The published JSON, or what it has under ``model``.

    Raises:
        ValueError: The configuration is not of this architecture.
    """
    model = config.get("model", config)
    try:
        diffusion = model["diffusion"]
        conditioners = {entry["id"]: entry for entry in model["conditioning"]["configs"]}
        options = {**diffusion["config"]}
        arguments = {ours: options.pop(theirs) for theirs, ours in _SIZES.items()}
        raw = {_stream(key, entry): entry["config"]["dim"] for key, entry in conditioners.items()}
        made = {_stream(key, entry): entry["config"]["output_dim"] for key, entry in conditioners.items()}
        attended = [_stream(key, conditioners[key]) for key in diffusion.get("cross_attention_cond_ids", [])]
        added = [_stream(key, conditioners[key]) for key in diffusion.get("add_cond_ids", [])]
        added += [_stream(key, conditioners[key]) for key in diffusion.get("sync_cond_ids", [])]
    except (KeyError, TypeError) as error:
        raise ValueError(f"not the configuration of a published transformer: {error} is missing") from error
    if added not in ([], ["video"], ["video", "sync"]):
        raise ValueError(f"the published transformer adds video, then sync, to its latents; found {added}")
    projected = options.pop("project_cond_tokens", True)
    context_dim = None if projected or not attended else options["cond_token_dim"]
    _refuse_unknown(options)
    dim = arguments["dim"]
    kinds, gates = {"sync": SyncConditioner}, {"video": 1.0}
    streams = {
        name: kinds.get(name, FeatureConditioner)(
            raw[name],
            made[name],
            cross_attended=name in attended,
            additive=name in added,
            gate=gates.get(name, 0.0),
        )
        for name in dict.fromkeys([*attended, *added])
    }
    return {
        **arguments,
        "streams": streams,
        "context_dim": None if context_dim == dim else context_dim,
    }


def _refuse_unknown(options: Mapping[str, Any]) -> None:
    widths = {"cond_token_dim", "add_token_dim", "sync_token_dim"}  # said once more by the conditioners
    others = {name: value for name, value in options.items() if name not in widths and value}
    wrong = [f"{name} = {value}" for name, value in others.items() if _FIXED.get(name) != value]
    wrong += [f"{name} = {options[name]}" for name in ("use_gated", "use_sync_gated") if not options.get(name, True)]
    if wrong:
        raise ValueError(f"not the published architecture: {', '.join(wrong)}; expected {_FIXED}")


def _stream(key: str, entry: Mapping[str, Any]) -> str:
    stream, kind = key.removesuffix("_features"), entry["type"]
    if (stream, kind) not in {("video", "cond_mlp"), ("text", "cond_mlp"), ("sync", "sync_mlp")}:
        raise ValueError(f"the published transformer has no {kind} for {key}")
    return stream
