"""Time differences and metrics against those of the published evaluation code, every tensor of every such file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from parity import Comparison, consensus, golden_files, kind_of, read_npz

from prismaudio.audio.interaural import gcc_phat_itds_s
from prismaudio.audio.resample import fourier_resample
from prismaudio.metrics.features import FrechetDistance, InceptionScore, KlDivergence, MeanCosine, shuffled
from prismaudio.metrics.itd import WINDOW, GccMse, window_starts, windows

DATA = Path(__file__).with_name("data")
RATE_HZ = 16_000


def sound(samples) -> torch.Tensor:
    return torch.as_tensor(samples).float() / 32768


def updated(metric, *inputs):
    metric.update(*map(torch.as_tensor, inputs))
    return metric.compute()


def check_gcc_phat(golden: dict) -> list[str]:
    """What of a ``gcc_phat`` file differs."""
    comparison = Comparison(golden)
    for i, case in enumerate(json.loads(golden["config"])):
        audio = sound(golden[f"in/case{i}_int16"])
        itds_s = -gcc_phat_itds_s(audio, RATE_HZ, case["gcc_fft"], case["patch_num"], case["interp"])  # published sign
        found = itds_s.mean() if case["mode"] == "mean" else consensus(itds_s * RATE_HZ, 0.05) / RATE_HZ
        comparison.close(f"out/case{i}_itd_s", found, 1e-9)
    expected = golden["out/scipy_resample16k"]
    found = fourier_resample(sound(golden["in/resample44k_int16"]), expected.shape[-1])
    comparison.close("out/scipy_resample16k", found, 1e-6)
    return comparison.problems()


def check_metrics(golden: dict) -> list[str]:
    """What of a ``metrics`` file differs."""
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
    return comparison.problems()


def check_itds(golden: dict, comparison: Comparison) -> None:
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
    assert CHECKS[kind_of(path)](read_npz(path)) == []


OUTPUTS = [(file, name) for file in CHECKS for name in read_npz(DATA / f"{file}.npz") if name.startswith("out/")]


@pytest.fixture(scope="module")
def problems():
    """What is found when every output is a little different from what it should be."""
    found = {}
    for file, check in CHECKS.items():
        golden = read_npz(DATA / f"{file}.npz")
        wrong = {name: np.asarray(value) + 1 for name, value in golden.items() if name.startswith("out/")}
        found[file] = check({**golden, **wrong, "out/unheard_of": np.ones(1)})
    return found


@pytest.mark.parametrize(("file", "name"), [*OUTPUTS, ("metrics", "out/unheard_of"), ("gcc_phat", "out/unheard_of")])
def test_a_wrong_or_unknown_output_is_found(problems, file, name):
    assert any(problem.startswith(f"{name} ") for problem in problems[file])
