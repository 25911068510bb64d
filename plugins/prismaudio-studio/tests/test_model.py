"""The model of this package: generated audio, prompts and plans."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from prismaudio.builtin import CORE_DIMENSIONS
from prismaudio.cli.main import main
from prismaudio.inference import PrismAudio
from prismaudio.plan import Plan
from prismaudio.testing import check_autoencoder, check_planner
from prismaudio.testing.examples import example_clip
from prismaudio_studio.planner.event import EventPlanner
from prismaudio_studio.prompting import TIMES_ADDED
from prismaudio_studio.words import NOUNS

SAMPLE = Path(__file__).parents[3] / "samples" / "bell_and_ball.mp4"
PLAN = "<Semantic> A bell. <Temporal> The bell sounds at 0.50 s. <Aesthetic> Dry acoustics. <Spatial> From the left."

EXPECTED = [
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
"""Every 2,500th sample, from the 20,000th on, of the audio that the model generated before it moved to this plugin."""


@pytest.fixture(scope="module")
def studio() -> PrismAudio:
    return PrismAudio.from_pretrained("studio")


def test_it_is_the_default_model(studio) -> None:
    assert studio.name.startswith("studio@")
    assert PrismAudio.from_pretrained().name.partition("@")[2] == studio.name.partition("@")[2]
    assert isinstance(studio.planner, EventPlanner)


def test_planner_and_autoencoder_keep_their_contracts(studio) -> None:
    check_planner(studio.planner, clip=example_clip(side=48, fps=16.0), dimensions=CORE_DIMENSIONS)
    check_autoencoder(studio.autoencoder)


@pytest.mark.parametrize("model", [[], ["--model", "studio"]])
def test_the_command_generates_the_audio_of_the_sample(tmp_path, model) -> None:
    out = tmp_path / "out"
    assert main(["generate", str(SAMPLE), *model, "--steps", "2", "-o", str(out)]) == 0
    data = json.loads((out / "bell_and_ball.json").read_text())
    assert data["model"].startswith("studio@")
    whats = {source.what for source in Plan(data["plan"]).read(NOUNS).sources}
    assert whats == {"bell", "ball"}


def test_the_audio_of_the_sample_is_unchanged(studio) -> None:
    generated = studio.generate(SAMPLE, seed=0)
    assert generated.audio.shape == (2, 64_000)
    torch.testing.assert_close(generated.audio[:, 20_000::2_500], torch.tensor(EXPECTED), atol=1e-4, rtol=0)


def test_audio_from_text_has_default_onset_times(studio) -> None:
    generated = studio.generate(prompt="A small bell in a hall", duration_s=2.0, steps=1)
    assert generated.audio.shape == (2, 32_000)
    assert generated.plan.read(NOUNS).sources[0].onsets_s
    assert generated.plan["semantic"] == "A small bell in a hall"
    assert TIMES_ADDED in generated.warnings


@pytest.mark.parametrize("prompt", ["Eine Glocke läutet", "铃响了"])
def test_a_text_that_is_not_understood_is_named(studio, prompt) -> None:
    said = studio.request(prompt=prompt, duration_s=1.0).warnings[0]
    assert said.startswith(f"no known sound is mentioned in '{prompt}'")
    assert "bell, woodblock" in said
    plan = Plan({"semantic": prompt, "temporal": "The bell sounds at 0.5 s."})
    assert (
        studio.request(plan=plan, duration_s=1.0)
        .warnings[0]
        .startswith(f"not understood: '{prompt}'; the model's vocabulary: ")
    )


def test_a_whole_plan_is_used_word_for_word(studio) -> None:
    used = studio.request(SAMPLE, plan=PLAN).plan
    assert {name: used[name] for name in Plan.parse(PLAN)} == dict(Plan.parse(PLAN))
