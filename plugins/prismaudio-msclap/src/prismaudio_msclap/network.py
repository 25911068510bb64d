"""MS-CLAP 2023: encoders of sound and of text into one space, by the networks of transformers."""

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
"""Duration of the sounds that the network was trained with."""
WHOLE, CROP, STRIDE = 1024, 689, 344
"""Frames: the longest sound that the network sees at once, a crop of a longer one, and from one crop to the next."""
AT_ONCE = 32
"""Crops that go through the network together; the memory that they take is bounded so."""


class Projection(nn.Module):
    """From the width of an encoder to that of the space.

    Args:
        from_width: Width of the encoder.
        width: Width of the space.
    """

    def __init__(self, from_width: int, width: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(from_width, width, bias=False)
        self.linear2 = nn.Linear(width, width, bias=False)
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> Tensor:
        """Project features ``(batch, from_width)``."""
        first = self.linear1(features)
        return self.layer_norm(first + self.linear2(gelu(first)))


class MsClap(SharedSpace):
    """The published network.

    Args:
        audio: Form of the encoder of sound; None for the published one.
        text: Form of the encoder of text; None for the published one.
        width: Width of the space.

    Source:
        ``msclap.models.clap.CLAP`` and ``htsat.py`` of microsoft/CLAP at e8a6467b, from its specification. A long
        sound is heard to its end, and one shorter than seven seconds is repeated, unless ``release``.
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
        """Embeddings of sounds; see :meth:`prismaudio.rewards.shared_space.SharedSpace.embed_audio`.

        Args:
            audio: Audio ``(batch, 2, samples)``.
            sample_rate_hz: Their sample rate.
            release: Leave out what the published code does not hear, and do not repeat a short sound.
        """
        mono = resample(audio.mean(1), sample_rate_hz, RATE_HZ)
        levels_db = self.mel_decibels(mono if release else repeated(mono, TRAINED_S * RATE_HZ))
        return self.audio_projection(self.latents(levels_db, release=release))

    def mel_decibels(self, mono: Tensor) -> Tensor:
        """Levels ``(batch, frames, 64)`` in dB of audio ``(batch, samples)`` at 44.1 kHz."""
        return mel_decibels(mono, self.bands, HOP)

    def latents(self, levels_db: Tensor, *, release: bool = False) -> Tensor:
        """Features ``(batch, width of the encoder)`` of levels in dB, their mean over the crops of a long sound."""
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
            tokens: Numbers of tokens ``(texts, length)``.
            real: Which of them are no padding ``(texts, length)``.
            n_read: After how many tokens what is known is taken ``(texts,)``; None for all that are no padding.
        """
        hidden = self.text(tokens, attention_mask=real.long()).last_hidden_state
        last = (real.sum(1) if n_read is None else n_read) - 1
        known = hidden[torch.arange(len(tokens), device=hidden.device), last]
        return self.text_projection(known)

    def embed_whole_text(self, tokens: Tensor) -> Tensor:
        """Embeddings of texts ``(texts, length)`` as the published code has them: read at once, however long.

        Tokens of number 0, by which it pads, are not counted, and a ``!`` in the text is one of these.
        """
        return self.embed_tokens(tokens, torch.ones_like(tokens, dtype=torch.bool), (tokens != 0).sum(1))
