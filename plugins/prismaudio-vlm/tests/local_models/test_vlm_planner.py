"""Plans by networks of reduced size, from the frames to the text."""

from __future__ import annotations

import pytest
import torch

from prismaudio.builtin import CORE_DIMENSIONS
from prismaudio.plan import Plan
from prismaudio.types import Clip
from prismaudio_vlm.local_planners import VlmPlanner

from ..scripted_chat import ANSWERS, ScriptedPlanner  # noqa: TID252 - tests are no package

VIEWING = {"fps": 1.0, "moment_fps": 2.0, "max_frames": 1, "frame_size": 32, "cache": False}
FAMILIES = pytest.mark.parametrize("family", ["qwen3_vl", "gemma3"])


@pytest.fixture(scope="module")
def clip():
    """Two seconds of noise."""
    frames = torch.randint(0, 255, (8, 3, 32, 40), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Clip("noise", 2.0, frames, 4.0)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    """Short prompts, since each byte is a token here."""
    folder = tmp_path_factory.mktemp("prompts")
    texts = {"system": "Plan.", "clip": "", "given": "", "section": "Write the $name section"}
    (folder / "planner.yaml").write_text("".join(f"{name}: {text!r}\n" for name, text in texts.items()))
    return str(folder)


def teach(planner, questions, answers, steps=500):
    """Train the network of a planner to give these answers."""
    planner._load()
    network, tokenizer = planner._network, planner._processor.tokenizer
    examples = []
    for question, answer in zip(questions, answers, strict=True):
        inputs = planner._inputs([question])
        end = network.generation_config.eos_token_id[0]
        tokens = torch.tensor([[*tokenizer.encode(answer, add_special_tokens=False), end]])
        width = inputs["input_ids"].shape[1]
        for name, value in inputs.items():
            if value.dim() == 2 and value.shape[1] == width and not value.is_floating_point():
                more = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
                inputs[name] = torch.cat([value, more.get(name, torch.zeros_like(tokens))], 1)
        labels = inputs["input_ids"].clone()
        labels[:, :width] = -100
        examples.append(inputs | {"labels": labels})
    network.train().requires_grad_(requires_grad=True)
    optimizer = torch.optim.AdamW(network.parameters(), 5e-3, weight_decay=0.0)
    for _ in range(steps):
        loss = torch.stack([network(**example).loss for example in examples]).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if loss.item() < 0.01:
            break
    network.eval().requires_grad_(requires_grad=False)


def planner_of(family, folders, prompts, max_tokens):
    return VlmPlanner(
        str(folders(family)), device="cpu", frames_as="images", max_tokens=max_tokens, prompts=prompts, **VIEWING
    )


@FAMILIES
def test_a_network_that_has_learnt_the_answers_writes_the_plan(family, folders, clip, prompts):
    planner = planner_of(family, folders, prompts, 60)
    given = Plan({name: ANSWERS[name] for name in ("semantic", "aesthetic")})
    asked = ScriptedPlanner(prompts=prompts, **VIEWING)
    asked.plan(clip, CORE_DIMENSIONS, given)
    teach(planner, asked.questions, [ANSWERS["temporal"], ANSWERS["spatial"]])
    plan = planner.plan(clip, CORE_DIMENSIONS, given)
    assert dict(plan) == ANSWERS
    assert plan.warnings == ()
    origin = plan.origins["temporal"]
    assert (origin["asked"], origin["tokens"]) == (1, len(ANSWERS["temporal"]) + 1)
    assert origin["model"] == folders(family).name
    assert str(folders(family).parent) not in str(plan.origins)
    black = Clip("black", 2.0, torch.zeros_like(clip.frames), 4.0)
    assert dict(planner.plan(black, CORE_DIMENSIONS, given)) != ANSWERS  # it looks at the frames


@FAMILIES
def test_nonsense_is_asked_again_and_left_to_others(family, folders, clip, prompts):
    planner = planner_of(family, folders, prompts, 8)
    plan = planner.plan(clip, CORE_DIMENSIONS, "a dog barks")
    assert plan["semantic"] == "a dog barks"
    assert len(plan) + len(plan.warnings) == 4
    assert len(plan.warnings) >= 2  # random letters may look like a section
    assert all("left out the" in warning and "(after 2 answers)" in warning for warning in plan.warnings)


def test_a_second_sampling_shares_the_network(folders, prompts):
    planner = planner_of("qwen3_vl", folders, prompts, 8)
    second = planner.resampled(0.7)
    assert second._network is planner._network is not None
    assert (second.temperature, second.seed, planner.temperature, planner.seed) == (0.7, 1, 0.0, 0)
    assert second.identity != planner.identity
