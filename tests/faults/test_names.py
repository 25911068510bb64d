"""Names of files of any bytes and any length, and terminals of any encoding."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys

import pytest
import soundfile
import torch

from prismaudio.cli.main import main
from prismaudio.media import write_video

PLAN = "<Semantic> A bell. <Temporal> The bell sounds at 0.50 s. <Aesthetic> Dry acoustics. <Spatial> From the left."
LATIN = os.fsdecode(b"caf\xe9")
SCORE = ("--rewards", "AestheticReward", "--metrics", "none", "--plan", PLAN)


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRISMAUDIO_CACHE", str(tmp_path / "cache"))
    write_video(torch.randint(0, 255, (16, 3, 32, 32), dtype=torch.uint8), 16, tmp_path / "clip.mp4")
    soundfile.write(
        "clip.wav", 0.1 * torch.randn(16_000, 2, generator=torch.Generator().manual_seed(0)).numpy(), 16_000
    )
    return tmp_path


@pytest.fixture
def generate(tiny_model_folder):
    def run(*words):
        return main(
            ["generate", *words, "-o", "out", "--plan", PLAN, "--steps", "1", "--model", str(tiny_model_folder)]
        )

    return run


def test_a_name_in_latin_1_is_generated_for_and_done(generate, work, capsys):
    (work / "clip.mp4").rename(work / f"{LATIN}.mp4")
    assert generate(f"{LATIN}.mp4") == 0
    assert sorted(os.fsencode(path.name) for path in (work / "out").iterdir()) == [
        b"caf\xe9.json", b"caf\xe9.mp4", b"caf\xe9.wav"
    ]  # fmt: skip
    made = json.loads((work / "out" / f"{LATIN}.json").read_text(encoding="utf-8"))
    assert [os.fsencode(name) for name in (made["video"], made["request"]["video"])] == [
        b"caf\xe9.mp4", b"../caf\xe9.mp4"
    ]  # fmt: skip
    assert generate(f"{LATIN}.mp4") == 0
    assert "caf\\udce9.mp4: skipped, already done" in capsys.readouterr().err


def test_a_name_in_latin_1_is_scored_once(work, capsys):
    (work / "clip.wav").rename(work / f"{LATIN}.wav")
    words = ["score", f"{LATIN}.wav", *SCORE, "--json", "s.jsonl", "--csv", "s.csv"]
    assert main(words) == 0
    assert "caf\\udce9" in capsys.readouterr().err
    line = json.loads((work / "s.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert os.fsencode(line["file"]) == b"caf\xe9.wav"
    row = next(csv.DictReader((work / "s.csv").read_text(encoding="utf-8").splitlines()))
    assert row["file"] == "caf\\udce9.wav"
    assert main(words) == 0
    assert "already scored" in capsys.readouterr().err


def test_a_table_names_files_of_any_bytes_but_its_texts_are_utf_8(generate, work, capsys):
    (work / "clip.mp4").rename(work / f"{LATIN}.mp4")
    (work / "t.csv").write_bytes(b"video,output\ncaf\xe9.mp4,caf\xe9 1.5\n")
    assert generate("t.csv") == 0
    assert b"caf\xe9 1.5.mp4" in [os.fsencode(path.name) for path in (work / "out").iterdir()]
    (work / "t.csv").write_bytes(b"video,prompt\ncaf\xe9.mp4,un caf\xe9\n")
    assert generate("t.csv") == 2
    assert "which is not text in UTF-8" in capsys.readouterr().err


def test_long_names_are_cut_before_anything_is_rendered_and_stay_distinct(generate, work):
    names = ["鐘" * 83 + "一", "鐘" * 83 + "二"]
    for name in names[:1]:
        (work / f"{name[:83]}.mp4").write_bytes((work / "clip.mp4").read_bytes())
    (work / "t.csv").write_text("video,output\n" + "".join(f"clip.mp4,{name}\n" for name in names), encoding="utf-8")
    assert generate("t.csv", f"{names[0][:83]}.mp4", "--spectrogram") == 0
    made = [path.name for path in (work / "out").iterdir()]
    assert len(made) == 12
    assert all(len(os.fsencode(name)) <= 255 for name in made)
    assert sum(name.startswith("鐘" * 70) and name.endswith(".mp4") for name in made) == 3


def test_a_folder_with_too_long_a_name_is_refused_before_anything_is_rendered(generate, work, capsys):
    (work / "t.csv").write_text(f"video,output\nclip.mp4,{'x' * 300}/take\n")
    assert generate("t.csv") == 2
    assert "ile name too long" in capsys.readouterr().err
    assert list((work / "out").iterdir()) == []


@pytest.mark.parametrize("settings", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_a_terminal_that_is_not_utf_8_gets_escapes(work, settings):
    (work / "clip.wav").rename(work / f"clé{LATIN}.wav")
    words = [sys.executable, "-m", "prismaudio", "score", f"clé{LATIN}.wav", *SCORE]
    done = subprocess.run(words, capture_output=True, env=os.environ | settings, timeout=120)
    assert (done.returncode, b"Traceback" in done.stderr, b"AestheticReward" in done.stdout) == (0, False, True)
    done = subprocess.run([*words, "--json", "-"], capture_output=True, env=os.environ | settings, timeout=120)
    assert os.fsencode(json.loads(done.stdout.splitlines()[0])["file"]) == f"clé{LATIN}.wav".encode(
        "utf-8", "surrogateescape"
    )
