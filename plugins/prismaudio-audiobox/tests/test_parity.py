"""Replays of the golden files, with stored weights or those of the recipe; ``--parity-dir`` replays a folder."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from parity import Comparison, Golden, every, golden_files, published_shapes, read_npz, recipe_weights, replayer_flaws
from transformers import WavLMConfig

from prismaudio_audiobox.network import AXES, AudioboxNetwork, frame_mask
from prismaudio_audiobox.rating import CHUNK, RATE_HZ, Rater, split
from prismaudio_audiobox.reward import AudioboxReward
from prismaudio_audiobox.weights import fill_published, our_name

DATA = Path(__file__).with_name("data")
KINDS = {"test_audiobox_tiny": "audiobox_tiny", "test_audiobox_full": "audiobox_full"}
FEATURE = 2e-5
OPTIONS = {
    "encoder_embed_dim": "hidden_size",
    "encoder_layers": "num_hidden_layers",
    "encoder_attention_heads": "num_attention_heads",
    "encoder_ffn_embed_dim": "intermediate_size",
    "conv_bias": "conv_bias",
    "conv_pos": "num_conv_pos_embeddings",
    "conv_pos_groups": "num_conv_pos_embedding_groups",
    "num_buckets": "num_buckets",
    "max_distance": "max_bucket_distance",
}
"""Sizes of the published WavLM and what transformers calls them; what a file does not state is as published."""
LAYERS = "conv_feature_layers"
PADDED = 12_000
"""Samples at the end of the padded excerpt, by the files' description."""


def pytest_generate_tests(metafunc):
    if "path" in metafunc.fixturenames:
        golden_files(metafunc, DATA, KINDS[metafunc.function.__name__])


def int16(array):
    return torch.as_tensor(array).float() / 32_768


def wavlm(size):
    """The form of WavLM that a file states.

    Raises:
        ValueError: It has an unknown option.
    """
    unknown = size.keys() - OPTIONS.keys() - {LAYERS}
    if unknown:
        raise ValueError(
            f"unknown options {', '.join(sorted(unknown))} of WavLM; expected {', '.join([*OPTIONS, LAYERS])}"
        )
    options = {OPTIONS[name]: value for name, value in size.items() if name in OPTIONS}
    if LAYERS in size:
        options |= dict(zip(("conv_dim", "conv_kernel", "conv_stride"), convolutions(size[LAYERS]), strict=True))
    return WavLMConfig(**options)


def convolutions(text):
    """Widths, kernels and strides of layers as fairseq writes them.

    Example:
        >>> convolutions("[(8,10,5)] + [(6,3,2)] * 2")
        ((8, 6, 6), (10, 3, 3), (5, 2, 2))
    """
    layers = []
    for some, times in re.findall(r"\[([^]]*)\](?:\s*\*\s*(\d+))?", text):
        triples = re.findall(r"\((\d+),\s*(\d+),\s*(\d+)\)", some)
        layers += [tuple(map(int, triple)) for triple in triples] * int(times or 1)
    return tuple(zip(*layers, strict=True))


def tiny_network(golden, config):
    network = AudioboxNetwork(wavlm(config["wavlm"]), config["proj_num_layer"])
    fill_published(network, golden.weights(), "the golden file")
    return network


def check_tiny(golden):
    config, comparison = golden.options(), Comparison(golden)
    network = tiny_network(golden, config)
    scales = {axis: (entry["mean"], entry["std"]) for axis, entry in config["target_transform"].items()}
    waves = [int16(golden[f"in/{name}_int16"]) for (name,) in golden.numbered(r"in/(wave\d+)_int16")]

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
    rated = torch.cat([rater.rate(wave.expand(1, 2, -1), RATE_HZ) for wave in waves])
    for i, axis in enumerate(AXES):
        comparison.close(f"out/score_{axis}", rated[:, i], 5e-5)
    none = {axis.lower(): 0.0 for axis in AXES}
    for (name,) in golden.numbered("out/prism_(.+)"):
        reward = AudioboxReward(network=network, **({} if name == "meta_reward" else {**none, name.lower(): 0.05}))
        reward.rater = rater
        scores = torch.cat([reward.score(wave.expand(1, 2, -1), RATE_HZ, [{}]) for wave in waves])
        comparison.close(f"out/prism_{name}", scores, 5e-6)
    for excerpt, wave, seconds in golden.numbered(r"out/(w(\d+)_([\d.]+)s)_frame_pad_mask"):
        check_layers(comparison, network, f"out/{excerpt}", waves[int(wave)][None, : int(float(seconds) * RATE_HZ)])
    return comparison


def check_layers(comparison, network, name, sound):
    """Compare every layer for an excerpt, whole and with silence at its end; as much as the file's mask says."""
    expected, n_samples = ~torch.as_tensor(comparison.golden[f"{name}_frame_pad_mask"]).bool(), sound.shape[-1]
    whole, heard = network.layers(sound, torch.tensor([n_samples]))
    lengths = [n_samples - PADDED, *range(1000, n_samples, 1000)]
    masks = [frame_mask(torch.tensor([length]), n_samples, heard.shape[1]) for length in lengths]
    fitting = [length for length, mask in zip(lengths, masks, strict=True) if torch.equal(mask, expected)]
    real = fitting[0] if fitting else n_samples - PADDED
    padded = torch.nn.functional.pad(sound[:, :real], (0, n_samples - real))
    masked, mask = network.layers(padded, torch.tensor([real]))
    comparison.close(f"{name}_frame_pad_mask", ~mask, 0)
    for kind, layers in (("layer", whole), ("padded_layer", masked)):
        for i, layer in enumerate(layers):
            shown = len(comparison.golden[f"{name}_{kind}{i}"])
            comparison.close(f"{name}_{kind}{i}", layer[0, :: every(layer.shape[1], shown)], FEATURE)


def test_audiobox_tiny(path):
    assert check_tiny(read_npz(path)).problems() == []


def shapes_of(network):
    """Shapes by published names; what only a network of another size has is called the same there."""
    published = {our_name(name): name for name in published_shapes(DATA / "audiobox_aesthetics.json.gz")}
    return {published.get(name, name): value.shape for name, value in network.state_dict().items()}


def full_network(config):
    with torch.device("meta"):
        network = AudioboxNetwork(n_linear=config["proj_num_layer"])
    fill_published(network, recipe_weights(shapes_of(network), config["seed"]), "the recipe")
    return network


def check_full(golden, network):
    comparison = Comparison(golden)
    wave = int16(golden["in/wave_int16"])[None]
    lengths = torch.tensor([wave.shape[-1]])
    raw = network(wave, lengths)
    for i, axis in enumerate(AXES):
        comparison.close(f"out/raw_{axis}", raw[:, i], FEATURE)
    layers, _ = network.layers(wave, lengths)
    for i, step in golden.numbered(r"out/layer(\d+)_every(\d+)"):
        comparison.close(f"out/layer{i}_every{step}", layers[int(i)][0, :: int(step)], FEATURE)
    return comparison


@pytest.mark.slow
def test_audiobox_full(path):
    golden = read_npz(path)
    assert check_full(golden, full_network(golden.options())).problems() == []


def noise(n_samples):
    return np.random.default_rng(0).integers(-9000, 9000, n_samples, dtype=np.int16)


def other_file():
    """A file with other convolutions, layers and linear layers, more sounds, and an excerpt of another length."""
    size = {"encoder_embed_dim": 12, "encoder_layers": 1, "encoder_attention_heads": 3, "encoder_ffn_embed_dim": 20}
    size |= {"conv_feature_layers": "[(6,10,5), (8,4,4)] + [(4,3,4)] * 2", "conv_pos": 16, "conv_pos_groups": 2}
    config = {"wavlm": size, "proj_num_layer": 2, "proj_ln": True, "others": "as DEFAULT_AUDIO_CFG"}
    config["target_transform"] = {axis: {"mean": 3.0 + i, "std": 1.5} for i, axis in enumerate(AXES)}
    network = AudioboxNetwork(wavlm(size), 2)
    golden = {f"w/{name}": value.numpy() for name, value in recipe_weights(shapes_of(network), 3).items()}
    golden |= {f"in/wave{i}_int16": noise(n) for i, n in enumerate((20_000, 170_000, 40_000))}
    n_frames = network.wavlm_model._get_feat_extract_output_lengths(24_000).item()
    mask = ~frame_mask(torch.tensor([17_000]), 24_000, n_frames)
    golden |= {"config": json.dumps(config), "out/w2_1.5s_frame_pad_mask": mask.numpy()}
    zeros = {f"{kind}_{axis}": 4 if kind == "raw" else 3 for kind in ("raw", "score") for axis in AXES}
    zeros |= {"chunk_weight": 4, "chunk_item": 4, "prism_meta_reward": 3, "prism_PQ": 3}
    zeros |= {f"w2_1.5s_layer{i}": n_frames // 3 + 1 for i in (0, 1)}
    zeros |= {f"w2_1.5s_padded_layer{i}": n_frames // 5 + 1 for i in (0, 1)}
    return golden | {f"out/{name}": np.zeros(n) for name, n in zeros.items()}


def test_audiobox_of_any_configuration_is_replayed(tmp_path):
    outline = other_file()
    assert replayer_flaws(check_tiny, outline, tmp_path / "other.npz") == []
    config = json.loads(outline["config"])
    config["wavlm"]["odd"] = 1
    with pytest.raises(ValueError, match="unknown options odd of WavLM"):
        check_tiny(Golden({**outline, "config": json.dumps(config)}))
    del config["proj_num_layer"], config["wavlm"]["odd"]
    with pytest.raises(ValueError, match="the golden file lacks config: proj_num_layer"):
        check_tiny(Golden({**outline, "config": json.dumps(config)}))


def test_other_layers_of_a_recipe_are_replayed(tmp_path, network):
    outline = {"in/wave_int16": noise(9000), "out/layer1_every7": np.zeros((4, 16))}
    outline |= {f"out/raw_{axis}": np.zeros(1) for axis in AXES}
    assert replayer_flaws(lambda golden: check_full(golden, network), outline, tmp_path / "other.npz") == []
    with torch.device("meta"):
        names = shapes_of(AudioboxNetwork(n_linear=3))
    assert names["proj_layer.CE.6.weight"] == (1, 768)
