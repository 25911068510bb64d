"""Prompts as data, and sections in answers."""

from __future__ import annotations

import shutil

import pytest

from prismaudio.errors import PlanError
from prismaudio.plan import CORE
from prismaudio_vlm.asking import FOLDER, Prompts, read_sections

ONE = "The dog sounds at 1.00 s."


@pytest.mark.parametrize(
    "answer",
    [
        ONE,
        f'"{ONE}"',
        f"<Temporal> {ONE}",
        f"<temporal>{ONE}</temporal>",
        f"Temporal: {ONE}",
        f"**Temporal:** {ONE}",
        f"**Temporal**: {ONE}",
        f"### Temporal\n{ONE}",
        f"**Temporal section:**\n\n{ONE}",
        f"- {ONE}",
        f"```\n{ONE}\n```",
        f'{{"temporal": "{ONE}"}}',
        f'```json\n{{"Temporal": "{ONE}"}}\n```',
        f"Semantic: A dog barks.\nTemporal: {ONE}",
        "The **dog** sounds at 1.00 s.",
        "* The dog sounds at 1.00 s",
        "1. The dog sounds at 1.00 s",
    ],
)
def test_a_section_is_found_in_every_dress(answer):
    assert read_sections(answer, CORE, ["temporal"]) == {"temporal": ONE}


def test_several_sections_in_one_answer():
    answer = "Here is the plan.\n\n<Semantic> A dog.\n<Temporal>\nThe dog sounds at 1 s.\n\n**Spatial** \nOn the left."
    assert read_sections(answer, CORE, CORE) == {
        "semantic": "A dog.",
        "temporal": "The dog sounds at 1 s.",
        "spatial": "On the left.",
    }
    assert read_sections("A dog.", CORE, CORE) == {}
    assert read_sections(answer, CORE, ["aesthetic"]) == {}


def test_words_that_are_no_headings_stay_text():
    text = "Spatial audio pans from left to right: the temporal order is kept."
    assert read_sections(text, CORE, ["spatial"]) == {"spatial": text}
    assert read_sections("A dog - small - barks. It's 5 * 3 m away.", CORE, ["semantic"]) == {
        "semantic": "A dog - small - barks. It's 5 * 3 m away."
    }


def test_lists_become_sentences():
    assert read_sections("- a dog barks\n- a car passes\n", CORE, ["semantic"]) == {
        "semantic": "a dog barks. a car passes."
    }


def test_prompts_are_copied_changed_and_recorded(tmp_path, dimensions):
    own = Prompts.load()
    shutil.copytree(FOLDER, tmp_path / "mine")
    assert Prompts.load(tmp_path / "mine").label == own.label
    text = (tmp_path / "mine" / "planner.yaml").read_text()
    (tmp_path / "mine" / "planner.yaml").write_text(text.replace("version: 2", "version: 7"))
    (tmp_path / "mine" / "spatial.yaml").write_text("version: 3\nanswer: Say left or right.\n")
    mine = Prompts.load(tmp_path / "mine")
    assert mine.label.startswith("planner 7 (")
    assert mine.label != own.label
    assert ", spatial 3 (" in mine.label_of(dimensions[3])
    asked = mine.question(dimensions[3:], {}, 4.0, None, sees=True, hears=False)
    assert "Say left or right." in asked
    assert "Example" not in asked
    assert mine.label_of(dimensions[0]).partition(", ")[2] == own.label_of(dimensions[0]).partition(", ")[2]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("section: Write $nam", r"section has \$nam; it may use \$name, \$tag, \$question, \$answer, \$examples"),
        ("system: It costs $5", r"system has a \$ without a name"),
        ("system: $duration", r"system has \$duration; it may use no name"),
        ("clip: 5", "clip is 5; expected a text"),
        ("sections: x", "has 'sections'; expected version, system"),
    ],
)
def test_a_damaged_prompt_is_one_line(tmp_path, text, says):
    (tmp_path / "planner.yaml").write_text(text)
    with pytest.raises(PlanError, match=says) as raised:
        Prompts.load(tmp_path)
    assert "\n" not in str(raised.value)


def test_a_missing_folder_says_how_to_make_one(tmp_path):
    with pytest.raises(PlanError, match="make one with: prismaudio prompts"):
        Prompts.load(tmp_path / "none")


def test_the_command_copies_every_prompt_and_keeps_what_is_changed(tmp_path, capsys):
    from prismaudio.cli.main import main

    folder = tmp_path / "mine"
    assert main(["prompts", str(folder)]) == 0
    names = {path.name for path in folder.iterdir()}
    assert {"planner.yaml", "semantic.yaml", "temporal.yaml", "aesthetic.yaml", "spatial.yaml"} <= names
    (folder / "spatial.yaml").write_text("version: 9\nanswer: Left or right.\n")
    assert main(["prompts", str(folder)]) == 0
    assert "spatial.yaml: exists, kept" in capsys.readouterr().err
    assert (folder / "spatial.yaml").read_text().startswith("version: 9")
    Prompts.load(folder)
    (tmp_path / "file").write_text("")
    assert main(["prompts", str(tmp_path / "file" / "x")]) == 2
