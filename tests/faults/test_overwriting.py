"""No source of a command, and no file of somebody else, is written over."""

from __future__ import annotations

import json
import os

import pytest
import torch

from prismaudio.cli.jobs import Job, collect_jobs
from prismaudio.cli.main import main
from prismaudio.errors import MediaError, PrismAudioError
from prismaudio.inference import PrismAudio
from prismaudio.media import write_video

PLAN = "<Semantic> A bell. <Temporal> The bell sounds at 0.50 s. <Aesthetic> Dry acoustics. <Spatial> From the left."


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_video(torch.randint(0, 255, (16, 3, 32, 32), dtype=torch.uint8), 16, path)
    return path.read_bytes()


@pytest.fixture
def put(tmp_path, monkeypatch, clip):
    """Put the clip, or a text, into a file of the working directory."""
    monkeypatch.chdir(tmp_path)

    def put(name, text=None):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clip if text is None else text.encode())
        return path

    return put


@pytest.fixture
def generate(tiny_model_folder):
    def run(*words):
        return main(["generate", *map(str, words), "--plan", PLAN, "--steps", "1", "--model", str(tiny_model_folder)])

    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def outputs(videos, folder):
    return [job.output.name for job in collect_jobs([str(video) for video in videos], folder, Job(None, folder))]


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_source_of_the_same_command_is_never_written_over(generate, put, clip, force):
    put("a/clip.mov")
    source = put("b/clip.mp4")
    assert generate("a/clip.mov", "b/clip.mp4", "-o", "b", *force) == 0
    assert source.read_bytes() == clip
    assert {"clip-sound.mp4", "clip-sound-2.mp4"} <= set(names(source.parent))
    before = {path: path.stat().st_mtime_ns for path in source.parent.iterdir()}
    assert generate("a/clip.mov", "b/clip.mp4", "-o", "b") == 0
    assert before == {path: path.stat().st_mtime_ns for path in source.parent.iterdir()}


def test_links_to_a_source_are_the_source(put, tmp_path):
    source = put("a/clip.mp4")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "clip.mp4").hardlink_to(source)
    assert outputs([source], tmp_path / "out") == ["clip-sound"]
    (tmp_path / "out" / "clip.mp4").unlink()
    (tmp_path / "out" / "clip.mp4").symlink_to(source)
    assert outputs([source], tmp_path / "out") == ["clip-sound"]


def test_names_that_a_file_system_may_not_tell_apart_are_not_used_together(put, tmp_path):
    videos = [put("a/Clip.mp4"), put("b/clip.mp4"), put("c/é.mp4"), put("d/e\u0301.mp4")]
    assert outputs(videos, tmp_path / "out") == ["Clip", "clip-2", "é", "e\u0301-2"]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.wav", "clip.json"])
def test_other_files_are_kept_unless_forced(generate, put, capsys, name):
    put("a/clip.mov")
    theirs = put(f"out/{name}", "theirs")
    assert generate("a/clip.mov", "-o", "out") == 2
    said = capsys.readouterr().err
    assert (said.count("\n"), f"{name} already exists" in said, "--force" in said) == (1, True, True)
    assert (theirs.read_text(), names(theirs.parent)) == ("theirs", [name])
    assert generate("a/clip.mov", "-o", "out", "--force") == 0
    assert names(theirs.parent) == ["clip.json", "clip.mp4", "clip.wav"]


def test_a_spectrogram_that_was_made_before_may_be_made_again(generate, put, tmp_path):
    put("a/clip.mp4")
    for option in (["--spectrogram"], [], ["--spectrogram"]):
        assert generate("a/clip.mp4", "-o", "out", *option) == 0
        assert ("clip.png" in names(tmp_path / "out")) == bool(option)


def test_the_result_of_another_video_of_the_same_name_stays(generate, put, tmp_path):
    put("a/clip.mp4")
    os.utime(put("b/clip.mp4"), (1e9, 1e9))
    assert generate("a/clip.mp4", "-o", "out") == 0
    before = (tmp_path / "out" / "clip.json").read_text()
    assert generate("b/clip.mp4", "-o", "out") == 0
    assert (tmp_path / "out" / "clip.json").read_text() == before
    assert json.loads((tmp_path / "out" / "clip-2.json").read_text())["request"]["video"] == "../b/clip.mp4"
    os.utime("a/clip.mp4", (1e9, 1e9 + 1))  # changed at its place: its own result is made again
    assert generate("a/clip.mp4", "-o", "out", "--seed", "1") == 0
    assert [name for name in names(tmp_path / "out") if name.endswith(".mp4")] == ["clip-2.mp4", "clip.mp4"]


def test_a_moved_folder_is_still_done_and_contains_no_path(generate, put, tmp_path, capsys):
    put("here/videos/clip.mp4")
    assert generate("here/videos/clip.mp4", "-o", "here/out") == 0
    text = (tmp_path / "here" / "out" / "clip.json").read_text()
    assert str(tmp_path) not in text
    assert json.loads(text)["video"] == "clip.mp4"
    assert json.loads(text)["request"]["video"] == "../videos/clip.mp4"
    (tmp_path / "here").rename(tmp_path / "there")
    assert generate(tmp_path / "there" / "videos" / "clip.mp4", "-o", tmp_path / "there" / "out") == 0
    assert "already done" in capsys.readouterr().err


def test_the_model_is_not_written_over(put, tiny_model_folder, tmp_path, capsys):
    put("config.mp4")
    model = tmp_path / "model"
    model.mkdir()
    for path in tiny_model_folder.iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    words = ["generate", "config.mp4", "-o", "model", "--model", "model", "--plan", PLAN, "--force"]
    before = (model / "config.json").read_text()
    assert main(words) == 2
    assert "never overwritten" in capsys.readouterr().err
    assert (model / "config.json").read_text() == before


@pytest.mark.parametrize("cell", ["../x", "/tmp/x", "sub/../../x", "link/x", "..", ".", "a/..", "/"])
def test_an_output_of_a_table_stays_in_its_folder(put, tmp_path, cell):
    put("clip.mp4")
    table = put("t.csv", f"video,output\nclip.mp4,fine\nclip.mp4,{cell}\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PrismAudioError, match=r"t\.csv, line 3: the output .* is (outside of|not a file name)"):
        collect_jobs([str(table)], tmp_path / "out", Job(None, tmp_path / "out"))


def test_an_output_may_be_spelled_in_other_ways(put, tmp_path):
    put("clip.mp4")
    cells = [f"{tmp_path}/out/absolute", "sub/../plain", "take v1.5", "first.mp4", "a.b/second.WAV", "v1.2.json"]
    table = put("t.csv", "video,output\n" + "".join(f"clip.mp4,{cell}\n" for cell in cells))
    jobs = collect_jobs([str(table)], tmp_path / "out", Job(None, tmp_path / "out"))
    wanted = ["absolute", "plain", "take v1.5", "first", "a.b/second", "v1.2"]
    assert [str(job.output.relative_to(tmp_path / "out")) for job in jobs] == wanted


OTHERS = {
    "bench": (["bench", "rewards", "--json", "x"], "x"),
    "plan": (["plan", "clip.mp4", "-o", "x"], "x"),
    "convert": (["convert", "clip.mp4", "."], "model.safetensors"),
    "export": (["export", "clip.mp4", ".", "--config", "x.yaml"], "model.safetensors"),
}
"""Commands and the file that each of them would write."""


@pytest.mark.parametrize("command", OTHERS)
def test_other_commands_leave_files_of_somebody_else_alone(tiny_plugin, put, tmp_path, capsys, command):
    words, name = OTHERS[command]
    put("clip.mp4")
    theirs = put(name, "theirs")
    before = names(tmp_path)
    assert main(words) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("prismaudio: error: ")
    assert name in said or "already contains a model" in said
    assert (theirs.read_text(), names(tmp_path)) == ("theirs", before)


@pytest.mark.parametrize("option", [["--force"], []])
def test_a_plan_is_not_written_over_its_video(put, clip, tiny_model_folder, capsys, option):
    source = put("clip.mp4")
    assert main(["plan", "clip.mp4", "-o", "clip.mp4", "--model", str(tiny_model_folder), *option]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert source.read_bytes() == clip


def test_a_converted_model_is_not_written_over_its_source(put, tmp_path, tiny_model_folder, capsys):
    (tmp_path / "model").mkdir()
    for path in tiny_model_folder.iterdir():
        (tmp_path / "model" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "other").symlink_to(tmp_path / "model")
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    for target in ("model", "other"):
        assert main(["convert", "model", target, "--half", "bf16", "--force"]) == 2
        assert "never overwritten" in capsys.readouterr().err
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before


def test_a_report_of_a_benchmark_is_replaced_by_the_next_and_others_by_force(put, tmp_path):
    words = ["bench", "rewards", "--rewards", "AestheticReward", "--group", "2", "--duration", "0.5", "--device", "cpu"]
    words += ["--json", "out.json"]
    report = put("out.json", "theirs")
    assert main(words) == 2
    assert main([*words, "--force"]) == 0
    assert main(words) == 0
    assert list(json.loads(report.read_text())["rows"]) == ["AestheticReward", "all"]
    assert names(tmp_path) == ["out.json"]


def test_a_sound_is_not_saved_over_its_video(put, clip, tiny_model_folder):
    source = put("clip.mp4")
    sound = PrismAudio.from_pretrained(tiny_model_folder).generate(source, plan=PLAN, steps=1)
    with pytest.raises(MediaError, match="never overwritten"):
        sound.save(source)
    assert source.read_bytes() == clip
