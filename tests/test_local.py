from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from importlib import import_module

import pytest

from prismaudio import local, registry
from prismaudio.errors import BrokenPluginError

SOURCE = """
from prismaudio import Component, hookimpl

@hookimpl
def prismaudio_samplers():
    return [Component("TARGET", "Samples.")]

class NAME:
    pass
"""


@pytest.fixture
def local_files(tmp_path, monkeypatch):
    """Name files as local plugins: ``local_files({path: class name})``; each names its class as its file does."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def name(files):
        for path, thing in files.items():
            file = tmp_path / path
            file.parent.mkdir(exist_ok=True)
            file.write_text(SOURCE.replace("TARGET", f"{file.stem}:{thing}").replace("NAME", thing))
        monkeypatch.setenv("PRISMAUDIO_PLUGINS", ",".join(str(tmp_path / path) for path in files))
        return registry.discover()

    yield name
    for module in set(sys.modules) - before:
        del sys.modules[module]


def test_a_file_that_is_called_like_a_module_of_python_is_loaded(local_files):
    found = local_files({"signal.py": "LocalSignal"})
    assert found.load("samplers", "LocalSignal").__module__ == "prismaudio.local.signal"
    assert sys.modules["signal"] is signal


def test_a_file_may_be_called_like_an_installed_plugin(local_files):
    assert "LocalCore" in local_files({"core.py": "LocalCore"}).names("samplers")


def test_files_of_one_name_are_two_plugins(local_files):
    found = local_files({"a/twin.py": "LocalOne", "b/twin.py": "LocalTwo"})
    one, two = (found.load("samplers", name) for name in ("LocalOne", "LocalTwo"))
    assert one.__module__ == "prismaudio.local.twin"
    assert two.__module__.startswith("prismaudio.local.twin_")
    assert import_module(two.__module__) is sys.modules[two.__module__]


def test_a_file_that_is_named_twice_is_one_plugin(local_files, tmp_path, monkeypatch):
    local_files({"once.py": "LocalOnce"})
    monkeypatch.setenv("PRISMAUDIO_PLUGINS", f"{tmp_path}/once.py, {tmp_path}/a/../once.py,{tmp_path}/once.py")
    assert [entry.name for entry in registry.discover().entries].count("LocalOnce") == 1


def test_a_file_is_one_module_by_either_name(local_files):
    found = local_files({"lone_plugin.py": "LocalLone"})
    assert import_module("lone_plugin").LocalLone is found.load("samplers", "LocalLone")


def test_other_processes_find_what_a_plugin_has_made(local_files):
    kind = local_files({"select.py": "LocalSelect"}).load("samplers", "LocalSelect")
    data = pickle.dumps(kind())
    line = [sys.executable, "-c", f"import pickle; print(type(pickle.loads({data!r})))"]
    found = subprocess.run(line, capture_output=True, text=True, check=True)
    assert "prismaudio.local.select.LocalSelect" in found.stdout
    missing = subprocess.run(line, capture_output=True, text=True, env={**os.environ, "PRISMAUDIO_PLUGINS": ""})
    last = missing.stderr.splitlines()[-1]
    assert "No module named 'prismaudio.local.select': it is a single-file plugin; add --plugin FILE.py" in last


def test_a_module_of_python_is_no_plugin(monkeypatch):
    monkeypatch.setenv("PRISMAUDIO_PLUGINS", "signal")
    with pytest.raises(BrokenPluginError, match=r"'signal' cannot be loaded: .* write signal\.py"):
        registry.discover()


def test_a_file_that_is_not_there_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PRISMAUDIO_PLUGINS", str(tmp_path / "none.py"))
    with pytest.raises(BrokenPluginError, match=r"none\.py' cannot be loaded: FileNotFoundError"):
        registry.discover()


def test_the_names_of_files_are_modules(tmp_path, monkeypatch):
    monkeypatch.setenv("PRISMAUDIO_PLUGINS", f"{tmp_path}/my-own.v2.py")
    assert local.module_name(f"{tmp_path}/my-own.v2.py") == "prismaudio.local.my_own_v2"
    assert local.module_name("my_own") is None
