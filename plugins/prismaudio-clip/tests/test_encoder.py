"""Embeddings of frames against transformers' own, preprocessing against Pillow's, and the place in a model folder."""

import json
import shutil

import pytest
import torch
from transformers import AutoModel

from prismaudio.checkpoints import load_components, loadable, save_components
from prismaudio.components import Component
from prismaudio.errors import CheckpointError
from prismaudio.plan import Plan
from prismaudio.testing import check_encoder
from prismaudio.testing.examples import example_clip
from prismaudio.types import Clip
from prismaudio_clip import encoder as module
from prismaudio_clip.encoder import ClipEncoder, XClipEncoder
from prismaudio_clip.frames import PREPROCESSING, prepared, read_preprocessing

KINDS = {"clip": ClipEncoder, "siglip": ClipEncoder, "xclip": XClipEncoder}
TINY = {
    "projection_dim": 20, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip
MIT = {"mit_hidden_size": 20, "mit_intermediate_size": 40, "mit_num_hidden_layers": 1, "mit_num_attention_heads": 2}


def film(count=9, height=40, width=57, fps=4.0):
    torch.manual_seed(1)
    frames = torch.nn.functional.interpolate(torch.rand(count, 3, 6, 8) * 255, (height, width), mode="bilinear")
    return Clip("a", count / fps, frames.to(torch.uint8), fps)


@pytest.mark.parametrize("kind", KINDS)
def test_it_keeps_the_contract(folders, kind):
    check_encoder(KINDS[kind](str(folders / kind), fps=5.0), clip=example_clip(2.0))


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_features_are_the_image_features_of_transformers(folders, kind):
    clip, ours = film(), ClipEncoder(str(folders / kind))
    pixels = prepared(clip.frames, read_preprocessing(folders / kind))
    with torch.no_grad():
        expected = AutoModel.from_pretrained(folders / kind).get_image_features(pixel_values=pixels).pooler_output
    found = ours.encode(clip, Plan({}))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert (found[0] - found[5]).abs().max() > 1e-2
    assert found.shape == (9, ours.dim)


def test_features_of_windows_have_the_video_features_of_transformers_as_their_mean(folders):
    clip, ours = film(8), XClipEncoder(str(folders / "xclip"))
    pixels = prepared(clip.frames, read_preprocessing(folders / "xclip"))
    network = AutoModel.from_pretrained(folders / "xclip")
    with torch.no_grad():
        expected = network.get_video_features(pixel_values=pixels.view(2, 4, *pixels.shape[1:])).pooler_output
    found = ours.encode(clip, Plan({}))
    torch.testing.assert_close(found.view(2, 4, -1).mean(1), expected, atol=1e-5, rtol=1e-5)
    longer = ours.encode(film(9), Plan({}))
    assert longer.shape == (9, 20)
    alone = ours.encode(Clip("b", 0.25, film(9).frames[8:], 4.0), Plan({}))
    torch.testing.assert_close(longer[8:], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("height", "width"), [(40, 57), (57, 41), (32, 32), (20, 90)])
def test_frames_are_prepared_as_by_transformers(folders, kind, height, width):
    from transformers import CLIPImageProcessorPil, SiglipImageProcessorPil, VideoMAEImageProcessorPil

    processors = (CLIPImageProcessorPil, SiglipImageProcessorPil, VideoMAEImageProcessorPil)
    theirs = dict(zip(KINDS, processors, strict=True))[kind]
    clip, given = film(2, height, width), json.loads((folders / kind / "preprocessor_config.json").read_text())
    if isinstance(given["size"], int):
        given["size"] = {"shortest_edge": given["size"]}
    images = [frame.permute(1, 2, 0).numpy() for frame in clip.frames]
    expected = theirs(**given)(images if kind != "xclip" else [images], return_tensors="pt").pixel_values
    found = prepared(clip.frames, read_preprocessing(folders / kind))
    std = torch.tensor(given["image_std"])[:, None, None]
    levels = (found - expected.reshape(found.shape)).abs() * std * 255
    assert levels.max() <= 1.01
    assert levels.mean() < 0.2


def test_frames_are_taken_at_the_rate_and_in_parts(folders, monkeypatch):
    clip, ours = film(40, fps=8.0), ClipEncoder(str(folders / "clip"), fps=2.0)
    found = ours.encode(clip, Plan({}))
    assert (len(found), ours.rate_hz, ours.frame_spec.fps) == (10, 2.0, 2.0)
    monkeypatch.setattr(module, "MAX_FRAMES", 3)
    torch.testing.assert_close(ours.encode(clip, Plan({})), found, atol=1e-5, rtol=1e-5)
    windows = XClipEncoder(str(folders / "xclip"))
    before = windows.encode(clip, Plan({}))
    monkeypatch.setattr(module, "MAX_FRAMES", 64)
    torch.testing.assert_close(windows.encode(clip, Plan({})), before, atol=1e-5, rtol=1e-5)
    assert ours.encode(Clip("b", 1.0), Plan({})).shape == (0, 20)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_folder_holds_weights_and_preprocessing(folders, kind, tmp_path):
    encoder = KINDS[kind](str(folders / kind), fps=3.0)
    save_components(tmp_path / "model", {"video_encoder": encoder})
    target = f"prismaudio_clip.encoder:{KINDS[kind].__name__}"
    again = load_components(tmp_path / "model", loadable([("encoders", Component(target, ""))]))["video_encoder"]
    assert torch.equal(again.encode(film(), Plan({})), encoder.encode(film(), Plan({})))
    assert (again.rate_hz, again.preprocessing) == (3.0, encoder.preprocessing)


def test_random_weights_and_none():
    torch.manual_seed(0)
    how = {"size": 32, "crop": [32, 32]}
    assert ClipEncoder("random", sizes={"model_type": "clip", **TINY}, preprocessing=how).encode(
        film(), Plan({})
    ).shape == (9, 20)
    sizes = {"model_type": "xclip", **TINY, **MIT, "num_frames": 4}
    assert XClipEncoder("random", sizes=sizes, preprocessing=how).encode(film(), Plan({})).shape == (9, 20)
    for kind, dim in ((ClipEncoder, 768), (XClipEncoder, 512)):
        empty = kind("")
        assert (empty.dim, empty.tower.window) == (dim, 1 if dim == 768 else 8)
        with pytest.raises(CheckpointError, match=f"{kind.__name__} has no weights yet"):
            empty.encode(film(), Plan({}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sizes": {"model_type": "xclip"}}, "ClipEncoder takes sizes of clip or siglip"),
        ({"sizes": {"model_type": "clip", "code": "x"}}, "clip has no size 'code'"),
        ({"sizes": {"model_type": "clip", "hidden_size": "x"}}, "the sizes of clip are not valid"),
        ({"preprocessing": {"size": "x"}}, "states a preprocessing that is not supported"),
        ({"preprocessing": {"shear": 1}}, "states a preprocessing that is not supported"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(CheckpointError, match=message):
        ClipEncoder("", **arguments)


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("config.json", {"model_type": "xclip"}, "is a 'xclip'; expected clip or siglip"),
        ("config.json", {"vision_config": None}, "has no vision_config; expected a whole clip"),
        ("config.json", {"vision_config": {"hidden_size": "x"}}, "config.json is not valid"),
        ("config.json", {"vision_config": {}}, "does not fit VisionTower"),
        ("preprocessor_config.json", {"resample": 0}, "states a preprocessing that is not supported"),
        ("preprocessor_config.json", {"rescale_factor": 1.0}, "scales bytes by 1.0; expected 1/255"),
        ("preprocessor_config.json", None, "has no preprocessor_config.json"),
    ],
)
def test_a_folder_that_is_not_right_is_refused(folders, tmp_path, name, changed, message):
    shutil.copytree(folders / "clip", tmp_path / "copy")
    path = tmp_path / "copy" / name
    if changed is None:
        path.unlink()
    else:
        path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    with pytest.raises(CheckpointError, match=message):
        ClipEncoder(str(tmp_path / "copy"))


def test_defaults_are_those_of_clip():
    assert ClipEncoder("").preprocessing == PREPROCESSING
