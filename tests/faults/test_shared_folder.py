"""Several processes that write features into one folder."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest
import torch

from prismaudio.data.extraction import Extracted
from prismaudio.data.features import find_files, gather
from prismaudio.data.manifest import ManifestEntry
from prismaudio.data.shards import index_shard
from prismaudio.data.writing import FeatureFolder
from prismaudio.errors import DataError

N_CLIPS = 12
WRITER = """
import errno, os, sys, torch
from pathlib import Path
from prismaudio.data import sharing
from prismaudio.data.extraction import Extracted
from prismaudio.data.manifest import ManifestEntry
from prismaudio.data.writing import FeatureFolder

def no_links(*_):
    raise OSError(errno.EPERM, "no hard links")

def no_locks(folder):
    import contextlib
    return contextlib.nullcontext()

name, folder, kind = sys.argv[1:]
if kind == "without links":
    os.link = no_links
if kind != "with all":
    import prismaudio.data.writing
    prismaudio.data.writing.locked = no_locks
written = FeatureFolder(Path(folder), {"latents": {}, "streams": {}}, 1)
print("ready", flush=True)
sys.stdin.read()
for i in range(CLIPS):
    written.add(Extracted(ManifestEntry(f"{name}{i}"), {"latents": torch.full((2, 3), float(i))}, {}))
written.report({f"{name} failed": "a reason"}, [f"{name} failed"])
"""


@pytest.mark.parametrize("kind", ["with all", "without locks", "without links"])
def test_processes_that_write_at_the_same_time_lose_nothing(tmp_path, kind):
    script = WRITER.replace("CLIPS", str(N_CLIPS))
    command = [sys.executable, "-c", script]
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(subprocess.Popen([*command, name, tmp_path, kind], stdin=-1, stdout=-1, text=True))
            for name in "ab"
        ]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.close()
        assert [process.wait(60) for process in processes] == [0, 0]
    records, contents = gather(find_files(tmp_path))
    assert sorted(records) == sorted(f"{name}{i}" for name in "ab" for i in range(N_CLIPS))
    assert len(contents) == 2 * N_CLIPS
    assert not list(tmp_path.glob(".*"))
    if kind == "with all":
        assert len((tmp_path / "failures.jsonl").read_text().splitlines()) == 2


def test_two_models_do_not_write_into_one_folder(tmp_path):
    first, second = (FeatureFolder(tmp_path, {"latents": {"hop": hop}, "streams": {}}, 8) for hop in (256, 512))
    for folder in (first, second):
        folder.add(Extracted(ManifestEntry("a"), {"latents": torch.zeros(2, 3)}, {}))
    path = first.flush()
    with pytest.raises(DataError, match="computed by another autoencoder: hop 256, expected 512"):
        second.flush()
    assert list(tmp_path.iterdir()) == [path]
    assert list(index_shard(path).records) == ["a"]
