"""One test of each golden file in ``--parity-dir``: every tensor in it agrees with what our code computes.

Files are made by anybody who has the published classes; ``data/README.md`` says what is in them.
"""

from __future__ import annotations

from pathlib import Path

import golden_dit
import golden_grpo
import golden_schedules
import golden_vae

from prismaudio.testing.parity import golden_files

CHECKS = {
    "dit_": golden_dit.check_dit,
    "grpo_sde": golden_grpo.check_steps,
    "grpo_rollout": golden_grpo.check_rollout,
    "vae_": golden_vae.check_vae,
    "schedules": golden_schedules.check_schedules,
}


def pytest_generate_tests(metafunc):
    golden_files(metafunc, Path(__file__).with_name("data"), *(f"{start}*.safetensors" for start in CHECKS))


def test_every_tensor_agrees(path):
    (check,) = (check for start, check in CHECKS.items() if path.name.startswith(start))
    assert check(path) == []
