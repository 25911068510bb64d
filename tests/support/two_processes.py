"""A script that two processes run together, with the environment that torchrun makes, and what they leave."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch


def run_together(script: Path, folder: Path, timeout_s: float = 900) -> None:
    """Run ``python script folder`` in two processes, which can import the modules beside this one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {
        "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test", "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parent),
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(folder)],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=timeout_s)[1] for process in processes]
    for process, error in zip(processes, errors, strict=True):
        assert process.returncode == 0, error[-4000:]


def leave(made: dict[str, Any], folder: Path) -> None:
    """In such a script, at its end: write what was made to ``made.pt``, once."""
    if not torch.distributed.get_rank():
        torch.save(made, folder / "made.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
