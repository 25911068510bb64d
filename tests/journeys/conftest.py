"""A terminal in an environment of its own, in an empty folder: journeys use nothing of the package but its commands."""

from __future__ import annotations

import subprocess
from pathlib import Path

import doc_pages as pages
import pytest


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Variables of a virtual environment that sees the packages of this one; what it installs is its own."""
    if not pages.HAS_STUDIO:
        pytest.skip("prismaudio-studio is not installed")
    return pages.make_environment(tmp_path_factory.mktemp("journeys"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder that the commands of a journey run in, with the sample video."""
    folder = tmp_path_factory.mktemp("journey")
    (folder / "samples").symlink_to(Path(__file__).parents[2] / "samples")
    return folder


@pytest.fixture(scope="module")
def shell(environment, folder):
    """Run a line of bash; gives what it printed, both streams together, after a check of the exit code."""

    def run(line, code=0, **variables):
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line], cwd=folder, env=environment | variables, timeout=600, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == code, f"{line}\nexit code {done.returncode}\n{done.stdout[-4000:]}"
        assert "Traceback" not in done.stdout, done.stdout[-4000:]
        return done.stdout

    return run


@pytest.fixture(scope="module")
def refused(shell):
    """Run a line that must fail with exit code 2 and one line of error; gives that line."""

    def run(line, **variables):
        (error,) = [said for said in shell(line, 2, **variables).splitlines() if said.startswith("prismaudio: error:")]
        return error

    return run
