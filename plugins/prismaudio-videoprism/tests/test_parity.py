"""Replays of the golden file of the Flax network; ``--parity-dir`` replays those of a folder."""

from pathlib import Path

import numpy as np
import pytest
import torch
from parity import Comparison, golden_files, read_npz

from prismaudio_videoprism.weights import load_text_tower, load_video_tower

DATA = Path(__file__).with_name("data")
TOLERANCE = 1e-5


def pytest_generate_tests(metafunc):
    if "path" in metafunc.fixturenames:
        golden_files(metafunc, DATA, "videoprism")


@torch.no_grad()
def check(golden, folder):
    comparison, file = Comparison(golden), folder / "flax.npz"
    np.savez(file, **{name[2:]: value for name, value in golden.items() if name.startswith("w/")})
    tower, _ = load_video_tower(file)
    pixels = torch.as_tensor(golden["in/frames_uint8"]).permute(0, 1, 4, 2, 3).float() / 255
    frames, video = tower(pixels)
    backbone = tower.model.vision_model(pixels, interpolate_pos_encoding=True).last_hidden_state
    comparison.close("out/frame_embeddings", frames, TOLERANCE)
    comparison.close("out/video_embedding", video, TOLERANCE)
    comparison.close("out/spatiotemporal_features", backbone, TOLERANCE)
    mask = 1 - torch.as_tensor(golden["in/text_paddings"]).long()
    text = load_text_tower(file)(torch.as_tensor(golden["in/text_ids"]).long(), mask)
    comparison.close("out/text_embedding", text, TOLERANCE)
    return comparison


def test_the_flax_network(path, tmp_path):
    assert check(read_npz(path), tmp_path).problems() == []


def test_a_changed_weight_is_noticed(tmp_path):
    golden = read_npz(DATA / "videoprism_lvt_tiny.npz")
    key = "w/params/auxiliary_encoder/transformers_stack/x_layers/self_attention/query/b"
    golden[key] = golden[key] + 0.1
    noticed = {problem.split()[0] for problem in check(golden, tmp_path).problems()}
    assert noticed == {"out/frame_embeddings", "out/video_embedding"}


@pytest.mark.parametrize("n_frames", [3, 8, 16])
def test_any_number_of_frames(flax, n_frames):
    tower, _ = load_video_tower(flax)
    with torch.no_grad():
        frames, video = tower(torch.rand(2, n_frames, 3, 72, 72))
    assert frames.shape == (2, n_frames, 48)
    torch.testing.assert_close(
        torch.cat([frames.norm(dim=-1), video.norm(dim=-1)[:, None]], 1), torch.ones(2, n_frames + 1)
    )
