"""What language models are told about sections."""

from __future__ import annotations

import pytest

from prismaudio.builtin import CORE_DIMENSIONS
from prismaudio.components import Dimension
from prismaudio.errors import PlanError
from prismaudio.plan import Plan
from prismaudio.planners.prompts import SectionPrompt


def test_every_core_dimension_brings_a_prompt_whose_examples_the_parser_understands():
    prompts = {dimension.name: SectionPrompt.of(dimension) for dimension in CORE_DIMENSIONS}
    assert all(prompt.answer and len(prompt.hash) == 8 and prompt.version >= 1 for prompt in prompts.values())
    assert [name for name, prompt in prompts.items() if prompt.views == "moments"] == ["temporal"]
    story = Plan({name: prompt.examples[0] for name, prompt in prompts.items()}).story
    dog, car = story.sources
    assert (dog.what, dog.onsets_s, dog.size, dog.azimuth_deg) == ("dog", (0.66, 1.2), "small", (24.0, 24.0))
    assert (car.what, car.onsets_s, car.end_s, car.azimuth_deg) == ("car", (0.5,), 2.3, (-50.0, 50.0))
    assert (story.quality, story.room) == ("clean", "room")


def test_a_dimension_without_a_file_has_its_default_section_as_an_example():
    prompt = SectionPrompt.of(Dimension("loudness", "How loud?", "At -23 LUFS."))
    assert (prompt.examples, prompt.views, prompt.hash) == (("At -23 LUFS.",), "whole", "")
    assert SectionPrompt.of(Dimension("loudness", "How loud?")).examples == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("version: one", "version is 'one'; expected int"),
        ("version: true", "version is True; expected int"),
        ("answer: [1]", r"answer is \[1\]; expected str"),
        ("views: all", "views is 'all'; expected whole or moments"),
        ("question: when?", "has 'question'; expected version, answer, examples, views"),
        ("just text", "has no names"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_damaged_prompt_is_one_line(tmp_path, text, says):
    path = tmp_path / "temporal.yaml"
    path.write_text(text)
    with pytest.raises(PlanError, match=says) as raised:
        SectionPrompt.load(path)
    assert "\n" not in str(raised.value)


def test_a_missing_prompt_is_one_line(tmp_path):
    with pytest.raises(PlanError, match="no such file"):
        SectionPrompt.load(tmp_path / "none.yaml")
