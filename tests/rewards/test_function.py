from __future__ import annotations

import pytest
import torch

import prismaudio
from prismaudio.checkpoints import save_components
from prismaudio.cli.main import main
from prismaudio.errors import CheckpointError, NotApplicableError, PrismAudioError
from prismaudio.media import write_wav
from prismaudio.plan import Plan
from prismaudio.rewards import FunctionReward, prepare
from prismaudio.testing import check_reward
from prismaudio.testing.examples import example_clip
from prismaudio.types import Clip


def level(audio, sample_rate_hz):
    return float(audio.square().mean().sqrt())


def test_it_keeps_the_contract_of_rewards():
    check_reward(FunctionReward(level, lowest=0.0, highest=1.0))
    needing = FunctionReward(
        lambda audio, rate_hz, clip, plan: audio.abs().mean() * len(clip.frames) + len(plan["semantic"]),
        {"video", "plan"},
        higher_is_better=False,
    )
    check_reward(needing)


@pytest.mark.parametrize("need", ["video", "reference", "plan"])
def test_the_function_sees_what_it_needs_and_nothing_else(need, tmp_path):
    seen = []

    def note(audio, sample_rate_hz, clip, plan):
        seen.append((audio, sample_rate_hz, clip, plan))
        return 0.5

    clip, plan = example_clip(1.0), Plan({"semantic": "A gong < 3."})
    reward = FunctionReward(note, [need])
    cache = prepare(reward, clip, plan, tmp_path)
    assert list(tmp_path.iterdir()) == []
    audio = torch.rand(3, 2, 10)
    assert reward.score(audio, 8000, [cache] * 3).tolist() == [0.5] * 3
    assert [row[0].tolist() for row in seen] == audio.tolist()
    _, rate_hz, found, said = seen[0]
    assert (rate_hz, found.id, found.duration_s) == (8000, clip.id, clip.duration_s)
    assert (found.has, dict(said)) == ({need} - {"plan"}, dict(plan) if need == "plan" else {})
    if need == "video":
        assert torch.equal(found.frames, clip.frames)
        assert found.fps == clip.fps
    if need == "reference":
        assert torch.equal(found.audio, clip.audio)
        assert found.sample_rate_hz == clip.sample_rate_hz
    with pytest.raises(NotApplicableError):
        prepare(reward, Clip("bare", 1.0), Plan({}))


def test_files_are_scored_with_rewards_by_name(tmp_path):
    write_wav(torch.full((2, 8000), 0.25), 8000, tmp_path / "a.wav")
    rewards = {"level": FunctionReward(level), "negative": FunctionReward(lambda *_: -1)}
    scores = prismaudio.score(tmp_path / "a.wav", rewards=rewards, metrics=[])
    assert {name: round(score.value, 3) for name, score in scores.items()} == {"level": 0.25, "negative": -1.0}


@pytest.mark.parametrize(
    ("value", "said"), [(None, "returns None"), ("loud", "returns 'loud'"), (torch.ones(2), "(2,)")]
)
def test_what_is_no_number_is_one_line(value, said):
    with pytest.raises(PrismAudioError) as caught:
        FunctionReward(lambda *_: value).score(torch.zeros(1, 2, 10), 8000, [{}])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_cannot_hold_a_function(tmp_path):
    with pytest.raises(CheckpointError, match="FunctionReward cannot be written to a file: its argument function is"):
        save_components(tmp_path / "model", {"reward": FunctionReward(level)})
    assert not (tmp_path / "model").exists()


RECIPE = """
model:
  class_path: FastGrpoTask
  init_args: {pretrained: mine, rewards: {level: {class_path: FunctionReward, init_args: {function: mine.FUNCTION}}}}
data: {class_path: SyntheticDataModule}
"""


def test_a_recipe_names_a_function_of_a_plugin_by_its_path(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.py").write_text("def level(audio, sample_rate_hz):\n    return audio.square().mean()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRISMAUDIO_PLUGINS", "mine.py")
    recipe, words = tmp_path / "recipe.yaml", ["fit", "--config", "recipe.yaml", "--print_config"]
    recipe.write_text(RECIPE.replace("FUNCTION", "level"))
    with pytest.raises(SystemExit, match="0"):
        main(words)
    assert "function: mine.level" in capsys.readouterr().out
    recipe.write_text(RECIPE.replace("FUNCTION", "lever"))
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("prismaudio: error: model.rewards.function: ")
    assert said.count("\n") == 1


def test_needs_that_no_clip_has_are_refused() -> None:
    for needs, named in (("plan", "plan"), ({"audio", "video"}, "audio")):
        with pytest.raises(PrismAudioError, match=f"needs of a FunctionReward is '{named}'; expected a set of"):
            FunctionReward(lambda audio, rate_hz, clip, plan: 0.0, needs=needs)  # type: ignore[arg-type]
