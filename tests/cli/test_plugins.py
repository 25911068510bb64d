from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib

import pytest

from prismaudio import registry
from prismaudio.cli.main import main
from prismaudio.cli.plugin_new import SCORER_KINDS, TEMPLATE_KINDS

KEYS = [
    *("kind", "name", "target", "summary", "dimension", "stream", "dim", "rate_hz"),
    *("distribution", "version", "status", "error"),
]


def rows(capsys):
    assert main(["plugins", "list", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_json_lists_the_core(capsys):
    found = rows(capsys)
    assert all(list(row) == KEYS for row in found)
    dimension = next(row for row in found if row["name"] == "temporal")
    assert (dimension["kind"], dimension["distribution"], dimension["status"]) == ("dimensions", "prismaudio", "ok")
    encoder = next(row for row in found if row["name"] == "BrightnessEncoder")
    assert (encoder["stream"], encoder["dim"], encoder["rate_hz"]) == ("video", 4, 8.0)
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
    from prismaudio.samplers.euler import EulerSampler

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

    class Good(EulerSampler):
        '''Does what it should.

        Args:
            steps: How many.
        '''
        def __init__(self, steps: int = 3):
            super().__init__(steps)
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


def test_check_validates_questions_and_headers(install, capsys, tmp_path):
    (tmp_path / "x.yaml").write_text("model: X\n")
    (tmp_path / "prompt.txt").write_text("views: everything\n")
    install(f"""
        from pathlib import Path
        @hookimpl
        def prismaudio_dimensions():
            prompt = Path({str(tmp_path)!r}) / "prompt.txt"
            return [Dimension("warmth", "Not a question."), Dimension("glow", "Is it one?", prompt=prompt)]
        @hookimpl
        def prismaudio_recipes():
            return [Path({str(tmp_path)!r})]
        """)
    assert main(["plugins", "check", "prismaudio-extra"]) == 1
    text = capsys.readouterr().out
    assert "is not a question" in text
    assert "views is 'everything'; expected whole or moments" in text
    assert "must be a comment" in text


def test_check_of_an_unknown_plugin(capsys):
    assert main(["plugins", "check", "cor"]) == 2
    assert "did you mean 'core'" in capsys.readouterr().err


REWARDS = """
    from prismaudio.errors import CheckpointError, NotApplicableError
    from prismaudio.rewards.base import Reward

    @hookimpl
    def prismaudio_rewards():
        return [Component(f"MODULE:{name}", name) for name in ("Level", "OfTheBatch", "Weights", "Picky")]

    class Level(Reward):
        "How loud."
        def score(self, audio, sample_rate_hz, caches):
            return audio.abs().mean((1, 2))

    class OfTheBatch(Reward):
        "How loud, in its batch."
        def score(self, audio, sample_rate_hz, caches):
            return audio.abs().mean((1, 2)) - audio.abs().mean()

    class Weights(Level):
        "Has no weights."
        def prepare(self, clip, plan):
            raise CheckpointError("x.pt is not on this machine; get it")

    class Picky(Level):
        "Scores nothing."
        def prepare(self, clip, plan):
            raise NotApplicableError("no dog barks")
"""


@pytest.mark.slow
def test_check_tries_what_can_be_built_on_an_example(install, capsys):
    install(REWARDS, name="levels")
    assert main(["plugins", "check", "levels"]) == 1
    blocks = dict(part.split("\n", 1) for part in capsys.readouterr().out.split("rewards ")[1:])
    assert "contract    fulfilled" in blocks["Level"]
    assert "contract    FAIL OfTheBatch: rows scored in a batch differ" in blocks["OfTheBatch"]
    assert "contract    reports what is missing: x.pt" in blocks["Weights"]
    assert "contract    not checked" in blocks["Picky"]
    assert "1 failed" in blocks["Picky"]


ENCODERS = """
    from prismaudio import Stream
    from prismaudio.encoders.brightness import BrightnessEncoder

    @hookimpl
    def prismaudio_encoders():
        return [
            Component("MODULE:Right", "Right.", stream=Stream("depth", 4, 8.0)),
            Component("MODULE:Wider", "Wider.", stream=Stream("depth", 5, 8.0)),
            Component("MODULE:Silent", "Silent."),
        ]

    class Right(BrightnessEncoder):
        "Depth."
        def __init__(self) -> None:
            super().__init__()

    class Wider(Right):
        "Depth."

    class Silent(Right):
        "Depth."
"""


@pytest.mark.slow
def test_check_compares_an_encoder_with_what_is_declared_of_its_stream(install, capsys):
    install(ENCODERS, name="depths")
    assert main(["plugins", "check", "depths"]) == 1
    blocks = dict(part.split("\n", 1) for part in capsys.readouterr().out.split("encoders ")[1:])
    assert "stream      depth, dim 4, 8 per second" in blocks["Right"]
    assert "stream      FAIL it declares dim 5 and rate_hz 8.0; its features have 4 and 8.0" in blocks["Wider"]
    assert "stream      FAIL its Component declares no stream" in blocks["Silent"]


TESTED = ("pytest", "-q", "-p", "no:cacheprovider", "-W", "error")


def run(folder, *words, sources, **variables):
    path = os.pathsep.join([*sources, *sys.path])
    environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"} | variables
    return subprocess.run([sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True)


def new(folder, name, *words):
    assert main(["plugins", "new", name, "--output", str(folder), *words]) == 0
    return folder / f"prismaudio-{name}"


@pytest.mark.slow
def test_new_plugins_of_one_kind_pass_their_tests(tmp_path, capsys):
    sets = [(kind,) for kind in TEMPLATE_KINDS] + [("reward", "metric"), ("metric", "command"), ("reward", "gate")]
    for kinds in sets:
        options = [word for kind in kinds for word in ("--kind", kind)]
        options += ["--dimension", "aesthetic"] if {*kinds} & {*SCORER_KINDS} else []
        new(tmp_path, f"only-{'-'.join(kinds)}", *options)
    modules = [path.parent.name for path in tmp_path.glob("prismaudio-*/src/*/__init__.py")]
    sources = [str(path) for path in tmp_path.glob("prismaudio-*/src")]
    tested = run(tmp_path, *TESTED, sources=sources, PRISMAUDIO_PLUGINS=",".join(modules))
    assert f"{sum(map(len, sets))} passed" in tested.stdout, tested.stdout


EDITS = {
    "room_tone.py": {
        "10 * audio.square().mean((1, 2)).clamp(min=1e-9)": "20 * audio.abs().mean((1, 2)).clamp(min=1e-5)",
        "LOWEST_DB = -70.0": "LOWEST_DB = -90.0",
        "DEFAULT_DB = -20.0": "DEFAULT_DB = -6.0",
        ' dB"': ' dBFS"',
        "range(options.count)": "range(2 * options.count)",
        "Print the level": "Print the peak",
    },
    "encoder.py": {"cells: int = 4": "cells: int = 3", ".abs()": ".square()"},
    "__init__.py": {"dim=16": "dim=9"},
    "planner.py": {"click": "drum", "share: float = 0.7": "share: float = 0.4", '"clean", "dry"': '"noisy", "hall"'},
    "sampler.py": {"place: float = 0.75": "place: float = 0.5", "steps: int = 12": "steps: int = 7"},
    "autoencoder.py": {
        "hop: int = 32, kept: int = 32": "hop: int = 50, kept: int = 20",
        "sample_rate_hz: int = 16_000": "sample_rate_hz: int = 44_100",
        "blocks @ self.basis": "(blocks @ self.basis).tanh()",
    },
}
"""What an author may change first: other formulas, other defaults."""
CHECKS = """
import json
from dataclasses import asdict
from prismaudio.components import Component
from prismaudio.registry import discover
from prismaudio.testing.component import check_component

def test_what_plugins_check_does_in_a_process_for_each():
    for entry in discover().entries:
        if entry.plugin.module == "prismaudio_room_tone" and isinstance(entry.item, Component):
            stream = entry.item.stream and asdict(entry.item.stream)
            report = check_component(entry.kind, entry.item.target, json.dumps(stream))
            assert not [text for text in report.values() if text.startswith("FAIL")]
            assert report.get("contract", "fulfilled for one example") == "fulfilled for one example"
"""


@pytest.mark.slow
def test_the_tests_of_a_new_plugin_survive_edits_and_find_a_broken_contract(tmp_path, capsys):
    kinds = [word for kind in TEMPLATE_KINDS for word in ("--kind", kind)]
    folder = new(tmp_path, "room-tone", *kinds, "--dimension", "warmth")
    said = capsys.readouterr().out
    assert said.startswith(f"wrote {folder}; next: pip install -e '{folder}[test]' && pytest {folder} && prismaudio")
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["prismaudio"] == {"room_tone": "prismaudio_room_tone"}
    assert project["optional-dependencies"]["test"][0].startswith("pytest")
    plugin = {"sources": [str(folder / "src")], "PRISMAUDIO_PLUGINS": "prismaudio_room_tone"}
    listed = run(folder, "prismaudio", "plugins", "list", **plugin).stdout
    assert {"warmth", "smoke/room_tone", "RoomToneEncoder"} < {*listed.split()}
    for name, edits in EDITS.items():
        path = folder / "src" / "prismaudio_room_tone" / name
        text = path.read_text()
        for before, after in edits.items():
            assert before in text
            text = text.replace(before, after)
        path.write_text(text)
    (folder / "tests" / "test_checks.py").write_text(CHECKS)
    tested = run(folder, *TESTED, **plugin)
    assert f"{len(TEMPLATE_KINDS) + 1} passed" in tested.stdout, tested.stdout
    planner = folder / "src" / "prismaudio_room_tone" / "planner.py"
    planner.write_text(planner.read_text().replace("        return Plan({**{name", "        return dict({**{name"))
    tested = run(folder, *TESTED, "-k", "planner", **plugin)
    assert "RoomTonePlanner: planning: it must return a Plan, not the dict" in tested.stdout


@pytest.mark.slow
def test_the_recipe_of_a_new_plugin_trains_with_its_components(tmp_path, capsys):
    kinds = ("encoder", "autoencoder", "sampler", "metric")
    folder = new(tmp_path, "tone", *[word for kind in kinds for word in ("--kind", kind)], "--dimension", "warmth")
    plugin = {"sources": [str(folder / "src")], "PRISMAUDIO_PLUGINS": "prismaudio_tone"}
    fitted = run(folder, "prismaudio", "fit", "--config", "smoke/tone", **plugin)
    assert fitted.returncode == 0, fitted.stderr
    assert "val_loss" in fitted.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["Room Tone", "--dimension", "warmth"], "'Room Tone' is not a plugin name"),
        (["class", "--dimension", "warmth"], "'class' is not a plugin name"),
        (["tone", "--dimension", "Warm th"], "expected one lower-case word"),
        (["prismaudio-onset", "--dimension", "warmth"], "exists; choose another name or --output"),
        (["toy", "--dimension", "temporal"], "a reward ToyReward is already installed"),
        (["tone"], "a metric needs a dimension to score; add --dimension NAME"),
        (["sampler", "--kind", "sampler"], "'sampler' is the name of a module of the plugin"),
        (
            ["tone", "--kind", "gate", "--dimension", "spatial"],
            "'spatial' is already installed and has no effect on --kind gate",
        ),
    ],
)
def test_a_new_plugin_with_a_wrong_name_is_one_line(tmp_path, capsys, install, words, said):
    install("@hookimpl\ndef prismaudio_rewards():\n    return [Component('MODULE:ToyReward', 'A toy.')]")
    (tmp_path / "prismaudio-onset").mkdir()
    assert main(["plugins", "new", *words, "--output", str(tmp_path)]) == 2
    text = capsys.readouterr().err
    assert said in text
    assert text.count("\n") == 1
    assert [path.name for path in tmp_path.glob("prismaudio-*")] == ["prismaudio-onset"]
