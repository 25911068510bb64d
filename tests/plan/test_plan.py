import random

import pytest

from prismaudio.components import Dimension
from prismaudio.errors import PlanError
from prismaudio.plan import CORE, Plan

TEXT = "<Semantic> A bell rings. <Temporal> The bell sounds at 0.66 s. <Aesthetic> Clean. <Spatial> On the left."


def test_is_a_mapping_that_prints_what_it_reads():
    plan = Plan.parse(TEXT)
    assert list(plan) == list(CORE)
    assert plan["temporal"] == "The bell sounds at 0.66 s."
    assert str(plan) == TEXT
    assert plan == Plan.parse(str(plan))


def test_tags_are_tolerant_of_case_spaces_and_closing_tags():
    assert Plan.parse("< semantic >A bell.</semantic>\n<SPATIAL>\nLeft.") == {"semantic": "A bell.", "spatial": "Left."}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("A bell rings.", "no section tags; expected <Semantic> …"),
        ("", "no section tags"),
        ("<Semantic A bell. <Temporal> x", "malformed section tag near '<Semantic"),
        ("<> A bell", "malformed"),
        ("</Semantic> A bell", "closes nothing"),
        ("<Semantc> A bell", "unknown section <Semantc> in the plan; did you mean <Semantic>?"),
        ("<Weather> Rain", "known are <Semantic>"),
        ("<Spatial> left <Spatial> right", "duplicate section <Spatial>"),
        ("bell <Semantic> A bell", "text before its first section"),
    ],
)
def test_bad_tags_are_one_line_errors(text, says):
    with pytest.raises(PlanError, match=r"^[^\n]+$") as error:
        Plan.parse(text)
    assert says in str(error.value)


def test_sections_of_given_dimensions_are_known():
    text = "<Semantic> A bell. <Loudness> Loud."
    with pytest.raises(PlanError, match="unknown section <Loudness>"):
        Plan.parse(text)
    plan = Plan.parse(text, [*CORE, Dimension("loudness", "How loud is it?")])
    assert plan["loudness"] == "Loud."
    assert Plan.parse(text, [*CORE, "loudness"]) == plan


def test_file_can_be_edited(tmp_path):
    path = tmp_path / "plan.txt"
    plan = Plan.parse(TEXT)
    plan.save(path)
    assert Plan.load(path) == plan
    path.write_text(path.read_text().replace("0.66", "1.66") + "# a remark <Semantic>\n")
    assert Plan.load(path).story.sources[0].onsets_s == (1.66,)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b"<Semantic A", b""])
def test_bad_files_name_the_file(tmp_path, content):
    path = tmp_path / "plan.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PlanError, match=r"plan\.txt"):
        Plan.load(path)
    with pytest.raises(PlanError, match="cannot write"):
        Plan.parse(TEXT).save(tmp_path / "none" / "plan.txt")


@pytest.mark.parametrize(
    ("temporal", "says"),
    [
        ("The bell at 0.5 s and 5.2 s.", "bell at 5.20 s, but the clip lasts 4.00 s"),
        ("At 9 seconds something happens.", "9.00 s"),
        ("The engine runs from 1 s to 6 s.", "engine at 6.00 s"),
        ("The engine runs from 2 s to 1 s.", "ends at 1.00 s, but begins at 2.00 s"),
    ],
)
def test_check_finds_times_beyond_the_clip(temporal, says):
    plan = Plan({"temporal": temporal})
    with pytest.raises(PlanError) as error:
        plan.check(4.0)
    assert says in str(error.value)
    Plan.parse(TEXT).check(4.0)


def test_crop_shifts_events_and_keeps_the_rest():
    plan = Plan(
        {
            "semantic": "A bell rings twice; an engine runs.",
            "temporal": "Bell at 0.5 s and 2.5 s; engine from 1 s to 3 s.",
            "aesthetic": "Velvety.",
            "spatial": "The engine moves from the left (azimuth -40°) to the right (azimuth +40°). The bell is right.",
            "loudness": "Loud.",
        }
    )
    bell, engine = plan.crop(2.0, 4.0).story.sources
    assert (bell.onsets_s, engine.onsets_s, engine.end_s) == ((0.5,), (0.0,), 1.0)
    assert engine.azimuth_deg == (0.0, 40.0)
    assert plan.crop(2.0, 4.0)["aesthetic"] == "Velvety."
    assert plan.crop(2.0, 4.0)["loudness"] == "Loud."
    assert plan.crop(3.2, 4.0).story.sources == ()


@pytest.mark.parametrize(
    ("start_s", "end_s", "semantic"),
    [
        (0.0, 4.0, "A small dog barks twice. A car passes; a gate creaks three times."),
        (2.0, 4.0, "A small dog barks once. A gate creaks twice."),
        (0.0, 1.4, "A small dog barks once. A car passes."),
        (1.4, 2.2, "A gate creaks once."),
    ],
)
def test_crop_keeps_the_sentences_of_what_sounds_in_the_part_and_corrects_their_counts(start_s, end_s, semantic):
    plan = Plan(
        {
            "semantic": "A small dog barks twice. A car passes; a gate creaks three times.",
            "temporal": "The dog at 0.5 s and 3 s. The car at 1 s. The gate at 1.5 s, 2.5 s and 3.5 s.",
        }
    )
    assert plan.crop(start_s, end_s)["semantic"] == semantic


def test_crop_keeps_plans_without_events_word_for_word():
    plan = Plan.parse("<Semantic> Rain on leaves. <Temporal> Steady throughout.")
    assert plan.crop(1.0, 2.0) == plan


NASTY = [
    "#asmr a glass clinks", "# x", "##", "I <3 a glass", "a > b < c", "<", ">", "<>", "&lt;", "'\"`$(x)", " ", "",
    "<Semantic>", "I say <Semantic> and </Semantic>", "</Spatial>", "\u202e<Temporal>\u202c",
    "\\", "\\\\", "\\<", "a\\", "\\# x", "C:\\dir\\#1 <x>",
    "line\n# two", "\r\n#\r\n", "\u2028# x", "\x85#", "\x1c#", "a\x00b",
    "\ud800", "a\udce4b", "\ud83d\ude00", "\ufeff", "\ufeff#", "铃响了 #", "💥",
]  # fmt: skip


@pytest.mark.parametrize("text", NASTY)
def test_any_text_of_a_section_is_read_back(tmp_path, text):
    for plan in (Plan({"semantic": text}), Plan(dict.fromkeys(CORE, text)), Plan({"spatial": f"{text} {text}"})):
        plan.save(tmp_path / "plan.txt")
        assert Plan.load(tmp_path / "plan.txt") == plan
        assert Plan.parse(str(plan)) == plan
        (tmp_path / "plan.txt").write_text(str(plan), encoding="utf-8")
        assert Plan.load(tmp_path / "plan.txt") == plan


def test_random_texts_are_read_back(tmp_path):
    rng = random.Random(0)
    for _ in range(300):
        plan = Plan({name: "".join(rng.choices([*NASTY, " ", "x"], k=rng.randrange(6))) for name in CORE})
        plan.save(tmp_path / "plan.txt")
        assert Plan.load(tmp_path / "plan.txt") == plan
        assert Plan.parse(str(plan)) == plan


def test_what_is_written_is_what_was_said_where_a_file_can_hold_it():
    assert Plan({"semantic": " I <3\n# it \\ "})["semantic"] == "I <3 # it \\"
    assert Plan({"semantic": "\ud83d\ude00 a\ud800"})["semantic"] == "😀 a\ufffd"


def test_remarks_are_ignored_in_a_text_as_in_a_file():
    assert Plan.parse("\ufeff# a remark <Temporal>\n<Semantic> A bell.\n  # another\n") == {"semantic": "A bell."}


def test_a_file_that_does_not_end_is_no_plan(tmp_path, monkeypatch):
    monkeypatch.setattr("prismaudio.plan.plan.MAX_CHARACTERS", 1000)
    (tmp_path / "plan.txt").write_text("<Semantic> " + "x" * 1000)
    with pytest.raises(PlanError, match="has more than 1000 characters"):
        Plan.load(tmp_path / "plan.txt")
    with pytest.raises(PlanError, match="cannot read the plan"):
        Plan.load("a\x00b")
