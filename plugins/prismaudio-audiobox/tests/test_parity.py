"""Replays of the golden files, with stored weights or those of the recipe; ``--parity-dir`` replays a folder."""

import json
from pathlib import Path

import pytest
import torch
from parity import Comparison, golden_files, published_shapes, read_npz, recipe_weights
from transformers import WavLMConfig

from prismaudio_audiobox.network import AXES, AudioboxNetwork
from prismaudio_audiobox.rating import CHUNK, Rater, split
from prismaudio_audiobox.reward import AudioboxReward
from prismaudio_audiobox.weights import fill_published

DATA = Path(__file__).with_name("data")
KINDS = {"test_audiobox_tiny": "audiobox_tiny", "test_audiobox_full": "audiobox_full"}
FEATURE = 2e-5


def pytest_generate_tests(metafunc):
    if "path" in metafunc.fixturenames:
        golden_files(metafunc, DATA, KINDS[metafunc.function.__name__])


def int16(array):
    return torch.as_tensor(array).float() / 32_768


def tiny_network(golden, config):
    size = config["wavlm"]
    network = AudioboxNetwork(
        WavLMConfig(
            hidden_size=size["encoder_embed_dim"],
            num_hidden_layers=size["encoder_layers"],
            num_attention_heads=size["encoder_attention_heads"],
            intermediate_size=size["encoder_ffn_embed_dim"],
            conv_dim=(32,) * 7,
        ),
        config["proj_num_layer"],
    )
    weights = {key.removeprefix("w/"): torch.as_tensor(golden[key]) for key in golden if key.startswith("w/")}
    fill_published(network, weights, "the golden file")
    return network


def test_audiobox_tiny(path):
    golden = read_npz(path)
    config, comparison = json.loads(golden["config"]), Comparison(golden)
    network = tiny_network(golden, config)
    scales = {axis: (entry["mean"], entry["std"]) for axis, entry in config["target_transform"].items()}
    waves = [int16(golden[f"in/wave{i}_int16"]) for i in (0, 1)]

    cut = [split(wave[None]) for wave in waves]
    chunks = torch.cat([chunks[0] for chunks, _ in cut])
    lengths = torch.cat([lengths for _, lengths in cut])
    comparison.close("out/chunk_weight", lengths / CHUNK, 1e-7)
    items = [item for item, (_, lengths) in enumerate(cut) for _ in lengths]
    comparison.close("out/chunk_item", torch.tensor(items), 0)
    raw = network(chunks, lengths)
    for i, axis in enumerate(AXES):
        comparison.close(f"out/raw_{axis}", raw[:, i], FEATURE)

    rater = Rater(network=network, scales=scales)
    rated = torch.cat([rater.rate(wave.expand(1, 2, -1), 16_000) for wave in waves])
    for i, axis in enumerate(AXES):
        comparison.close(f"out/score_{axis}", rated[:, i], 5e-5)
    others = {"ce": 0.0, "cu": 0.0, "pc": 0.0, "pq": 0.0}
    for name, options in {"meta_reward": {}, "CE": others | {"ce": 0.05}, "PC": others | {"pc": 0.05}}.items():
        reward = AudioboxReward(network=network, **options)
        reward.rater = rater
        scores = torch.cat([reward.score(wave.expand(1, 2, -1), 16_000, [{}]) for wave in waves])
        comparison.close(f"out/prism_{name}", scores, 5e-6)

    excerpt = waves[0][None, :32_000]
    whole, _ = network.layers(excerpt, torch.tensor([32_000]))
    padded = torch.nn.functional.pad(excerpt[:, :20_000], (0, 12_000))
    masked, mask = network.layers(padded, torch.tensor([20_000]))
    comparison.close("out/w0_2s_frame_pad_mask", ~mask, 0)
    for i, (layer, masked_layer) in enumerate(zip(whole, masked, strict=True)):
        comparison.close(f"out/w0_2s_layer{i}", layer[0, ::4], FEATURE)
        comparison.close(f"out/w0_2s_padded_layer{i}", masked_layer[0, ::8], FEATURE)
    assert comparison.problems() == []


@pytest.mark.slow
def test_audiobox_full(path):
    golden = read_npz(path)
    config, comparison = json.loads(golden["config"]), Comparison(golden)
    with torch.device("meta"):
        network = AudioboxNetwork(n_linear=config["proj_num_layer"])
    shapes = published_shapes(DATA / "audiobox_aesthetics.json.gz")
    fill_published(network, recipe_weights(shapes, config["seed"]), "the recipe")
    wave = int16(golden["in/wave_int16"])[None]
    lengths = torch.tensor([wave.shape[-1]])
    raw = network(wave, lengths)
    for i, axis in enumerate(AXES):
        comparison.close(f"out/raw_{axis}", raw[:, i], FEATURE)
    layers, _ = network.layers(wave, lengths)
    for i in (0, 6, 12):
        comparison.close(f"out/layer{i}_every16", layers[i][0, ::16], FEATURE)
    assert comparison.problems() == []
