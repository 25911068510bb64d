"""The replayers of reinforcement learning find what is wrong; that they find nothing else is for test_replay."""

from __future__ import annotations

from pathlib import Path

import golden_grpo as grpo
import pytest
import torch

DATA = Path(__file__).with_name("data")
STEPS = grpo.read(DATA / "grpo_sde_a.safetensors")
ROLLOUT = grpo.read(DATA / "grpo_rollout_b.safetensors")
NETWORK = grpo.read(DATA / "dit_a.safetensors")


def changed(tensor):
    """The tensor, a little different in its largest element."""
    flat = tensor.clone().flatten()
    flat[flat.abs().argmax()] += 3 if not flat.is_floating_point() else 0.01 * (1 + flat.abs().max())
    return flat.view_as(tensor)


@pytest.mark.parametrize("name", sorted(STEPS[1].keys() - grpo.STEP_INPUTS))
def test_a_changed_output_of_a_step_is_found(name):
    found = grpo.check_step_tensors(STEPS[0], {**STEPS[1], name: changed(STEPS[1][name])})
    assert any(name in problem for problem in found)


@pytest.mark.parametrize("name", sorted(grpo.STEP_INPUTS))
def test_samples_in_another_order_are_found(name):
    assert grpo.check_step_tensors(STEPS[0], {**STEPS[1], name: STEPS[1][name].roll(1, 0)})


@pytest.mark.parametrize("name", sorted(ROLLOUT[1]))
def test_a_changed_tensor_of_a_rollout_is_found(name):
    tensors = {**ROLLOUT[1], name: changed(ROLLOUT[1][name])}
    found = grpo.check_rollout_tensors(ROLLOUT[0], tensors, NETWORK)
    assert any(name in problem for problem in found) if not name.startswith("in/") else found


@pytest.mark.parametrize(("key", "value"), [("noise_level", "0.71"), ("cfg_scale", "4.9")])
def test_the_settings_matter(key, value):
    assert grpo.check_rollout_tensors({**ROLLOUT[0], key: value}, ROLLOUT[1], NETWORK)


def test_what_nobody_knows_fails():
    odd = {"odd": torch.zeros(1)}
    assert grpo.check_step_tensors(STEPS[0], STEPS[1] | odd) == ["odd is not checked: nobody knows what it is"]
    rollout = grpo.check_rollout_tensors(ROLLOUT[0], ROLLOUT[1] | odd, NETWORK)
    assert rollout == ["odd is not checked: nobody knows what it is"]
