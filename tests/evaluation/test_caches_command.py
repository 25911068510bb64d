from __future__ import annotations

import json

import pytest
import torch

from prismaudio.cli.main import main
from prismaudio.metrics.features import FrechetDistance


@pytest.fixture
def caches(tmp_path, monkeypatch):
    """Reference and generated caches of twelve clips: VGGish features, and ImageBind of frames and audio."""
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    features = {}
    for side, shift in (("true", 0.0), ("ours", 0.5)):
        (tmp_path / side).mkdir()
        rows = {f"clip{i}": torch.randn(9, 4, generator=generator) + shift for i in range(12)}
        torch.save(rows, tmp_path / side / "vggish_features.pth")
        features[side] = torch.cat([*rows.values()])
    frames = {f"clip{i}": torch.randn(8, generator=generator) for i in range(12)}
    torch.save(frames, tmp_path / "true" / "imagebind_video.pth")
    torch.save({name: -row for name, row in frames.items()}, tmp_path / "ours" / "imagebind_audio.pth")
    return features


def test_values_and_reasons_are_printed_and_written(caches, capsys):
    words = ["evaluate", "caches", "--reference", "true", "--generated", "ours", "--json", "out.json"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    with open("out.json", encoding="utf-8") as file:  # noqa: PTH123
        ours = json.load(file)["systems"]["ours"]
    metric = FrechetDistance(4)
    metric.update(caches["ours"], caches["true"])
    assert ours["metrics"]["FD-VGG"] == pytest.approx(float(metric.compute()))
    assert ours["metrics"]["IB-Score"] == pytest.approx(-1.0)
    assert ours["intervals"]["IB-Score"] == pytest.approx([-1.0, -1.0])
    assert "no such file: ours/pann_features.pth" in ours["reasons"]["KL-PANNS-softmax"]
    assert "not computed: ours, KL-PANNS-softmax" in printed
    assert main(words) == 0  # its own results are replaced


def test_other_files_are_not_replaced_and_bad_folders_are_one_line(caches, capsys, tmp_path):
    (tmp_path / "out.json").write_text('{"mine": 1}')
    words = ["evaluate", "caches", "--reference", "true", "--generated"]
    assert main([*words, "ours", "--json", "out.json"]) == 2
    assert "holds no results of caches" in capsys.readouterr().err
    assert main([*words, "gone"]) == 2
    assert "gone is not a folder" in capsys.readouterr().err
    assert (tmp_path / "out.json").read_text() == '{"mine": 1}'
