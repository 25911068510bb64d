from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_recordings import bursts, write

from prismaudio.errors import DataError
from prismaudio_studio.world.recordings import licence_name, notice, read_recordings


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CC0", "CC0"),
        ("Creative Commons 0", "CC0"),
        ("CC0 1.0 Universal", "CC0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0"),
        ("cc-by", "CC BY"),
        ("CC BY 3.0", "CC BY 3.0"),
        ("Attribution", "CC BY"),
        ("CC-BY-4.0 International", "CC BY 4.0"),
        ("Creative Commons Attribution 3.0 Unported", "CC BY 3.0"),
        ("http://creativecommons.org/licenses/by/3.0/", "CC BY 3.0"),
        ("public domain", "Public domain"),
        ("WTFPL", "WTFPL"),
        ("The MIT License", "MIT"),
        ("Expat", "MIT"),
        ("BSD-3-Clause", "BSD"),
        ("CC-BY-SA 3.0", None),
        ("CC BY-NC 4.0", None),
        ("Attribution NonCommercial", None),
        ("http://creativecommons.org/licenses/by-nc/3.0/", None),
        ("GPL-2+", None),
        ("CC0 or GPL-2", None),
        ("Sampling+", None),
        ("all rights reserved", None),
        ("", None),
    ],
)
def test_licences_are_normalised_and_others_refused(text, name):
    assert licence_name(text) == name


def table(folder: Path, *rows: str) -> Path:
    file = folder / "recordings.csv"
    file.write_text("\n".join(["file,class,kind,source,fold,author,licence", *rows]) + "\n")
    return file


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("clip") / "a.wav", bursts([0.1], 0.3))


def test_folds_and_sources_decide_what_is_held_out(tmp_path, clip):
    folds = [f"{clip},dog,,d{fold},{fold},Ann,CC0" for fold in range(1, 6)]
    pieces = [f"{clip},cat,,c{number % 40},,Ann,CC0" for number in range(120)]
    found = read_recordings(table(tmp_path, *folds, *pieces))
    assert [item.held_out for item in found[:5]] == [False] * 4 + [True]
    parts = {}
    for item in found[5:]:
        parts.setdefault(item.source, set()).add(item.held_out)
    assert all(len(part) == 1 for part in parts.values()), "a source is in both parts"
    assert 2 <= sum(True in part for part in parts.values()) <= 16
    assert [item.held_out for item in found] != [
        item.held_out for item in read_recordings(tmp_path / "recordings.csv", 1)
    ]


def test_files_of_a_collection_are_held_out_one_by_one(tmp_path):
    rows = []
    for number in range(40):
        file = write(tmp_path / f"{number}.wav", bursts([0.1], 0.2))
        rows.append(f"{file.name},{'door' if number % 2 else 'coin'},,all of it,,Ann,CC0")
    assert {item.held_out for item in read_recordings(table(tmp_path, *rows))} == {True, False}


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("a.wav,dog,,s,,Ann,GPL-2", "line 2: licence 'GPL-2' is not among those allowed"),
        ("a.wav,dog,,s,,Ann,", "has no licence"),
        ("a.wav,dog,,s,,,CC0", "has no author"),
        ("a.wav,dog,often,s,,Ann,CC0", "kind is 'often'"),
        ("a.wav,dog,,s,,Ann,CC0", "names files that do not exist"),
        (",dog,,s,,Ann,CC0", "names no file"),
    ],
)
def test_a_row_that_cannot_be_used_is_one_line(tmp_path, row, text):
    with pytest.raises(DataError, match=text):
        read_recordings(table(tmp_path, row))


def test_a_table_without_licences_is_named(tmp_path):
    (tmp_path / "t.csv").write_text("file,class\na.wav,dog\n")
    with pytest.raises(DataError, match="lacks the columns author, licence"):
        read_recordings(tmp_path / "t.csv")


def test_the_notice_names_each_author_source_and_licence(tmp_path, clip):
    rows = [f"{clip},dog,,rose_bark.wav,,nfrae,CC0", f"{clip},rain,,Rain 3,,Ann & Bob,CC BY 4.0"]
    found = read_recordings(table(tmp_path, *rows))
    text = notice([*found, replace(found[0], what="puppy")])
    assert "CC0, https://creativecommons.org/publicdomain/zero/1.0/\n  nfrae: rose_bark.wav (dog, puppy)\n" in text
    assert "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/\n  Ann & Bob: Rain 3 (rain)\n" in text
