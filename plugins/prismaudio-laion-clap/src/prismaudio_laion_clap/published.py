"""The published weights and tokenizer of LAION-CLAP, their names, and the configuration derived from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import ClapConfig

from prismaudio.audio.spectral import published_mel_filters
from prismaudio.downloads import PublishedFile
from prismaudio.errors import CheckpointError
from prismaudio.models.htsat import N_FFT, N_MELS, UNUSED, named_by_transformers
from prismaudio.paths import expanded
from prismaudio.rewards.tokens import PublishedTokenizer
from prismaudio.weight_files import below, fill, read_weights
from prismaudio_laion_clap.network import RATE_HZ, LaionClap


def _published(name: str, size_mb: int) -> PublishedFile:
    page, licence = "https://huggingface.co/lukewys/laion_clap", "as its page says"
    return PublishedFile(f"{name}.pt", size_mb, licence, page, repository="lukewys/laion_clap")


FILES = {
    "music_speech_audioset_epoch_15_esc_89.98": _published("music_speech_audioset_epoch_15_esc_89.98", 2_350),
    "630k-audioset-fusion-best": _published("630k-audioset-fusion-best", 1_860),
}
"""The published files by their names; the first is that of the CLAP score in papers."""
OTHER = PublishedFile(
    name="model.safetensors",
    size_mb=620,
    licence="as its page says",
    page="https://huggingface.co/laion/clap-htsat-unfused",
    repository="laion/clap-htsat-unfused",
)
"""Weights in the format of transformers."""
TOKENIZER = PublishedTokenizer(
    PublishedFile(
        name="roberta-base-tokenizer.json",
        size_mb=2,
        licence="MIT",
        page="https://huggingface.co/FacebookAI/roberta-base (tokenizer.json)",
        repository="FacebookAI/roberta-base",
        path="tokenizer.json",
    ),
    n_tokens=50_265,
)
NAMES = (
    (r"text_branch\.", "text_model."),
    (r"(audio|text)_projection\.0\.", r"\1_projection.linear1."),
    (r"(audio|text)_projection\.2\.", r"\1_projection.linear2."),
)
"""Prefixes of published names, and those of transformers."""
TOWER, OURS, BANDS = "audio_branch.", "audio_model.", "logmel_extractor.melW"
COMPUTED = re.compile(r"text_model\.embeddings\.(position_ids|token_type_ids)$|(audio|text)_transform\.")
"""Tensors that are computed, or used only in training."""


def find(given: str | None = None) -> Path:
    """The file of the weights.

    Args:
        given: One of :data:`FILES`, a file, a folder, or a repository of the hub in the format of transformers.
    """
    if given in FILES:
        return FILES[given].find()
    if given is not None and expanded(given).is_dir():
        inside = (expanded(given) / file.name for file in (*FILES.values(), OTHER))
        return next((path for path in inside if path.exists()), None) or OTHER.find(given)
    if given is not None and given.count("/") == 1 and not Path(given).suffix:
        return OTHER.find(given)
    return next(iter(FILES.values())).find(given)


def load(given: str | None = None) -> LaionClap:
    """A published network.

    Args:
        given: See :func:`find`.

    Raises:
        CheckpointError: The weights cannot be found, or are those of another network.
    """
    path = find(given)
    weights = our_names(read_weights(path))
    with torch.device("meta"):
        network = LaionClap(form(weights, path))
    fill(network, weights, path)
    return network


def our_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published weights, in the format of LAION or of transformers, by the names of ``LaionClap``."""
    weights = {key.removeprefix("module."): value for key, value in weights.items()}
    fusion = any(".mel_conv2d." in key for key in weights)
    tower = named_by_transformers(below(weights, TOWER))
    renamed = {f"clap.{OURS}{key}": value for key, value in tower.items()}
    for key, value in weights.items():
        name = key
        for published, ours in NAMES:
            name = re.sub(f"^{published}", ours, name)
        unused = COMPUTED.match(name) or (name.startswith(OURS) and UNUSED.match(name.removeprefix(OURS)))
        if not (name.startswith(TOWER) or unused):
            renamed[f"clap.{name}"] = value
    positions = renamed.get("clap.text_model.embeddings.position_embeddings.weight")
    if positions is not None:
        numbers = torch.arange(len(positions))[None]
        renamed["clap.text_model.embeddings.position_ids"] = numbers
        renamed["clap.text_model.embeddings.token_type_ids"] = torch.zeros_like(numbers)
    stored = None if fusion else weights.get(TOWER + BANDS)
    renamed["bands"] = mel_bands("htk" if fusion else "slaney") if stored is None else stored
    return renamed


def mel_bands(scale: str) -> Tensor:
    """Mel bands ``(513, 64)`` of the networks with fusion, ``"htk"``, or without, ``"slaney"``."""
    return published_mel_filters(N_MELS, N_FFT, RATE_HZ, 50, 14_000, scale).T.float()


def form(weights: Mapping[str, Tensor], source: object) -> ClapConfig:
    """The configuration of the network, derived from the shapes of its weights.

    Raises:
        CheckpointError: The weights fit no configuration.
    """
    try:
        return _form(weights)
    except (KeyError, IndexError, ValueError) as error:
        reason = f"missing {error.args[0]}" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"{source} does not fit LaionClap: {reason}; expected weights of LAION-CLAP") from error


def _form(weights: Mapping[str, Tensor]) -> ClapConfig:
    tower, text = below(weights, f"clap.{OURS}audio_encoder."), below(weights, "clap.text_model.")
    table = "layers.{}.blocks.0.attention.self.relative_position_bias_table"
    stages = range(_count(tower, r"layers\.(\d+)\."))
    width = tower["patch_embed.proj.weight"].shape[0]
    projection = weights["clap.text_projection.linear1.weight"].shape[0]
    layer = text["encoder.layer.0.intermediate.dense.weight"]
    audio_config = {
        "patch_embeds_hidden_size": width,
        "hidden_size": width * 2 ** (len(stages) - 1),
        "depths": [_count(tower, rf"layers\.{stage}\.blocks\.(\d+)\.") for stage in stages],
        "num_attention_heads": [tower[table.format(stage)].shape[1] for stage in stages],
        "projection_dim": projection,
    }
    text_config = {
        "vocab_size": text["embeddings.word_embeddings.weight"].shape[0],
        "max_position_embeddings": text["embeddings.position_embeddings.weight"].shape[0],
        "num_hidden_layers": _count(text, r"encoder\.layer\.(\d+)\."),
        "num_attention_heads": max(1, layer.shape[1] // 64),
        "hidden_size": layer.shape[1],
        "intermediate_size": layer.shape[0],
        "layer_norm_eps": 1e-5,
        "projection_dim": projection,
    }
    return ClapConfig(text_config=text_config, audio_config=audio_config, projection_dim=projection)


def _count(weights: Mapping[str, Tensor], pattern: str) -> int:
    """Number of distinct indices in the names that match a pattern."""
    return len({found[1] for key in weights if (found := re.match(pattern, key))})
