"""Several processes extract features into one folder; what a killed one leaves is completed by any number of others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch

from prismaudio.cli.main import main
from prismaudio.data.features import find_files, gather, read_tensor
from prismaudio.media import write_video

pytestmark = pytest.mark.slow
N_CLIPS = 11
PLUGIN = """
import os
import signal
import time
from pathlib import Path

from prismaudio import Component, Stream, hookimpl
from prismaudio.encoders.brightness import BrightnessEncoder


@hookimpl
def prismaudio_encoders():
    return [Component("scripted:Scripted", "Kills its process, or waits.", stream=Stream("video", 4, 8.0))]


class Scripted(BrightnessEncoder):
    n_encoded = 0

    def encode(self, clip, plan):
        rank = os.environ.get("RANK") or os.environ.get("SLURM_PROCID", "0")
        Scripted.n_encoded += 1
        if os.environ.get("KILLED") == rank and Scripted.n_encoded == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        if "WAITING" in os.environ and Scripted.n_encoded == 2:
            Path(os.environ["WAITING"], f"rank{rank}").touch()
            time.sleep(60)
        return super().encode(clip, plan)
"""
COMMAND = ["extract", "clips.csv", "--encoder", "video=Scripted", "--shard-size", "2", "--workers", "1"]


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Eleven short videos, a file that is none, and an encoder that ends its process where a test asks for it."""
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    for number in range(N_CLIPS):
        frames = torch.randint(0, 255, (8 + number % 3, 3, 16, 16), dtype=torch.uint8, generator=generator)
        write_video(frames, 16, tmp_path / f"{number}.mp4")
    (tmp_path / "5.mp4").write_text("not a video")
    (tmp_path / "clips.csv").write_text("video\n" + "".join(f"{number}.mp4\n" for number in range(N_CLIPS)))
    (tmp_path / "scripted.py").write_text(textwrap.dedent(PLUGIN))
    monkeypatch.setenv("PRISMAUDIO_PLUGINS", str(tmp_path / "scripted.py"), prepend=",")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(threads)


@pytest.fixture
def whole(work, made_tiny_model, tiny_plugin):
    """The folder of an uninterrupted run of one process, and the command."""
    command = [*COMMAND, "--autoencoder", "none"]
    assert main([*command, "-o", "whole"]) == 0
    return work / "whole", command


def start(command, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "prismaudio", *command],
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def same(one, other):
    (first, _), (second, _) = gather(find_files(one)), gather(find_files(other))
    assert first.keys() == second.keys()
    for name, record in first.items():
        assert record.parts.keys() == second[name].parts.keys()
        assert record.info == second[name].info
        for key, part in record.parts.items():
            assert torch.equal(read_tensor(part), read_tensor(second[name].parts[key]))
    return len(first)


def test_a_process_is_killed_and_other_ones_do_the_rest(whole, work, monkeypatch, capsys):
    folder, command = whole
    died = start([*command, "-o", "out", "--devices", "2"], KILLED="1")
    said = died.communicate(timeout=120)[1]
    assert died.returncode == 2, said
    assert "process 2/2 was killed by signal 9 (SIGKILL)" in said
    assert "[1/2] out: 6 clips computed, 0 already done" in said
    n_before = len(gather(find_files(work / "out"))[0])
    assert n_before < N_CLIPS - 1
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    capsys.readouterr()
    n_computed = []
    for rank in range(3):  # a number of ranks that the killed run did not have
        monkeypatch.setenv("SLURM_PROCID", str(rank))
        assert main([*command, "-o", "out"]) == 0
        n_computed.append(int(capsys.readouterr().err.split("out: ")[1].split()[0]))
    assert sum(n_computed) == N_CLIPS - 1 - n_before
    assert same(folder, work / "out") == N_CLIPS - 1


def test_ranks_of_a_launcher_take_disjoint_clips(whole, work):
    folder, command = whole
    ranks = [{"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)} for rank in range(2)]
    processes = [start([*command, "-o", "out"], **environment, KILLED="0") for environment in ranks]
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [-signal.SIGKILL, 0], said
    processes = [start([*command, "-o", "out"], **environment) for environment in ranks]
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert "out: 0 clips computed, 4 already done, 1 skipped" in said[1]
    assert same(folder, work / "out") == N_CLIPS - 1
    clips = {part: set(gather(sorted((work / "out").glob(f"shard-{part}-*")))[0]) for part in ("1of2", "2of2")}
    assert clips == {"1of2": set("02468") | {"10"}, "2of2": set("1379")}


def test_sigterm_ends_all_processes_and_what_is_computed_stays(work):
    waiting = work / "waiting"
    waiting.mkdir()
    process = start([*COMMAND, "-o", "out", "--devices", "2"], WAITING=str(waiting))
    for _ in range(600):
        if len(list(waiting.iterdir())) == 2:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 143, said
    assert said.splitlines()[-1] == "prismaudio: terminated"
    assert said.count("prismaudio: terminated") == 3
    assert len(gather(find_files(work / "out"))[0]) == 2
