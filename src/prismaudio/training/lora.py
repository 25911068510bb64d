"""Low-rank adapters on the linear layers of a transformer, with peft."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from prismaudio.checkpoints import fresh
from prismaudio.errors import PrismAudioError
from prismaudio.media import replacing
from prismaudio.weight_files import save_tensors

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from torch import Tensor, nn

TARGETS = r"blocks\.\d+\.(.*\.to_(qkv|q|kv|out)|feed_forward\.project_(in|out))"
"""The layers that get an adapter: attention and feed-forward of every block."""
CONDITIONERS = ("conditioners", "to_context", "to_added", "gates")
"""The modules that map features to the conditioning of the blocks."""
NAME = "default"
FILES = ("adapter.safetensors", "adapter.json")
"""Weights and options of adapters in a model folder."""


@dataclass(frozen=True)
class Adapters:
    """Options of low-rank adapters.

    Args:
        rank: Rank of the adapters.
        alpha: Scale of the adapters; their output is multiplied by ``alpha / rank``.
        dropout: Dropout probability of the inputs of adapters.
    """

    rank: int = 16
    alpha: float = 16.0
    dropout: float = 0.0


@dataclass(frozen=True)
class Lora(Adapters):
    """Options of low-rank adapters of the transformer.

    Args:
        rank: Rank of the adapters.
        alpha: Scale of the adapters; their output is multiplied by ``alpha / rank``.
        dropout: Dropout probability of the inputs of adapters.
        conditioners: Train the weights of the conditioners as well; for features that the model has not seen.
    """

    conditioners: bool = False


def add_adapters(transformer: nn.Module, lora: Lora) -> None:
    """Insert adapters into a transformer, in place, and freeze everything else.

    Raises:
        PrismAudioError: peft is not installed.
    """
    inject(transformer, lora, TARGETS)
    if lora.conditioners:
        for name in CONDITIONERS:
            transformer.get_submodule(name).requires_grad_(requires_grad=True)


def inject(network: nn.Module, adapters: Adapters, targets: str | Collection[str]) -> Any:
    """Insert adapters into linear layers of a network, in place, and freeze everything else.

    Args:
        network: The network.
        adapters: Their options.
        targets: Names of the layers, or a regular expression that their whole names match.

    Returns:
        The configuration, as peft describes adapters.

    Raises:
        PrismAudioError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise PrismAudioError(
            f"fine-tuning with adapters needs peft ({error}); pip install 'prismaudio[lora]'"
        ) from error
    network.requires_grad_(requires_grad=False)
    names = targets if isinstance(targets, str) else list(targets)
    config = LoraConfig(
        r=adapters.rank, lora_alpha=adapters.alpha, lora_dropout=adapters.dropout, target_modules=names
    )  # fmt: skip
    inject_adapter_in_model(config, network, NAME)
    return config


def merged(state: Mapping[str, Tensor], lora: Adapters) -> dict[str, Tensor]:
    """Weights of the plain network, with the adapters merged.

    Args:
        state: Weights of a network with adapters.
        lora: Options of the adapters.
    """
    plain = {key.replace(".base_layer.", "."): value for key, value in state.items() if ".lora_" not in key}
    for key, down in state.items():
        if key.endswith(f".lora_A.{NAME}.weight"):
            layer = key.removesuffix(f".lora_A.{NAME}.weight")
            change = state[f"{layer}.lora_B.{NAME}.weight"].float() @ down.float()
            weight = plain[f"{layer}.weight"]
            plain[f"{layer}.weight"] = (weight.float() + lora.alpha / lora.rank * change).to(weight.dtype)
    return plain


def save_adapters(folder: Path, state: Mapping[str, Tensor], lora: Lora, trained: set[str]) -> None:
    """Write the trained weights alone to ``adapter.safetensors``, with ``adapter.json``.

    Args:
        folder: The model folder.
        state: Weights of a transformer with adapters.
        lora: Options of the adapters.
        trained: Names of the weights that were trained.
    """
    weights = {key: value.detach().cpu().contiguous() for key, value in state.items() if key in trained}
    tensors, options = (folder / name for name in FILES)
    with replacing(tensors) as part:
        save_tensors(weights, part)
    with replacing(options) as part:
        part.write_text(json.dumps({"format": 1, "lora": asdict(lora)}, indent=2) + "\n")


def remove_adapters(folder: Path) -> None:
    """Remove what :func:`save_adapters` wrote for a transformer that was replaced by another one."""
    for name in FILES:
        (folder / name).unlink(missing_ok=True)


def plain_transformer(transformer: nn.Module, state: Mapping[str, Any]) -> nn.Module:
    """A transformer of the same configuration with other weights, without adapters or sharding."""
    kind = next(kind for kind in type(transformer).__mro__ if not kind.__name__.startswith("FSDP"))
    plain: nn.Module = kind(**fresh(transformer.config))  # type: ignore[arg-type]
    plain.load_state_dict(dict(state), assign=True)
    return plain.eval()
