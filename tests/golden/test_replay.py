"""One test of each golden file in ``--parity-dir``: every tensor in it agrees with what our code computes.

Files are made by anybody who has the published classes; ``data/README.md`` says what is in them.
"""

from __future__ import annotations

from pathlib import Path

import golden_dit
import golden_grpo
import golden_schedules
import golden_vae
import numpy as np
import pytest
from parity import KINDS, arrays_in, golden_files, kind_of

CHECKS = {
    "dit": golden_dit.check_dit,
    "grpo_sde": golden_grpo.check_steps,
    "grpo_rollout": golden_grpo.check_rollout,
    "vae": golden_vae.check_vae,
    "schedules": golden_schedules.check_schedules,
}


DATA = Path(__file__).with_name("data")


def pytest_generate_tests(metafunc):
    if "path" in metafunc.fixturenames:
        golden_files(metafunc, DATA, *CHECKS)


def test_every_tensor_agrees(path):
    assert CHECKS[kind_of(path)](path) == []


def test_every_file_is_of_a_kind_that_some_test_replays(request):
    """What is not of these kinds would be passed over."""
    strange = [path for path in arrays_in(request.config.getoption("parity_dir") or DATA) if kind_of(path) is None]
    assert [path.name for path in strange] == []


def test_the_kind_of_a_file_is_detected_from_its_content(tmp_path):
    for name in ("other.npz", "dit_like.npz"):
        np.savez(tmp_path / name, **{"out/case7_itd_s": np.ones(1), "in/x": np.ones(1)})
        assert kind_of(tmp_path / name) == "gcc_phat"
    np.savez(tmp_path / "strange.npz", x=np.ones(1))
    assert kind_of(tmp_path / "strange.npz") is None
    (tmp_path / "torn.npz").write_bytes((tmp_path / "strange.npz").read_bytes()[:50])
    with pytest.raises(ValueError, match="is no golden file"):
        kind_of(tmp_path / "torn.npz")


def test_every_kind_has_a_test():
    root = Path(__file__).parents[2]
    sources = [
        path.read_text()
        for path in [*root.glob("tests/golden/test_*.py"), *root.glob("plugins/*/tests/test_parity.py")]
    ]
    assert [kind for kind in KINDS if not any(f'"{kind}"' in text for text in sources)] == []
