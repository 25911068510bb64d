"""The model that the package installs, and what it makes of texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from prismaudio.cli.main import main
from prismaudio.inference import PrismAudio
from prismaudio.plan import Plan
from prismaudio_studio.planner.event import EventPlanner
from prismaudio_studio.prompting import CHOSEN
from prismaudio_studio.words import NOUNS

SAMPLE = Path(__file__).parents[3] / "samples" / "bell_and_ball.mp4"
PLAN = "<Semantic> A bell. <Temporal> The bell sounds at 0.50 s. <Aesthetic> Dry acoustics. <Spatial> From the left."

HEARD = [
    [
        -0.58704,
        -0.0223,
        0.05329,
        0.08278,
        -0.03249,
        -0.00483,
        0.00027,
        -0.10934,
        0.00115,
        -0.16421,
        0.03287,
        -0.00622,
        0.0004,
        0.00016,
        -0.00017,
        -0.00038,
        -0.01942,
        -0.07345,
    ],
    [
        0.03108,
        -0.02102,
        0.11188,
        0.2083,
        -0.02398,
        -0.02526,
        -0.00213,
        0.05706,
        0.00117,
        -0.10633,
        -0.00255,
        -0.00691,
        -0.00337,
        -0.0002,
        -6e-05,
        9e-05,
        0.01795,
        0.02216,
    ],
]
"""Every 2,500th sample from the 20,000th on of the sample's sound, as the model made it before it was a plugin's."""


@pytest.fixture(scope="module")
def studio() -> PrismAudio:
    return PrismAudio.from_pretrained("studio")


def test_it_is_the_model_that_is_installed(studio) -> None:
    assert studio.name.startswith("studio@")
    assert PrismAudio.from_pretrained().name.partition("@")[2] == studio.name.partition("@")[2]
    assert isinstance(studio.planner, EventPlanner)


@pytest.mark.parametrize("model", [[], ["--model", "studio"]])
def test_the_command_makes_the_sound_of_the_sample(tmp_path, model) -> None:
    out = tmp_path / "out"
    assert main(["generate", str(SAMPLE), *model, "--steps", "2", "-o", str(out)]) == 0
    told = json.loads((out / "bell_and_ball.json").read_text())
    assert told["model"].startswith("studio@")
    whats = {source.what for source in Plan(told["plan"]).read(NOUNS).sources}
    assert whats == {"bell", "ball"}


def test_the_sound_of_the_sample_is_what_it_was(studio) -> None:
    sound = studio.generate(SAMPLE, seed=0)
    assert sound.audio.shape == (2, 64_000)
    torch.testing.assert_close(sound.audio[:, 20_000::2_500], torch.tensor(HEARD), atol=1e-4, rtol=0)


def test_sound_from_text_has_chosen_moments(studio) -> None:
    sound = studio.generate(prompt="A small bell in a hall", duration_s=2.0, steps=1)
    assert sound.audio.shape == (2, 32_000)
    assert sound.plan.read(NOUNS).sources[0].onsets_s
    assert sound.plan["semantic"] == "A small bell in a hall"
    assert CHOSEN in sound.warnings


@pytest.mark.parametrize("prompt", ["Eine Glocke läutet", "铃响了"])
def test_a_text_that_is_not_understood_is_named(studio, prompt) -> None:
    said = studio.request(prompt=prompt, duration_s=1.0).warnings[0]
    assert said.startswith(f"nothing that sounds is understood in '{prompt}'")
    assert "bell, woodblock" in said
    plan = Plan({"semantic": prompt, "temporal": "The bell sounds at 0.5 s."})
    assert studio.request(plan=plan, duration_s=1.0).warnings[0].startswith(f"not understood: '{prompt}'; this model")


def test_a_whole_plan_is_used_word_for_word(studio) -> None:
    used = studio.request(SAMPLE, plan=PLAN).plan
    assert {name: used[name] for name in Plan.parse(PLAN)} == dict(Plan.parse(PLAN))
