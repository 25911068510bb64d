import pytest
import torch

from prismaudio.audio.spectral import published_mel_filters
from prismaudio.models.htsat import mel_decibels, named_by_transformers

BANDS = published_mel_filters(64, 1024, 32_000, 50, 14_000).T.float()


def test_every_published_key_has_a_counterpart_or_is_unused():
    block = "layers.2.blocks.5."
    published = {
        "bn0.running_mean": "batch_norm.running_mean",
        "patch_embed.norm.weight": "patch_embed.norm.weight",
        f"{block}norm1.bias": f"{block}layernorm_before.bias",
        f"{block}norm2.bias": f"{block}layernorm_after.bias",
        f"{block}attn.proj.weight": f"{block}attention.output.dense.weight",
        f"{block}attn.relative_position_index": f"{block}attention.self.relative_position_index",
        f"{block}mlp.fc1.weight": f"{block}intermediate.dense.weight",
        f"{block}mlp.fc2.weight": f"{block}output.dense.weight",
        "layers.0.downsample.norm.weight": "layers.0.downsample.norm.weight",
        "norm.weight": "norm.weight",
    }
    unused = (
        "head.bias",
        "tscam_conv.weight",
        f"{block}attn_mask",
        "logmel_extractor.melW",
        "patch_embed.mel_conv2d.bias",
    )
    found = named_by_transformers({key: torch.ones(1) for key in (*published, *unused)})
    assert list(found) == [f"audio_encoder.{name}" for name in published.values()]


def test_queries_keys_and_values_are_thirds():
    found = named_by_transformers({"layers.0.blocks.0.attn.qkv.weight": torch.arange(6.0)[:, None].expand(6, 2)})
    assert {key.split(".")[-2]: value[:, 0].tolist() for key, value in found.items()} == {
        "query": [0, 1],
        "key": [2, 3],
        "value": [4, 5],
    }


@pytest.mark.parametrize("samples", [0, 1, 500, 1024, 3200])
def test_silence_of_any_length_has_levels(samples):
    levels_db = mel_decibels(torch.zeros(2, samples), BANDS, 320)
    assert levels_db.shape == (2, 1 + max(samples, 1024) // 320, 64)
    assert levels_db.eq(-100).all()


def test_levels_keep_full_precision_under_autocast():
    audio = torch.randn(1, 3200, generator=torch.Generator().manual_seed(1))
    expected = mel_decibels(audio, BANDS, 320)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mel_decibels(audio, BANDS, 320), expected)
