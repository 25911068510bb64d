import csv
import gzip
import io
import random
import struct
from pathlib import Path

import pytest
import soundfile
from synthetic_recordings import bursts

from prismaudio.cli.main import main
from prismaudio.errors import DataError
from prismaudio_studio.world.archives import is_archive, packed_sounds

ID = b"RedWolf Design GrpFolder"
AUTHORS = """\
If not stated otherwise, the sounds are licensed under the
CC Attribution 3.0 license (http://creativecommons.org/licenses/by/3.0/)

Author        Work(s)
==================================
Ann           - Fire/Spark1&2, Chest/Open (http://example.org/1)
                Animals/Bat:
                  Chirp1-2
                Built, Repaired made from following resources:
                   - Somebody: http://example.org/0
Bo-Bo         - Click (cropped) (http://example.org/2), Door*
Cy,           - Shared
  Di

The following sounds are licensed under the CC 0 license (public domain):

Eve           - BothBy (http://example.org/3)
The following sounds are licensed under the GPL license:
Ann           - BothBy, Closed
"""


def wav(seed: int = 0) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, bursts([0.05], 0.2) * (0.5 + 0.1 * (seed % 5)), 22_050, format="WAV")
    return file.getvalue()


def group(entries: dict[str, bytes | dict], **wrong: int) -> bytes:
    """An OpenClonk group, unpacked; ``wrong`` replaces the size or the offset of each entry, or their count."""
    header = bytearray(204)
    header[: len(ID)] = ID
    struct.pack_into("<III", header, 28, 1, 2, wrong.get("count", len(entries)))
    for at in range(0, 202, 3):
        header[at], header[at + 2] = header[at + 2], header[at]
    table, content = b"", b""
    for name, value in entries.items():
        data = group(value) if isinstance(value, dict) else value
        size, offset = wrong.get("size", len(data)), wrong.get("offset", len(content))
        table += struct.pack("<260sIIIIII32x", name.encode(), 0, isinstance(value, dict), size, 0, offset, 0)
        content += data
    return bytes(byte ^ 0xED for byte in header) + table + content


def packed(data: bytes) -> bytes:
    return b"\x1e\x8c" + gzip.compress(data, mtime=0)[2:]


def catalogue(*entries: tuple[str, bytes], offset: int = 0, extra: int = 0) -> bytes:
    table, content = b"", b""
    for text, sound in entries:
        title = text.encode() + b"\0"
        table += struct.pack("<II", offset + 8 * len(entries) + len(content), len(sound) + extra)
        content += bytes([len(title)]) + title + sound + b"\0\x0bsrc/a.wav\0"
    return table + content


def sounds(tmp_path: Path, name: str, data: bytes) -> dict[str, tuple[str, str, str, str]]:
    (tmp_path / name).write_bytes(data)
    found = packed_sounds(tmp_path / name)
    return {str(sound.path): (sound.what, sound.source, sound.author, sound.licence) for sound in found}


def test_a_group_credits_each_sound_by_its_list_of_authors(tmp_path):
    names = ("Click.wav", "Door1.wav", "Door22.wav", "Doorbell.wav", "Shared.wav", "BothBy.wav", "Built.wav")
    tree = {
        "authors.txt": AUTHORS.encode(),
        "Fire.ocg": {"Spark1.wav": wav(1), "Spark2.wav": wav(2), "Spark3.wav": wav(3)},
        "Things.ocg": {"Chest.ocg": {"Open.wav": wav(4)}, "Window.ocg": {"Open.wav": wav(5)}},
        "Animals.ocg": {"Bat.ocg": {"Chirp2.wav": wav(6)}, "Bird.ocg": {"Chirp2.wav": wav(7)}},
        **{name: wav() for name in names},
    }
    found = sounds(tmp_path, "Sound.ocg", packed(group(tree)))
    spark = ("spark", "Fire/Spark1&2 (http://example.org/1)", "Ann", "CC Attribution 3.0")
    assert found["Fire/Spark1.wav"] == found["Fire/Spark2.wav"] == spark
    assert found["Fire/Spark3.wav"] == ("spark", "Fire/Spark3", "", "")
    assert found["Things/Chest/Open.wav"] == ("chest_open", "Chest/Open (http://example.org/1)", *spark[2:])
    assert found["Things/Window/Open.wav"] == ("window_open", "Things/Window/Open", "", "")
    assert found["Animals/Bat/Chirp2.wav"] == ("bat_chirp", "Animals/Bat/Chirp1-2", *spark[2:])
    assert found["Animals/Bird/Chirp2.wav"][2] == ""
    assert found["Click.wav"] == ("click", "Click (cropped, http://example.org/2)", "Bo-Bo", spark[3])
    assert found["Door1.wav"] == found["Door22.wav"] == ("door", "Door*", "Bo-Bo", spark[3])
    assert found["Doorbell.wav"][2] == ""
    assert found["Shared.wav"][2] == "Cy, Di"
    assert found["BothBy.wav"][2:] == ("", "")  # two licences
    assert found["Built.wav"][2:] == ("", "")
    assert len(found) == 14


def test_a_name_without_a_folder_that_means_two_sounds_credits_neither(tmp_path):
    tree = {"authors.txt": AUTHORS.encode(), "A.ocg": {"Click.wav": wav()}, "B.ocg": {"Click.wav": wav(1)}}
    assert {cells[2] for cells in sounds(tmp_path, "S.ocg", packed(group(tree))).values()} == {""}


def test_a_catalogue_credits_each_sound_by_its_title(tmp_path):
    by = "License: Creative Commons Attribution 3.0 Unported"
    data = catalogue(
        (f'"Ferry horn". Original "by sea.aif" by Leo Milo. Edited by "Wuz". {by}.', wav()),
        (f'"Bird (1)". Original "a.wav" by "Al" and "b.wav" by Jan Sch aka "Vee". Edited by Ed. {by}. More.', wav()),
        (f'"Bird (2)". By Ann Onymous. {by}.', wav()),
        (f'"Sip". "slurp.wav" by "Bev" and "drink.ogg". Edited by "Wuz". {by}.', wav()),
        ("No sentence at all", wav()),
    )
    licence = "Creative Commons Attribution 3.0 Unported"
    assert sounds(tmp_path, "s.cat", data) == {
        "ferry_horn_1.wav": ("ferry_horn", "by sea.aif", "Leo Milo, Wuz", licence),
        "bird_1.wav": ("bird", "a.wav and b.wav", "Al, Jan Sch aka Vee, Ed", licence),
        "bird_2.wav": ("bird", "Bird (2)", "Ann Onymous", licence),
        "sip_1.wav": ("sip", "Sip", "", ""),
        "no_sentence_at_all_1.wav": ("no_sentence_at_all", "No sentence at all", "", ""),
    }


def nested(depth: int) -> dict:
    return {"a.ocg": nested(depth - 1)} if depth else {"a.wav": wav()}


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("a.ocg", b"", "ends too early"),
        ("a.ocg", b"\x1e\x8cno gzip", "unknown compression method"),
        ("a.ocg", packed(group({"a.wav": wav()}))[:-20], "ends too early"),
        ("a.ocg", packed(b"short"), "has no header"),
        ("a.ocg", packed(group({"a.wav": wav()}, count=2**32 - 1)), "ends before its 4294967295 entries"),
        ("a.ocg", packed(group({"a.wav": wav()}, size=2**32 - 1)), "a.wav lies beyond its end"),
        ("a.ocg", packed(group({"a.wav": wav()}, offset=2**31)), "a.wav lies beyond its end"),
        (
            "a.ocg",
            packed(group({"a.wav": wav(), "b.wav": b"", "c.wav": b""}, size=len(wav()), offset=0)),
            "overlaps another",
        ),
        ("a.ocg", packed(group({"a.ocg": {"b.wav": wav()}, "a.ocf": {"b.wav": wav()}})), "a/b.wav is in it twice"),
        ("a.ocg", packed(group(nested(20))), "16 groups within groups"),
        ("a.ocg", packed(group({f"{n}.wav": b"" for n in range(4097)})), "more than 4096 entries"),
        ("a.ocg", packed(group({"authors.txt": b"x" * 70_000})), "authors.txt has more than 64 KiB"),
        ("a.ocg", packed(group({"../a.wav": wav()})), "'../a.wav' is not a plain file name"),
        ("a.ocg", packed(group({"..": {"a.wav": wav()}})), "'..' is not a plain file name"),
        ("a.ocg", packed(group({"/tmp/a.wav": wav()})), "is not a plain file name"),
        ("a.ocg", packed(group({"..\\a.wav": wav()})), "is not a plain file name"),
        ("a.ocg", packed(group({"C:a.wav": wav()})), "is not a plain file name"),
        ("a.ocg", packed(group({"": wav()})), "is not a plain file name"),
        ("a.cat", b"", "states 0 entries"),
        ("a.cat", b"\xff" * 64, "entries; expected 1 to 4096"),
        ("a.cat", catalogue(('"A".', wav()))[:40], "entry 0 of 1 has no WAV file"),
        ("a.cat", catalogue(('"A".', wav()), extra=1000), "entry 0 of 1 has no WAV file"),
        ("a.cat", catalogue(('"A".', b"OggS" + wav())), "entry 0 of 1 has no WAV file"),
        ("a.cat", struct.pack("<II", 16, len(wav())) * 2 + b"\0" + wav(), "entry 1 has more than 64 MiB, or overlaps"),
    ],
)
def test_a_damaged_archive_is_one_line_and_writes_nothing(tmp_path, capsys, name, data, text):
    (tmp_path / name).write_bytes(data)
    before = sorted(tmp_path.rglob("*"))
    code = main(["studio", "recordings", str(tmp_path / name), "--unpack", str(tmp_path / "o"), "-o", "r.csv"])
    error = capsys.readouterr().err
    assert (code, error.count("\n")) == (2, 1)
    assert f"{name} is damaged or of another kind: " in error
    assert text in error
    assert sorted(tmp_path.rglob("*")) == before


def test_sounds_are_written_below_the_folder_whatever_a_title_says(tmp_path, capsys):
    by = "By Ann. License: Creative Commons Zero 1.0."
    data = catalogue(
        (f'"../../out". {by}', wav()), (f'"/etc/x". {by}', wav(1)), (f'"". {by}', wav(2)), ('"No".', wav())
    )
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "s.cat").write_bytes(data)
    words = ["studio", "recordings", str(tmp_path / "in" / "s.cat"), "-o", str(tmp_path / "r.csv"), "--force"]
    assert main([*words, "--unpack", str(tmp_path / "o")]) == 0
    assert "no_1.wav has no author and no licence" in capsys.readouterr().err
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.wav"))
    assert written == ["o/s/etc_x_1.wav", "o/s/out_1.wav", "o/s/untitled_1.wav"]
    first = tmp_path / written[0]
    assert first.read_bytes() == wav(1)
    stamp = first.stat().st_mtime_ns
    assert main([*words, "--unpack", str(tmp_path / "o")]) == 0
    assert first.stat().st_mtime_ns == stamp
    first.write_bytes(b"mine")
    capsys.readouterr()
    assert main([*words, "--unpack", str(tmp_path / "o")]) == 2
    assert "etc_x_1.wav exists and is another file; choose another folder with --unpack" in capsys.readouterr().err
    assert first.read_bytes() == b"mine"


def test_a_package_gives_the_sounds_of_its_archives(tmp_path, capsys):
    games, doc = tmp_path / "deb/usr/share/games", tmp_path / "deb/usr/share/doc/clonk-data"
    for folder in (games, doc):
        folder.mkdir(parents=True)
    (doc / "copyright").write_text("This package was debianized by Somebody.\n")
    (games / "Sound.ocg").write_bytes(
        packed(group({"authors.txt": AUTHORS.encode(), "Click.wav": wav(), "x.wav": wav()}))
    )
    (games / "Graphics.ocg").write_bytes(packed(group({"a.png": b"0"})))
    (games / "messages.cat").write_bytes(b"\x08\0\0\0\0\0\0\0 of another program")
    (games / "music.ogg").write_bytes(b"0")
    words = ["studio", "recordings", str(tmp_path / "deb"), "-o", str(tmp_path / "r.csv")]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "Sound.ocg lie in an archive; add --unpack DIR" in error
    assert main([*words, "--unpack", str(tmp_path / "o"), "--notice", str(tmp_path / "NOTICE")]) == 0
    said, error = capsys.readouterr()
    assert "1 recordings of 1 classes" in said
    assert "2 left out" in said
    assert "music.ogg has no author and no licence" in error
    with (tmp_path / "r.csv").open(newline="") as opened:
        (row,) = csv.DictReader(opened)
    assert (row["file"], row["class"], row["author"]) == ("o/clonk-data/Sound/Click.wav", "click", "Bo-Bo")
    assert (row["source"], row["licence"]) == ("clonk-data Click (cropped, http://example.org/2)", "CC BY 3.0")
    assert "Bo-Bo: clonk-data Click" in (tmp_path / "NOTICE").read_text()


def test_an_archive_without_sounds_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("Graphics.ocg").write_bytes(packed(group({"a.png": b"0"})))
    assert main(["studio", "recordings", "Graphics.ocg", "--unpack", "o", "-o", "r.csv"]) == 2
    assert capsys.readouterr().err.endswith("the archive Graphics.ocg has no sounds; name another one, or a package\n")


def test_files_of_another_kind_with_the_same_suffix_are_no_archives(tmp_path):
    for name, data in (("a.cat", b""), ("b.cat", b"\xff" * 9), ("c.ocg", b"PK"), ("d.wav", wav())):
        (tmp_path / name).write_bytes(data)
        assert not is_archive(tmp_path / name)
    (tmp_path / "e.cat").write_bytes(catalogue(('"A".', wav())))
    assert is_archive(tmp_path / "e.cat")
    assert not is_archive(tmp_path / "none.ocg")


def test_bytes_changed_at_random_are_read_or_refused(tmp_path):
    draw = random.Random(0)
    good = group({"authors.txt": AUTHORS.encode(), "A.ocg": {"a.wav": wav()}, "Click.wav": wav()})
    files = {"a.ocg": (good, packed), "a.cat": (catalogue(('"A". By B. License: CC0.', wav()), ('"C".', wav())), bytes)}
    refused = 0
    for name, (data, wrap) in files.items():
        for _ in range(150):
            changed = bytearray(data)
            for _ in range(3):
                changed[draw.randrange(1100 if name == "a.ocg" else 80)] = draw.randrange(256)
            (tmp_path / name).write_bytes(wrap(changed))
            try:
                packed_sounds(tmp_path / name)
            except DataError:
                refused += 1
    assert 30 < refused < 300


def test_classes_are_titles_without_their_number_and_files_have_short_names(tmp_path):
    long = "\u00e9" * 100
    data = catalogue(*((title, wav()) for title in ("Toy: Sugar mine (12)", "7", f"{long}a", f"{long}b")))
    found = sounds(tmp_path, "a.cat", data)
    assert [cells[0] for cells in found.values()] == ["toy_sugar_mine", "7", f"{long}a", f"{long}b"]
    assert list(found) == ["toy_sugar_mine_1.wav", "7_1.wav", f"{long[:60]}_1.wav", f"{long[:60]}_2.wav"]
