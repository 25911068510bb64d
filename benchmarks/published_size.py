"""Writes random weights of published size in the layout of ``DeepBeepMeep/prismaudio``, to measure time and memory.

Run: ``python benchmarks/published_size.py FOLDER`` (9 GB on disk), with the plugins videoprism, synchformer and t5gemma
installed; then ``prismaudio generate clip.mp4 --model FOLDER --prompt "…" --profile``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from prismaudio.autoencoders.oobleck import OobleckAutoencoder
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.models.published import published_key, published_shaped
from prismaudio.weight_files import save_tensors

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

TINY = Path(__file__).parents[1] / "plugins/prismaudio-videoprism/tests/data/videoprism_lvt_tiny.npz"
"""A Flax checkpoint of VideoPrism with small sizes; the names of its arrays are those of the published one."""
LAYERS = {"spatial_encoder": 24, "temporal_encoder": 4, "auxiliary_encoder": 2, "unimodal_transformer": 12}
DIMS = {48: 1024, 192: 4096, 4: 16, 12: 64, 16: 256, 100: 32_000}
"""Published sizes by size in the tiny checkpoint: dim, MLP, heads, dim of a head, patches, tokens."""


def main(folder: Path) -> None:
    """Write all files."""
    from prismaudio_synchformer.encoder import SynchformerEncoder

    torch.manual_seed(0)
    bundle = folder / "prismaudio"
    transformer = DiffusionTransformer().state_dict().items()
    write(((published_key(key), published_shaped(key, value)) for key, value in transformer), bundle / "prismaudio")
    codec = OobleckAutoencoder().state_dict().items()
    numbered = ((key.replace(".", ".layers.", key.count(".") - 1), value) for key, value in codec)
    plain = ((f"autoencoder.{key}", value.squeeze(2) if value.ndim == 4 else value) for key, value in numbered)
    write(plain, bundle / "prismaudio_vae")
    tower = SynchformerEncoder(weights="random").state_dict().items()
    write(((f"vfeat_extractor.{key}", value) for key, value in tower), bundle / "prismaudio_synchformer")
    write_t5gemma(folder / "t5gemma-l-l-ul2-it")
    write_videoprism(folder / "videoprism-lvt-large-f8r288")


def write(weights: Iterable[tuple[str, Tensor]], path: Path) -> None:
    """Write weights in bfloat16, but for constants."""
    path.parent.mkdir(parents=True, exist_ok=True)
    halved = {key: value.to(torch.bfloat16).contiguous() for key, value in weights if value.is_floating_point()}
    save_tensors(halved, path.with_name(f"{path.name}_bf16.safetensors"))


def write_t5gemma(folder: Path) -> None:
    """Write encoder and decoder of T5-Gemma L, and a tokenizer that takes each byte as a token."""
    from transformers import T5GemmaConfig, T5GemmaModel, T5GemmaModuleConfig

    from prismaudio_t5gemma.encoder import T5GemmaEncoder
    from prismaudio_t5gemma.networks import SIZES

    sizes = {key: value for key, value in SIZES.items() if key != "model_type"}
    module = T5GemmaModuleConfig(**sizes)
    config = T5GemmaConfig(encoder=module, decoder=T5GemmaModuleConfig(**sizes), dtype="bfloat16")
    torch.set_default_dtype(torch.bfloat16)
    T5GemmaModel(config).save_pretrained(folder)
    torch.set_default_dtype(torch.float32)
    small = T5GemmaEncoder("random", sizes={**SIZES, "num_hidden_layers": 1, "layer_types": ["full_attention"]})
    text = json.loads(small.tokenizer_json.numpy().tobytes())
    (folder / "tokenizer.json").write_text(json.dumps(text), encoding="utf-8")


def write_videoprism(folder: Path) -> None:
    """Write the Flax file of VideoPrism."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    with np.load(TINY) as tiny:
        for name in (name for name in tiny.files if name.startswith("w/")):
            arrays[name[2:]] = rng.standard_normal(published_shape(name, tiny[name].shape), np.float32) * 0.02
    np.savez(folder / "flax_lvt_large_f8r288_repeated.npz", **arrays)


def published_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of an array of the published checkpoint, from that in the tiny one."""
    if "pooling_attention/" in name:  # 16 heads of 256
        if name.endswith("/w"):
            return 1024, 16, 256
        return {"post/b": (1024,), "per_dim_scale/per_dim_scale": (256,)}.get(
            name.partition("attention/")[2], (16, 256)
        )
    layers = next((count for part, count in LAYERS.items() if part in name and "x_layers" in name), None)
    rest = shape if layers is None else shape[1:]
    return (*([] if layers is None else [layers]), *(DIMS.get(size, size) for size in rest))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
