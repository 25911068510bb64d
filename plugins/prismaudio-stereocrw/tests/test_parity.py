"""Replays of the golden files, with the weights of their recipe; ``--parity-dir`` replays those of a folder."""

import gzip
import json
from pathlib import Path

import pytest
import torch

from prismaudio.signal.resample import fourier_resample
from prismaudio.testing.parity import Comparison, golden_files, read_npz, recipe_weights
from prismaudio.weight_files import fill
from prismaudio_stereocrw.delays import affinity, consensus_s, consistent_delays_s, delays_s
from prismaudio_stereocrw.network import CrwNetwork

DATA = Path(__file__).with_name("data")
EMBEDDING, SECONDS, SAMPLES = 2e-5, 1e-9, 1e-6


def pytest_generate_tests(metafunc):
    if "path" in metafunc.fixturenames:
        golden_files(metafunc, DATA, f"{metafunc.function.__name__.removeprefix('test_')}.npz")


def manifest():
    file = DATA / "stereocrw_FreeMusic-StereoCRW-1024.json.gz"
    return {key: entry["shape"] for key, entry in json.loads(gzip.decompress(file.read_bytes()))["tensors"].items()}


def recipe_network(seed):
    network = CrwNetwork()
    weights = recipe_weights(manifest(), seed) | {"trans.window": torch.hann_window(256)}
    fill(network, weights, f"the recipe with seed {seed}")
    return network


def int16(array):
    return torch.as_tensor(array).float() / 32_768


def check_affinity(path):
    golden = read_npz(path)
    config, comparison = json.loads(golden["config"]), Comparison(golden)
    logits = affinity(torch.as_tensor(golden["in/left"]), torch.as_tensor(golden["in/right"]))
    step = config["patch_stride"]
    comparison.close("out/aff_corner", logits[:, :8, :8], 2e-5)
    for mode in ("soft_weight", "argmax"):
        for both in (False, True):
            found = delays_s(logits, step, mode, bidirectional=both, release=True)
            comparison.close(f"out/itd_{mode}_bi{int(both)}_s", found, SECONDS)
    for clip, found in enumerate(consistent_delays_s(logits, step)):
        comparison.close(f"out/itd_cycle_clip{clip}_s", found, SECONDS)
    comparison.close("out/mean_s", delays_s(logits, step).mean(-1), SECONDS)
    comparison.close("out/ransac_s", consensus_s(delays_s(logits, step)), SECONDS)
    assert comparison.problems() == []


def test_crw_affinity(path):
    check_affinity(path)


def test_crw_affinity_stride4(path):
    check_affinity(path)


def test_crw_embeddings(path):
    golden = read_npz(path)
    config, comparison = json.loads(golden["config"]), Comparison(golden)
    network = recipe_network(config["seed"])
    for case in config["cases"]:
        name = str(case["clip_length"]).replace(".", "p")
        sound = int16(golden[f"in/audio_{name}_int16"])[None]
        n_samples = int(case["clip_length"] * 16_000)
        assert [1, 6, *network.trans(sound[:, :n_samples]).shape[1:]] == case["spec_shape"]
        spectrum = network.trans(sound[:, :n_samples])[0, :, ::8, ::8]
        comparison.close(f"out/spec_{name}_patch0_every8", spectrum, EMBEDDING)
        embedded = network.embed(sound, n_samples, config["patch_num"], config["patch_stride"])
        comparison.close(f"out/emb_{name}", embedded[0], EMBEDDING)
    assert comparison.problems() == []
