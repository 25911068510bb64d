"""One test of each golden file in ``--parity-dir``: every tensor in it agrees with what our code computes.

Files are made by anybody who has the published classes; ``data/README.md`` says what is in them.
"""

from __future__ import annotations

import golden_dit
import golden_schedules
import golden_vae
import pytest

CHECKS = {
    "dit_": golden_dit.check_dit,
    "vae_": golden_vae.check_vae,
    "schedules": golden_schedules.check_schedules,
}


def pytest_generate_tests(metafunc):
    folder = metafunc.config.getoption("parity_dir")
    files = sorted(path for start in CHECKS for path in folder.glob(f"{start}*.safetensors"))
    if not files:
        raise pytest.UsageError(f"{folder} holds no dit_*, vae_* or schedules*.safetensors; give --parity-dir a folder")
    metafunc.parametrize("path", files, ids=[path.stem for path in files])


def test_every_tensor_agrees(path):
    (check,) = (check for start, check in CHECKS.items() if path.name.startswith(start))
    assert check(path) == []
