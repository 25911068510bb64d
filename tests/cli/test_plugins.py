from __future__ import annotations

import json

import pytest

from prismaudio import registry
from prismaudio.cli.main import main

KEYS = ["kind", "name", "target", "summary", "dimension", "distribution", "version", "status", "error"]


def rows(capsys):
    assert main(["plugins", "list", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_json_lists_the_core(capsys):
    found = rows(capsys)
    assert all(list(row) == KEYS for row in found)
    dimension = next(row for row in found if row["name"] == "temporal")
    assert (dimension["kind"], dimension["distribution"], dimension["status"]) == ("dimensions", "prismaudio", "ok")
    sampler = next(row for row in found if row["name"] == "EulerSampler")
    assert sampler["target"] == "prismaudio.samplers.euler:EulerSampler"


def test_broken_disabled_and_clashing_plugins_are_listed(install, monkeypatch, capsys):
    clashing = "@hookimpl\ndef prismaudio_dimensions():\n    return [Dimension('spatial', 'Again?')]"
    install("import nothing_like_this", name="broken")
    install("", name="off")
    install(clashing, name="rival")
    monkeypatch.setenv("PRISMAUDIO_DISABLE_PLUGINS", "off")
    found = {(row["kind"], row["name"], row["distribution"]): row for row in rows(capsys)}
    assert found["plugins", "broken", "prismaudio-broken"]["status"] == "broken"
    assert "nothing_like_this" in found["plugins", "broken", "prismaudio-broken"]["error"]
    assert found["plugins", "off", "prismaudio-off"]["status"] == "disabled"
    assert found["dimensions", "spatial", "prismaudio"]["status"] == "clash"
    assert "comes from both" in found["dimensions", "spatial", "prismaudio-rival"]["error"]
    assert main(["plugins", "list"]) == 0
    text = capsys.readouterr().out
    assert "[broken]" in text
    assert "[clash]" in text


def test_every_component_of_the_core_can_be_imported():
    found = registry.discover()
    mine = [e for e in found.entries if e.plugin.name == "core" and e.kind not in ("dimensions", "recipes")]
    assert mine
    for entry in mine:
        assert found.load(entry.kind, entry.name).__name__ == entry.name


BAD = """
    import torch
    from prismaudio.samplers.base import Sampler

    @hookimpl
    def prismaudio_dimensions():
        return [Dimension("warmth", "Not a question.")]

    @hookimpl
    def prismaudio_samplers():
        return [Component(f"MODULE:{name}", name) for name in ("Orphan", "Silent", "Caller", "Unfinished", "Good")]

    class Orphan:
        "No base class."

    class Silent(Sampler):
        def __init__(self, steps=3, more: int = 2):
            pass
        def sample(self, velocity, noise, on_step=None):
            return noise

    class Caller(Silent):
        "Calls home."
        def __init__(self):
            import urllib.request
            urllib.request.urlopen("http://localhost:1/weights")

    class Unfinished(Sampler):
        "Half done."

    class Good(Silent):
        '''Does nothing.

        Args:
            steps: How many.
        '''
        def __init__(self, steps: int = 3):
            pass
"""


@pytest.mark.slow
def test_check_finds_what_is_wrong(install, capsys):
    install(BAD, name="bad")
    assert main(["plugins", "check", "bad"]) == 1
    blocks = dict(part.split("\n", 1) for part in capsys.readouterr().out.split("samplers ")[1:])
    assert "base class  FAIL it must be a subclass of prismaudio.samplers.base:Sampler" in blocks["Orphan"]
    assert "docstring   FAIL there is none" in blocks["Silent"]
    assert "arguments   FAIL no type: steps" in blocks["Silent"]
    assert "offline     FAIL" in blocks["Caller"]
    assert "base class  FAIL it does not define sample" in blocks["Unfinished"]
    assert "FAIL" not in blocks["Good"].replace("failed", "")
    assert main(["plugins", "check", "Good"]) == 0
    assert "works without the network" in capsys.readouterr().out


def test_check_judges_questions_and_headers(install, capsys, tmp_path):
    (tmp_path / "x.yaml").write_text("model: X\n")
    install(f"""
        from pathlib import Path
        @hookimpl
        def prismaudio_dimensions():
            return [Dimension("warmth", "Not a question.")]
        @hookimpl
        def prismaudio_recipes():
            return [Path({str(tmp_path)!r})]
        """)
    assert main(["plugins", "check", "prismaudio-extra"]) == 1
    text = capsys.readouterr().out
    assert "is not a question" in text
    assert "must be a comment" in text


def test_check_of_an_unknown_plugin(capsys):
    assert main(["plugins", "check", "cor"]) == 2
    assert "did you mean 'core'" in capsys.readouterr().err
