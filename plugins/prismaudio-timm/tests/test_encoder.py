"""Features of frames against timm's own, and the place in a model folder."""

import json

import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

from prismaudio.checkpoints import load_components, loadable, save_components
from prismaudio.components import Component
from prismaudio.errors import CheckpointError
from prismaudio.plan import Plan
from prismaudio.testing import check_encoder
from prismaudio.testing.examples import example_clip
from prismaudio.types import Clip
from prismaudio.weight_files import read_safetensors, save_tensors
from prismaudio_timm import encoder as module
from prismaudio_timm.encoder import TimmEncoder

NAMES = ("test_vit.r160_in1k", "test_resnet.r160_in1k", "test_convnext.r160_in1k")
SHIFTED = ("mobilenetv3_small_050", "swin_s3_tiny_224", "beit_base_patch16_224")
"""Networks with a layer between pooling and classifier, or with indices that are computed and not stored."""


def film(count=6, height=200, width=260, fps=4.0):
    torch.manual_seed(1)
    frames = torch.nn.functional.interpolate(torch.rand(count, 3, 6, 8) * 255, (height, width), mode="bilinear")
    return Clip("a", count / fps, frames.to(torch.uint8), fps)


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Networks with classifiers, as they are on the hub."""
    root = tmp_path_factory.mktemp("networks")
    for name in NAMES:
        torch.manual_seed(0)
        network = timm.create_model(name)
        for weight in network.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.2)
        (root / name).mkdir()
        save_tensors(network.state_dict(), root / name / "model.safetensors")
        (root / name / "config.json").write_text(json.dumps({"architecture": name.partition(".")[0]}))
    return root


@pytest.mark.parametrize("name", NAMES)
def test_features_are_those_of_timm(folders, name):
    clip, ours = film(), TimmEncoder(name, str(folders / name))
    network, stored = timm.create_model(name, num_classes=0), read_safetensors(folders / name / "model.safetensors")
    network.load_state_dict({key: value for key, value in stored.items() if key in network.state_dict()})
    transform = create_transform(**resolve_model_data_config(network), is_training=False)
    pixels = torch.stack([transform(Image.fromarray(frame.permute(1, 2, 0).numpy())) for frame in clip.frames])
    with torch.no_grad():
        expected = network.eval()(pixels)
    found = ours.encode(clip, Plan({}))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert found.shape == (6, ours.dim)
    assert (found[0] - found[1]).abs().max() > 1e-3


def test_it_keeps_the_contract(folders):
    check_encoder(TimmEncoder(NAMES[0], str(folders / NAMES[0]), fps=5.0), clip=example_clip(2.0))


def test_frames_are_taken_at_the_rate_and_in_parts(folders, monkeypatch):
    clip, ours = film(20, fps=8.0), TimmEncoder(NAMES[1], str(folders / NAMES[1] / "model.safetensors"), fps=2.0)
    found = ours.encode(clip, Plan({}))
    assert (len(found), ours.rate_hz, ours.frame_spec.fps, ours.frame_spec.size) == (5, 2.0, 2.0, 320)
    monkeypatch.setattr(module, "MAX_FRAMES", 2)
    torch.testing.assert_close(ours.encode(clip, Plan({})), found, atol=1e-5, rtol=1e-5)
    assert ours.encode(Clip("b", 1.0), Plan({})).shape == (0, ours.dim)


@pytest.mark.parametrize("name", [NAMES[0], *SHIFTED])
def test_a_model_folder_holds_the_weights(name, tmp_path):
    torch.manual_seed(0)
    encoder = TimmEncoder(name, "random")
    save_components(tmp_path / "model", {"video_encoder": encoder})
    named = loadable([("encoders", Component("prismaudio_timm.encoder:TimmEncoder", ""))])
    again = load_components(tmp_path / "model", named)["video_encoder"]
    found = encoder.encode(film(2), Plan({}))
    assert torch.equal(again.encode(film(2), Plan({})), found)
    assert found.shape == (2, encoder.dim)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "vit_nothing"}, "has no network 'vit_nothing'; expected one such as"),
        ({"name": "hf-hub:someone/else"}, "has no network 'hf-hub:someone/else'"),
        ({"name": NAMES[0], "weights": "/none"}, r"/none is not a folder; expected the folder test_vit.r160_in1k from"),
        ({"name": NAMES[0], "weights": ""}, "TimmEncoder has no weights yet"),
    ],
)
def test_what_is_not_there_is_one_line(arguments, message):
    with pytest.raises(CheckpointError, match=message):
        TimmEncoder(**arguments).encode(film(1), Plan({}))


def test_weights_of_another_network_are_refused(folders):
    with pytest.raises(CheckpointError, match=r"resnet\S* does not fit VisionTransformer: ") as caught:
        TimmEncoder(NAMES[0], str(folders / NAMES[1]))
    assert "\n" not in str(caught.value)


def test_the_repository_is_that_of_the_tag(monkeypatch):
    asked = []

    def find(folder, given, revision):
        asked.append(folder.repository)
        raise CheckpointError("not here")

    monkeypatch.setattr(module.PublishedFolder, "find", find)
    for name in ("resnet50.ram_in1k", "resnet50"):
        with pytest.raises(CheckpointError):
            TimmEncoder(name)
    assert asked == ["timm/resnet50.ram_in1k", "timm/resnet50.a1_in1k"]
