from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import prismaudio
from prismaudio.cli import main as command
from prismaudio.registry import Plugin, Registry


def run(*words, **environment):
    line = [sys.executable, "-m", "prismaudio", *words]
    return subprocess.run(line, capture_output=True, text=True, env=os.environ | environment)


def test_help_names_every_command(capsys):
    assert command.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in command.COMMANDS)
    assert "LightningCLI" in text


def test_every_command_has_its_module():
    from importlib.util import find_spec

    targets = {target.partition(":")[0] for target, _ in command.COMMANDS.values()}
    assert [target for target in targets if find_spec(target) is None] == []


def test_version(capsys):
    assert command.main(["--version"]) == 0
    assert capsys.readouterr().out == f"prismaudio {prismaudio.__version__}\n"


def test_the_version_is_the_distributions():
    from importlib.metadata import version

    assert prismaudio.__version__ == version("prismaudio")


def test_without_a_command_the_help_is_an_error(capsys):
    assert command.main([]) == 2
    assert "usage: prismaudio" in capsys.readouterr().err


def test_an_unknown_command_is_answered_with_the_nearest(capsys):
    assert command.main(["genrate"]) == 2
    assert capsys.readouterr().err == "prismaudio: error: there is no command 'genrate'; did you mean 'generate'?\n"


@pytest.mark.parametrize(
    ("raised", "code", "text"),
    [
        (prismaudio.errors.PlanError("two\nlines"), 2, "prismaudio: error: two lines\n"),
        (OSError(28, "No space left on device", "out.mp4"), 2, "No space left on device: 'out.mp4'"),
        (KeyboardInterrupt(), 130, "prismaudio: interrupted\n"),
    ],
)
def test_errors_are_one_line_and_a_code(monkeypatch, capsys, raised, code, text):
    def fail(argv):
        raise raised

    monkeypatch.setattr("prismaudio.cli.plugins.main", fail)
    assert command.main(["plugins"]) == code
    err = capsys.readouterr().err
    assert text in err
    assert err.count("\n") == 1


def test_a_bug_is_not_hidden(monkeypatch):
    monkeypatch.setattr("prismaudio.cli.plugins.main", lambda argv: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        command.main(["plugins"])


def test_local_plugins_reach_the_environment(monkeypatch):
    monkeypatch.setenv("PRISMAUDIO_PLUGINS", "first")
    rest = command.take_local_plugins(["fit", "--plugin", "second", "--plugin=third", "--", "--plugin", "x"])
    assert rest == ["fit", "--", "--plugin", "x"]
    assert os.environ["PRISMAUDIO_PLUGINS"] == "first,second,third"


def test_plugin_requires_a_module(capsys):
    assert command.main(["fit", "--plugin"]) == 2
    assert "--plugin has no value" in capsys.readouterr().err


def test_a_local_plugin_is_listed(tmp_path):
    (tmp_path / "my_reward.py").write_text(
        "from prismaudio import Component, hookimpl\n"
        "@hookimpl\ndef prismaudio_rewards():\n    return [Component('my_reward:MyReward', 'Mine.')]\n"
    )
    line = [sys.executable, "-m", "prismaudio", "--plugin", "my_reward", "plugins", "list", "--json"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path)
    assert [r["distribution"] for r in json.loads(done.stdout) if r["name"] == "MyReward"] == [None]


def test_a_closed_pipe_is_no_traceback():
    line = f"{sys.executable} -m prismaudio plugins list --json | true"
    done = subprocess.run(line, shell=True, capture_output=True, text=True)
    assert "Traceback" not in done.stderr


def test_light_commands_import_nothing_heavy():
    code = """
import sys
from prismaudio.cli.main import main
for argv in (["--version"], ["--help"], ["plugins", "list"], ["plugins", "list", "--json"], ["recipes", "list"]):
    main(argv)
heavy = {"torch", "lightning", "jsonargparse", "rich", "numpy", "yaml", "av", "matplotlib"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_environment_variable_that_is_not_read_is_named(monkeypatch, capsys):
    monkeypatch.setenv("PRISMAUDIO_CACHE_DIR", "/tmp/x")
    monkeypatch.setenv("PRISMAUDIO_STUDIO_COLOUR", "1")  # of a plugin
    monkeypatch.setenv("PRISMAUDIO_CACHE", "/tmp/x")
    plugin = Plugin("studio", "prismaudio_studio")
    monkeypatch.setattr("prismaudio.registry.discover", lambda: Registry([plugin], []))
    assert command.main(["--version"]) == 0
    assert capsys.readouterr().err == (
        "warning: the environment variable PRISMAUDIO_CACHE_DIR is not read; did you mean PRISMAUDIO_CACHE?\n"
    )
    monkeypatch.setenv("LOCAL_RANK", "1")  # a process that the first one started
    assert command.main(["--version"]) == 0
    assert capsys.readouterr().err == ""
