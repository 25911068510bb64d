from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from prismaudio.errors import MediaError
from prismaudio.media import ResultFiles
from prismaudio.media.files import portable, short_name, spare


def result(folder, name="clip"):
    return ResultFiles(folder / name, (".mp4", ".wav", ".png"), lambda made: made.get("outputs", ()))


def write(files, *suffixes, text="new"):
    with files.writing() as stage:
        for suffix in suffixes:
            (stage / files.path(suffix).name).write_text(text)
        described = {"outputs": [files.path(suffix).name for suffix in suffixes], "text": text}
        (stage / files.marker.name).write_text(json.dumps(described))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_files_of_a_result_may_be_made_again_and_those_of_others_may_not(tmp_path):
    files = result(tmp_path)
    files.check()
    write(files, ".mp4", ".wav")
    assert files.foreign() == []
    write(files, ".mp4", ".wav", text="newer")
    assert (tmp_path / "clip.mp4").read_text() == "newer"
    (tmp_path / "clip.png").write_text("a frame of somebody")
    assert files.foreign() == [tmp_path / "clip.png"]
    with pytest.raises(MediaError, match=r"clip\.png is there already"):
        files.check()
    files.check(force=True)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "nothing", '{"outputs": []}', '{"outputs": ["other.mp4"]}', "[" * 100_000]
)
def test_a_json_of_others_makes_nothing_ours(tmp_path, text):
    (tmp_path / "clip.mp4").write_text("theirs")
    (tmp_path / "clip.json").write_text(text)
    assert tmp_path / "clip.mp4" in result(tmp_path).foreign()


def test_what_the_new_result_does_not_have_any_more_is_removed(tmp_path):
    files = result(tmp_path)
    write(files, ".mp4", ".png")
    write(files, ".mp4", ".wav")
    assert names(tmp_path) == ["clip.json", "clip.mp4", "clip.wav"]


def test_a_failure_leaves_the_older_result_and_no_stray_file(tmp_path):
    files = result(tmp_path)
    write(files, ".mp4", text="old")

    def fail():
        with files.writing() as stage:
            (stage / "clip.mp4").write_text("half")
            raise MediaError(f"cannot write {stage / 'clip.mp4'}: full")

    with pytest.raises(MediaError, match=r"^cannot write [^.]*/clip\.mp4: full$"):
        fail()
    assert names(tmp_path) == ["clip.json", "clip.mp4"]
    assert (tmp_path / "clip.mp4").read_text() == "old"


def test_an_interrupt_while_files_are_moved_moves_all_of_them(tmp_path, monkeypatch):
    move, moved = Path.replace, []

    def interrupted(path, target):
        moved.append(target)
        if len(moved) == 2:
            raise KeyboardInterrupt
        return move(path, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(result(tmp_path), ".mp4", ".wav")
    assert names(tmp_path) == ["clip.json", "clip.mp4", "clip.wav"]


@pytest.mark.parametrize("n_moved", range(4))
def test_a_process_killed_while_it_moves_files_leaves_a_result_that_can_be_made_again(tmp_path, monkeypatch, n_moved):
    write(result(tmp_path), ".mp4", ".wav", text="old")
    move, moved = Path.replace, []

    def killed(path, target):
        if len(moved) == n_moved:
            raise SystemExit
        moved.append(target)
        return move(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)  # a killed process cleans nothing up
    with pytest.raises(SystemExit):
        write(result(tmp_path), ".mp4", ".wav", ".png")
    monkeypatch.undo()
    assert result(tmp_path).foreign() == []
    made = result(tmp_path).read()
    if made is not None:  # the files are those that it describes
        assert {(tmp_path / name).read_text() for name in made["outputs"]} == {made["text"]}
    write(result(tmp_path), ".mp4")
    assert (tmp_path / "clip.mp4").read_text() == "new"


def test_places_that_can_hold_no_file_are_found_before_anything_is_made(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "clip.wav").mkdir()
    with pytest.raises(MediaError, match=r"clip\.wav: it is a folder"):
        result(tmp_path).check(force=True)
    for folder in (tmp_path / "file", tmp_path / ("x" * 300)):
        with pytest.raises(MediaError, match=r"^cannot write"):
            result(folder).check(force=True)


def test_a_source_is_known_by_any_of_its_names(tmp_path):
    source = tmp_path / "source.mp4"
    source.write_text("source")
    (tmp_path / "soft.mp4").symlink_to(source)
    (tmp_path / "hard.mp4").hardlink_to(source)
    for name in ("source.mp4", "soft.mp4", "hard.mp4"):
        with pytest.raises(MediaError, match="never written over"):
            spare(tmp_path / name, [source])
    spare(tmp_path / "new.mp4", [source])


def test_long_names_stay_distinct_and_whole_characters():
    one, other = (short_name("鐘" * 90 + ending, 100) for ending in "ab")
    assert one != other
    assert len(one.encode()) <= 100
    assert one.startswith("鐘" * 30)
    assert len(os.fsencode(short_name(os.fsdecode(b"\xe9" * 300), 100))) <= 100


def test_a_path_is_told_without_the_names_of_folders_above(tmp_path, monkeypatch):
    home = tmp_path / "home" / "alice"
    monkeypatch.setenv("HOME", str(home))
    assert portable(home / "v" / "a.mp4", home / "out") == "../v/a.mp4"
    assert portable(home / "v" / "a.mp4", tmp_path / "data") == "a.mp4"
    assert portable(tmp_path / "data" / "a.mp4", tmp_path / "data" / "out") == "../a.mp4"
