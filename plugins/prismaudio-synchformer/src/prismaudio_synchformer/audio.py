"""The audio tower: an audio spectrogram transformer, and the spectrogram that it reads."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from transformers import ASTConfig, ASTModel

from prismaudio.audio.spectral import published_mel_filters
from prismaudio_synchformer.aggregation import Aggregation
from prismaudio_synchformer.segments import RATE_HZ

N_FFT, WINDOW, HOP, N_MELS, N_FRAMES = 1024, 400, 160, 128, 66
MEAN, DEVIATION = -4.2677393, 4.5689974


def log_mel(audio: Tensor) -> Tensor:
    """Natural logarithm of the power in mel bands, ``(..., 128, 1 + samples // 160)`` of audio ``(..., samples)``."""
    filters, window = _filters(audio.device)
    flat = audio.float().reshape(-1, audio.shape[-1])
    with torch.autocast(audio.device.type, enabled=False):
        power = torch.stft(flat, N_FFT, HOP, WINDOW, window, return_complex=True).abs().square()
        return (filters @ power + 1e-6).log().reshape(*audio.shape[:-1], N_MELS, -1)


def spectrogram(segments: Tensor) -> Tensor:
    """What the tower reads ``(segments, 128, 66)`` of segments of audio ``(segments, 10240)`` at 16 kHz.

    The last frame, which no sound reaches, is 0 before the values are normalised.

    Source:
        Synchformer's transforms, from their specification.
    """
    mel = log_mel(segments)
    padded = nn.functional.pad(mel, (0, N_FRAMES - mel.shape[-1]))
    return (padded - MEAN) / (2 * DEVIATION)


@lru_cache(maxsize=4)
def _filters(device: torch.device) -> tuple[Tensor, Tensor]:
    filters = published_mel_filters(N_MELS, N_FFT, RATE_HZ, 0.0, RATE_HZ / 2)
    return filters.float().to(device), torch.hann_window(WINDOW, device=device)


class AudioTower(nn.Module):
    """Six features for each segment of 0.64 s.

    Args:
        width: Width of a feature.
        depth: Number of layers.
        heads: Attention heads.
        mlp_ratio: Width of the hidden layers, in widths of a feature.
    """

    def __init__(self, width: int = 768, depth: int = 12, heads: int = 12, mlp_ratio: float = 4) -> None:
        super().__init__()
        config = ASTConfig(
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            intermediate_size=int(mlp_ratio * width),
            max_length=N_FRAMES,
            num_mel_bins=N_MELS,
        )
        self.ast = ASTModel(config)
        self.rows, self.columns = self.ast.embeddings.get_shape(config)
        self.freq_attn_agg = Aggregation(width, heads, mlp_ratio)

    def forward(self, spectrograms: Tensor) -> Tensor:
        """Features ``(segments, 6, width)`` of spectrograms ``(segments, 128, 66)``."""
        tokens = self.ast(spectrograms.transpose(1, 2)).last_hidden_state[:, 2:]  # without the two special ones
        grid = tokens.unflatten(1, (self.rows, self.columns)).transpose(1, 2)
        gathered: Tensor = self.freq_attn_agg(grid.flatten(0, 1))
        return gathered.unflatten(0, (-1, self.columns))
