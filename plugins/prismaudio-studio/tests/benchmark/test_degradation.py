"""The degradation benchmark degrades one dimension at a time, and its command prints the results."""

import json

import pytest
import torch

from prismaudio.cli.main import main
from prismaudio.errors import NotApplicableError
from prismaudio.rewards.base import Reward
from prismaudio_studio.benchmark.degradation import COLUMNS, DegradationBenchmark, degraded
from prismaudio_studio.classifier import studio_classifier
from prismaudio_studio.world import sample_scene


class PowerReward(Reward):
    """Mean power; does not apply to clips in a hall."""

    def prepare(self, clip, plan):
        if plan.story.room == "hall":
            raise NotApplicableError("a hall")
        return {}

    def score(self, audio, sample_rate_hz, caches):
        return audio.square().mean((1, 2))


def test_each_degradation_changes_one_dimension() -> None:
    scenes = [scene for scene in (sample_scene(i, 2, held_out=True) for i in range(12)) if len(scene.things) == 1]
    audio = degraded(scenes)
    assert torch.equal(audio["swapped"].flip(1), audio["whole"])
    assert torch.equal(audio["late"][..., 4800:], audio["whole"][..., :-4800])
    classified = [studio_classifier().classify(sound, 16_000) for sound in audio["other_class"]]
    assert not any(noun == scene.things[0].what for noun, scene in zip(classified, scenes, strict=True))


def test_clips_to_which_a_reward_does_not_apply_are_skipped() -> None:
    report = DegradationBenchmark(limit=10, batch_size=4).run({"power": PowerReward()})
    rooms = [sample_scene(i, 0, held_out=True).room for i in range(10)]
    assert len(report.values["power"]["whole"]) == sum(room != "hall" for room in rooms)
    assert report.cell("power", "swapped_by") == {"mean": pytest.approx(0, abs=1e-6), "sd": pytest.approx(0, abs=1e-6)}
    assert report.cell("power", "noisy_by")["mean"] < 0


def test_the_command_writes_a_table_and_figures(tmp_path, capsys) -> None:
    out = tmp_path / "out.json"
    assert main(["bench", "degradation", "--limit", "2", "--rewards", "SpatialReward", "--json", str(out)]) == 0
    read = json.loads(out.read_text())
    assert list(read["rows"]["SpatialReward"]) == list(COLUMNS)
    assert "swapped by" in capsys.readouterr().out.replace("_", " ")


def test_an_unknown_reward_is_one_line(capsys) -> None:
    assert main(["bench", "degradation", "--rewards", "SpacialReward"]) == 2
    assert "did you mean" in capsys.readouterr().err
