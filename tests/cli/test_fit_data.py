"""What ``prismaudio fit`` says about data that cannot be trained on."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from prismaudio.cli.main import main
from prismaudio.data.shards import shard_bytes

DESCRIPTION = {
    "latents": {"weights": "0123", "sample_rate_hz": 16_000, "hop": 256, "channels": 4},
    "streams": {"video": {"width": 3, "rate_hz": 12.5}},
}


def shard(folder, number, *, change=(), description=DESCRIPTION):
    values = {"latents": torch.zeros(4, 50), "video": torch.zeros(10, 3)} | dict(change)
    folder.mkdir(exist_ok=True)
    data = shard_bytes({f"clip{number}": values}, {}, description)
    (folder / f"shard-{number}.safetensors").write_bytes(data)


def truncated(folder):
    shard(folder, 0)
    path = folder / "shard-0.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


def of_two_models(folder):
    other = copy.deepcopy(DESCRIPTION)
    other["latents"]["weights"] = "4567"
    shard(folder, 0)
    shard(folder, 1, description=other)


def of_two_rates(folder):
    other = copy.deepcopy(DESCRIPTION)
    other["streams"]["video"]["rate_hz"] = 25.0
    shard(folder, 0)
    shard(folder, 1, description=other)


def of_two_widths(folder):
    shard(folder, 0, description={})
    shard(folder, 1, change={"video": torch.zeros(10, 5)}, description={})


CASES = {
    "there are no features in": lambda folder: folder.mkdir(),
    "is truncated, damaged or not a safetensors file": truncated,
    "of shard-1.safetensors, unlike those of shard-0.safetensors, were computed by another autoencoder": of_two_models,
    "rate_hz 25.0, expected 12.5": of_two_rates,
    "have width 5, those of clip0 3": of_two_widths,
    "its video in": lambda folder: shard(folder, 0, change={"video": torch.full((10, 3), float("nan"))}),
    "its latents in": lambda folder: shard(folder, 0, change={"latents": torch.full((4, 50), float("inf"))}),
    "its latents last 4.80 s, its video features 0.80 s": lambda folder: shard(
        folder, 0, change={"latents": torch.zeros(4, 300)}
    ),
}


def fit(recipe, manifest, capsys):
    data = f"data: {{class_path: ManifestDataModule, init_args: {{manifest: {manifest}}}}}"
    Path(recipe).write_text(Path(recipe).read_text().replace("data: ToyData", data))
    code = main(["fit", "--config", recipe])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("prismaudio: error")]
    return code, lines


@pytest.mark.parametrize("says", CASES)
def test_features_that_cannot_be_trained_on(says, toy, tmp_path, capsys):
    CASES[says](tmp_path / "features")
    code, (line,) = fit(toy, tmp_path / "features", capsys)
    assert code == 2
    assert says in line


@pytest.mark.parametrize(
    ("text", "says"), [("video\n", "lists no clips"), ("video\na.mp4\nb.mp4\n", "names 2 files that do not exist")]
)
def test_manifests_that_cannot_be_trained_on(text, says, toy, tmp_path, capsys):
    (tmp_path / "clips.csv").write_text(text)
    code, (line,) = fit(toy, tmp_path / "clips.csv", capsys)
    assert code == 2
    assert says in line
