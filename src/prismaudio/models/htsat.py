"""HTSAT, the audio tower of published CLAP networks: what it hears, and its weights by the names of transformers.

Source: ``htsat.py`` of microsoft/CLAP and LAION-AI/CLAP, from its specification; the network itself is
``transformers.ClapAudioModel``, whose numbers are the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

N_FFT = 1024
N_MELS = 64
UNUSED = re.compile(
    r"spectrogram_extractor\.|logmel_extractor\.|tscam_conv\.|head\.|.*\.attn_mask$"
    r"|(audio_encoder\.)?patch_embed\.(mel_conv2d|fusion_model)\."
)
"""Weights that embedding a sound does not need: the front end, the classifier, and the second path of fusion."""

NAMES = (
    (r"bn0\.", "batch_norm."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.attn\.", ".attention.self."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)
"""Parts of published names, and what transformers calls them."""


def named_by_transformers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published weights of the tower by the names that they have in ``ClapAudioModel``, without those it has not.

    Args:
        weights: Weights by their names below the tower, for example ``layers.0.blocks.0.attn.qkv.weight``.

    Example:
        >>> list(named_by_transformers({"layers.0.blocks.0.attn.qkv.bias": torch.zeros(6)}))[1]
        'audio_encoder.layers.0.blocks.0.attention.self.key.bias'
    """
    renamed: dict[str, Tensor] = {}
    for key, value in weights.items():
        if UNUSED.match(key):
            continue
        name = f"audio_encoder.{key}"
        for published, ours in NAMES:
            name = re.sub(published, ours, name)
        if ".self.qkv." in name:
            parts = zip(("query", "key", "value"), value.chunk(3), strict=False)
            renamed |= {name.replace("qkv", part): third for part, third in parts}
        else:
            renamed[name] = value
    return renamed


def mel_decibels(audio: Tensor, bands: Tensor, hop: int) -> Tensor:
    """What the tower hears.

    Args:
        audio: Audio ``(batch, samples)``, of any length.
        bands: Mel bands ``(513, 64)``.
        hop: Samples from frame to frame.

    Returns:
        Levels in dB ``(batch, 1 + samples // hop, 64)``, at least -100.

    Example:
        >>> mel_decibels(torch.zeros(2, 3200), torch.ones(513, 64), 320).shape
        torch.Size([2, 11, 64])
    """
    audio = torch.nn.functional.pad(audio, (0, max(0, N_FFT - audio.shape[-1])))
    window = torch.hann_window(N_FFT, device=audio.device)
    spectrum = torch.stft(audio, N_FFT, hop, window=window, pad_mode="reflect", return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()
    with torch.autocast(audio.device.type, enabled=False):  # of levels a half-precision network needs all digits
        return 10.0 * (power.transpose(1, 2) @ bands).clamp(min=1e-10).log10()
