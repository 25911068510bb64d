"""LAION-CLAP: encoders of sound and of text into one space, by the network of transformers."""

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
"""Samples that the network hears at once: ten seconds."""
PADDING = 1
"""The token by which RoBERTa knows what is not there."""
AT_ONCE = 16
"""Windows that go through the network together; the memory that they take is bounded so."""


class LaionClap(SharedSpace):
    """A published network of either kind.

    That with fusion hears sounds of up to ten seconds as the other does, with other mel bands; longer sounds are heard
    in windows by both, so its second path, which sees random crops of these, is left out.

    Args:
        config: The form of the network; None for the published form with the smaller encoder of sound.

    Source:
        ``clap_module`` and ``training/data.py`` of LAION-AI/CLAP at 1fd4c37d, from its specification. A sound longer
        than ten seconds is heard to its end.
    """

    def __init__(self, config: ClapConfig | None = None) -> None:
        super().__init__()
        self.clap = ClapModel(config or ClapConfig(text_config={"layer_norm_eps": 1e-5}))
        self.register_buffer("bands", torch.zeros(N_FFT // 2 + 1, N_MELS))
        self.bands: Tensor

    def embed_audio(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """Embeddings of sounds: the mean of the directions of the windows of a long one."""
        mono = resample(audio.mean(1), sample_rate_hz, RATE_HZ)
        windows = torch.stack([filled(mono[:, start : start + WINDOW]) for start in cover(mono.shape[1], WINDOW)], 1)
        found = [self.embed_windows(some) for some in windows.flatten(0, 1).split(AT_ONCE)]
        return normalize(torch.cat(found), dim=-1).unflatten(0, windows.shape[:2]).mean(1)

    def embed_windows(self, mono: Tensor) -> Tensor:
        """Embeddings ``(windows, width)`` of windows ``(windows, samples)`` of ten seconds at 48 kHz."""
        levels_db = mel_decibels(mono, self.bands, HOP)
        return self.clap.audio_projection(self.clap.audio_model(levels_db[:, None]).pooler_output)

    def embed_tokens(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Embeddings of texts."""
        padded = tokens.masked_fill(~real, PADDING)
        return self.clap.text_projection(self.clap.text_model(padded, attention_mask=real.long()).pooler_output)


def filled(sound: Tensor) -> Tensor:
    """Audio ``(batch, samples)`` as often as it fits into ten seconds, and then silence.

    Example:
        >>> filled(torch.ones(2, 200_000)).sum(1)
        tensor([400000., 400000.])
    """
    sound = sound.repeat(1, max(1, WINDOW // max(1, sound.shape[1])))
    return pad(sound, (0, WINDOW - sound.shape[1]))
