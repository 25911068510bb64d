"""Replays of the golden files, with the weights of their recipe; ``--parity-dir`` replays those of a folder."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from parity import (
    Comparison,
    Golden,
    consensus,
    every,
    golden_files,
    published_shapes,
    read_npz,
    recipe_weights,
    replayer_flaws,
)

from prismaudio.audio.interaural import gcc_phat_itds_s
from prismaudio.plan import Plan
from prismaudio.types import Clip
from prismaudio.weight_files import fill
from prismaudio_stereocrw.delays import affinity, consistent_delays_s, delays_s
from prismaudio_stereocrw.estimator import CrwEstimator
from prismaudio_stereocrw.network import N_FRAMES, RATE_HZ, CrwNetwork
from prismaudio_stereocrw.reward import StereoCrwReward

DATA = Path(__file__).with_name("data")
KINDS = {"test_crw_affinity": "crw_affinity", "test_crw_embeddings": "crw_embeddings", "test_crw_chain": "crw_chain"}
EMBEDDING, SECONDS, SAMPLES = 2e-5, 1e-9, 1e-6
FIXED = {
    "samp_sr": 16_000,
    "patch_stride": 1,
    "n_fft": 256,
    "win": 256,
    "gcc_fft": 3840,
    "max_delay": 0.0015,
    "tau": 0.05,
}
"""What the published reward needs as it is."""
CLIPS_HZ = 44_100


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


def check_affinity(golden):
    config, comparison = golden.options(), Comparison(golden)
    logits = affinity(torch.as_tensor(golden["in/left"]), torch.as_tensor(golden["in/right"]), config["tau"])
    corner = golden["out/aff_corner"].shape[-1]
    comparison.close("out/aff_corner", logits[:, :corner, :corner], 2e-5)
    scale = RATE_HZ / config["samp_sr"]  # seconds of the file in one of ours: ours are at 16 kHz
    step, reach = config["patch_stride"], {"max_delay_s": config["max_delay"] / scale}
    for mode in ("soft_weight", "argmax"):
        for both in (False, True):
            found = -scale * delays_s(logits, step, mode, bidirectional=both, release=True, **reach)  # published sign
            comparison.close(f"out/itd_{mode}_bi{int(both)}_s", found, SECONDS)
    for clip, found in enumerate(consistent_delays_s(logits, step, **reach)):
        comparison.close(f"out/itd_cycle_clip{clip}_s", -scale * found, SECONDS)
    rows = -delays_s(logits, step, **reach)
    comparison.close("out/mean_s", scale * rows.mean(-1), SECONDS)
    comparison.close("out/ransac_s", scale * consensus(rows * RATE_HZ, 0.05) / RATE_HZ, SECONDS)
    return comparison


def test_crw_affinity(path):
    assert check_affinity(read_npz(path)).problems() == []


def check_embeddings(golden, network):
    config, comparison = golden.options(), Comparison(golden)
    for case in config["cases"]:
        name = str(case["clip_length"]).replace(".", "p")
        sound = int16(golden[f"in/audio_{name}_int16"])[None]
        n_samples = int(case["clip_length"] * RATE_HZ)
        spectrum = network.trans(sound[:, :n_samples])[0]
        assert [1, config["patch_num"], *spectrum.shape] == case["spec_shape"]
        for patch, step in golden.numbered(rf"out/spec_{name}_patch(\d+)_every(\d+)"):
            start = int(patch) * config["patch_stride"]
            spectrum = network.trans(sound[:, start : start + n_samples])[0, :, :: int(step), :: int(step)]
            comparison.close(f"out/spec_{name}_patch{patch}_every{step}", spectrum, EMBEDDING)
        embedded = network.embed(sound, n_samples, config["patch_num"], config["patch_stride"])
        comparison.close(f"out/emb_{name}", embedded[0], EMBEDDING)
    return comparison


def test_crw_embeddings(path):
    golden = read_npz(path)
    assert check_embeddings(golden, recipe_network(golden.options()["seed"])).problems() == []


def check_chain(golden, network):
    config, comparison = golden.options(), Comparison(golden)
    wrong = {name: config[name] for name, value in FIXED.items() if config.get(name, value) != value}
    if wrong:
        raise ValueError(f"the published reward has {FIXED}; the golden file has {wrong}")
    reward = StereoCrwReward(release=True, network=network)
    reward.estimator = estimator = CrwEstimator(None, network, config["clip_length"], config["patch_num"], "fp32")
    clips = [int16(golden[f"in/{name}_int16"]) for (name,) in golden.numbered(r"in/(clip\d+)_int16")]
    heard = [reward.windows(clip[None], CLIPS_HZ)[0, 0] for clip in clips]
    for clip, part in golden.numbered(r"out/clip(\d+)_audio16k_(shape|head|tail)"):
        name, sound = f"out/clip{clip}_audio16k_{part}", heard[int(clip)]
        n = golden[name].shape[-1]
        made = {"shape": torch.tensor(sound.shape), "head": sound[:, :n], "tail": sound[:, -n:]}
        comparison.close(name, made[part], SECONDS if part == "shape" else SAMPLES)
    for clip, side, found in golden.numbered(r"out/clip(\d+)_(left|right)_emb_p([\d_]+)"):
        patches = [int(patch) for patch in found.split("_")]
        probes = heard[int(clip)][int(side == "right")].unfold(-1, estimator.patch_samples, 1)[patches]
        comparison.close(f"out/clip{clip}_{side}_emb_p{found}", network(probes), EMBEDDING)
        comparison.close("out/spec_shape", torch.tensor([1, *network.trans(probes).shape]), 0)
    for clip, side, patch in golden.numbered(r"out/clip(\d+)_(left|right)_spec_p(\d+)"):
        name = f"out/clip{clip}_{side}_spec_p{patch}"
        probe = heard[int(clip)][int(side == "right"), int(patch) :][: estimator.patch_samples]
        step = every(N_FRAMES, golden[name].shape[-1])
        comparison.close(name, network.trans(probe[None])[0, :, ::step, ::step], 2e-5)
    heard = torch.stack(heard)
    rows = estimator.delays_s(heard)  # the published sign is the opposite
    pooled = torch.nn.functional.adaptive_avg_pool1d(-rows, golden["out/feat_itds_s"].shape[-1])
    comparison.close("out/feat_itds_s", pooled, SECONDS)
    comparison.close("out/crw_itd_ms", -1000 * rows.mean(-1), 1e-6)
    gcc_s = gcc_phat_itds_s(heard, RATE_HZ, n_frames=config["patch_num"])
    comparison.close("out/gcc_itd_ms", -1000 * gcc_s.mean(-1), 1e-6)
    known = list(zip(heard, rows, strict=True))  # which takes most of the time
    estimator.delays_s = lambda windows: torch.stack(
        [next(row for same, row in known if torch.equal(window, same)) for window in windows]
    )
    half = len(clips) // 2
    references = [Clip("a reference", clip.shape[-1] / CLIPS_HZ, None, None, clip, CLIPS_HZ) for clip in clips[half:]]
    caches = [reward.prepare(reference, Plan({})) for reference in references]
    scores = [reward.score(clip[None], CLIPS_HZ, [cache]) for clip, cache in zip(clips, caches, strict=False)]
    comparison.close("out/prism_itd_reward_first_half_vs_second_half", torch.cat(scores), 1e-6)
    return comparison


@pytest.mark.slow
def test_crw_chain(path):
    golden = read_npz(path)
    assert check_chain(golden, recipe_network(golden.options()["seed"])).problems() == []


def noise(*shape):
    return np.random.default_rng(0).integers(-9000, 9000, shape, dtype=np.int16)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return CrwNetwork(width=2).eval().requires_grad_(requires_grad=False)


@pytest.mark.parametrize(("rate_hz", "tau", "max_delay"), [(16_000, 0.05, 0.0015), (8000, 0.2, 0.002)])
def test_affinities_of_any_configuration_are_replayed(tmp_path, rate_hz, tau, max_delay):
    config = {"patch_num": 20, "patch_stride": 3, "samp_sr": rate_hz, "max_delay": max_delay, "tau": tau}
    rng, edge = np.random.default_rng(0), int(rate_hz * max_delay / 3)
    outline = {f"in/{side}": rng.standard_normal((3, 20, 4)).astype(np.float32) for side in ("left", "right")}
    outline |= {"config": json.dumps(config), "out/aff_corner": np.zeros((3, 5, 5))}
    for mode in ("soft_weight", "argmax"):
        outline |= {f"out/itd_{mode}_bi{k}_s": np.zeros((3, (k + 1) * (20 - 2 * edge))) for k in (0, 1)}
    outline |= {f"out/itd_cycle_clip{clip}_s": np.zeros(1) for clip in range(3)}
    outline |= {"out/mean_s": np.zeros(3), "out/ransac_s": np.zeros(3)}
    assert replayer_flaws(check_affinity, outline, tmp_path / "other.npz") == []


def test_embeddings_of_any_configuration_are_replayed(tmp_path, network):
    cases = [
        {"clip_length": 0.08, "spec_shape": [1, 3, 2, 128, 128]},
        {"clip_length": 0.1, "spec_shape": [1, 3, 2, 133, 128]},
    ]
    outline = {"config": json.dumps({"patch_num": 3, "patch_stride": 5, "cases": cases})}
    outline |= {"in/audio_0p08_int16": noise(1290), "in/audio_0p1_int16": noise(1610)}
    outline |= {"out/emb_0p08": np.zeros((3, 128)), "out/emb_0p1": np.zeros((3, 128))}
    outline |= {
        "out/spec_0p08_patch0_every4": np.zeros((2, 32, 32)),
        "out/spec_0p1_patch2_every16": np.zeros((2, 9, 8)),
    }
    assert replayer_flaws(lambda golden: check_embeddings(golden, network), outline, tmp_path / "other.npz") == []


def chain_file(**options):
    """Four clips that are shorter than what is heard, with other patches."""
    config = {"clip_length": 0.1, "patch_num": 60, "samp_sr": 16_000, "gcc_fft": 3840, "max_delay": 0.0015} | options
    outline = {f"in/clip{i}_int16": noise(2, 4000 + 500 * i) for i in range(4)} | {"config": json.dumps(config)}
    zeros = {"clip2_audio16k_head": (2, 70), "clip0_audio16k_tail": (2, 30), "clip1_audio16k_shape": 2, "spec_shape": 5}
    zeros |= {"clip3_right_emb_p0_7": (2, 128), "clip1_left_spec_p3": (2, 34, 32), "feat_itds_s": (4, 6)}
    zeros |= {"crw_itd_ms": 4, "gcc_itd_ms": 4, "prism_itd_reward_first_half_vs_second_half": 2}
    return outline | {f"out/{name}": np.zeros(shape) for name, shape in zeros.items()}


def test_the_chain_of_any_configuration_is_replayed(tmp_path, network):
    assert replayer_flaws(lambda golden: check_chain(golden, network), chain_file(), tmp_path / "other.npz") == []


def test_a_chain_that_cannot_be_replayed_is_reported(network):
    with pytest.raises(ValueError, match=r"the golden file has \{'tau': 0.1\}"):
        check_chain(Golden(chain_file(tau=0.1)), network)
    with pytest.raises(ValueError, match="the golden file lacks out/feat_itds_s"):
        check_chain(Golden({k: v for k, v in chain_file().items() if k != "out/feat_itds_s"}), network)
