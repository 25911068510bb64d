"""Environments of their own, into which distributions are built and installed as a stranger would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*words, cwd=None):
    """Run a command that must succeed; gives what it printed."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    if "PIP_FIND_LINKS" in environment:
        environment.setdefault("UV_FIND_LINKS", environment["PIP_FIND_LINKS"])
    environment["OMP_NUM_THREADS"] = "1"
    done = subprocess.run([str(word) for word in words], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def fresh_environment(folder, *sources):
    """Build the wheels of some sources and install them into a new environment; gives its ``bin`` folder."""
    for source in sources:
        run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=source)
    wheels = sorted(folder.glob("*.whl"))
    assert len(wheels) == len(sources)
    target = folder / "environment"
    uv = Path(sys.executable).with_name("uv")
    uv = str(uv) if uv.exists() else shutil.which("uv")
    if uv:
        run(uv, "venv", "--quiet", "--python", sys.executable, target)
        run(uv, "pip", "install", "--quiet", "--python", target / "bin" / "python", *wheels)
    else:
        run(sys.executable, "-m", "venv", target)
        run(target / "bin" / "pip", "install", "--quiet", *wheels)
    return target / "bin"
