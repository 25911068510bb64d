"""Which layers of each family are trained."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from prismaudio.builtin import CORE_DIMENSIONS
from prismaudio.data.synthetic import SyntheticClips
from prismaudio_vlm.local_planners import VlmPlanner
from prismaudio_vlm.reduced import SHORT_PROMPTS
from prismaudio_vlm.tuning import Tuning

USUAL = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
LINEAR_ATTENTION = {"in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a", "out_proj"}
PER_LAYER = {"per_layer_input_gate", "per_layer_projection", "per_layer_model_projection"}
LAYERS = {
    "qwen3_vl": USUAL,
    "qwen_omni": USUAL,
    "idefics3": USUAL,
    "smolvlm": USUAL,
    "gemma3": USUAL,
    "internvl": USUAL,
    "qwen3_5": USUAL | LINEAR_ATTENTION,
    "gemma4": USUAL | PER_LAYER,
}
PROJECTORS = {
    "qwen3_vl": "visual.merger",
    "qwen_omni": "visual.merger",
    "idefics3": "connector",
    "smolvlm": "connector",
    "gemma3": "multi_modal_projector",
    "internvl": "multi_modal_projector",
    "qwen3_5": "visual.merger",
    "gemma4": "embed_vision",
}
CLIP, PLAN = SyntheticClips(0, 1, 1.0, 2.0, 32, 16_000).clip(0)


def prepared(folder, tuning):
    planner = VlmPlanner(
        str(folder), tuning=tuning, frames_as="images", fps=2.0, moment_fps=0.0, frame_size=32, ask="together",
        prompts=SHORT_PROMPTS,
    )  # fmt: skip
    planner.use_dimensions(CORE_DIMENSIONS)
    planner.prepare_training()
    planner.loss([CLIP], [PLAN])["text"].backward()
    return planner, {name: weight for name, weight in planner._network.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize("family", LAYERS)
def test_adapters_are_in_the_language_model_alone(family, folders):
    planner, trained = prepared(folders(family), Tuning())
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in trained} == LAYERS[family]
    decoder = {id(weight) for weight in planner._network.get_decoder().parameters()}
    assert all(id(weight) in decoder for weight in trained.values())
    linear = [layer for layer in planner._network.get_decoder().modules() if hasattr(layer, "base_layer")]
    assert len(trained) == 2 * len(linear)
    plain = {name for name, layer in planner._network.get_decoder().named_modules() if isinstance(layer, nn.Linear)}
    assert all("base_layer" in name or "lora_" in name for name in plain)
    ups = [weight for name, weight in trained.items() if "lora_B" in name]
    assert all(weight.grad is not None and bool(weight.grad.isfinite().all()) for weight in ups)


@pytest.mark.parametrize("family", PROJECTORS)
def test_the_projector_is_trained_without_the_encoder(family, folders):
    planner, trained = prepared(folders(family), Tuning(None, projector=True))
    mine = {name for name in trained if PROJECTORS[family] in name}
    assert mine
    assert any(trained[name].grad is not None and trained[name].grad.abs().sum() > 0 for name in mine)
    others = set(trained) - mine
    decoder = {id(weight) for weight in planner._network.get_decoder().parameters()}
    named = ("lm_head", "merger", "embed_audio", "audio_tower.proj")
    assert all(id(trained[name]) in decoder or any(part in name for part in named) for name in others)
    frozen = [name for name, weight in planner._network.named_parameters() if not weight.requires_grad]
    assert any("vision" in name or "visual" in name for name in frozen)
    assert torch.isfinite(torch.stack([w.grad.norm() for w in trained.values() if w.grad is not None])).all()
