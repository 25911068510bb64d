"""A golden file of another architecture than ours is refused, not replayed wrongly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from published_config import published_dit
from safetensors import safe_open


@pytest.fixture
def config():
    with safe_open(Path(__file__).with_name("data") / "dit_a.safetensors", "pt") as file:
        return json.loads(file.metadata()["config"])


@pytest.mark.parametrize(
    "change",
    [{"use_gated": False}, {"global_cond_type": "adaLN"}, {"attn_kwargs": {"qk_norm": "ln"}}, {"num_memory_tokens": 4}],
)
def test_another_architecture_is_refused(config, change):
    config["diffusion"]["config"].update(change)
    with pytest.raises(ValueError, match=f"{next(iter(change))} = "):
        published_dit(config)


def test_an_incomplete_configuration_is_reported(config):
    del config["diffusion"]["config"]["depth"]
    with pytest.raises(ValueError, match="'depth' is missing"):
        published_dit({"model": config})
