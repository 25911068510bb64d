"""The towers of CLIP, SigLIP and X-CLIP in transformers: sizes, construction, weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel, XCLIPConfig, XCLIPModel

from prismaudio.checkpoints import MetaTensors
from prismaudio.errors import CheckpointError, one_line
from prismaudio.weight_files import fill
from prismaudio.weight_folders import CONFIG, PublishedFolder, read_json, read_tensors
from prismaudio_clip.frames import FILE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CLIP = PublishedFolder("openai/clip-vit-large-patch14", size_mb=1710, licence="MIT", files=(FILE,))
XCLIP = PublishedFolder("microsoft/xclip-base-patch32", size_mb=790, licence="MIT", files=(FILE,))
_KINDS: dict[str, tuple[Any, Any]] = {
    "clip": (CLIPModel, CLIPConfig),
    "siglip": (SiglipModel, SiglipConfig),
    "xclip": (XCLIPModel, XCLIPConfig),
}
_TOWER = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act", "layer_norm_eps"),
    *("image_size", "patch_size", "num_frames"),
    *("mit_hidden_size", "mit_intermediate_size", "mit_num_hidden_layers", "mit_num_attention_heads"),
)
_TEXT = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act", "layer_norm_eps"),
    *("vocab_size", "max_position_embeddings", "pad_token_id", "bos_token_id", "eos_token_id", "projection_size"),
)
"""The keys of a tower in ``config.json`` that say what it computes; no other is read."""
SIZES: dict[str, Any] = {
    "model_type": "clip",
    "projection_dim": 768,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
}
"""Sizes of the vision tower of CLIP ViT-L/14, named as in its ``config.json``."""
XCLIP_SIZES: dict[str, Any] = {"model_type": "xclip", "projection_dim": 512}
"""The same of X-CLIP B/32 with 8 frames, whose sizes are the defaults of transformers."""


class VisionTower(nn.Module):
    """The part of a network that embeds frames.

    Args:
        sizes: ``model_type``, ``projection_dim`` and sizes of the vision tower, named as in ``config.json``; missing
            ones have the defaults of transformers.

    Raises:
        CheckpointError: A size is unknown or not valid.
    """

    def __init__(self, sizes: Mapping[str, Any]) -> None:
        super().__init__()
        whole, config = _build(sizes, "vision_config", _TOWER)
        self.vision_model = whole.vision_model
        self.visual_projection = getattr(whole, "visual_projection", None)
        self.mit = getattr(whole, "mit", None)
        self.window: int = config.vision_config.num_frames if self.mit is not None else 1
        """Number of frames that are embedded together; 1 if each is embedded by itself."""
        self.dim: int = config.vision_config.hidden_size if self.visual_projection is None else config.projection_dim

    def forward(self, frames: Tensor) -> Tensor:
        """Embeddings ``(frames, dim)`` of prepared frames ``(frames, 3, height, width)``, whole windows of them."""
        embeddings: Tensor = self.vision_model(pixel_values=frames).pooler_output
        if self.visual_projection is not None:
            embeddings = self.visual_projection(embeddings)
        if self.mit is not None:
            windows = embeddings.view(-1, self.window, self.dim)
            embeddings = self.mit(windows).last_hidden_state.flatten(0, 1)
        return embeddings


class TextTower(nn.Module):
    """The part of a network that embeds texts.

    Args:
        sizes: ``model_type``, ``projection_dim`` and sizes of the text tower, named as in ``config.json``.
    """

    def __init__(self, sizes: Mapping[str, Any]) -> None:
        super().__init__()
        whole, config = _build(sizes, "text_config", _TEXT)
        self.text_model = whole.text_model
        self.text_projection = getattr(whole, "text_projection", None)
        self.max_tokens: int = config.text_config.max_position_embeddings
        self.pad_to: int | None = self.max_tokens if config.model_type == "siglip" else None
        """Number of tokens to which SigLIP pads every text; its padding is not masked."""
        self.pad_id: int = config.text_config.pad_token_id

    def forward(self, ids: Tensor) -> Tensor:
        """Embedding ``(batch, dim)`` of ids ``(batch, tokens)``, of length 1."""
        pooled: Tensor = self.text_model(input_ids=ids).pooler_output
        return F.normalize(pooled if self.text_projection is None else self.text_projection(pooled), dim=-1)


def _build(sizes: Mapping[str, Any], tower: str, keys: tuple[str, ...]) -> tuple[Any, Any]:
    """A whole network whose other tower is small, and its configuration."""
    model_type = sizes.get("model_type")
    if model_type not in _KINDS:
        raise CheckpointError(f"the network is a {str(model_type)[:60]!r}; expected {', '.join(_KINDS)}")
    own = {key: value for key, value in sizes.items() if key not in {"model_type", "projection_dim"}}
    if unknown := own.keys() - {*keys}:
        raise CheckpointError(f"{model_type} has no size {min(unknown)!r}; expected {', '.join(keys)}")
    other = {"text_config": "vision_config", "vision_config": "text_config"}[tower]
    least: dict[str, Any] = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model, config = _KINDS[model_type]
    towers = {tower: own, other: least}
    try:
        projection = {"projection_dim": sizes["projection_dim"]} if sizes.get("projection_dim") is not None else {}
        described = config(**towers, **projection)
        return model(described), described
    except Exception as error:  # transformers raises errors of many kinds
        raise CheckpointError(f"the sizes of {model_type} are not valid: {one_line(error, 200)}") from error


def read_sizes(folder: Path, tower: str, model_types: tuple[str, ...]) -> dict[str, Any]:
    """Sizes of a tower of a folder, for :class:`VisionTower` or :class:`TextTower`.

    Args:
        folder: Folder in transformers' layout.
        tower: ``vision_config`` or ``text_config``.
        model_types: Networks that are expected.

    Raises:
        CheckpointError: The configuration cannot be read, or is that of another network.
    """
    config = read_json(folder / CONFIG)
    model_type = config.get("model_type")
    if model_type not in model_types:
        raise CheckpointError(f"{folder} is a {str(model_type)[:60]!r}; expected {' or '.join(model_types)}")
    stated, keys = config.get(tower), _TOWER if tower == "vision_config" else _TEXT
    if not isinstance(stated, dict):
        raise CheckpointError(f"{folder / CONFIG} has no {tower}; expected a whole {model_type}")
    try:  # the class knows the defaults
        described = _KINDS[model_type][1](**{tower: {key: stated[key] for key in keys if key in stated}})
        full = getattr(described, tower)
    except Exception as error:  # transformers raises errors of many kinds
        raise CheckpointError(f"{folder / CONFIG} is not valid: {one_line(error, 200)}") from error
    own = {key: getattr(full, key) for key in keys if hasattr(full, key)}
    if model_type == "siglip":
        return {"model_type": model_type, **own}
    return {"model_type": model_type, "projection_dim": config.get("projection_dim", 512), **own}


def load_vision_tower(folder: Path, model_types: tuple[str, ...]) -> tuple[VisionTower, dict[str, Any]]:
    """The vision tower of a folder, and its sizes; no other weights are read."""
    sizes = read_sizes(folder, "vision_config", model_types)
    with MetaTensors(100_000):
        tower = VisionTower(sizes)
    _load(tower, folder)
    return tower, sizes


def load_text_tower(folder: Path, model_types: tuple[str, ...]) -> TextTower:
    """The text tower of a folder; no other weights are read."""
    with MetaTensors(100_000):
        tower = TextTower(read_sizes(folder, "text_config", model_types))
    _load(tower, folder)
    return tower


def _load(tower: nn.Module, folder: Path) -> None:
    parts = tuple(f"{name}." for name, _ in tower.named_children())
    buffers = {name for name, _ in tower.named_buffers()}  # older files have those that are computed
    fill(tower, read_tensors(folder, lambda key: key if key.startswith(parts) and key not in buffers else None), folder)
