"""Every tensor of the golden files; ``data/README.md`` says what is in them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from parity import Comparison, golden_files, published_shapes, read_npz, recipe_weight, recipe_weights
from safetensors import safe_open

from prismaudio.audio.resample import sinc_resample
from prismaudio.weight_files import fill
from prismaudio_synchformer import audio
from prismaudio_synchformer.metric import ends
from prismaudio_synchformer.network import Synchformer
from prismaudio_synchformer.offsets import apart_s, grid_s
from prismaudio_synchformer.reward import RELEASE_FRAMES, RELEASE_SAMPLE, RELEASE_SIDE, graded, mono
from prismaudio_synchformer.segments import SIZE, WINDOW, cut_audio, cut_frames, middle, n_segments, square
from prismaudio_synchformer.visual import VisualTower, normalised, see
from prismaudio_synchformer.weights import empty_network, fill_visual, our_weights

DATA = Path(__file__).with_name("data")
KINDS = {
    "test_the_whole_network_in_miniature": "synchformer_tiny",
    "test_both_towers_and_the_head_at_full_size": "synchformer_full",
    "test_what_is_done_before_and_after_the_network": "synchformer_pre",
    "test_features_of_a_video": "synchformer_visual",
}


def pytest_generate_tests(metafunc):
    if "path" in metafunc.fixturenames:
        golden_files(metafunc, DATA, KINDS[metafunc.function.__name__])


def enlarged(low):
    """Pictures ``(..., 224, 224)`` of those that are stored, ``(..., 28, 28)``."""
    return torch.as_tensor(low).repeat_interleave(8, -1).repeat_interleave(8, -2)


def waves(golden):
    return torch.as_tensor(golden["in/wave_int16"]).float() / 32_768


@torch.no_grad()
def test_the_whole_network_in_miniature(path):
    golden = read_npz(path)
    config = json.loads(golden["config"])
    network = Synchformer(*(config[k] for k in ("embed_dim", "depth", "num_heads", "n_embd", "n_layer", "n_head")))
    weights = {key[2:]: torch.as_tensor(value) for key, value in golden.items() if key.startswith("w/")}
    for key, value in weights.items():
        torch.testing.assert_close(recipe_weight(key, value.shape, config["seed"]), value, msg=key)
    fill(network, our_weights(weights), path)
    traced = traces(network, config["token_index"])
    comparison = Comparison(golden)
    seen = [network.vfeat_extractor(normalised(some)) for some in enlarged(golden["in/frames_low"])[0].split(2)]
    heard = network.hear(waves(golden)[0])
    logits = network.compare(torch.cat(seen)[None], heard[None])
    for name, value in traced.items():
        comparison.close(f"out/{name}", value, 2e-5)
    comparison.close("out/vfeats", torch.cat(seen)[None], 2e-5)
    comparison.close("out/afeats", heard[None], 2e-5)
    comparison.close("out/logits", logits, 2e-5)
    comparison.close("out/logmel_raw0", audio.log_mel(waves(golden)[0, 0]), 5e-4 * np.log(10) / 10)
    comparison.close("out/mel", audio.spectrogram(waves(golden)[0, :2]), 2e-5)
    comparison.close("out/top1", logits.argmax(-1), 0)
    comparison.close("out/offset_sec", grid_s()[logits.argmax(-1)], 1e-6)
    comparison.close("out/prism_reward", graded(apart_s(logits, "argmax"), release=True), 1e-6)
    assert comparison.problems() == []


def traces(network, token_index):
    """What comes out of every layer for the first segment, filled in when the network runs."""
    kept = {}
    rows = torch.tensor(token_index)

    def keep(name, module, pick):
        def hook(_module, _given, made):
            kept.setdefault(name, pick(made))

        module.register_forward_hook(hook)

    def tokens(made):
        return made[0, rows]

    def without_first(made):
        return made[0, rows[1:] - 1]

    def whole(made):
        return (made[0] if isinstance(made, tuple) else made)[0]

    seeing, hearing = network.vfeat_extractor, network.afeat_extractor.ast
    keep("v0_patch", seeing.patch_embed_3d, without_first)
    keep("v0_norm", seeing.norm, without_first)

    def keep_given(_module, given):
        kept.setdefault("v0_pos", tokens(given[0]))

    seeing.blocks[0].register_forward_pre_hook(keep_given)
    for index, block in enumerate(seeing.blocks):
        keep(f"v0_b{index}", block, tokens)
        keep(f"v0_b{index}_time", block.timeattn, tokens)
        keep(f"v0_b{index}_space", block.attn, tokens)
    keep("a0_emb", hearing.embeddings, whole)
    keep("a0_ln", hearing.layernorm, whole)
    for index, layer in enumerate(hearing.layers):
        keep(f"a0_layer{index}", layer, whole)
    keep("vproj0", network.vproj, lambda made: made[0, 0])
    keep("aproj0", network.aproj, lambda made: made[0, 0])
    return kept


@pytest.mark.slow
@torch.no_grad()
def test_both_towers_and_the_head_at_full_size(path):
    golden = read_npz(path)
    seed = json.loads(golden["config"])["seed"]
    network = empty_network()
    shapes = published_shapes(DATA / "synchformer_24-01-04T16-39-21.json.gz")
    fill(network, our_weights(recipe_weights(shapes, seed)), path)
    rng_v, rng_a = (np.random.default_rng([seed, which]) for which in (1, 2))
    rows = len(golden["out/head_logits"])
    seen = torch.as_tensor(rng_v.standard_normal((rows, 14, 8, 768))).float()
    heard = torch.as_tensor(rng_a.standard_normal((rows, 14, 6, 768))).float()
    comparison = Comparison(golden)
    comparison.close("in/head_vfeats_first8", seen.flatten()[:8], 1e-6)
    comparison.close("in/head_afeats_first8", heard.flatten()[:8], 1e-6)
    comparison.close("out/head_logits", network.compare(seen, heard), 2e-5)
    comparison.close("out/afeats", network.hear(waves(golden)[0])[None], 2e-5)
    pictures = normalised(enlarged(golden["in/frames_low"])[0])
    comparison.close("out/vfeats", network.vfeat_extractor(pictures)[None], 2e-5)
    assert comparison.problems() == []


def test_what_is_done_before_and_after_the_network(path):
    golden = read_npz(path)
    comparison = Comparison(golden)
    segments = cut_audio(waves(golden), 14, RELEASE_SAMPLE)
    # what is stored was computed in float32: it is 2.01e-5 from the values in float64, whatever computes them here
    comparison.close("out/mel", audio.spectrogram(segments)[:, None], 2.5e-5)
    n_frames, _, height, width = golden["in/video_shape"].tolist()
    comparison.close("out/frame_index", cut_frames(torch.arange(n_frames)[RELEASE_FRAMES]), 0)
    comparison.close("out/crop_top_left", torch.tensor([middle(height), middle(width)]), 0)
    table = [(h, w, middle(h), middle(w)) for h, w, _, _ in golden["out/center_crop_table"].tolist()]
    comparison.close("out/center_crop_table", torch.tensor(table), 0)
    comparison.close("out/half_norm_lut", normalised(torch.arange(256, dtype=torch.uint8), torch.float16), 0)
    stereo = torch.as_tensor(golden["in/stereo44k_int16"]).float() / 32_767
    for name, made in resampled(stereo).items():
        comparison.close(f"out/{name}", made, 2e-6)
    comparison.close("out/grid", grid_s(), 1e-6)
    logits = {place: torch.as_tensor(golden[f"in/logits_{place}"]) for place in ("first", "last")}
    comparison.close("out/prism_synch_reward", graded(apart_s(logits["first"], "argmax"), release=True), 1e-6)
    comparison.close(
        "out/desync", apart_s(torch.stack([logits["first"], logits["last"]]), "argmax").double().mean(), 1e-6
    )
    for duration_s in (5, 8, 9, 10):
        count = n_segments(25 * duration_s)
        heard = cut_audio(torch.zeros(16_000 * duration_s), count).shape[0]
        comparison.close(f"out/avbench_nseg_{duration_s}s", torch.tensor([count, heard]), 0)
    assert comparison.problems() == []
    assert ends(n_segments(225), WINDOW) == [0, 13]
    assert square(torch.zeros(1, 3, height, width, dtype=torch.uint8), RELEASE_SIDE).shape[-2:] == (SIZE, SIZE)


def resampled(stereo):
    """The published ways to change the sample rate of sound ``(2, samples)`` at 44.1 kHz."""
    return {
        "prism_mono16k_width64": mono(stereo[None], 44_100, release=True)[0],
        "stereo16k_width6": sinc_resample(stereo, 44_100, 16_000),
        "mono_then_16k_width6": sinc_resample(stereo.mean(0), 44_100, 16_000),
        "mono_then_48k_width6": sinc_resample(stereo.mean(0), 44_100, 48_000),
    }


def test_features_of_a_video(path, tmp_path):
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["config"])
        golden = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    tower = VisualTower(config["EMBED_DIM"], config["DEPTH"], config["NUM_HEADS"])
    weights = {key[2:]: value for key, value in golden.items() if key.startswith("w/")}
    torch.save(weights, tmp_path / "visual.pth")
    fill_visual(tower, tmp_path / "visual.pth")
    with torch.no_grad():
        seen = see(tower, golden["in/video_uint8"])
    comparison = Comparison({key: value.numpy() for key, value in golden.items()})
    comparison.close("out/sync_features", seen.flatten(0, 1)[None], 2e-5)
    assert comparison.problems() == []


def test_pictures_are_brought_to_size_as_torchvision_does():
    golden = read_npz(DATA / "torchvision.npz")
    comparison = Comparison(golden)
    for shape in ("wide", "high"):
        for side in (SIZE, RELEASE_SIDE):
            made = square(torch.as_tensor(golden[f"in/{shape}"]), side)
            comparison.close(f"out/{shape}_{side}", made[..., 3::7, 3::7], 0)
    assert comparison.problems() == []
