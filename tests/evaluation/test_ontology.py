"""Ontologies of sound classes, in the form of AudioSet's file."""

from __future__ import annotations

import json

import pytest

from prismaudio.errors import DataError
from prismaudio.evaluation.ontology import Labels, Ontology

ENTRIES = {
    "/m/0": ("Human sounds", ["/m/1"], ["abstract"]),
    "/m/1": ("Human voice", ["/m/2", "/m/3"], ["abstract"]),
    "/m/2": ("Speech", ["/m/4"], []),
    "/m/3": ("Singing", [], []),
    "/m/4": ("Female speech, woman speaking", [], []),
    "/m/5": ("Dog", ["/m/6"], []),
    "/m/6": ("Bark", [], []),
    "/m/7": ("Hiss", [], []),
    "/m/8": ("Snake", ["/m/7"], []),
    "/m/9": ("Steam", ["/m/7"], []),
}

CYCLE = json.dumps([{"id": one.lower(), "name": one, "child_ids": [below]} for one, below in ("Ab", "Bc", "Cb")])


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "ontology.json", ENTRIES)


def write(path, entries):
    nodes = [
        {"id": key, "name": name, "description": "", "child_ids": below, "restrictions": limits}
        for key, (name, below, limits) in entries.items()
    ]
    path.write_text(json.dumps(nodes))
    return path


def test_a_class_has_all_that_is_narrower_and_a_node_may_have_two_parents(file):
    found = Ontology.read(file)
    assert found.below("/m/1") == {"/m/1", "/m/2", "/m/3", "/m/4"}
    assert found.below("/m/8") & found.below("/m/9") == {"/m/7"}
    assert found.groups == {"/m/0", "/m/1"}
    assert found.narrowest({"/m/5", "/m/6", "/m/7"}) == {"/m/6", "/m/7"}


@pytest.mark.parametrize(
    ("pattern", "classes"),
    [
        ("human VOICE", {"/m/1", "/m/2", "/m/3", "/m/4"}),
        ("/m/5", {"/m/5", "/m/6"}),
        ("*speaking*", {"/m/4"}),
        ("*speech*", {"/m/2", "/m/4"}),
        ("Cat", set()),
    ],
)
def test_classes_are_matched_by_id_name_or_pattern(file, pattern, classes):
    assert Ontology.read(file).matching(pattern) == classes


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        (["Dog; Hiss"], ["Dog", "Hiss"]),
        (["Female speech, woman speaking"], ["Female speech, woman speaking"]),
        (['"/m/5,/m/6"'], ["/m/5", "/m/6"]),
        (["Dog, Hiss"], ["Dog", "Hiss"]),
        (["Dog, Cat"], ["Dog, Cat"]),
        (["Dog", "  Snake ; "], ["Dog", "Snake"]),
    ],
)
def test_labels_of_a_cell(file, cell, labels):
    assert Labels(Ontology.read(file)).split(cell) == labels


def test_unknown_labels_are_counted_and_named(file):
    labels = Labels(Ontology.read(file))
    labels.check({"dog": 3, "/m/7": 1}, "clips.csv")
    with pytest.raises(
        DataError,
        match=r"clips.csv has 2 labels that are no class of the ontology: 'Dogg' \(7 clips\), 'Cat' \(1 clips\);"
        " did you mean 'Dog'",
    ):
        labels.check({"Cat": 1, "Dogg": 7, "Bark": 2}, "clips.csv")


def test_a_name_of_two_classes_is_refused_but_not_their_ids(tmp_path):
    file = write(tmp_path / "o.json", ENTRIES | {"/m/10": ("Dog", [], [])})
    labels = Labels(Ontology.read(file))
    labels.check({"/m/10": 1, "/m/5": 1}, "clips.csv")
    with pytest.raises(DataError, match="several classes have the name 'dog': /m/5, /m/10; give the id"):
        labels.check({"dog": 1}, "clips.csv")


def test_labels_as_classes_differ_in_more_than_case():
    found = Ontology.of_labels({"dog", "Dog", "Bell"})
    assert sorted(found.names) == ["Bell", "Dog"]
    assert Labels(found).find("DOG") == ["Dog"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot read the ontology"),
        ("[]", "is no ontology; expected the ontology.json of AudioSet"),
        ('[{"id": "a", "name": "A"}]', "entry 1 is .* expected the ontology.json"),
        ('[{"id": "a", "name": 3, "child_ids": []}]', "entry 1 is"),
        ('[{"id": "a", "name": "A", "child_ids": ["b", "c"]}]', "has no entry for b, c, which other entries"),
        (
            '[{"id": "a", "name": "A", "child_ids": []}, {"id": "a", "name": "B", "child_ids": []}]',
            "entry 2: the id 'a'",
        ),
        ('[{"id": "a", "name": "A", "child_ids": ["a"]}]', "classes below themselves: A > A; expected no cycle"),
        (CYCLE, "classes below themselves: B > C > B"),
    ],
)
def test_ontologies_that_are_none(tmp_path, text, words):
    (tmp_path / "o.json").write_text(text)
    with pytest.raises(DataError, match=words):
        Ontology.read(tmp_path / "o.json")


def test_a_long_chain_is_no_cycle(tmp_path):
    entries = {f"c{index}": (f"Class {index}", [f"c{index + 1}"], []) for index in range(5000)}
    found = Ontology.read(write(tmp_path / "o.json", entries | {"c5000": ("Last", [], [])}))
    assert len(found.below("c0")) == 5001
