"""LAION-CLAP: joint audio and text encoders, based on the network of transformers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad
from transformers import ClapConfig, ClapModel

from prismaudio.audio.covering import cover
from prismaudio.audio.resample import resample
from prismaudio.models.htsat import N_FFT, N_MELS, mel_decibels
from prismaudio.rewards.shared_space import SharedSpace

RATE_HZ = 48_000
HOP = 480
WINDOW = 480_000
"""Samples per input segment: ten seconds."""
PADDING = 1
"""The padding token of RoBERTa."""
AT_ONCE = 16
"""Segments per forward pass, which bounds the memory."""


class LaionClap(SharedSpace):
    """A published LAION-CLAP network, with or without fusion.

    Networks with fusion process audio of up to ten seconds like the others, with other mel bands; longer audio is
    split into segments for both, so the second path of fusion, for random crops, is not implemented.

    Args:
        config: Configuration of the network; None for the published one with the smaller audio encoder.

    Source:
        ``clap_module`` and ``training/data.py`` of LAION-AI/CLAP at 1fd4c37d, from its specification. Audio longer
        than ten seconds is encoded to its end.
    """

    def __init__(self, config: ClapConfig | None = None) -> None:
        super().__init__()
        self.clap = ClapModel(config or ClapConfig(text_config={"layer_norm_eps": 1e-5}))
        self.register_buffer("bands", torch.zeros(N_FFT // 2 + 1, N_MELS))
        self.bands: Tensor

    def embed_audio(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """Embeddings of audio: the mean of the normalized embeddings of its segments."""
        mono = resample(audio.mean(1), sample_rate_hz, RATE_HZ)
        windows = torch.stack([tiled(mono[:, start : start + WINDOW]) for start in cover(mono.shape[1], WINDOW)], 1)
        found = [self.embed_windows(some) for some in windows.flatten(0, 1).split(AT_ONCE)]
        return normalize(torch.cat(found), dim=-1).unflatten(0, windows.shape[:2]).mean(1)

    def embed_windows(self, mono: Tensor) -> Tensor:
        """Embeddings ``(segments, dim)`` of segments ``(segments, samples)`` of ten seconds at 48 kHz."""
        levels_db = mel_decibels(mono, self.bands, HOP)
        return self.clap.audio_projection(self.clap.audio_model(levels_db[:, None]).pooler_output)

    def embed_tokens(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Embeddings of texts."""
        padded = tokens.masked_fill(~real, PADDING)
        return self.clap.text_projection(self.clap.text_model(padded, attention_mask=real.long()).pooler_output)


def tiled(audio: Tensor) -> Tensor:
    """Repeat audio ``(batch, samples)`` as often as it fits into ten seconds, and pad it with silence.

    Example:
        >>> tiled(torch.ones(2, 200_000)).sum(1)
        tensor([400000., 400000.])
    """
    audio = audio.repeat(1, max(1, WINDOW // max(1, audio.shape[1])))
    return pad(audio, (0, WINDOW - audio.shape[1]))
