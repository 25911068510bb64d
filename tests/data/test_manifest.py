from __future__ import annotations

import json
import os

import pytest

from prismaudio.data.manifest import check_whole, other_columns, read_manifest
from prismaudio.errors import DataError


@pytest.fixture
def manifest(tmp_path):
    """Write a manifest beside the files ``a.mp4`` and ``b.mp4``."""
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"0")

    def make(text, name="clips.csv"):
        path = tmp_path / name
        path.write_text(text if isinstance(text, str) else "\n".join(json.dumps(row) for row in text))
        return path

    return make


def test_a_video_and_a_caption_are_enough(manifest):
    first, second = read_manifest(manifest('video,caption\na.mp4,A bell rings.\nb.mp4,"A drum, twice."\n'))
    assert (first.id, first.video.name, first.captions) == ("a", "a.mp4", ("A bell rings.",))
    assert dict(second.texts[0]) == {"semantic": "A drum, twice."}


def test_paths_are_relative_to_the_manifest(manifest, monkeypatch):
    path = manifest("video\na.mp4\n")
    monkeypatch.chdir("/")
    assert read_manifest(path)[0].video == path.parent / "a.mp4"


@pytest.mark.parametrize(
    "row",
    [
        {"plan": "<Semantic> A bell. <Spatial> On the left."},
        {"plan": {"semantic": "A bell.", "spatial": "On the left."}},
        {"semantic": "A bell.", "spatial": "On the left."},
        {"plan": "<Spatial> On the left.", "caption": "A bell."},
    ],
)
def test_a_plan_may_be_text_or_object_or_columns(manifest, row):
    (entry,) = read_manifest(manifest([{"video": "a.mp4", **row}], "clips.jsonl"))
    assert dict(entry.texts[0]) == {"semantic": "A bell.", "spatial": "On the left."}


def test_a_plan_may_be_a_file(manifest, tmp_path):
    (tmp_path / "a.plan.txt").write_text("# mine\n<Semantic> A bell.\n")
    (entry,) = read_manifest(manifest("video,plan\na.mp4,a.plan.txt\n"))
    assert dict(entry.plans[0]) == {"semantic": "A bell."}


def test_several_captions_are_alternatives(manifest):
    (entry,) = read_manifest(manifest([{"video": "a.mp4", "caption": ["One.", "Two."]}], "clips.jsonl"))
    assert [plan["semantic"] for plan in entry.texts] == ["One.", "Two."]


def test_pieces_of_one_file_have_ids_of_their_own(manifest):
    entries = read_manifest(manifest("video,start_s,end_s\na.mp4,0,2\na.mp4,2.5,4\n"))
    assert [entry.id for entry in entries] == ["a@0", "a@2.5"]
    assert (entries[1].start_s, entries[1].end_s) == (2.5, 4.0)


def test_columns_of_others_are_left_alone(manifest):
    assert read_manifest(manifest("video,label\na.mp4,17\n"))[0].id == "a"


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("", "clips.csv", "lists no clips"),
        ("video\n", "clips.csv", "lists no clips"),
        ("video\na.mp4\nc.mp4\n", "clips.csv", r"names 1 file that do not exist: .*c.mp4 \(line 3\)"),
        ("video\n" + "".join(f"{i}.mp4\n" for i in range(9)), "clips.csv", "names 9 files .* and 6 more; paths"),
        ("video\na.mp4\n", "clips.txt", "its name ends in '.txt'; expected .csv"),
        ("video\na.mp4\n", "clips.jsonl", "line 1: not JSON"),
        ('["a.mp4"]', "clips.jsonl", "line 1: not an object"),
        ('video,caption\na.mp4,"never closed', "clips.csv", "cannot read the manifest"),
        ("video,caption\na.mp4,A drum, twice\n", "clips.csv", "line 2: more cells than .* quote captions"),
        ("caption\nA bell.\n", "clips.csv", "none of the columns video, audio, features, latents; it has caption"),
        ("video,captoin\na.mp4,A bell.\n", "clips.csv", "column 'captoin'; did you mean 'caption'"),
        ("video\na.mp4\na.mp4\n", "clips.csv", "line 3: the id 'a' is already used in line 2"),
        ("id,video\nx,a.mp4\nx,b.mp4\n", "clips.csv", "line 3: the id 'x' is already used in line 2"),
        ("video,start_s\na.mp4,soon\n", "clips.csv", "start_s is 'soon'; expected seconds"),
        ("video,start_s,end_s\na.mp4,2,1\n", "clips.csv", "end_s 1 is not after start_s 2"),
        ("video,split\na.mp4,dev\n", "clips.csv", "unknown split 'dev'"),
        ("video,caption\n,A bell.\n", "clips.csv", "line 2: names no file"),
        ("video,plan\na.mp4,<Temporel> x\n", "clips.csv", "line 2: unknown section <Temporel>"),
        ("video,plan\na.mp4,no.txt\n", "clips.csv", "line 2: cannot read the plan"),
        ([{"video": 7}], "clips.jsonl", "line 1: video is 7; expected the path"),
        ([{"video": "a.mp4", "id": "\ud800"}], "clips.jsonl", "line 1: id is .* not text in UTF-8"),
        ([{"video": "a.mp4", "caption": ["x", "\udce9"]}], "clips.jsonl", "line 1: caption is .* not text in UTF-8"),
        ([{"video": "a.mp4", "semantic": "\udce9"}], "clips.jsonl", "line 1: semantic is .* not text in UTF-8"),
        ([{"video": "a.mp4", "plan": {"semantic": "\ud800"}}], "clips.jsonl", "line 1: plan is .* not text in UTF-8"),
        ([{"video": "\ud800.mp4"}], "clips.jsonl", "line 1: video is .* which cannot be the name of a file"),
        ([{"video": "a\0.mp4"}], "clips.jsonl", "line 1: video is .* which cannot be the name of a file"),
        ([{"video": "a.mp4", "plan": "a\0b"}], "clips.jsonl", "line 1: plan is .* cannot be the name of a file"),
        ([{"video": "a.mp4", "caption": {"a": 1}}], "clips.jsonl", "line 1: caption is {'a': 1}; expected text"),
        ([{"video": "a.mp4", "start_s": 10**400}], "clips.jsonl", "start_s is 1000.*…; expected seconds"),
        ('{"video": ' + "[" * 100_000, "clips.jsonl", "line 1: JSON that is nested too deeply"),
        ('{"video": "a.mp4", "x": ' + "9" * 5000 + "}", "clips.jsonl", "line 1: not JSON"),
        ('{"video": "' + "a" * (1 << 20), "clips.jsonl", "line 1: .* characters of JSON; expected at most 1048576"),
        ("video\n/dev/zero\n", "clips.csv", r"names paths that are not regular files: /dev/zero \(line 2\)"),
        ("audio,features\n,/dev/zero\n", "clips.csv", r"names paths that are not regular files: /dev/zero \(line 2\)"),
        ("video,plan\na.mp4,/dev/zero\n", "clips.csv", "line 2: cannot read the plan: /dev/zero is not a regular file"),
        ("\0\0video\n", "clips.csv", "it is not text in UTF-8"),
        (",".join(f"c{i}" for i in range(2000)) + "\n" + "," * 1999 + "\n", "clips.csv", "2000 columns; expected 1000"),
    ],
)
def test_errors_are_reported_in_one_line(manifest, text, name, says):
    with pytest.raises(DataError, match=says) as error:
        read_manifest(manifest(text, name))
    assert "\n" not in str(error.value)


def test_no_manifest(tmp_path):
    with pytest.raises(DataError, match="no such manifest"):
        read_manifest(tmp_path / "clips.csv")


def test_bytes_are_no_manifest(tmp_path):
    (tmp_path / "clips.csv").write_bytes(bytes(range(256)))
    with pytest.raises(DataError, match="cannot read the manifest"):
        read_manifest(tmp_path / "clips.csv")


def test_a_large_plan_file_is_refused_unread(manifest, tmp_path):
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match=r"line 2: cannot read the plan: .*huge.txt has 1099511627776 bytes; expected"):
        read_manifest(manifest("video,plan\na.mp4,huge.txt\n"))


def test_a_device_is_no_manifest(tmp_path):
    (tmp_path / "clips.jsonl").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"clips\.jsonl is not a regular file"):
        read_manifest(tmp_path / "clips.jsonl")


@pytest.mark.parametrize("name", ["clips.csv", "clips.jsonl"])
def test_names_of_files_may_have_bytes_that_are_not_utf8(tmp_path, name):
    film = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    film.write_bytes(b"0")
    text = b"video\ncaf\xe9.mp4\n" if name == "clips.csv" else b'{"video": "caf\\udce9.mp4"}\n'
    (tmp_path / name).write_bytes(text)
    (entry,) = read_manifest(tmp_path / name)
    assert (entry.video, entry.id) == (film, "caf\\xe9")


def test_a_caption_in_another_encoding_is_refused_with_its_line(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"0")
    (tmp_path / "clips.csv").write_bytes("video,caption\na.mp4,café\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"line 2: caption is .* not text in UTF-8; save the manifest as UTF-8"):
        read_manifest(tmp_path / "clips.csv")


def test_a_line_separator_in_a_caption_ends_no_line_of_json(manifest):
    path = manifest("")
    path.with_suffix(".jsonl").write_text('{"video": "a.mp4", "caption": "One.\u2028Two."}\n', encoding="utf-8")
    assert read_manifest(path.with_suffix(".jsonl"))[0].captions == ("One. Two.",)


@pytest.mark.parametrize("cells", [{"start_s": "0.0"}, {"start_s": 0, "end_s": ""}, {}])
def test_a_whole_file_may_say_that_it_starts_at_zero(cells):
    check_whole("here", cells, "score")


@pytest.mark.parametrize("cells", [{"start_s": "0.5"}, {"end_s": 2.0}])
def test_a_piece_of_a_file_is_no_whole_file(cells):
    with pytest.raises(DataError, match="score takes whole files"):
        check_whole("here", cells, "score")


def test_other_columns_leave_out_what_json_cannot_hold():
    cells = {"id": "a", "box": [float("nan"), 1], "size": float("inf"), "tags": ["x"], "note": "", "n": 0}
    assert other_columns(cells, ["id"]) == {"tags": ["x"], "n": 0}
