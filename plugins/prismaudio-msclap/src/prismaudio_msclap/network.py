"""MS-CLAP 2023: joint audio and text encoders, based on the networks of transformers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from transformers import ClapAudioConfig, ClapAudioModel, GPT2Config, GPT2Model

from prismaudio.audio.covering import cover, repeated
from prismaudio.audio.resample import resample
from prismaudio.models.htsat import N_FFT, N_MELS, mel_decibels
from prismaudio.rewards.shared_space import SharedSpace

RATE_HZ = 44_100
HOP = 320
TRAINED_S = 7
"""Duration of the training audio, in seconds."""
WHOLE, CROP, STRIDE = 1024, 689, 344
"""Frames: the longest audio encoded as a whole, a crop of longer audio, and the hop between crops."""
AT_ONCE = 32
"""Crops per forward pass, which bounds the memory."""


class Projection(nn.Module):
    """Projects the output of an encoder into the joint space.

    Args:
        in_dim: Dimension of the encoder.
        dim: Dimension of the joint space.
    """

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(in_dim, dim, bias=False)
        self.linear2 = nn.Linear(dim, dim, bias=False)
        self.layer_norm = nn.LayerNorm(dim)

    def forward(self, features: Tensor) -> Tensor:
        """Project features ``(batch, in_dim)``."""
        first = self.linear1(features)
        return self.layer_norm(first + self.linear2(gelu(first)))


class MsClap(SharedSpace):
    """The MS-CLAP 2023 network.

    Args:
        audio: Configuration of the audio encoder; None for the published one.
        text: Configuration of the text encoder; None for the published one.
        width: Dimension of the joint space.

    Source:
        ``msclap.models.clap.CLAP`` and ``htsat.py`` of microsoft/CLAP at e8a6467b, from its specification. Long
        audio is encoded to its end, and audio shorter than seven seconds is repeated, unless ``release``.
    """

    def __init__(self, audio: ClapAudioConfig | None = None, text: GPT2Config | None = None, width: int = 1024) -> None:
        super().__init__()
        audio, text = audio or ClapAudioConfig(), text or GPT2Config()
        self.register_buffer("bands", torch.zeros(N_FFT // 2 + 1, N_MELS))
        self.bands: Tensor
        self.audio = ClapAudioModel(audio)
        self.audio_projection = Projection(audio.hidden_size, width)
        self.text = GPT2Model(text)
        self.text_projection = Projection(text.hidden_size, width)
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def embed_audio(self, audio: Tensor, sample_rate_hz: int, *, release: bool = False) -> Tensor:
        """Embeddings of audio; see :meth:`prismaudio.rewards.shared_space.SharedSpace.embed_audio`.

        Args:
            audio: Audio ``(batch, 2, samples)``.
            sample_rate_hz: Its sample rate.
            release: Ignore the audio that the published code ignores, and do not repeat short audio.
        """
        mono = resample(audio.mean(1), sample_rate_hz, RATE_HZ)
        levels_db = self.mel_decibels(mono if release else repeated(mono, TRAINED_S * RATE_HZ))
        return self.audio_projection(self.latents(levels_db, release=release))

    def mel_decibels(self, mono: Tensor) -> Tensor:
        """Levels ``(batch, frames, 64)`` in dB of audio ``(batch, samples)`` at 44.1 kHz."""
        return mel_decibels(mono, self.bands, HOP)

    def latents(self, levels_db: Tensor, *, release: bool = False) -> Tensor:
        """Features ``(batch, encoder dim)`` of levels in dB, averaged over the crops of long audio."""
        n_frames, length = levels_db.shape[1], CROP
        if n_frames <= WHOLE:
            starts, length = [0], n_frames
        else:
            starts = list(range(0, n_frames - CROP - 1, STRIDE)) if release else cover(n_frames, CROP)
        crops = torch.stack([levels_db[:, start : start + length] for start in starts], dim=1)
        found = [self.audio(some).pooler_output for some in crops.flatten(0, 1)[:, None].split(AT_ONCE)]
        return torch.cat(found).unflatten(0, crops.shape[:2]).mean(1)

    def embed_tokens(self, tokens: Tensor, real: Tensor, n_read: Tensor | None = None) -> Tensor:
        """Embeddings of texts; see :meth:`prismaudio.rewards.shared_space.SharedSpace.embed_tokens`.

        Args:
            tokens: Token ids ``(texts, length)``.
            real: Attention mask, False for padding ``(texts, length)``.
            n_read: Number of tokens after which the hidden state is taken ``(texts,)``; None for all before padding.
        """
        hidden = self.text(tokens, attention_mask=real.long()).last_hidden_state
        last = (real.sum(1) if n_read is None else n_read) - 1
        states = hidden[torch.arange(len(tokens), device=hidden.device), last]
        return self.text_projection(states)

    def embed_whole_text(self, tokens: Tensor) -> Tensor:
        """Embeddings of texts ``(texts, length)`` as in the published code: not split, whatever their length.

        Tokens with id 0, the padding of the published code, are not counted; a ``!`` in the text has this id too.
        """
        return self.embed_tokens(tokens, torch.ones_like(tokens, dtype=torch.bool), (tokens != 0).sum(1))
