"""Names, shapes and forms of the published files, from their manifests, without any weights."""

from pathlib import Path

import pytest
import torch
from parity import published_shapes

from prismaudio.weight_files import misfits
from prismaudio_laion_clap.network import LaionClap
from prismaudio_laion_clap.published import BANDS, TOWER, form, mel_bands, our_names

DATA = Path(__file__).with_name("data")
FUSED, LARGER = "laion_clap_630k_fusion_HTSAT-tiny", "laion_clap_HTSAT-base_nofusion"


def published(name):
    shapes = published_shapes(DATA / f"{name}.json.gz")
    with torch.device("meta"):
        weights = {f"module.{key}": torch.empty(shape) for key, shape in shapes.items()}
        weights["module.text_branch.embeddings.position_ids"] = torch.empty(1, 514)
    return weights


def differences(weights):
    found = our_names(weights)
    with torch.device("meta"):
        expected = LaionClap(form(found, "x")).state_dict()
    return misfits(*({key: value.shape for key, value in some.items()} for some in (found, expected)))


@pytest.mark.parametrize(("name", "depths", "width"), [(FUSED, [2, 2, 6, 2], 96), (LARGER, [2, 2, 12, 2], 128)])
def test_every_name_and_shape(name, depths, width):
    weights = published(name)
    config = form(our_names(weights), name)
    assert (config.audio_config.depths, config.audio_config.patch_embeds_hidden_size) == (depths, width)
    assert config.text_config.num_attention_heads == 12
    assert differences(weights) == []
    weights["module.surplus"] = torch.empty(1)
    del weights[f"module.{TOWER}layers.1.blocks.0.norm2.bias"], weights["module.text_projection.2.bias"]
    assert differences(weights) == [
        "missing clap.text_projection.linear2.bias",
        "missing clap.audio_model.audio_encoder.layers.1.blocks.0.layernorm_after.bias",
        "unknown clap.surplus",
    ]


def test_mel_bands_are_stored_without_fusion_and_computed_with_it():
    stored = torch.rand(513, 64)
    for name, bands in ((LARGER, stored), (FUSED, mel_bands("htk"))):
        weights = published(name) | {f"module.{TOWER}{BANDS}": stored}
        assert torch.equal(our_names(weights)["bands"], bands)
