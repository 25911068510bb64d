from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from prismaudio.cli.main import main
from prismaudio.data.manifest import read_manifest
from prismaudio.errors import PrismAudioError
from prismaudio.inference import PrismAudio
from prismaudio.media import probe, read_audio_track, write_video

PLAN = "<Semantic> A bell. <Temporal> The bell sounds at 0.50 s. <Aesthetic> Dry acoustics. <Spatial> From the left."

STEMS = ("a", "b", "bad", "c0", "c1", "c2", "c3", "c4")
"""Videos of a folder in the order in which they are reported."""


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    for name in ("a.mp4", "b.mkv"):
        write_video(torch.randint(0, 255, (16, 3, 32, 32), dtype=torch.uint8), 16, folder / name)
    return folder


@pytest.fixture
def generate(tiny_model_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words, output="out"):
        return main(
            ["generate", *map(str, words), "--model", str(tiny_model_folder), "--steps", "1", "-o", str(output)]
        )

    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_one_video(generate, videos, tmp_path):
    assert generate(videos / "a.mp4", "--spectrogram") == 0
    assert names(tmp_path / "out") == ["a.json", "a.mp4", "a.png", "a.wav"]
    told = json.loads((tmp_path / "out" / "a.json").read_text())
    assert {"plan", "seed", "model", "versions", "sampler", "guidance", "notices", "outputs"} <= set(told)
    assert told["outputs"] == ["a.mp4", "a.wav", "a.png"]
    assert set(told["plan"]) >= {"semantic", "temporal"}
    assert probe(tmp_path / "out" / "a.mp4").duration_s == pytest.approx(1.0)
    assert read_audio_track(tmp_path / "out" / "a.mp4", 16_000) is not None


def test_a_profile_lists_every_phase(generate, videos, tmp_path, capsys):
    assert generate(videos, "--profile", "--low-memory") == 0
    lines = capsys.readouterr().err.splitlines()
    table = lines[next(index for index, line in enumerate(lines) if line.startswith("phase")) :]
    named = [line.split()[0] for line in table[1:]]
    assert {"loading", "reading", "planning", "BrightnessEncoder", "sampling", "decoding", "writing"} <= set(named)
    assert named[-1] == "all"


def test_a_folder_is_resumed_and_what_is_done_is_skipped(generate, videos, tmp_path, capsys):
    assert generate(videos) == 0
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    (tmp_path / "out" / "b.wav").unlink()
    assert generate(videos) == 0
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"b.json", "b.mp4", "b.wav"}
    assert "a.mp4: skipped, already done" in capsys.readouterr().err
    assert generate(videos, "--seed", "1") == 0
    assert json.loads((tmp_path / "out" / "a.json").read_text())["seed"] == 1
    assert generate(videos / "a.mp4", "--seed", "1", "--force") == 0
    assert "already" not in capsys.readouterr().err


def test_failures_do_not_stop_the_others_and_are_listed(generate, videos, tmp_path, capsys):
    (videos / "bad.mp4").write_text("no video at all")
    (videos / "empty.mov").touch()
    assert generate(videos, tmp_path / "none.mp4", "--batch-size", 2) == 2
    assert [n for n in names(tmp_path / "out") if n.endswith(".mp4")] == ["a.mp4", "b.mp4"]
    listed = capsys.readouterr().err.split("failed:\n")[-1].splitlines()
    assert [line.count(name) for line, name in zip(listed, ("bad.mp4", "empty.mov", "none.mp4"), strict=True)] == [
        1,
        1,
        1,
    ]


def test_threads_change_neither_a_result_nor_the_order_of_messages(generate, videos, tmp_path, capsys, monkeypatch):
    for number in range(5):
        frames = torch.randint(0, 255, (16 + 3 * number, 3, 32, 32), dtype=torch.uint8)
        write_video(frames, 16, videos / f"c{number}.mp4")
    (videos / "bad.mp4").write_text("no video at all")
    found = {}
    for name, n_cpus, words in (("none", 1, ["--low-memory"]), ("one", 1, []), ("threads", 4, [])):
        monkeypatch.setattr("prismaudio.cli.batch.n_cpus", lambda n_cpus=n_cpus: n_cpus)
        assert generate(videos, *words, "--batch-size", 2, output=name) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("[")]
        assert [int(line[1]) for line in lines] == list(range(1, 9))
        assert [line.count(f"{stem}.m") > 0 for line, stem in zip(lines, STEMS, strict=True)] == [True] * 8
        files = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir() if path.suffix != ".json"}
        found[name] = files
    assert len(found["threads"]) == 14
    assert found["none"] == found["one"] == found["threads"]


def test_what_is_generated_is_kept_when_a_later_batch_stops_the_command(
    generate, videos, tmp_path, monkeypatch, capsys
):
    render, n_batches = PrismAudio.generate_batch, []

    def fails(*arguments, **options):
        n_batches.append(1)
        if len(n_batches) == 2:
            raise PrismAudioError("this option is invalid")
        return render(*arguments, **options)

    monkeypatch.setattr(PrismAudio, "generate_batch", fails)
    assert generate(videos, "--batch-size", 1) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "prismaudio: error: this option is invalid"
    assert names(tmp_path / "out") == ["a.json", "a.mp4", "a.wav"]


def test_a_batch_that_fails_is_rendered_one_by_one(generate, videos, tmp_path, monkeypatch, capsys):
    render = PrismAudio.generate_batch

    def fails(model, requests, **options):
        if any(request.video.name == "a.mp4" for request in requests):
            raise RuntimeError("out of memory")
        return render(model, requests, **options)

    monkeypatch.setattr(PrismAudio, "generate_batch", fails)
    assert generate(videos) == 2
    assert "a.mp4: RuntimeError: out of memory" in capsys.readouterr().err
    assert names(tmp_path / "out") == ["b.json", "b.mp4", "b.wav"]


def test_a_table(generate, videos, tmp_path):
    (videos / "plan.txt").write_text(PLAN)
    (videos / "jobs.csv").write_text(
        'video,plan,prompt,seed,output\na.mp4,plan.txt,,7,first\na.mp4,,"a drum, loud",,\nb.mkv,,,,sub/third.mp4\n'
    )
    assert generate(videos / "jobs.csv", "--seed", "3") == 0
    first, second, third = (
        json.loads((tmp_path / "out" / f"{n}.json").read_text()) for n in ("first", "a", "sub/third")
    )
    assert (first["seed"], second["seed"], third["seed"]) == (7, 3, 3)
    assert first["plan"]["semantic"] == "A bell."
    assert second["plan"]["semantic"] == "a drum, loud"


def test_a_manifest_and_its_other_columns_in_the_results(generate, videos, tmp_path):
    rows = [
        {"id": "bell", "video": "a.mp4", "caption": ["A bell.", "A drum."], "audio": "true.wav", "speaker": "Kim"},
        {"id": "both", "video": "b.mkv", "plan": {"temporal": "At 0.50 s."}, "semantic": "A bell.", "seed": 7},
    ]
    (videos / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = (videos / "clips.jsonl", "--manifest", tmp_path / "made.jsonl")
    assert generate(*words) == 0
    bell = json.loads((tmp_path / "out" / "bell.json").read_text())
    assert (bell["plan"]["semantic"], bell["columns"]["speaker"]) == ("A bell.", "Kim")
    both = json.loads((tmp_path / "out" / "both.json").read_text())
    assert (both["plan"]["semantic"], both["plan"]["temporal"], both["seed"]) == ("A bell.", "At 0.50 s.", 7)
    first = (tmp_path / "made.jsonl").read_text()
    made = [json.loads(line) for line in first.splitlines()]
    assert [row["id"] for row in made] == ["bell", "both"]
    assert (made[0]["video"], made[0]["audio"]) == ("out/bell.mp4", "out/bell.wav")
    assert (made[0]["reference"], made[0]["speaker"]) == ("videos/true.wav", "Kim")
    assert made[1]["plan"] == both["plan_text"]
    assert [entry.id for entry in read_manifest(tmp_path / "made.jsonl", list(both["plan"]))] == ["bell", "both"]
    assert generate(*words) == 0  # both are done already
    assert (tmp_path / "made.jsonl").read_text() == first
    (videos / "b.mkv").write_bytes(b"broken")
    assert generate(*words) == 2  # what is left of another video is no result
    assert [json.loads(line)["id"] for line in (tmp_path / "made.jsonl").read_text().splitlines()] == ["bell"]


def test_the_manifest_of_results_names_outputs_by_their_place(generate, videos, tmp_path):
    (videos / "clips.csv").write_text("video,output,box\na.mp4,x/one,1\nb.mkv,y/one,2\n")
    elsewhere = tmp_path / "made" / "of" / "results.jsonl"
    elsewhere.parent.mkdir(parents=True)
    assert generate(videos / "clips.csv", "--manifest", elsewhere) == 0
    entries = read_manifest(elsewhere, ("semantic", "temporal", "aesthetic", "spatial", "loudness", "speechfree"))
    assert [entry.id for entry in entries] == ["x/one", "y/one"]
    assert all(entry.audio.is_file() and entry.video.is_file() for entry in entries)


def test_compiling_without_a_gpu_is_said_to_have_no_effect(generate, videos, capsys):
    assert generate(videos / "a.mp4", "--compile", "on", "--device", "cpu") == 0
    assert "note: --compile on has no effect on cpu" in capsys.readouterr().err


def test_the_manifest_of_the_results_replaces_nothing_else(generate, videos, tmp_path, capsys):
    (tmp_path / "clips.csv").write_text("video\nvideos/a.mp4\n")
    assert generate(tmp_path / "clips.csv", "--manifest", tmp_path / "clips.csv") == 2
    assert "is an input file of this command" in capsys.readouterr().err
    assert generate(tmp_path / "clips.csv", "--manifest", tmp_path / "made.txt") == 2
    assert "expected .jsonl" in capsys.readouterr().err
    (tmp_path / "other.jsonl").write_text('{"video": "videos/a.mp4"}\n')
    assert generate(videos / "a.mp4", "--manifest", tmp_path / "other.jsonl") == 2
    assert "is no manifest of generate; choose another name" in capsys.readouterr().err
    assert (tmp_path / "other.jsonl").read_text() == '{"video": "videos/a.mp4"}\n'


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("file,plan\na.mp4,x\n", "no column 'video'"),
        ("video,promt\na.mp4,x\n", "a column 'promt'; did you mean 'prompt'?"),
        ("plan\nx\n", "no column 'video'"),
        ("video,seed\na.mp4,many\n", "line 2: the seed 'many'"),
        ("video\n", "lists no clips"),
        ("video,seed\na.mp4,9223372036854775808\n", "line 2: the seed 9223372036854775808 is out of range"),
        (f"video,seed\na.mp4,{'9' * 5000}\n", "expected 0 to 9223372036854775807"),
        ('video,prompt\n"a.mp4","a\nb"\na.mp4,a,b\n', "line 4: more cells than the header"),
        ("video,prompt\na.mp4,a\0b\n", "it is not text in UTF-8"),
        ("video\n" + "a" * 200_000 + "\n", "field larger than field limit"),
        ("video,start_s\na.mp4,1.5\n", "line 2: start_s is '1.5'; generate takes whole files"),
    ],
)
def test_bad_tables(generate, videos, capsys, table, words):
    (videos / "jobs.csv").write_text(table)
    assert generate(videos / "jobs.csv") == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said) < 500


def test_a_table_of_no_end_is_refused(generate, tmp_path, capsys):
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    assert generate(tmp_path / "zero.csv") == 2
    assert "not a regular file" in capsys.readouterr().err


def test_videos_of_one_name_get_files_of_their_own(generate, videos, tmp_path):
    (tmp_path / "other").mkdir()
    (videos / "a.mp4").rename(tmp_path / "other" / "b.mp4")
    assert generate(videos / "b.mkv", tmp_path / "other" / "b.mp4") == 0
    assert {"b.mp4", "b-2.mp4"} <= set(names(tmp_path / "out"))


def test_a_source_is_never_written_over(generate, videos, capsys):
    before = (videos / "a.mp4").read_bytes()
    assert generate(videos / "a.mp4", output=videos) == 0
    assert (videos / "a.mp4").read_bytes() == before
    assert "a-sound.mp4" in names(videos)
    assert generate(videos, output=videos) == 2
    assert "choose another output folder with -o" in capsys.readouterr().err


def test_sound_from_text(generate, tmp_path):
    assert generate("--prompt", "a small bell", "--duration", "1.5") == 0
    assert names(tmp_path / "out") == ["sound.json", "sound.wav"]


def test_a_plan_that_was_edited_is_read_back(generate, videos, tmp_path, tiny_model_folder, capsys):
    words = ["plan", str(videos / "a.mp4"), "--model", str(tiny_model_folder)]
    assert main(words) == 0
    file = tmp_path / "a.plan.txt"
    assert main(words) == 2
    assert "exists" in capsys.readouterr().err
    assert main([*words, "-o", "-"]) == 0
    assert capsys.readouterr().out.startswith("<Semantic>")
    file.write_text(PLAN.replace("0.50", "0.75"))
    assert generate(videos / "a.mp4", "--plan", file) == 0
    told = json.loads((tmp_path / "out" / "a.json").read_text())
    assert told["plan"]["temporal"] == "The bell sounds at 0.75 s."
    file.write_text(PLAN)
    assert generate(videos / "a.mp4", "--plan", file) == 0
    assert "0.50" in json.loads((tmp_path / "out" / "a.json").read_text())["plan"]["temporal"]


def test_arguments_of_a_sampler_are_part_of_the_request(videos, tmp_path, tiny_model_folder, capsys):
    def run(*words):
        here = ("--model", str(tiny_model_folder), "-o", str(tmp_path / "out"))
        assert main(["generate", str(videos / "a.mp4"), *here, *words]) == 0
        told = json.loads((tmp_path / "out" / "a.json").read_text())
        return told["sampler"], told["request"]["sampler"], "skipped" in capsys.readouterr().err

    assert run("--sampler", "heun", "--steps", "2") == ({"name": "HeunSampler", "steps": 2}, "heun", False)
    described = {"class_path": "heun", "init_args": {"steps": 2}}
    assert run("--sampler", "heun", "--sampler.steps", "2") == ({"name": "HeunSampler", "steps": 2}, described, False)
    assert run("--sampler=heun", "--sampler.steps=2")[2]
    assert run("--sampler", "heun", "--sampler.steps", "3")[0] == {"name": "HeunSampler", "steps": 3}
    assert run("--steps", "1")[1:] == (None, False)
    (tmp_path / "heun.yaml").write_text("class_path: HeunSampler\ninit_args: {steps: 2}\n")
    assert run("--sampler", str(tmp_path / "heun.yaml"))[0] == {"name": "HeunSampler", "steps": 2}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--sampler.steps", "few"], "--sampler.steps is 'few'; expected int"),
        (["--sampler.steps", "0"], "HeunSampler cannot make 0 steps"),
        (["--sampler.steps", "2", "--steps", "4"], "--steps 4 and --sampler.steps 2 are the same; give one of them"),
    ],
)
def test_arguments_of_a_sampler_that_are_wrong_are_one_line(videos, tmp_path, tiny_model_folder, capsys, words, says):
    here = ("--model", str(tiny_model_folder), "-o", str(tmp_path / "out"))
    assert main(["generate", str(videos / "a.mp4"), *here, "--sampler", "heun", *words]) == 2
    text = capsys.readouterr().err
    assert says in text
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "nothing to generate"),
        (["--prompt", "x"], "--duration"),
        (["a.mp4", "--duration", "3"], "--duration applies to"),
        (["a.mp4", "--duration", "nan"], "out of range"),
        (["a.mp4", "--steps", "many"], "--steps"),
        (["a.mp4", "--seed", "-1"], "out of range"),
        (["a.mp4", "--seed", str(2**63)], f"from 0 to {2**63 - 1}"),
        (["a.mp4", "--seed", "9" * 5000], f"from 0 to {2**63 - 1}"),
        (["a.mp4", "--duration", "9" * 400], "out of range"),
        (["a.mp4", "--precision=--"], "expected a value"),
        (["a\0.mp4"], "NUL byte"),
        (["a.mp4", "--prompt", "caf\udce9"], "--prompt: the text is not UTF-8"),
        (["a.mp4", "--plan", "<Semantic> caf\udce9"], "--plan: the text is not UTF-8"),
        (["a.mp4", "--plan", "/dev/zero"], "not a regular file"),
        (["/dev/zero"], "a pipe or a device"),
        (["a.mp4", "--device", "toaster"], "device 'toaster' is not available"),
        (["a.mp4", "--device", "meta"], "device 'meta' is not available"),
        (["a.mp4", "--sampler", "euller"], "EulerSampler"),
        (["a.mp4", "--sampler", "euller", "--sampler.steps", "2"], "EulerSampler"),
        (["a.mp4", "--sampler", "heun", "--sampler.power", "2"], "HeunSampler has no argument power; it takes steps"),
        (["a.mp4", "--sampler.steps", "2"], "--sampler.steps belongs to no sampler; write --sampler CLASS before it"),
        (["a.mp4", "--plan", "<Semantik> x"], "Semantic"),
        (["a.mp4", "--plan", "<Temporal> The bell sounds at 9 s."], "9.00 s"),
        (["a.mp4", "--plan", "none.txt"], "none.txt"),
        (["a.mp4", "--nonsense"], "--nonsense"),
    ],
)
def test_errors_are_reported_in_one_line(generate, videos, tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.chdir(videos)
    assert generate(*words, output=tmp_path / "out") == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert text.startswith("prismaudio: error: ")
    assert says in text
    assert not (tmp_path / "out").exists() or names(tmp_path / "out") == []


@pytest.mark.parametrize("output", ["file", "file/below", "/proc/nowhere", "result.mp4"])
def test_places_that_cannot_be_written(generate, videos, tmp_path, capsys, output):
    (tmp_path / "file").write_text("")
    assert generate(videos / "a.mp4", output=output) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_model_that_is_not_there(videos, tmp_path, capsys):
    assert main(["generate", str(videos / "a.mp4"), "--model", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def listen_to_interrupts() -> None:
    """A shell that starts tests in the background lets them, and whom they start, ignore interrupts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_interrupted_it_leaves_whole_files_and_goes_on_later(generate, videos, tmp_path, tiny_model_folder):
    words = [
        sys.executable,
        "-m",
        "prismaudio",
        "generate",
        str(videos),
        "--model",
        str(tiny_model_folder),
        "-o",
        "out",
    ]
    with subprocess.Popen(
        [*words, "--sampler", "RungeKuttaSampler", "--steps", "1000", "--batch-size", "1"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listen_to_interrupts,  # noqa: PLW1509 - no other threads of ours
    ) as process:
        time.sleep(0.2)
        deadline = time.monotonic() + 60
        while not (tmp_path / "out").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1.0)  # it samples by now; an interrupt in the middle of an import may be lost
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert names(tmp_path / "out") == []
    assert generate(videos) == 0


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
def test_bars_on_a_terminal(videos, tmp_path, tiny_model_folder):
    here, there = os.openpty()
    words = [sys.executable, "-m", "prismaudio", "generate", str(videos / "a.mp4"), "--model", str(tiny_model_folder)]
    with subprocess.Popen(
        [*words, "-o", str(tmp_path / "out")], stderr=there, env=os.environ | {"TERM": "xterm"}
    ) as run:
        os.close(there)
        written = b""
        with contextlib.suppress(OSError):  # no process has it open any more
            while more := os.read(here, 4096):
                written += more
    assert run.returncode == 0
    text = written.decode(errors="replace")
    assert "a.mp4 -> " in text
    assert "\x1b[" in text
