from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib

import pytest

from prismaudio import registry
from prismaudio.cli.main import main

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


def run(folder, *words):
    path = os.pathsep.join([str(folder / "src"), *sys.path])
    environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True)


KIND_SETS = [
    *[("reward", "metric"), ("reward",), ("metric",), ("gate",)],
    *[("benchmark", "command"), ("metric", "command"), ("reward", "gate")],
]


@pytest.mark.slow
@pytest.mark.parametrize("kinds", KIND_SETS)
def test_a_new_plugin_passes_its_tests_and_the_checks(tmp_path, capsys, kinds):
    options = [word for kind in kinds for word in ("--kind", kind)]
    scored = sum(kind in ("reward", "metric") for kind in kinds)
    dimension = "warmth" if scored == 2 else "aesthetic"
    options += ["--dimension", dimension] if scored else []
    assert main(["plugins", "new", "room-tone", "--output", str(tmp_path), *options]) == 0
    folder = tmp_path / "prismaudio-room-tone"
    assert capsys.readouterr().out.startswith(f"wrote {folder}; next: pip install -e {folder}")
    assert tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"]["prismaudio"] == {
        "room_tone": "prismaudio_room_tone"
    }
    tested = run(folder, "pytest", "-q", "-p", "no:cacheprovider", "-W", "error")
    assert tested.returncode == 0, tested.stdout
    assert f"{len(kinds) + 1 + (scored > 0) + ('reward' in kinds)} passed" in tested.stdout
    checked = run(folder, "prismaudio", "--plugin", "prismaudio_room_tone", "plugins", "check", "prismaudio_room_tone")
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.count("contract    fulfilled") == scored + ("gate" in kinds)
    assert ("dimensions warmth" in checked.stdout) == (dimension == "warmth")
    assert ("recipes smoke/room_tone" in checked.stdout) == ("metric" in kinds)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["Room Tone", "--dimension", "warmth"], "'Room Tone' is not a plugin name"),
        (["class", "--dimension", "warmth"], "'class' is not a plugin name"),
        (["tone", "--dimension", "Warm th"], "expected one lower-case word"),
        (["prismaudio-onset", "--dimension", "warmth"], "exists; choose another name or --output"),
        (["toy", "--dimension", "temporal"], "a reward ToyReward is already installed"),
        (["tone"], "a metric needs a dimension to score; add --dimension NAME"),
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
