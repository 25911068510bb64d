"""SIGTERM, wherever it arrives: exit code 143, one line, and whole files only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest
import soundfile
import torch

from prismaudio.cli.main import main
from prismaudio.cli.termination import Terminated, terminating
from prismaudio.data.extraction import Extractor
from prismaudio.evaluation import run
from prismaudio.inference import PrismAudio
from prismaudio.media import write_video

PLAN = "<Semantic> A bell. <Temporal> The bell sounds at 0.50 s. <Aesthetic> Dry acoustics. <Spatial> From the left."
COMMANDS = {
    "generate": (PrismAudio, "generate_batch", ["clips", "-o", "out", "--plan", PLAN, "--batch-size", "1"]),
    "plan": (PrismAudio, "plan", ["clips/a.mp4", "-o", "out/plan.txt"]),
    "score": (
        run,
        "score_file",
        ["a.wav", "--rewards", "AestheticReward", "--metrics", "none", "--json", "out/s.jsonl"],
    ),
    "extract": (Extractor, "encode", ["clips.csv", "-o", "out"]),
}
"""For each command a method that it calls in the middle of its work, and its arguments."""


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRISMAUDIO_CACHE", str(tmp_path / "cache"))
    for name in ("a", "b"):
        write_video(torch.randint(0, 255, (16, 3, 32, 32), dtype=torch.uint8), 16, tmp_path / "clips" / f"{name}.mp4")
    soundfile.write("a.wav", torch.rand(16_000, 2).numpy() - 0.5, 16_000)
    (tmp_path / "clips.csv").write_text("video,audio\nclips/a.mp4,a.wav\nclips/b.mp4,a.wav\n")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_ends_with_143_and_one_line_and_goes_on_later(command, work, tiny_model_folder, monkeypatch, capsys):
    kind, name, words = COMMANDS[command]
    words = [command, *words] if command == "score" else [command, *words, "--model", str(tiny_model_folder)]
    method = getattr(kind, name)

    def interrupted(*arguments, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return method(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(kind, name, interrupted)
        assert main(words) == 143
    assert capsys.readouterr().err.splitlines()[-1] == "prismaudio: terminated"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert [path for path in work.rglob("*") if ".part" in path.name] == []
    assert main(words) == 0


def python(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)


def test_a_second_signal_kills():
    done = python(
        "import os, signal\n"
        "from prismaudio.cli.termination import Terminated, terminating\n"
        "with terminating():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    except Terminated:\n"
        "        print('cleaning', flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        print('still here')\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGTERM, "cleaning\n", "")


def test_a_forked_process_is_killed_as_before():
    done = python(
        "import os, signal\n"
        "from prismaudio.cli.termination import terminating\n"
        "with terminating():\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        os._exit(0)\n"
        "    print(os.WTERMSIG(os.waitpid(child, 0)[1]))\n"
    )
    assert (done.stdout, done.stderr) == (f"{int(signal.SIGTERM)}\n", "")


def test_handlers_of_others_and_other_threads_are_left_alone():
    def other(*_: object) -> None:
        heard.append(1)

    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, other)
    try:
        with terminating():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [1]
    seen = []

    def in_a_thread() -> None:
        with terminating():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]


def test_it_is_what_cleans_up_after_ctrl_c_that_cleans_up():
    with pytest.raises(KeyboardInterrupt), terminating():
        os.kill(os.getpid(), signal.SIGTERM)
    assert issubclass(Terminated, KeyboardInterrupt)
