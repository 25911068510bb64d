"""Time differences and metrics against those of the published evaluation code, every tensor of every such file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from parity import Comparison, Golden, consensus, golden_files, kind_of, read_npz, replayer_flaws

from prismaudio.audio.interaural import gcc_phat_itds_s
from prismaudio.audio.resample import fourier_resample
from prismaudio.metrics.features import FrechetDistance, InceptionScore, KlDivergence, MeanCosine, shuffled
from prismaudio.metrics.itd import WINDOW, GccMse, window_starts, windows

DATA = Path(__file__).with_name("data")
RATE_HZ, MAX_ITD_S = 16_000, 0.0015
"""The published ones, where a case does not state others."""


def sound(samples) -> torch.Tensor:
    return torch.as_tensor(samples).float() / 32768


def updated(metric, *inputs):
    metric.update(*map(torch.as_tensor, inputs))
    return metric.compute()


def check_gcc_phat(golden: Golden) -> Comparison:
    """Compare what a ``gcc_phat`` file holds."""
    comparison = Comparison(golden)
    for i, case in enumerate(golden.options()):
        audio, rate_hz = sound(golden[f"in/case{i}_int16"]), case.get("samp_sr", RATE_HZ)
        max_itd_s = case.get("max_delay", MAX_ITD_S)
        sizes = case["gcc_fft"], case["patch_num"], case["interp"]
        itds_s = -gcc_phat_itds_s(audio, rate_hz, *sizes, max_itd_s=max_itd_s)  # the published sign
        found = {"mean": itds_s.mean(), "ransac": consensus(itds_s * rate_hz, 0.05) / rate_hz}[case["mode"]]
        comparison.close(f"out/case{i}_itd_s", found, 1e-9)
    expected = golden["out/scipy_resample16k"]
    found = fourier_resample(sound(golden["in/resample44k_int16"]), expected.shape[-1])
    comparison.close("out/scipy_resample16k", found, 1e-6)
    return comparison


def check_metrics(golden: Golden) -> Comparison:
    """Compare what a ``metrics`` file holds."""
    comparison = Comparison(golden)
    for name, tolerance in {"fd": 1e-6, "fd_singular": 1e-3}.items():
        pair = golden[f"in/{name}_pred"], golden[f"in/{name}_gt"]
        found = updated(FrechetDistance(pair[0].shape[1]), *pair)
        comparison.close(f"out/{name}", found, tolerance, relative=True)
    logits = golden["in/logits_pred"], golden["in/logits_gt"]
    comparison.close("out/kl_softmax", updated(KlDivergence(), *logits), 1e-5)
    comparison.close("out/kl_sigmoid", updated(KlDivergence("sigmoid"), *logits), 1e-5)
    mean, deviation = updated(InceptionScore(), logits[0])
    comparison.close("out/is_mean", mean, 1e-6)
    comparison.close("out/is_std", deviation, 1e-6)
    comparison.close("out/is_permutation", torch.as_tensor(shuffled(len(logits[0]))), 0)
    comparison.close("out/ib_score", updated(MeanCosine(), golden["in/ib_video"], golden["in/ib_audio"]), 1e-6)
    for name in [name for name in golden if name.startswith("out/itd_windows_")]:
        starts = window_starts(int(name.rpartition("_")[2]), len(golden[name]))
        comparison.close(name, torch.stack([starts, starts + WINDOW], 1), 0)
    check_itds(golden, comparison)
    return comparison


def check_itds(golden: Golden, comparison: Comparison) -> None:
    """Time differences in the first windows of pairs of sounds, and the metric that they give."""
    metric, means = GccMse(release=True), []
    for side in ("gt", "pred"):
        (name,) = (name for name in golden if name.startswith(f"out/itd_{side}_ms_windows"))
        n_windows = int(re.findall(r"\d+$", name)[0])
        sounds = [sound(golden[f"in/itd_{side}{i}_int16"]) for i in range(len(golden[name]))]
        itds_ms = -1000 * torch.stack(
            [  # of the published sign
                metric.itds_s(windows(audio, n_windows)) for audio in sounds
            ]
        )
        comparison.close(name, itds_ms, 1e-6)
        means.append(itds_ms.double().mean(1))
    metric.add(means[1] - means[0])
    with pytest.warns(UserWarning, match="before the ``update``"):
        comparison.close("out/gcc_mse_x1000", metric.compute(), 1e-6, relative=True)


CHECKS = {"gcc_phat": check_gcc_phat, "metrics": check_metrics}


def pytest_generate_tests(metafunc):
    if "path" in metafunc.fixturenames:
        golden_files(metafunc, DATA, *CHECKS)


def test_every_tensor_agrees(path):
    assert CHECKS[kind_of(path)](read_npz(path)).problems() == []


OUTPUTS = [(file, name) for file in CHECKS for name in read_npz(DATA / f"{file}.npz") if name.startswith("out/")]


@pytest.fixture(scope="module")
def problems():
    """What is found when every output is a little different from what it should be."""
    found = {}
    for file, check in CHECKS.items():
        golden = read_npz(DATA / f"{file}.npz")
        wrong = {name: np.asarray(value) + 1 for name, value in golden.items() if name.startswith("out/")}
        found[file] = check(Golden({**golden, **wrong, "out/unheard_of": np.ones(1)})).problems()
    return found


@pytest.mark.parametrize(("file", "name"), [*OUTPUTS, ("metrics", "out/unheard_of"), ("gcc_phat", "out/unheard_of")])
def test_a_wrong_or_unknown_output_is_found(problems, file, name):
    assert any(problem.startswith(f"{name} ") for problem in problems[file])


def noise(*shape):
    return np.random.default_rng(0).integers(-9000, 9000, shape, dtype=np.int16)


def test_time_differences_of_any_configuration_are_replayed(tmp_path):
    """Other frames, lags and rates, and another length to resample to."""
    cases = [
        {"gcc_fft": 700, "patch_num": 9, "mode": "mean", "interp": 2},
        {"gcc_fft": 512, "patch_num": 5, "mode": "ransac", "interp": 1, "samp_sr": 8000, "max_delay": 0.004},
    ]
    outline = {"config": json.dumps(cases), "in/case0_int16": noise(2, 900), "in/case1_int16": noise(2, 3000)}
    outline |= {"out/case0_itd_s": 0.0, "out/case1_itd_s": 0.0}
    outline |= {"in/resample44k_int16": noise(2, 4410), "out/scipy_resample16k": np.zeros((2, 1600))}
    assert replayer_flaws(check_gcc_phat, outline, tmp_path / "other.npz") == []
    del cases[0]["interp"]
    with pytest.raises(ValueError, match="the golden file lacks config: interp"):
        check_gcc_phat(Golden(outline | {"config": json.dumps(cases)}))


def test_metrics_of_any_size_are_replayed(tmp_path):
    rng = np.random.default_rng(0)
    shapes = {"fd_pred": (30, 5), "fd_gt": (20, 5), "fd_singular_pred": (6, 9), "fd_singular_gt": (5, 9)}
    shapes |= {"logits_pred": (21, 7), "logits_gt": (21, 7), "ib_video": (3, 8), "ib_audio": (3, 8)}
    outline = {f"in/{name}": rng.standard_normal(shape) for name, shape in shapes.items()}
    names = ("fd", "fd_singular", "kl_softmax", "kl_sigmoid", "is_mean", "is_std", "ib_score", "gcc_mse_x1000")
    outline |= {f"out/{name}": 0.0 for name in names} | {"out/is_permutation": np.zeros(21)}
    outline |= {f"in/itd_{side}{i}_int16": noise(2, 5000 + 100 * i) for side in ("gt", "pred") for i in (0, 1)}
    outline |= {"in/itd_pred1_int16": noise(2, 6000), "out/itd_windows_9000": np.zeros((7, 2))}
    outline |= {f"out/itd_{side}_ms_windows3": np.zeros((2, 3)) for side in ("gt", "pred")}
    assert replayer_flaws(check_metrics, outline, tmp_path / "other.npz") == []
