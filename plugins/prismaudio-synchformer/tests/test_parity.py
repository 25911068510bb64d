"""Every tensor of the golden files; ``data/README.md`` says what is in them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from parity import (
    Comparison,
    Golden,
    golden_files,
    published_shapes,
    read_npz,
    read_tensors,
    recipe_weight,
    recipe_weights,
    replayer_flaws,
)

from prismaudio.audio.resample import sinc_resample
from prismaudio.weight_files import fill
from prismaudio_synchformer import audio
from prismaudio_synchformer.network import Synchformer
from prismaudio_synchformer.offsets import distance_s, grid_s
from prismaudio_synchformer.reward import RELEASE_FRAMES, RELEASE_SAMPLE, RELEASE_SIDE, mono, offset_score
from prismaudio_synchformer.segments import FPS, RATE_HZ, SIZE, cut_audio, cut_frames, middle, n_segments, square
from prismaudio_synchformer.visual import VisualTower, encode_frames, normalised
from prismaudio_synchformer.weights import empty_network, our_key, our_weights, visual_weights

DATA = Path(__file__).with_name("data")
MANIFEST = DATA / "synchformer_24-01-04T16-39-21.json.gz"
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
    """Frames ``(..., 224, 224)`` of those that are stored, in which a pixel stands for some in both directions."""
    return (
        torch.as_tensor(low).repeat_interleave(SIZE // low.shape[-1], -1).repeat_interleave(SIZE // low.shape[-2], -2)
    )


def seen_and_heard(golden, network):
    """Features of all segments of all clips."""
    frames, sounds = enlarged(golden["in/frames_low"]), waves(golden)
    seen = [network.vfeat_extractor(normalised(some)) for some in frames.flatten(0, 1).split(2)]
    heard = network.encode_audio(sounds.flatten(0, 1))
    return torch.cat(seen).unflatten(0, frames.shape[:2]), heard.unflatten(0, sounds.shape[:2])


def waves(golden):
    return torch.as_tensor(golden["in/wave_int16"]).float() / 32_768


@torch.no_grad()
def check_tiny(golden):
    config = golden.options()
    sizes = (config[name] for name in ("embed_dim", "depth", "num_heads", "n_embd", "n_layer", "n_head"))
    network, weights = Synchformer(*sizes, config["mlp_ratio"], config["n_segments"]), golden.weights()
    for key, value in weights.items():
        torch.testing.assert_close(recipe_weight(key, value.shape, config["seed"]), value, msg=key)
    fill(network, our_weights(weights), "the golden file")
    traced = traces(network, config["token_index"])
    comparison = Comparison(golden)
    seen, heard = seen_and_heard(golden, network)
    logits = network.compare(seen, heard)
    for name, value in traced.items():
        comparison.close(f"out/{name}", value, 2e-5)
    comparison.close("out/vfeats", seen, 2e-5)
    comparison.close("out/afeats", heard, 2e-5)
    comparison.close("out/logits", logits, 2e-5)
    comparison.close("out/logmel_raw0", audio.log_mel(waves(golden)[0, 0]), 5e-4 * np.log(10) / 10)
    comparison.close("out/mel", audio.spectrogram(waves(golden)[0, : len(golden["out/mel"])]), 2e-5)
    comparison.close("out/top1", logits.argmax(-1), 0)
    comparison.close("out/offset_sec", grid_s()[logits.argmax(-1)], 1e-6)
    comparison.close("out/prism_reward", offset_score(distance_s(logits, "argmax"), release=True), 1e-6)
    return comparison


def test_the_whole_network_in_miniature(path):
    assert check_tiny(read_npz(path)).problems() == []


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


def full_network(seed):
    network = empty_network()
    fill(network, our_weights(recipe_weights(published_shapes(MANIFEST), seed)), "the recipe")
    return network


@torch.no_grad()
def check_full(golden, network):
    seed, comparison = golden.options()["seed"], Comparison(golden)
    rows, width = len(golden["out/head_logits"]), network.vproj.in_features
    window = network.transformer.pos_emb_cfg.pos_emb.shape[1] // (8 + 6)
    given = []
    for which, (name, count) in enumerate({"v": 8, "a": 6}.items(), start=1):
        drawn = np.random.default_rng([seed, which]).standard_normal((rows, window, count, width))
        given.append(torch.as_tensor(drawn).float())
        first = golden[f"in/head_{name}feats_first8"]
        comparison.close(f"in/head_{name}feats_first8", given[-1].flatten()[: len(first)], 1e-6)
    comparison.close("out/head_logits", network.compare(*given), 2e-5)
    seen, heard = seen_and_heard(golden, network)
    comparison.close("out/afeats", heard, 2e-5)
    comparison.close("out/vfeats", seen, 2e-5)
    return comparison


@pytest.mark.slow
def test_both_towers_and_the_head_at_full_size(path):
    golden = read_npz(path)
    assert check_full(golden, full_network(golden.options()["seed"])).problems() == []


def check_pre(golden):
    comparison = Comparison(golden)
    segments = cut_audio(waves(golden), len(golden["out/mel"]), RELEASE_SAMPLE)
    # what is stored was computed in float32: it is 2.01e-5 from the values in float64, whatever computes them here
    comparison.close("out/mel", audio.spectrogram(segments)[:, None], 2.5e-5)
    n_frames, _, height, width = golden["in/video_shape"].tolist()
    comparison.close("out/frame_index", cut_frames(torch.arange(n_frames)[RELEASE_FRAMES]), 0)
    comparison.close("out/crop_top_left", torch.tensor([middle(height), middle(width)]), 0)
    table = [(h, w, middle(h), middle(w)) for h, w, _, _ in golden["out/center_crop_table"].tolist()]
    comparison.close("out/center_crop_table", torch.tensor(table), 0)
    comparison.close("out/half_norm_lut", normalised(torch.arange(256, dtype=torch.uint8), torch.float16), 0)
    for name, made in resampled(golden):
        comparison.close(f"out/{name}", made, 2e-6)
    comparison.close("out/grid", grid_s(), 1e-6)
    logits = {place: torch.as_tensor(golden[f"in/logits_{place}"]) for place in ("first", "last")}
    comparison.close("out/prism_synch_reward", offset_score(distance_s(logits["first"], "argmax"), release=True), 1e-6)
    comparison.close(
        "out/desync", distance_s(torch.stack([logits["first"], logits["last"]]), "argmax").double().mean(), 1e-6
    )
    for (duration,) in golden.numbered(r"out/avbench_nseg_([\d.]+)s"):
        count = n_segments(int(FPS * float(duration)))
        heard = cut_audio(torch.zeros(int(RATE_HZ * float(duration))), count).shape[0]
        comparison.close(f"out/avbench_nseg_{duration}s", torch.tensor([count, heard]), 0)
    assert square(torch.zeros(1, 3, height, width, dtype=torch.uint8), RELEASE_SIDE).shape[-2:] == (SIZE, SIZE)
    return comparison


def test_what_is_done_before_and_after_the_network(path):
    assert check_pre(read_npz(path)).problems() == []


def resampled(golden):
    """The published ways to change the sample rate of a sound, by what the file has of them."""
    for (given,) in golden.numbered(r"in/stereo(\d+)k_int16"):
        stereo, rate_hz = torch.as_tensor(golden[f"in/stereo{given}k_int16"]).float() / 32_767, hertz(given)
        for kind, made, width in golden.numbered(r"out/(prism_mono|stereo|mono_then_)(\d+)k_width(\d+)"):
            name = f"{kind}{made}k_width{width}"
            if kind == "prism_mono":
                yield name, mono(stereo[None], rate_hz, release=True)[0]
            else:
                sound = stereo if kind == "stereo" else stereo.mean(0)
                yield name, sinc_resample(sound, rate_hz, hertz(made), int(width))


def hertz(name):
    """A sample rate of which the name has whole kilohertz."""
    return {"11": 11_025, "22": 22_050, "44": 44_100}.get(name, 1000 * int(name))


@torch.no_grad()
def check_visual(metadata, golden, folder):
    config, weights = metadata.options(), golden.weights()
    hidden = len(golden["w/vfeat_extractor.blocks.0.mlp.fc1.weight"])
    tower = VisualTower(config["EMBED_DIM"], config["DEPTH"], config["NUM_HEADS"], hidden / config["EMBED_DIM"])
    torch.save(weights, folder / "visual.pth")
    path, weights = visual_weights(folder / "visual.pth")
    fill(tower, weights, path)
    comparison = Comparison({key: np.asarray(value) for key, value in golden.items()})
    comparison.close("out/sync_features", encode_frames(tower, golden["in/video_uint8"]).flatten(0, 1)[None], 2e-5)
    return comparison


def test_features_of_a_video(path, tmp_path):
    assert check_visual(*read_tensors(path), tmp_path).problems() == []


def integers(low, high, *shape, dtype=np.int16):
    return np.random.default_rng(0).integers(low, high, shape, dtype=dtype)


def published_weights(network, seed):
    """Weights of the recipe for a network of any size by published keys: blocks and layers are named alike."""
    published = {our_key(key): key for key in published_shapes(MANIFEST)}
    shapes = {published[key]: value.shape for key, value in network.state_dict().items()}
    return {f"w/{key}": value.numpy() for key, value in recipe_weights(shapes, seed).items()}


def tiny_file():
    """Two clips of three segments for a network with other hidden layers, whose frames are stored at 14 pixels."""
    config = {"embed_dim": 12, "depth": 1, "num_heads": 2, "mlp_ratio": 3, "n_embd": 8, "n_layer": 2, "n_head": 4}
    network = Synchformer(12, 1, 2, 8, 2, 4, mlp_ratio=3, window=3)
    config |= {"n_segments": 3, "seed": 5, "token_index": [0, 1, 9, 1568]}
    outline = published_weights(network, 5) | {"config": json.dumps(config)}
    outline |= {"in/frames_low": integers(0, 255, 2, 3, 16, 3, 14, 14, dtype=np.uint8)}
    outline |= {"in/wave_int16": integers(-9000, 9000, 2, 3, 10_240)}
    zeros = {"vfeats": (2, 3, 8, 12), "afeats": (2, 3, 6, 12), "logits": (2, 21), "top1": 2, "offset_sec": 2}
    zeros |= {"prism_reward": 2, "logmel_raw0": (128, 65), "mel": (3, 128, 66), "vproj0": (8, 8), "aproj0": (6, 8)}
    zeros |= {"v0_patch": (3, 12), "v0_norm": (3, 12), "a0_emb": (74, 12), "a0_layer0": (74, 12), "a0_ln": (74, 12)}
    zeros |= dict.fromkeys(("v0_pos", "v0_b0_time", "v0_b0_space", "v0_b0"), (4, 12))
    return outline | {f"out/{name}": np.zeros(shape) for name, shape in zeros.items()}


def test_a_miniature_of_any_configuration_is_replayed(tmp_path):
    outline = tiny_file()
    assert replayer_flaws(check_tiny, outline, tmp_path / "other.npz") == []
    config = json.loads(outline["config"])
    del config["n_head"]
    with pytest.raises(ValueError, match="the golden file lacks config: n_head"):
        check_tiny(Golden(outline | {"config": json.dumps(config)}))


def test_any_number_of_segments_is_replayed(tmp_path, network):
    outline = {"config": json.dumps({"seed": 3}), "in/wave_int16": integers(-9000, 9000, 2, 3, 10_240)}
    outline |= {"in/frames_low": integers(0, 255, 2, 1, 16, 3, 28, 28, dtype=np.uint8)}
    outline |= {"out/head_logits": np.zeros((3, 21)), "out/vfeats": np.zeros((2, 1, 8, 24))}
    outline |= {"out/afeats": np.zeros((2, 3, 6, 24))} | {f"in/head_{name}feats_first8": np.zeros(8) for name in "va"}
    assert replayer_flaws(lambda golden: check_full(golden, network), outline, tmp_path / "other.npz") == []


def test_other_sounds_and_durations_are_replayed(tmp_path):
    outline = {"in/wave_int16": integers(-9000, 9000, 120_000), "in/video_shape": np.array([150, 3, 256, 300])}
    outline |= {"out/mel": np.zeros((9, 1, 128, 66)), "out/frame_index": np.zeros((14, 16)), "out/grid": np.zeros(21)}
    outline |= {"out/crop_top_left": np.zeros(2), "out/center_crop_table": np.array([[240, 320, 0, 0]])}
    outline |= {"in/stereo48k_int16": integers(-9000, 9000, 2, 4800), "out/prism_mono16k_width64": np.zeros(1600)}
    outline |= {"out/stereo24k_width6": np.zeros((2, 2400)), "out/mono_then_32k_width9": np.zeros(3200)}
    rng = np.random.default_rng(0)
    outline |= {f"in/logits_{place}": rng.standard_normal((4, 21)) for place in ("first", "last")}
    outline |= {"out/prism_synch_reward": np.zeros(4), "out/desync": np.zeros(()), "out/half_norm_lut": np.zeros(256)}
    outline |= {"out/avbench_nseg_6s": np.zeros(2), "out/avbench_nseg_12s": np.zeros(2)}
    assert replayer_flaws(check_pre, outline, tmp_path / "other.npz") == []


def test_a_video_of_any_length_and_tower_of_any_size_is_replayed(tmp_path):
    tower = VisualTower(12, 1, 3, mlp_ratio=2)
    weights = recipe_weights({f"vfeat_extractor.{key}": value.shape for key, value in tower.state_dict().items()}, 1)
    metadata = Golden({"config": json.dumps({"EMBED_DIM": 12, "DEPTH": 1, "NUM_HEADS": 3})}, "metadata ")
    golden = Golden({f"w/{key}": value for key, value in weights.items()})
    golden["in/video_uint8"] = torch.as_tensor(integers(0, 255, 34, 3, SIZE, SIZE, dtype=np.uint8))
    golden["out/sync_features"] = torch.zeros(1, 24, 12)
    golden["out/sync_features"] = check_visual(metadata, golden, tmp_path).found["out/sync_features"]
    assert check_visual(metadata, golden, tmp_path).problems() == []
    golden["out/sync_features"][0, 5, 5] += 1e-3
    assert check_visual(metadata, golden, tmp_path).problems() == ["out/sync_features differs by 0.001, allowed 2e-05"]
    with pytest.raises(ValueError, match="the golden file lacks metadata config"):
        check_visual(Golden({}, "metadata "), golden, tmp_path)


def test_frames_are_brought_to_size_as_torchvision_does():
    golden = read_npz(DATA / "torchvision.npz")
    comparison = Comparison(golden)
    for shape in ("wide", "high"):
        for side in (SIZE, RELEASE_SIDE):
            made = square(torch.as_tensor(golden[f"in/{shape}"]), side)
            comparison.close(f"out/{shape}_{side}", made[..., 3::7, 3::7], 0)
    assert comparison.problems() == []
