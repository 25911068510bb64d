"""Published checkpoints of reduced size with random weights, in the layouts that exist on the hub."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save

from prismaudio.autoencoders.oobleck import OobleckAutoencoder
from prismaudio.models.dit import DiffusionTransformer, published_streams
from prismaudio.models.published import published_key, published_shaped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    Weights = Mapping[str, Tensor]

NAMES = ("FunAudioLLM/PrismAudio", "DeepBeepMeep/prismaudio", "AEmotionStudio/prismaudio-models")


def transformer_weights(dims: Mapping[str, int], seed: int = 0) -> dict[str, Tensor]:
    """A transformer by published names.

    Args:
        dims: Dim of the features of ``video``, ``sync`` and ``text``.
        seed: Seed of the weights; all of them have an effect.
    """
    torch.manual_seed(seed)
    streams = published_streams(64, {stream: (dim, 64) for stream, dim in dims.items()})
    transformer = DiffusionTransformer(latent_channels=4, dim=64, depth=2, num_heads=2, streams=streams)
    for weight in transformer.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.2)
    weights = transformer.state_dict().items()
    return {published_key(key): published_shaped(key, value).contiguous() for key, value in weights}


def autoencoder_weights(seed: int = 0) -> dict[str, Tensor]:
    """An autoencoder by published names."""
    torch.manual_seed(seed)
    codec = OobleckAutoencoder(width=4, multipliers=(1, 2), strides=(8, 16), latent_channels=4)
    numbered = {key.replace(".", ".layers.", key.count(".") - 1): value for key, value in codec.state_dict().items()}
    return {key: (value.squeeze(2) if value.ndim == 4 else value).contiguous() for key, value in numbered.items()}


def layout(
    name: str,
    dims: Mapping[str, int],
    synchformer: Weights,
    bundled: Mapping[str, bytes] | None = None,
    seed: int = 0,
) -> dict[str, bytes]:
    """The files of a layout by path.

    Args:
        name: One of :data:`NAMES`.
        dims: See :func:`transformer_weights`.
        synchformer: The weights of Synchformer by published names.
        bundled: Files of the other encoders by path, for the layout that has them.
        seed: Seed of the transformer and of the autoencoder.
    """
    dit, vae = transformer_weights(dims, seed), autoencoder_weights(seed)
    other = autoencoder_weights(seed + 1000)  # which the file of the autoencoder replaces
    whole = dit | {f"pretransform.model.{key}": value for key, value in other.items()}
    trained = {f"autoencoder.{key}": value for key, value in vae.items()}
    readme = {"README.md": b"---\nlicense: mit\n---\n# A model\n"}
    if name == "FunAudioLLM/PrismAudio":
        return readme | {
            "prismaudio.ckpt": torch_bytes(whole),
            "vae.ckpt": torch_bytes({"state_dict": trained | {"discriminator.x": torch.ones(2)}, "global_step": 7}),
            "synchformer_state_dict.pth": torch_bytes(dict(synchformer)),
        }
    if name == "AEmotionStudio/prismaudio-models":
        return readme | {
            "prismaudio.safetensors": save(whole),
            "vae.safetensors": save(trained),
            "synchformer_state_dict.safetensors": save(dict(synchformer)),
        }
    return readme | {
        "prismaudio/prismaudio_bf16.safetensors": save(halved(dit)),
        "prismaudio/prismaudio_vae_bf16.safetensors": save(halved(trained)),
        "prismaudio/prismaudio_synchformer_bf16.safetensors": save(halved(synchformer)),
        "videoprism_c4_en/sentencepiece.model": b"not needed",
        **(bundled or {}),
    }


def halved(weights: Weights) -> dict[str, Tensor]:
    return {key: value.bfloat16() if value.is_floating_point() else value for key, value in weights.items()}


def torch_bytes(content: object) -> bytes:
    """A file of torch.save."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def write_files(files: Mapping[str, bytes], folder) -> None:
    """Write files by their relative paths."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
