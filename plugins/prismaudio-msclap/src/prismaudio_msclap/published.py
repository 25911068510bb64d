"""The published weights and tokenizer of MS-CLAP 2023, and their names."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from prismaudio.downloads import PublishedFile
from prismaudio.errors import CheckpointError
from prismaudio.models.htsat import N_FFT, named_by_transformers
from prismaudio.rewards.tokens import PublishedTokenizer
from prismaudio.weight_files import below, fill, read_weights
from prismaudio_msclap.network import MsClap

WEIGHTS = PublishedFile(
    name="CLAP_weights_2023.pth",
    size_mb=690,
    licence="as its page says",
    page="https://huggingface.co/microsoft/msclap",
    repository="microsoft/msclap",
)
TOKENIZER = PublishedTokenizer(
    PublishedFile(
        name="gpt2-tokenizer.json",
        size_mb=2,
        licence="MIT",
        page="https://huggingface.co/openai-community/gpt2 (tokenizer.json)",
        repository="openai-community/gpt2",
        path="tokenizer.json",
    ),
    n_tokens=50_257,
    end=" <|endoftext|>",
)
TOWER, BANDS = "audio_encoder.base.htsat.", "logmel_extractor.melW"
KERNELS = ("spectrogram_extractor.stft.conv_real.weight", "spectrogram_extractor.stft.conv_imag.weight")
NAMES = (
    ("audio_encoder.projection.", "audio_projection."),
    ("caption_encoder.projection.", "text_projection."),
    ("caption_encoder.base.", "text."),
)
"""Prefixes of names outside the audio tower: the published one and ours."""
OLD_GPT2 = re.compile(r"caption_encoder\.base\.(h\.\d+\.attn\.(bias|masked_bias)|position_ids)$")
"""Buffers that older versions of transformers stored and that are computed today."""


def load(given: str | None = None) -> MsClap:
    """The published network.

    Args:
        given: The file of its weights, a folder with it, or a repository of the hub; None for the default locations.

    Raises:
        CheckpointError: There are no such weights, or they are those of another network.
    """
    path = WEIGHTS.find(given)
    with torch.device("meta"):
        network = MsClap()
    fill(network, our_names(read_weights(path), path), path)
    return network


def our_names(weights: Mapping[str, Tensor], source: object) -> dict[str, Tensor]:
    """The published weights by the names of :class:`~prismaudio_msclap.network.MsClap`.

    Args:
        weights: Weights by their published names.
        source: What the error names.

    Raises:
        CheckpointError: The network uses another spectrum.
    """
    tower = below(weights, TOWER)
    _check_kernels(tower, source)
    renamed = {f"audio.{key}": value for key, value in named_by_transformers(tower).items()}
    if BANDS in tower:
        renamed["bands"] = tower[BANDS]
    for key, value in weights.items():
        if key.startswith(TOWER) or OLD_GPT2.match(key):
            continue
        published, ours = next((pair for pair in NAMES if key.startswith(pair[0])), ("", ""))
        renamed[ours + key.removeprefix(published)] = value
    return renamed


def _check_kernels(tower: Mapping[str, Tensor], source: object) -> None:
    """Check that the stored STFT kernels use a Hann window, since they are replaced by an FFT here."""
    spectra = torch.fft.rfft(torch.hann_window(N_FFT, dtype=torch.float64).diag()).T[:, None]
    for key, expected in zip(KERNELS, (spectra.real, spectra.imag), strict=True):
        if key not in tower:
            raise CheckpointError(f"{source} does not fit MsClap: missing {TOWER}{key}")
        stored = tower[key].double()
        if stored.shape != expected.shape or not torch.allclose(stored, expected, atol=1e-4):
            raise CheckpointError(f"{source} uses another spectrum than that of a Hann window: {TOWER}{key}")
