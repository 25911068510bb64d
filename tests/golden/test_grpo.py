"""The replayers of reinforcement learning find what is wrong; that they find nothing else is for test_replay."""

from __future__ import annotations

import json
from pathlib import Path

import golden_grpo as grpo
import pytest
import torch
from parity import Golden, read_tensors
from published_config import published_dit
from safetensors.torch import save_file

from prismaudio.models.dit import DiffusionTransformer
from prismaudio.models.published import published_key, published_shaped

DATA = Path(__file__).with_name("data")
STEPS = read_tensors(DATA / "grpo_sde_a.safetensors")
ROLLOUT = read_tensors(DATA / "grpo_rollout_b.safetensors")
NETWORK = read_tensors(DATA / "dit_a.safetensors")


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


def test_unknown_tensors_fail():
    odd = {"odd": torch.zeros(1)}
    assert grpo.check_step_tensors(STEPS[0], STEPS[1] | odd) == ["odd is not checked: its name is unknown"]
    rollout = grpo.check_rollout_tensors(ROLLOUT[0], ROLLOUT[1] | odd, NETWORK)
    assert rollout == ["odd is not checked: its name is unknown"]


def steps_file():
    """Steps of other sizes, times and amounts of noise, with another loss and average, as metadata and tensors."""
    torch.manual_seed(0)
    metadata = {"ema": "decay=min((1+s)/(10+s),0.6), update only if (s+1)%3==0", "clip_range": "0.01"}
    velocity, sample, index = torch.randn(3, 5, 9), torch.randn(3, 5, 9), torch.tensor([0, 4, 9])
    kernel, (t, t_next) = grpo.EulerMaruyamaKernel(0.3), (grpo.release_grid(10)[index + k] for k in (0, 1))
    step = kernel.transition(velocity, sample, t, t_next)
    inputs = {
        "timesteps": torch.zeros(10),
        "in/sample": sample,
        "in/eps": torch.randn(3, 5, 9),
        "in/model_output": velocity,
        "in/model_output_ref": velocity + 0.01 * torch.randn(3, 5, 9),
        "mixed/index": index,
        "mixed/prev": (prev := step.sample(torch.randn(3, 5, 9))),
        "mixed/std_dev_t": kernel.diffusion(t, t_next)[:, None, None],
        "grpo/old_log_prob": step.log_prob(prev) - torch.tensor([0.02, 0.001, -0.004]),
        "grpo/advantage_raw": torch.tensor([-9.0, 0.5, 7.0]),
        "adv/reward": torch.randn(6),
        "adv/group_id": torch.tensor([0, 0, 1, 1, 2, 2]),
        "ema/param_after_step": torch.randn(7, 2),
        "ema/ema_after_step": torch.randn(1, 2),
    }
    places = {f"out/i{step:02d}_nl{noise}/mean": None for step in (0, 3, 9) for noise in ("0.3", "1.0", "0.0")}
    return metadata, inputs | grpo.steps_made(Golden(metadata), Golden({**inputs, **places}))


def test_steps_of_any_configuration_are_replayed():
    metadata, tensors = steps_file()
    assert tensors["grpo/clipfrac"].item() == pytest.approx(1 / 3)
    assert grpo.check_step_tensors(metadata, tensors) == []
    for name in ("out/i03_nl0.3/kl", "mixed/mean", "ema/ema_after_step", "grpo/policy_loss"):
        found = grpo.check_step_tensors(metadata, {**tensors, name: changed(tensors[name])})
        assert any(name in problem for problem in found)
    with pytest.raises(ValueError, match=r"the golden file lacks metadata ema$"):
        grpo.check_step_tensors({}, tensors)


@pytest.fixture
def rollout(tmp_path):
    """Files of a rollout of one clip and of its transformer, which has features of two: other sizes and settings."""
    torch.manual_seed(0)
    config = json.loads(NETWORK[0]["config"])
    config["diffusion"]["config"] |= {"io_channels": 5, "embed_dim": 96, "depth": 1, "num_heads": 3}
    config["diffusion"]["config"] |= {"cond_token_dim": 96, "add_token_dim": 96, "sync_token_dim": 96}
    for entry, width in zip(config["conditioning"]["configs"], (20, 12, 16), strict=True):
        entry["config"] = {"dim": width, "output_dim": 96}
    state = DiffusionTransformer(**published_dit(config)).state_dict()
    network = {f"w/{published_key(k)}": published_shaped(k, torch.randn_like(v) / 8) for k, v in state.items()}
    features = {"video": (6, 20), "text": (9, 12), "sync": (24, 16)}
    network |= {
        f"in/{name}_features/{i}": torch.randn(n, width) for name, (n, width) in features.items() for i in (0, 1)
    }
    network |= {"in/noise": torch.randn(2, 5, 21), "out/velocity": torch.zeros(1)}
    metadata = {"window_start": "2", "noise_level": "0.4", "cfg_scale": "2", "weights": "gone.safetensors"}
    tensors = {f"in/{name}_features/0": torch.randn(n - 2, width) for name, (n, width) in features.items()}
    tensors |= {"in/noise": torch.randn(1, 5, 19), "timesteps": torch.zeros(6)}
    tensors |= {f"in/window_eps/{step}": torch.randn(2, 5, 19) for step in range(3)}
    about = {"config": json.dumps(config)}
    tensors |= dict(grpo.rolled_out(Golden(metadata), Golden(tensors), (Golden(about), Golden(network))))
    save_file({name: value.contiguous() for name, value in tensors.items()}, tmp_path / "a.safetensors", metadata)
    save_file({name: value.contiguous() for name, value in network.items()}, tmp_path / "b.safetensors", about)
    return tmp_path / "a.safetensors"


def test_a_rollout_of_any_configuration_is_replayed(rollout):
    assert grpo.check_rollout(rollout) == []
    metadata, tensors = read_tensors(rollout)
    tensors["out/log_prob/2"] += 1e-4
    save_file(tensors, rollout, metadata)
    assert [problem.split()[0] for problem in grpo.check_rollout(rollout)] == ["out/log_prob/2"]


def test_a_rollout_without_its_transformer_is_reported(rollout):
    (rollout.parent / "b.safetensors").unlink()
    with pytest.raises(ValueError, match=r"lacks its transformer: gone.safetensors is not beside it, and 0 others fit"):
        grpo.check_rollout(rollout)
