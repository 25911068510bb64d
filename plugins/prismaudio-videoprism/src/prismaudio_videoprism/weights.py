"""The published weights: the Flax file, or a folder in transformers' layout, here or on the hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import torch
from transformers import VideoPrismConfig, VideoPrismTextConfig

from prismaudio.downloads import PublishedFile
from prismaudio.errors import CheckpointError, one_line
from prismaudio.paths import expanded
from prismaudio.weight_files import fill
from prismaudio.weight_folders import CONFIG, PublishedFolder, read_json, read_tensors
from prismaudio_videoprism.network import ATTENTION, TextTower, VideoTower, sizes_of, vision_config

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

FILE = PublishedFile(
    name="flax_lvt_large_f8r288_repeated.npz",
    size_mb=2200,
    licence="Apache-2.0",
    page="https://huggingface.co/google/videoprism-lvt-large-f8r288",
    repository="google/videoprism-lvt-large-f8r288",
)
"""``videoprism_lvt_public_v1_large``; the bundle ``DeepBeepMeep/prismaudio`` has the same file."""
FOLDER = PublishedFolder(FILE.repository or "", FILE.size_mb, FILE.licence)
"""The same in transformers' layout, of which a revision of the repository may have a copy."""
VIDEO, TEXT = "video_model.", "text_model."
_LAYERS = {
    "vision_encoder/spatial_encoder/transformers_stack": "video_model.vision_model.spatial_layers",
    "vision_encoder/temporal_encoder/transformers_stack": "video_model.vision_model.temporal_layers",
    "auxiliary_encoder/transformers_stack": "video_model.auxiliary_layers",
    "text_encoder/unimodal_transformer": "text_model.layers",
}
_IN_LAYER = {
    "layer_norm": "layernorm_before",
    "self_attention/query": "attention.q_proj",
    "self_attention/key": "attention.k_proj",
    "self_attention/value": "attention.v_proj",
    "self_attention/post": "attention.o_proj",
    "ff_layer/layer_norm": "layernorm_after",
    "ff_layer/ffn_layer1/linear": "mlp.fc1",
    "ff_layer/ffn_layer2/linear": "mlp.fc2",
}
_VISION = "video_model.vision_model"
_ALONE = {
    "vision_encoder/patch_projection/linear": f"{_VISION}.spatial_embeddings.patch_embeddings.projection",
    "vision_encoder/spatial_ln": f"{_VISION}.layernorm1",
    "vision_encoder/temporal_ln": f"{_VISION}.layernorm2",
    "contrastive_vision_pooler/pooling_attention/query": "video_model.head.q_proj",
    "contrastive_vision_pooler/pooling_attention/key": "video_model.head.k_proj",
    "contrastive_vision_pooler/pooling_attention/value": "video_model.head.v_proj",
    "contrastive_vision_pooler/pooling_attention/post": "video_model.head.o_proj",
    "contrastive_vision_pooler/pooling_attention_layer_norm": "video_model.head_layernorm",
    "text_encoder/unimodal_ln": "text_model.layernorm",
}
_TABLES = {
    "vision_encoder/spatial_pos_emb/emb_var": (f"{_VISION}.spatial_embeddings.position_embeddings", (1, -1, 0)),
    "vision_encoder/temporal_pos_emb/emb_var": (f"{_VISION}.temporal_embeddings.position_embeddings", (1, -1, 0)),
    "contrastive_vision_pooler/pooling_attention_query": ("video_model.head.pooling_attention_query", (1, 1, 0)),
    "contrastive_vision_pooler/pooling_attention/per_dim_scale/per_dim_scale": ("video_model.head.per_dim_scale", (0,)),
    "text_encoder/token_emb/emb_var": ("text_model.embeddings.token_embedding.weight", (-1, 0)),
    "text_encoder/cls_emb": ("text_model.embeddings.cls_emb", (1, 1, 0)),
}


def from_flax(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    """Weights by transformers' names, from those of the Flax checkpoint, whose layers are stacked.

    Args:
        arrays: Arrays by path, such as ``params/vision_encoder/spatial_ln/scale``.

    Raises:
        CheckpointError: An array has a name that VideoPrism does not have.
    """
    weights: dict[str, Tensor] = {}
    for name, array in arrays.items():
        for key, value in _renamed(name.removeprefix("params/"), np.asarray(array)):
            weights[key] = torch.from_numpy(np.ascontiguousarray(value, np.float32))
    return weights


def _renamed(name: str, array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors of a Flax array, a stacked one layer by layer."""
    stack, found, rest = name.partition("/x_layers/")
    module, _, leaf = (rest or name).rpartition("/")
    if name in _TABLES:
        key, shape = _TABLES[name]
        yield key, array.reshape([size or array.shape[-1] for size in shape])
    elif found and stack in _LAYERS and module in _IN_LAYER:
        for index, layer in enumerate(array):
            yield _linear(f"{_LAYERS[stack]}.{index}.{_IN_LAYER[module]}", module, leaf, layer)
    elif name.rpartition("/")[0] in _ALONE:
        yield _linear(_ALONE[module], module, leaf, array)
    else:
        raise CheckpointError(f"the array {name!r} is none of VideoPrism's; expected {FILE.advice()}")


def _linear(key: str, module: str, leaf: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    """A weight or bias of a projection or a norm in torch's orientation."""
    if leaf in ("bias", "b"):
        return f"{key}.bias", array.reshape(-1)
    if leaf == "scale":
        return f"{key}.weight", array
    if module.endswith("patch_projection/linear"):  # rows are (row, column, colour)
        side = round((array.shape[0] / 3) ** 0.5)
        return f"{key}.weight", array.reshape(side, side, 3, -1).transpose(3, 2, 0, 1)[:, :, None]
    flat = array.reshape(array.shape[0], -1)
    return f"{key}.weight", flat if module.endswith("post") else flat.T


def flax_sizes(arrays: Mapping[str, Any]) -> dict[str, int]:
    """Sizes of the video tower of a Flax checkpoint, named as in :data:`prismaudio_videoprism.network.SIZES`.

    Raises:
        CheckpointError: It lacks what says them.
    """
    shapes = {name.removeprefix("params/"): np.shape(array) for name, array in arrays.items()}
    layers = "vision_encoder/{}_encoder/transformers_stack/x_layers/ff_layer/ffn_layer1/linear/bias"
    query = "vision_encoder/spatial_encoder/transformers_stack/x_layers/self_attention/query/w"
    try:
        patch_size = round((shapes["vision_encoder/patch_projection/linear/kernel"][0] / 3) ** 0.5)
        n_spatial, mlp_dim = shapes[layers.format("spatial")]
        _, dim, num_heads, _ = shapes[query]
        return {
            "image_size": patch_size * round(shapes["vision_encoder/spatial_pos_emb/emb_var"][0] ** 0.5),
            "patch_size": patch_size,
            "num_frames": shapes["vision_encoder/temporal_pos_emb/emb_var"][0],
            "dim": dim,
            "num_heads": num_heads,
            "mlp_dim": mlp_dim,
            "num_spatial_layers": n_spatial,
            "num_temporal_layers": shapes[layers.format("temporal")][0],
            "num_auxiliary_layers": shapes[layers.replace("vision_encoder/{}", "auxiliary")][0],
        }
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"the Flax file is not VideoPrism's, it lacks {error}; expected {FILE.advice()}"
        ) from error


def find(weights: str | Path | None = None, revision: str | None = None) -> Path:
    """Where the weights are on this machine, downloaded if they are not there.

    Args:
        weights: A Flax ``.npz``, a folder that has it, a folder in transformers' layout, or ``owner/name`` on the
            Hugging Face hub; None for the published file.
        revision: Branch, tag or commit of a repository in transformers' layout, such as ``refs/pr/2``.

    Returns:
        The ``.npz``, or a folder with ``config.json`` and ``model.safetensors``.

    Raises:
        CheckpointError: They cannot be had.
    """
    if revision is not None or (weights is not None and (expanded(weights) / CONFIG).is_file()):
        return FOLDER.find(weights, revision)
    return FILE.find(weights)


def read(path: Path, prefix: str) -> tuple[Any, dict[str, Tensor]]:
    """The configuration of one tower, and its weights by the names of its class in transformers; no other is read.

    Args:
        path: The Flax ``.npz``, or a folder in transformers' layout.
        prefix: :data:`VIDEO` or :data:`TEXT`.

    Raises:
        CheckpointError: The file cannot be read, is not VideoPrism's, or lacks the tower.
    """
    config, weights = (_read_folder if path.is_dir() else _read_flax)(path, prefix)
    if not weights:
        raise CheckpointError(f"{path} has no {prefix[:-1]} of VideoPrism; get {FILE.advice()}")
    return config, {key.removeprefix(prefix): value for key, value in weights.items()}


def _read_flax(path: Path, prefix: str) -> tuple[Any, dict[str, Tensor]]:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            wanted = [name for name in file.files if ("text_encoder/" in name) == (prefix == TEXT)]
            arrays = {name: file[name] for name in wanted}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise CheckpointError(f"cannot read {path}: {one_line(error, 160)}; copy or download it again") from error
    try:
        weights = from_flax(arrays)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if prefix == VIDEO:
        return vision_config(flax_sizes(arrays)), weights
    query = next((np.shape(array) for name, array in arrays.items() if name.endswith("self_attention/query/w")), None)
    if query is None:
        return None, {}
    n_layers, dim, num_heads, _ = query
    config = VideoPrismTextConfig(
        vocab_size=weights["text_model.embeddings.token_embedding.weight"].shape[0],
        hidden_size=dim,
        intermediate_size=weights["text_model.layers.0.mlp.fc1.bias"].shape[0],
        num_hidden_layers=n_layers,
        num_attention_heads=num_heads,
    )
    return config, weights


def _read_folder(folder: Path, prefix: str) -> tuple[Any, dict[str, Tensor]]:
    if read_json(folder / CONFIG).get("model_type") != "videoprism":
        raise CheckpointError(f"{folder} is no VideoPrism video-text network; get {FILE.advice()}")
    weights = read_tensors(folder, lambda key: key if key.startswith(prefix) else None)
    try:
        config = VideoPrismConfig.from_pretrained(folder)
    except Exception as error:  # transformers raises errors of many kinds
        raise CheckpointError(f"cannot read {folder}: {one_line(error, 160)}; get {FILE.advice()}") from error
    return (config.vision_config if prefix == VIDEO else config.text_config), weights


def load_video_tower(path: Path, attention: str = ATTENTION) -> tuple[VideoTower, dict[str, int]]:
    """The video tower of a file or folder, and its sizes."""
    config, weights = read(path, VIDEO)
    with torch.device("meta"):
        tower = VideoTower(config, attention)
    fill(tower.model, weights, path)
    return tower.eval().requires_grad_(requires_grad=False), sizes_of(config)


def load_text_tower(path: Path) -> TextTower:
    """The text tower of a file or folder."""
    config, weights = read(path, TEXT)
    tower = TextTower(config)
    ours = tower.model.state_dict()
    buffers = {key: ours[key] for key in ours if re.search(r"position_(embedding|ids)$", key)}
    fill(tower.model, {**buffers, **weights}, path)
    return tower.eval().requires_grad_(requires_grad=False)
