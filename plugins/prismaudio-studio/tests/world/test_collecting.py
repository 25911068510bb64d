import csv
from pathlib import Path

import numpy as np
import pytest
from synthetic_recordings import bursts, hum, write

from prismaudio.cli.main import main

COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2020 Somebody
License: GPL-2

Files: etc/sounds/perc_bell*.wav
Copyright: 2013-2015 Ann Onymous
Source: http://example.org/1
License: CC0

Files: etc/sounds/door.wav
Copyright: 2016, Bob
License: CC-BY-SA-3.0
 The whole text.
"""


def collect(capsys, *words: str | Path) -> tuple[int, str, str]:
    code = main(["studio", "recordings", *map(str, words)])
    return code, *capsys.readouterr()


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def test_class_folders_are_measured_with_their_author(tmp_path, capsys):
    write(tmp_path / "in" / "dog" / "rex.wav", bursts([0.1], 0.4))
    write(tmp_path / "in" / "rain" / "roof.wav", np.stack([hum(1.5), hum(1.5)], 1))
    out, text = tmp_path / "out" / "r.csv", tmp_path / "NOTICE"
    words = [tmp_path / "in", "--author", "Ann", "--licence", "cc-by 4.0", "-o", out, "--notice", text]
    code, said, _ = collect(capsys, *words)
    assert code == 0
    assert said.startswith(
        "2 recordings of 2 classes, 0.0 minutes: 1 one-shot, 1 sustained; 0 used in part, 0 left out"
    )
    dog, rain = rows(out)
    assert dog == {
        "file": "../in/dog/rex.wav",
        "class": "dog",
        "kind": "one-shot",
        "seconds": "0.40",
        "rate_hz": "22050",
        "channels": "1",
        "source": "rex.wav",
        "fold": "",
        "author": "Ann",
        "licence": "CC BY 4.0",
    }
    assert (rain["kind"], rain["channels"]) == ("sustained", "2")
    assert "Ann: rex.wav (dog); roof.wav (rain)" in text.read_text()
    code, _, error = collect(capsys, *words)
    assert (code, error.count("\n")) == (2, 1)
    assert "exists" in error


def test_what_cannot_be_used_is_left_out_with_one_line_each(tmp_path, capsys):
    write(tmp_path / "good.wav", bursts([0.1], 0.4))
    write(tmp_path / "silent.wav", np.zeros(9000))
    (tmp_path / "text.wav").write_text("no audio")
    lines = [
        "file,class,kind,seconds,source,author,licence",
        "good.wav,dog,sustained,999,s,Ann,CC0",
        "good.wav,dog,,,s,Ann,CC0",
        "silent.wav,dog,,,s,Ann,CC0",
        "text.wav,dog,,,s,Ann,CC0",
        "none.wav,dog,,,s,Ann,CC0",
        "good.wav,dog,,,s,Ann,GPL-3",
        "good.wav,dog,,,s,,CC0",
    ]
    (tmp_path / "sounds.csv").write_text("\n".join(lines) + "\n")
    code, said, error = collect(capsys, tmp_path, "-o", tmp_path / "r" / "r.csv")
    assert code == 0
    assert "1 recordings of 1 classes" in said
    assert "6 left out" in said
    assert error.count("left out: ") == error.count("\n") == 6
    for reason in ("already", "silent", "not audio", "does not exist", "GPL-3", "no author"):
        assert reason in error
    (row,) = rows(tmp_path / "r" / "r.csv")
    assert (row["kind"], row["seconds"]) == ("sustained", "0.40")


def test_an_unpacked_package_is_read_by_its_copyright_file(tmp_path, capsys):
    folder = tmp_path / "usr" / "share" / "game" / "sounds"
    for name in ("perc_bell2.wav", "door.wav", "other.wav"):
        write(folder / name, bursts([0.1], 0.4))
    (tmp_path / "usr/share/doc/game").mkdir(parents=True)
    (tmp_path / "usr/share/doc/game/copyright").write_text(COPYRIGHT)
    code, said, error = collect(capsys, tmp_path, "-o", tmp_path / "r.csv")
    assert code == 0
    assert "2 left out" in said
    assert "CC-BY-SA-3.0" in error
    assert "other.wav has no author and no licence" in error
    (row,) = rows(tmp_path / "r.csv")
    assert {name: row[name] for name in ("file", "class", "source", "author", "licence")} == {
        "file": "usr/share/game/sounds/perc_bell2.wav",
        "class": "perc_bell",
        "source": "http://example.org/1",
        "author": "Ann Onymous",
        "licence": "CC0",
    }


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nowhere"], "no table, folder or installed package nowhere"),
        (["empty"], "no table and no audio in subfolders"),
        (["classes"], "give --author and --licence"),
        (["classes", "--author", "Ann", "--licence", "GPL"], "'GPL' is not allowed"),
        (["two"], "has several tables"),
        (["silent", "--author", "Ann", "--licence", "CC0"], "none of the 1 recordings can be used"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, words, text):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    write(Path("classes/dog/a.wav"), bursts([0.1], 0.3))
    write(Path("silent/dog/a.wav"), np.zeros(9000))
    Path("two").mkdir()
    for name in ("a.csv", "b.tsv"):
        Path("two", name).write_text("file\n")
    code, _, error = collect(capsys, *words, "-o", "r.csv")
    assert code == 2
    lines = [line for line in error.splitlines() if not line.startswith("left out")]
    assert len(lines) == 1
    assert text in lines[0]
    assert not Path("r.csv").exists()
