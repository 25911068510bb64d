"""Replays of the golden files, with the weights of their recipe; ``--parity-dir`` replays those of a folder."""

import json
from pathlib import Path

import pytest
import torch
from parity import Comparison, consensus, golden_files, published_shapes, read_npz, recipe_weights

from prismaudio.audio.interaural import gcc_phat_itds_s
from prismaudio.audio.resample import fourier_resample
from prismaudio.plan import Plan
from prismaudio.types import Clip
from prismaudio.weight_files import fill
from prismaudio_stereocrw.delays import affinity, consistent_delays_s, delays_s
from prismaudio_stereocrw.network import RATE_HZ, CrwNetwork
from prismaudio_stereocrw.reward import HEARD_S, StereoCrwReward

DATA = Path(__file__).with_name("data")
KINDS = {"test_crw_affinity": "crw_affinity", "test_crw_embeddings": "crw_embeddings", "test_crw_chain": "crw_chain"}
EMBEDDING, SECONDS, SAMPLES = 2e-5, 1e-9, 1e-6


def pytest_generate_tests(metafunc):
    if "path" in metafunc.fixturenames:
        golden_files(metafunc, DATA, KINDS[metafunc.function.__name__])


def recipe_network(seed):
    network = CrwNetwork()
    shapes = published_shapes(DATA / "stereocrw_FreeMusic-StereoCRW-1024.json.gz")
    weights = recipe_weights(shapes, seed) | {"trans.window": torch.hann_window(256)}
    fill(network, weights, f"the recipe with seed {seed}")
    return network


def int16(array):
    return torch.as_tensor(array).float() / 32_768


def test_crw_affinity(path):
    golden = read_npz(path)
    config, comparison = json.loads(golden["config"]), Comparison(golden)
    logits = affinity(torch.as_tensor(golden["in/left"]), torch.as_tensor(golden["in/right"]))
    step = config["patch_stride"]
    comparison.close("out/aff_corner", logits[:, :8, :8], 2e-5)
    for mode in ("soft_weight", "argmax"):
        for both in (False, True):
            found = -delays_s(logits, step, mode, bidirectional=both, release=True)  # the published sign
            comparison.close(f"out/itd_{mode}_bi{int(both)}_s", found, SECONDS)
    for clip, found in enumerate(consistent_delays_s(logits, step)):
        comparison.close(f"out/itd_cycle_clip{clip}_s", -found, SECONDS)
    comparison.close("out/mean_s", -delays_s(logits, step).mean(-1), SECONDS)
    comparison.close("out/ransac_s", consensus(-delays_s(logits, step) * RATE_HZ, 0.05) / RATE_HZ, SECONDS)
    assert comparison.problems() == []


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


@pytest.mark.slow
def test_crw_chain(path):
    golden = read_npz(path)
    config, comparison = json.loads(golden["config"]), Comparison(golden)
    reward = StereoCrwReward(release=True, network=recipe_network(config["seed"]))
    clips = [int16(golden[f"in/clip{i}_int16"])[:, : int(HEARD_S * 44_100)] for i in (0, 1)]
    heard = torch.stack([fourier_resample(clip, int(HEARD_S * 16_000))[:, :96_511] for clip in clips])
    comparison.close("out/clip0_audio16k_shape", torch.tensor(heard[0].shape), 0)
    comparison.close("out/clip0_audio16k_head", heard[0, :, :2000], SAMPLES)
    comparison.close("out/clip0_audio16k_tail", heard[0, :, -500:], SAMPLES)
    network, patches = reward.listener.network, [0, 1, 2, 100, 511]
    probes = heard[0].unfold(-1, 96_000, 1)[:, patches]
    comparison.close("out/spec_shape", torch.tensor([1, *network.trans(probes[0]).shape]), 0)
    comparison.close("out/clip0_left_spec_p0", network.trans(probes[0])[0, :, ::8, ::8], 2e-5)
    for side, name in enumerate(("left", "right")):
        comparison.close(f"out/clip0_{name}_emb_p0_1_2_100_511", network(probes[side]), EMBEDDING)
    rows = reward.listener.delays_s(heard)  # the published sign is the opposite
    comparison.close("out/feat_itds_s", torch.nn.functional.adaptive_avg_pool1d(-rows, 256), SECONDS)
    comparison.close("out/crw_itd_ms", -1000 * rows.mean(-1), 1e-6)
    comparison.close("out/gcc_itd_ms", -1000 * gcc_phat_itds_s(heard, 16_000).mean(-1), 1e-6)
    known = list(zip(heard, rows, strict=True))  # which takes most of the time
    reward.listener.delays_s = lambda windows: torch.stack(
        [row for window in windows for same, row in known if torch.equal(window, same)]
    )
    cache = reward.prepare(Clip("one", 7.5, audio=int16(golden["in/clip1_int16"]), sample_rate_hz=44_100), Plan({}))
    score = reward.score(int16(golden["in/clip0_int16"])[None], 44_100, [cache])
    comparison.close("out/prism_itd_reward_first_half_vs_second_half", score, 1e-6)
    assert comparison.problems() == []
