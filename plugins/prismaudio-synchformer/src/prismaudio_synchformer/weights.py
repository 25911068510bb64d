"""The published weights: where they are, and what they are called there."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from prismaudio.downloads import PublishedFile
from prismaudio.errors import CheckpointError
from prismaudio.weight_files import below, fill, read_weights

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from prismaudio_synchformer.network import Synchformer

FILE = PublishedFile(
    name="synchformer_state_dict.pth",
    size_mb=950,
    licence="of the code MIT, of the weights see the page",
    page="https://github.com/hkchengrex/MMAudio/releases/tag/v0.1",
    repository="FunAudioLLM/PrismAudio",
)
"""The whole network, as tensors alone. ``24-01-04T16-39-21.pt`` of Synchformer's authors holds the same under
``model``, beside objects that are not tensors."""
VISUAL = "vfeat_extractor."
DIM, DEPTH = 768, 12
"""Sizes of the published visual tower."""
_UNUSED = "patch_embed.proj."
_LAYER = r"^(afeat_extractor\.ast)\.encoder\.layer\.(\d+)\."
_RENAMED = (
    (
        _LAYER + r"attention\.attention\.(query|key|value)\.",
        lambda m: f"{m[1]}.layers.{m[2]}.attention.{m[3][0]}_proj.",
    ),
    (_LAYER + r"attention\.output\.dense\.", r"\1.layers.\2.attention.o_proj."),
    (_LAYER + r"intermediate\.dense\.", r"\1.layers.\2.mlp.fc1."),
    (_LAYER + r"output\.dense\.", r"\1.layers.\2.mlp.fc2."),
    (_LAYER, r"\1.layers.\2."),
)


def our_key(official: str) -> str:
    """Our name of a weight of the checkpoint.

    Example:
        >>> our_key("afeat_extractor.ast.encoder.layer.3.attention.attention.key.bias")
        'afeat_extractor.ast.layers.3.attention.k_proj.bias'
    """
    for pattern, replacement in _RENAMED:
        renamed, n_times = re.subn(pattern, replacement, official)
        if n_times:
            return renamed
    return official


def our_weights(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by our names, without those that nothing uses."""
    return {our_key(key): value for key, value in official.items() if not key.startswith(VISUAL + _UNUSED)}


def load_network(weights: str | Path | None = None) -> Synchformer:
    """The published network; the reward and the metric share it.

    Args:
        weights: A file, a folder that has it, or ``owner/name`` on the Hugging Face hub; None for the published one.

    Raises:
        CheckpointError: The weights cannot be had, or are not those of this network.
    """
    path = FILE.find(weights)
    return _network(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _network(path: Path, changed_ns: int) -> Synchformer:  # noqa: ARG001  (tells a changed file from what it was)
    """The network of a file, which is read again when it was changed."""
    official = _read(path)
    if all(key.startswith(VISUAL) for key in official):
        raise CheckpointError(f"{path} contains only the visual tower, as for the encoder; expected {FILE.advice()}")
    network = empty_network()
    fill(network, our_weights(official), path)
    return network


def empty_network() -> Synchformer:
    """The network of the published size on the meta device, without memory for weights."""
    from prismaudio_synchformer.network import Synchformer

    with torch.device("meta"):
        return Synchformer()


def visual_weights(weights: str | Path | None = None) -> tuple[Path, dict[str, Tensor]]:
    """The file, and the weights of its visual tower; other tensors of the file are ignored.

    Raises:
        CheckpointError: The weights cannot be found, or are not those of Synchformer.
    """
    path = FILE.find(weights)
    found = below(_read(path), VISUAL)
    return path, {key: value for key, value in found.items() if not key.startswith(_UNUSED)}


def visual_sizes(weights: Mapping[str, Tensor]) -> tuple[int, int]:
    """Dim and depth of a visual tower; those of the published one where the weights do not say them."""
    blocks = {int(match[1]) for key in weights if (match := re.match(r"blocks\.(\d{1,3})\.", key))}
    first = weights.get("cls_token")
    return (DIM if first is None or not first.ndim else first.shape[-1]), (max(blocks) + 1 if blocks else DEPTH)


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file after checking that they are those of Synchformer."""
    official = read_weights(path)
    if not any(key.startswith(VISUAL) for key in official):
        some = ", ".join(list(official)[:3])
        raise CheckpointError(f"{path} is of another model: it has {some} … and no {VISUAL}*; expected {FILE.advice()}")
    return official
