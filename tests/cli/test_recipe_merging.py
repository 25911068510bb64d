"""Recipes on top of each other: what a later ``--config`` or option replaces need not be installed."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from pathlib import Path

import pytest
import yaml

from prismaudio.cli.main import main

BASE = """\
model:
  class_path: ToyTask
  init_args:
    sampler: {class_path: NoSampler, init_args: {steps: 7}}
    rewards: {temporal: MsClapRewardX, spatial: {class_path: no_plugin.rewards.Reward}}
trainer:
  callbacks: [NoCallback]
"""
REPLACED = """\
model:
  init_args:
    sampler: EulerSampler
    rewards: {level: ToyReward}
trainer:
  callbacks: []
"""


@pytest.fixture
def base(toy, tmp_path):
    """Words for a recipe whose sampler, rewards and callbacks are not installed, on top of one that can be run."""
    (tmp_path / "base.yaml").write_text(BASE)
    return ["--config", toy, "--config", str(tmp_path / "base.yaml")]


@pytest.fixture
def merged(base, capsys, tmp_path):
    """Prints the recipe that ``base``, another file and options result in."""

    def read(text, *options):
        (tmp_path / "more.yaml").write_text(text)
        warnings.filterwarnings("ignore", message=".*is left out with its arguments steps")
        with pytest.raises(SystemExit) as stop:
            main(["fit", *base, "--config", str(tmp_path / "more.yaml"), *options, "--print_config"])
        assert stop.value.code == 0
        return yaml.safe_load(capsys.readouterr().out)

    return read


def error(capsys, *words):
    assert main(["fit", *words]) == 2
    return capsys.readouterr().err.splitlines()[-1].removeprefix("prismaudio: error: ")


def test_what_a_later_recipe_replaces_need_not_be_installed(merged):
    recipe = merged(REPLACED)
    arguments = recipe["model"]["init_args"]
    assert arguments["sampler"]["class_path"].endswith("EulerSampler")
    assert arguments["sampler"]["init_args"]["steps"] != 7
    assert list(arguments["rewards"]) == ["level"]
    assert recipe["trainer"]["callbacks"] == []


def test_an_option_replaces_too_and_the_last_one_wins(merged):
    rewards = "{level: NoOtherReward}"
    options = ["--model.rewards.level", "ToyReward", "--model.sampler=HeunSampler"]
    recipe = merged(REPLACED.replace("{level: ToyReward}", rewards).replace("EulerSampler", "NoSampler"), *options)
    assert recipe["model"]["init_args"]["sampler"]["class_path"].endswith("HeunSampler")
    assert list(recipe["model"]["init_args"]["rewards"]) == ["level"]
    assert merged(REPLACED, "--model.rewards", "null")["model"]["init_args"]["rewards"] is None


def test_a_class_that_has_no_such_argument_replaces_what_was_in_it(base, capsys):
    words = ["--model", "FoundationTask", "--trainer.callbacks", "[]", "--model.sampler", "EulerSampler"]
    with pytest.raises(SystemExit) as stop, pytest.warns(UserWarning, match="arguments steps"):
        main(["fit", *base, *words, "--print_config"])
    assert stop.value.code == 0
    assert "rewards" not in yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]


@pytest.mark.filterwarnings("ignore:.*is left out with its arguments")
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("sampler: EulerSampler", "width: 3"), "model.sampler: there is no class 'NoSampler'"),
        (("sampler: EulerSampler", "sampler: {init_args: {steps: 3}}"), "there is no class 'NoSampler'"),
        (("rewards: {level: ToyReward}", "width: 3"), "there is no class 'MsClapRewardX'"),
        (("callbacks: []", "callbacks+: [LearningRateMonitor]"), "there is no class 'NoCallback'"),
        (("level: ToyReward", "level: MsClapRewardX"), "there is no class 'MsClapRewardX'"),
        (("level: ToyReward", "level: {class_path: ToyReward, init_args: {target: 1}}"), "did you mean 'target_db'"),
    ],
)
@pytest.mark.parametrize("words", [[], ["--print_config"]])
def test_what_nothing_replaces_must_be_installed(base, capsys, tmp_path, change, expected, words):
    (tmp_path / "more.yaml").write_text(REPLACED.replace(*change))
    assert expected in error(capsys, *base, "--config", str(tmp_path / "more.yaml"), *words)


def test_an_option_for_one_reward_does_not_replace_the_others(base, capsys):
    words = ["--model.sampler", "EulerSampler", "--trainer.callbacks", "[]", "--model.rewards.temporal", "ToyReward"]
    with pytest.warns(UserWarning, match="NoSampler cannot be imported"):
        assert "may not import 'no_plugin.rewards.Reward'" in error(capsys, *base, *words)


def test_the_order_on_the_command_line_counts(base, capsys):
    words = ["--model.sampler", "EulerSampler", "--trainer.callbacks", "[]", "--model.rewards", "null"]
    assert "there is no class" in error(capsys, *base[:2], *words, *base[2:])
    assert "no class that has the argument 'sampler' is named before it" in error(capsys, *words, *base)


def test_a_class_that_an_alias_repeats_is_left_out_of_both_places(base, capsys, tmp_path):
    (tmp_path / "base.yaml").write_text(
        BASE.replace("sampler: {", "sampler: &a {").replace("MsClapRewardX, spatial: ", "*a, spatial: &b ")
    )
    (tmp_path / "more.yaml").write_text(REPLACED)
    with pytest.raises(SystemExit) as stop, pytest.warns(UserWarning, match="is left out with its arguments steps"):
        main(["fit", *base, "--config", str(tmp_path / "more.yaml"), "--print_config"])
    assert stop.value.code == 0
    assert list(yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]["rewards"]) == ["level"]


def test_a_recipe_is_read_from_a_pipe_once_and_its_copy_is_given_to_other_processes(toy, tmp_path, monkeypatch, capsys):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setattr(sys, "argv", ["prismaudio", "fit", "--config", toy, f"--config={pipe}"])
    writer = threading.Thread(target=pipe.write_text, args=["trainer: {max_steps: 1}\n"])
    writer.start()
    with pytest.raises(SystemExit):
        main([*sys.argv[1:], "--print_config"])
    writer.join()
    assert yaml.safe_load(capsys.readouterr().out)["trainer"]["max_steps"] == 1
    copy = Path(sys.argv[-1].removeprefix("--config="))
    assert copy.read_text() == "trainer: {max_steps: 1}\n"
    copy.unlink()


def test_a_pipe_with_more_than_a_recipe_is_one_line(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")

    def fill():
        with pytest.raises(BrokenPipeError):
            (tmp_path / "pipe").write_bytes(b"x" * (1 << 22))

    writer = threading.Thread(target=fill)
    writer.start()
    assert "more than 1048576 bytes" in error(capsys, "--config", str(tmp_path / "pipe"))
    writer.join()


def test_an_error_in_a_pipe_names_it_as_the_command_line_does(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=["- 1"])
    writer.start()
    assert error(capsys, "--config", str(tmp_path / "pipe")).startswith(f"{tmp_path / 'pipe'} is not a recipe")
    writer.join()
