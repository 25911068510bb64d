"""The network of the authors' package ``laion-clap``, with weights that are read without executing code."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
import transformers
from torch import Tensor

from prismaudio.audio.covering import cover
from prismaudio.audio.resample import resample
from prismaudio.checkpoints import SkipInitialization
from prismaudio.downloads import official_package
from prismaudio.errors import CheckpointError
from prismaudio.rewards.shared_space import SharedSpace
from prismaudio.weight_files import fill, read_weights
from prismaudio_laion_clap.network import AT_ONCE, PADDING, RATE_HZ, WINDOW
from prismaudio_laion_clap.published import TOWER, find, form, our_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PLUGIN = "prismaudio-laion-clap"
SIZES = {96: "HTSAT-tiny", 128: "HTSAT-base", 256: "HTSAT-large"}
"""Names of the audio encoders by their width."""
POSITIONS = "text_branch.embeddings.position_ids"
"""A tensor of older files, which the network computes."""


class OfficialClap(SharedSpace):
    """``CLAP_Module`` of the authors: their features, their network and their normalization.

    Audio is resampled, cut into segments of at most ten seconds, and long texts into pieces, as for
    :class:`~prismaudio_laion_clap.network.LaionClap`; the package itself hears a random part of longer audio and
    the first 77 tokens of a text.

    Args:
        weights: See :func:`prismaudio_laion_clap.published.find`; a file in the format of the authors.

    Raises:
        BrokenPluginError: The package cannot be imported.
        CheckpointError: The weights cannot be found, or are those of another network.

    Source:
        The package ``laion-clap``, version 1.1.7.
    """

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        with nothing_downloaded():
            package = official_package("laion_clap", PLUGIN)
        path = find(weights)
        tensors = published_names(read_weights(path), path)
        config = form(our_names(tensors), path)
        width, fusion = len(tensors[f"{TOWER}patch_embed.proj.weight"]), any(".mel_conv2d." in key for key in tensors)
        if width not in SIZES:
            raise CheckpointError(f"{path} has an audio encoder of width {width}; laion-clap has {sorted(SIZES)}")
        text = roberta(config)
        with torch.random.fork_rng(devices=[]), SkipInitialization(), nothing_downloaded(text):
            self.clap = package.CLAP_Module(enable_fusion=fusion, device="cpu", amodel=SIZES[width])
        fill(self.clap.model, tensors, path)

    def embed_audio(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """Embeddings of audio: the mean of the normalized embeddings of its segments."""
        mono = resample(audio.mean(1), sample_rate_hz, RATE_HZ)
        starts = cover(mono.shape[1], WINDOW)
        windows = torch.stack([mono[:, start : start + WINDOW] for start in starts], 1)
        parts = windows.flatten(0, 1).split(AT_ONCE)
        found = [self.clap.get_audio_embedding_from_data(part, use_tensor=True) for part in parts]
        return torch.cat(found).unflatten(0, windows.shape[:2]).mean(1)

    def embed_tokens(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Embeddings of texts."""
        padded = {"input_ids": tokens.masked_fill(~real, PADDING), "attention_mask": real.long()}
        found: Tensor = self.clap.get_text_embedding(None, tokenizer=lambda _: padded, use_tensor=True)
        return found


def published_names(weights: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Weights by the names of the authors' network.

    Raises:
        CheckpointError: The file is in the format of transformers.
    """
    named = {key.removeprefix("module."): value for key, value in weights.items()}
    if not any(key.startswith(TOWER) for key in named):
        raise CheckpointError(
            f"{path} is not in the format of LAION, which implementation official reads; give the .pt file of a "
            "published network, or use implementation native"
        )
    return {key: value for key, value in named.items() if key != POSITIONS}


def roberta(config: transformers.ClapConfig) -> transformers.RobertaConfig:
    """The configuration of the text encoder, as in ``roberta-base``."""
    text = config.text_config
    names = (
        *("vocab_size", "max_position_embeddings", "num_hidden_layers", "num_attention_heads", "hidden_size"),
        *("intermediate_size", "layer_norm_eps"),
    )
    return transformers.RobertaConfig(type_vocab_size=1, **{name: getattr(text, name) for name in names})


@contextmanager
def nothing_downloaded(text: transformers.RobertaConfig | None = None) -> Iterator[None]:
    """Keep the package from the network: it asks the hub for tokenizers, which are not used, and for RoBERTa.

    Args:
        text: Configuration of the text encoder, whose weights are those of the checkpoint; None while the package is
            imported, which makes no network.
    """

    def empty(*_: Any, **__: Any) -> transformers.RobertaModel | None:
        return None if text is None else transformers.RobertaModel(text)

    with ExitStack() as stack:
        for name in ("BertTokenizer", "RobertaTokenizer", "BartTokenizer"):
            stack.enter_context(patch.object(getattr(transformers, name), "from_pretrained", lambda *_, **__: None))
        stack.enter_context(patch.object(transformers.RobertaModel, "from_pretrained", empty))
        yield
