from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys

import pytest

from prismaudio import registry
from prismaudio.errors import BrokenPluginError, DuplicateNameError, PrismAudioError, UnknownNameError
from prismaudio.hookspecs import KINDS

GOOD = """
    @hookimpl
    def prismaudio_dimensions():
        return [Dimension("warmth", "How warm is it?")]

    @hookimpl
    def prismaudio_samplers():
        return [Component("MODULE:WarmSampler", "Samples warmly.", "warmth")]

    class WarmSampler:
        pass
"""


def plugin_named(found, name):
    return next(plugin for plugin in found.plugins if plugin.name == name)


def test_an_installed_plugin_is_found_after_the_core(install):
    module = install(GOOD, name="aaa")
    found = registry.discover()
    assert [plugin.name for plugin in found.plugins][:2] == ["core", "aaa"]
    assert [d.name for d in found.dimensions()][:5] == ["semantic", "temporal", "aesthetic", "spatial", "warmth"]
    assert found.load("samplers", "WarmSampler").__module__ == module
    assert plugin_named(found, "aaa").version == "0.3"


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import a_package_that_is_not_installed", "ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("1 +", "SyntaxError"),
        (
            "@hookimpl\ndef prismaudio_vocoders():\n    return []",
            "requires a newer version of prismaudio: unknown hook 'prismaudio_vocoders'",
        ),
        ("@hookimpl\ndef prismaudio_rewards(device):\n    return []", "requires a newer version of prismaudio"),
        ("def prismaudio_rewards():\n    return []", "prismaudio_rewards lacks @hookimpl"),
        ("@hookimpl\ndef prismaudio_rewards():\n    return [int]", "must return Components, not <class 'int'>"),
        ("@hookimpl\ndef prismaudio_rewards():\n    return None", "TypeError"),
        ("@hookimpl\ndef prismaudio_rewards():\n    return [Component('a.B', 'no colon')]", "must look like"),
        ("@hookimpl\ndef prismaudio_dimensions():\n    return [Dimension('Two words', '?')]", "one lower-case word"),
        ("@hookimpl\ndef prismaudio_rewards():\n    return 1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_broken_plugin_is_listed_and_affects_no_other(install, source, error):
    install(source, name="broken")
    install(GOOD, name="good")
    found = registry.discover()
    broken = plugin_named(found, "broken")
    assert broken.status == "broken"
    assert error in broken.error
    assert "\n" not in broken.error
    assert "warmth" in found.names("dimensions")
    assert not [entry for entry in found.entries if entry.plugin.name == "broken"]


def test_a_component_that_cannot_be_imported_is_an_error_only_when_it_is_wanted(install):
    install(
        "@hookimpl\ndef prismaudio_samplers():\n    return [Component('no_such_module:LostSampler', 'x')]", name="lost"
    )
    found = registry.discover()
    assert "LostSampler" in found.names("samplers")
    with pytest.raises(BrokenPluginError, match=r"LostSampler of plugin 'lost' \(prismaudio-lost\) cannot be imported"):
        found.load("samplers", "LostSampler")


def test_two_plugins_that_provide_one_name(install, monkeypatch):
    install(GOOD, name="one")
    install(GOOD, name="two")
    found = registry.discover()
    text = r"dimension 'warmth' comes from both 'one' \(prismaudio-one\) and 'two' \(prismaudio-two\).*DISABLE_PLUGINS"
    with pytest.raises(DuplicateNameError, match=text):
        found.dimensions()
    with pytest.raises(DuplicateNameError, match="sampler 'WarmSampler'"):
        found.load("samplers", "WarmSampler")
    monkeypatch.setenv("PRISMAUDIO_DISABLE_PLUGINS", "one")
    assert "warmth" in [dimension.name for dimension in registry.discover().dimensions()]


def test_one_name_in_two_kinds_is_no_clash(install):
    source = "@hookimpl\ndef prismaudio_KIND():\n    return [Component('MODULE:Thing', 'x')]"
    install(source.replace("KIND", "rewards"), name="one")
    install(source.replace("KIND", "metrics"), name="two")
    found = registry.discover()
    assert found.find("rewards", "Thing").plugin.name == "one"
    assert found.find("metrics", "Thing").plugin.name == "two"


def test_two_distributions_with_one_entry_point_name_are_both_named(install, monkeypatch):
    install(GOOD, name="same", distribution="first")
    install(GOOD, name="same", distribution="second")
    broken = [plugin for plugin in registry.discover().plugins if plugin.name == "same"]
    assert [plugin.status for plugin in broken] == ["broken", "broken"]
    assert "first and second both name their plugin 'same'" in broken[0].error
    monkeypatch.setenv("PRISMAUDIO_DISABLE_PLUGINS", "second")
    assert "warmth" in registry.discover().names("dimensions")


def test_disabled_plugins_are_listed_and_not_imported(install, monkeypatch):
    module = install(GOOD, name="good")
    monkeypatch.setenv("PRISMAUDIO_DISABLE_PLUGINS", " other, good ")
    found = registry.discover()
    assert plugin_named(found, "good").status == "disabled"
    assert module not in sys.modules


def test_without_the_core_every_kind_is_empty(monkeypatch):
    installed = {plugin.name for plugin in registry.discover().plugins}
    monkeypatch.setenv("PRISMAUDIO_DISABLE_PLUGINS", ",".join(installed))
    found = registry.discover()
    assert {kind: found.names(kind) for kind in KINDS} == {kind: [] for kind in KINDS}


def test_a_local_plugin_needs_no_installation(install, monkeypatch):
    module = install(GOOD, entry_point=False)
    monkeypatch.setenv("PRISMAUDIO_PLUGINS", module)
    found = registry.discover()
    assert plugin_named(found, module).distribution is None
    assert "WarmSampler" in found.names("samplers")


def test_a_local_plugin_may_be_a_file(tmp_path, monkeypatch):
    (tmp_path / "warm_file.py").write_text("from prismaudio import hookimpl\n")
    monkeypatch.setenv("PRISMAUDIO_PLUGINS", str(tmp_path / "warm_file.py"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert plugin_named(registry.discover(), "warm_file").status == "ok"


def test_files_beside_a_local_plugin_do_not_replace_modules_of_python(tmp_path):
    (tmp_path / "plain_plugin.py").write_text("import signal\nfrom prismaudio import hookimpl\n")
    (tmp_path / "signal.py").write_text("raise RuntimeError\n")
    line = [sys.executable, "-P", "-c", "from prismaudio.registry import discover; import subprocess; discover()"]
    for name in ("plain_plugin", "plain_plugin.py"):
        environment = {**os.environ, "PRISMAUDIO_PLUGINS": name}
        assert subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True).returncode == 0


def test_a_broken_local_plugin_is_an_error(monkeypatch):
    monkeypatch.setenv("PRISMAUDIO_PLUGINS", "no_such_plugin")
    with pytest.raises(BrokenPluginError, match="local plugin 'no_such_plugin' cannot be loaded: ModuleNotFoundError"):
        registry.discover()


def test_a_plugin_ships_recipes(install, tmp_path):
    (tmp_path / "recipes" / "smoke").mkdir(parents=True)
    (tmp_path / "recipes" / "smoke" / "warm.yaml").write_text("# Warm.\n")
    install(f"""
        from pathlib import Path
        @hookimpl
        def prismaudio_recipes():
            return [Path({str(tmp_path / "recipes")!r})]
        """)
    assert registry.discover().find("recipes", "smoke/warm").item == tmp_path / "recipes" / "smoke" / "warm.yaml"


@pytest.mark.parametrize(
    ("kind", "name", "advice"),
    [
        ("samplers", "EulrSampler", "no sampler is named 'EulrSampler'; did you mean 'EulerSampler'"),
        ("dimensions", "spacial", "did you mean 'spatial'"),
        ("dimensions", "qqqq", "known: semantic, temporal, aesthetic, spatial"),
    ],
)
def test_an_unknown_name_is_answered_with_what_comes_near(kind, name, advice):
    with pytest.raises(UnknownNameError, match=advice):
        registry.discover().find(kind, name)


def test_a_name_of_a_plugin_that_is_not_installed_is_answered_with_what_to_install():
    with pytest.raises(
        UnknownNameError, match="to install it, run in a clone: pip install plugins/prismaudio-loudness"
    ):
        registry.Registry().find("rewards", "LoudnessReward")
    with pytest.raises(
        UnknownNameError, match=r"did you mean 'LoudnessReward'.*pip install plugins/prismaudio-loudness"
    ):
        registry.Registry().find("rewards", "LoudnesReward")


def test_a_name_of_a_disabled_plugin_is_answered_with_that():
    off = registry.Plugin("loudness", "prismaudio_loudness", "prismaudio-loudness", "0.1", "disabled")
    with pytest.raises(UnknownNameError, match="provides it but is disabled"):
        registry.Registry([off]).find("rewards", "LoudnessReward")


def test_unknown_names_mention_broken_plugins():
    broken = registry.Plugin("odd", "odd", "prismaudio-odd", "0.1", "broken", "ImportError: x")
    with pytest.raises(UnknownNameError, match=r"broken plugins may provide it: 'odd' \(prismaudio-odd\)"):
        registry.Registry([broken]).find("rewards", "OddReward")


def test_a_package_that_is_not_installed_is_reported(monkeypatch):
    registry.discovered.cache_clear()
    monkeypatch.setattr(registry, "entry_points", lambda group: importlib.metadata.EntryPoints())
    with pytest.raises(PrismAudioError, match="prismaudio is not installed in this environment"):
        registry.discover()


def test_discovery_imports_no_torch():
    code = "import sys; from prismaudio.registry import discover; discover(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
