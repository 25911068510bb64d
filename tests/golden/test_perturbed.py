"""The replayers find what is wrong: any one tensor that is changed, unknown or of another shape."""

from __future__ import annotations

import json
from pathlib import Path

import golden_dit
import golden_schedules
import pytest
import torch
from published_config import published_dit, sync_frames
from safetensors import safe_open

from prismaudio.errors import CheckpointError
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.models.published import published_key, published_shaped

DATA = Path(__file__).with_name("data")


CHECKS = {"dit_a": golden_dit.check_tensors, "schedules": golden_schedules.check_tensors}


def read(name):
    """Metadata and tensors of a golden file."""
    with safe_open(DATA / f"{name}.safetensors", "pt") as file:
        return file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping


def changed(tensor):
    """The tensor, a little different in one of its elements."""
    flat = tensor.clone().flatten()
    flat[len(flat) // 3] += 1 if not flat.is_floating_point() else 0.01 * (1 + flat.abs().max())
    return flat.view_as(tensor)


def names(file, *kinds):
    return [name for name in read(file)[1] if name.startswith(kinds)]


@pytest.fixture(scope="module")
def replayed():
    """Our values of everything in dit_a, so that they are computed once."""
    metadata, tensors = read("dit_a")
    replay = golden_dit.Replay(metadata, tensors)
    return {name: replay.value(name) for name in tensors if name.startswith(("out/", "train/", "grad/"))}


@pytest.mark.parametrize("name", names("dit_a", "out/", "train/", "grad/"))
def test_a_changed_output_is_found(replayed, name):
    ours, theirs, gate = replayed[name], read("dit_a")[1][name], golden_dit.gate_of(name)
    assert golden_dit.difference(name, ours, theirs, gate) == []
    assert golden_dit.difference(name, ours, changed(theirs), gate) != []
    assert golden_dit.difference(name, ours, theirs[..., :0], gate) != []


DEAD = ("empty_clip_feat", "proj_out")
CONSTANT = (".beta", "inv_freq")
LOOKED_AT = (
    "out/velocity",
    "out/velocity_cfg5_negative",
    "out/velocity_cfg5_emptysync",
    "train/x0",
    "train/noise",
    "train/t",
    "train/x_t",
    "train/output",
)


@pytest.mark.parametrize(
    "name",
    [
        *names("dit_a", "in/"),
        "train/x0",
        "train/noise",
        "train/t",
        *(name for name in names("dit_a", "w/") if not any(word in name for word in DEAD)),
    ],
)
def test_a_changed_input_or_weight_is_found(name):
    metadata, tensors = read("dit_a")
    tensors[name] = changed(tensors[name])
    seen = (*LOOKED_AT, "out/euler_cfg5/00") if name == "in/noise" else LOOKED_AT
    looked_at = {key: value for key, value in tensors.items() if key in seen or key.startswith(("in/", "w/"))}
    metadata.pop("grad_norms")
    if name.endswith(CONSTANT):
        with pytest.raises(CheckpointError, match=name.removeprefix("w/")):
            golden_dit.check_tensors(metadata, looked_at)
    else:
        assert any("differs" in problem for problem in golden_dit.check_tensors(metadata, looked_at))


@pytest.mark.parametrize("name", names("schedules", ""))
def test_a_changed_schedule_is_found(name):
    metadata, tensors = read("schedules")
    tensors[name] = changed(tensors[name])
    assert any("differs" in problem for problem in CHECKS["schedules"](metadata, tensors))


@pytest.mark.parametrize("file", CHECKS)
def test_unknown_tensors_fail(file):
    metadata, tensors = read(file)
    unknown = [
        "out/unheard_of",
        "out/velocity_odd",
        "out/hidden/99",
        "grad/w",
        "train/odd",
        "odd",
        "tln/odd",
        "euler/odd",
    ]
    tensors |= {name: torch.ones(1) for name in unknown}
    problems = CHECKS[file](metadata, tensors)
    assert all(any(problem.startswith(name) for problem in problems) for name in unknown)


def test_a_parameter_that_is_dead_in_one_of_two_models_is_found():
    metadata, tensors = read("dit_a")
    norms = json.loads(metadata["grad_norms"])
    alive, dead = "model.model.transformer.gate", "model.model.empty_clip_feat"
    metadata["grad_norms"] = json.dumps({**norms, alive: None, dead: 1.0})
    problems = CHECKS["dit_a"](metadata, tensors)
    assert sorted(key for key in norms for problem in problems if key in problem) == [dead, alive]


def rows(stream, widths, lengths):
    return {f"in/{stream}_features/{i}": torch.randn(length, widths[stream]) for i, length in enumerate(lengths)}


def test_any_configuration_is_replayed():
    """Another size, batch, order of conditions, scale, number of steps: nothing is tied to the files that are here."""
    torch.manual_seed(0)
    metadata, _ = read("dit_a")
    config = json.loads(metadata["config"])
    widths = {"video": 40, "text": 20, "sync": 16}
    for entry in config["conditioning"]["configs"]:
        entry["config"] = {"dim": widths[entry["id"].removesuffix("_features")], "output_dim": 96}
    config["diffusion"]["cross_attention_cond_ids"] = ["text_features", "video_features"]
    options = {"io_channels": 5, "embed_dim": 96, "depth": 1, "num_heads": 3}
    config["diffusion"]["config"] |= {**options, "cond_token_dim": 96, "add_token_dim": 96, "sync_token_dim": 96}
    model = DiffusionTransformer(**published_dit(config))
    weights = {
        f"w/{published_key(k)}": published_shaped(k, torch.randn_like(v) / 8) for k, v in model.state_dict().items()
    }
    frames = sync_frames(40)
    tensors = {
        **weights,
        "w/model.model.empty_sync_feat": torch.randn(1, 96),
        **rows("video", widths, [4, 9, 6]),
        **rows("text", widths, [3, 3, 8]),
        **rows("sync", widths, [40, 40, 40]),
        **{f"in/{name}": torch.randn(3, 5, frames) for name in ("x", "noise")},
        "in/t": torch.rand(3),
        "in/negative_cross_attn_cond": torch.randn(3, 17, 96),
        **{f"train/{name}": torch.randn(3, 5, frames) for name in ("x0", "noise")},
        "train/t": torch.rand(3),
    }
    names = [name.replace("cfg5", "cfg2.5") for name in read("dit_a")[1] if name.startswith(("out/", "train/"))]
    names = [name for name in names if not name.startswith("out/euler")] + [f"out/euler_cfg2.5/{i}" for i in (0, 4, 7)]
    replay = golden_dit.Replay({"config": json.dumps(config)}, dict.fromkeys(names) | tensors)
    alive = ["grad/model.model.transformer.sync_gate", "grad/conditioner.conditioners.sync_features.sync_pos_emb"]
    made = {name: replay.value(name) for name in [*names, *alive] if name != "out/hidden/1"}
    assert made["out/velocity_cfg2.5"].shape == made["out/euler_cfg2.5/7"].shape == (3, 5, frames)
    assert made["out/cond/text_features"].shape == (3, 8, 96)
    metadata["config"], metadata["grad_norms"] = json.dumps(config), "{}"
    assert golden_dit.check_tensors(metadata, {**tensors, **made}) == []
    fewer = {name: value for name, value in made.items() if not name.endswith("cfg2.5/7")}
    assert golden_dit.check_tensors(metadata, {**tensors, **fewer})[0].startswith("out/euler_cfg2.5/4 differs")


def test_missing_parts_of_a_file_are_reported():
    metadata, tensors = read("dit_a")
    del tensors["in/t"]
    with pytest.raises(ValueError, match=r"the golden file lacks in/t$"):
        golden_dit.check_tensors(metadata, tensors)
    metadata, tensors = read("schedules")
    with pytest.raises(ValueError, match=r"the golden file lacks metadata seed$"):
        golden_schedules.check_tensors({}, tensors)


def test_any_schedules_are_replayed():
    """Another number of steps, seed and peak of the learning rate."""
    metadata, tensors = {"seed": "7"}, {name: read("schedules")[1][name] for name in golden_schedules.INPUTS}
    step = torch.tensor([0, 5, 1e6], dtype=torch.float64)
    tensors |= {"tln/normal": torch.randn(9), "inverse_lr/step": step}
    names = [*read("schedules")[1].keys() - tensors.keys() - {"euler/t_24", "inverse_lr/lr"}, "euler/t_7"]
    tensors |= {name: golden_schedules.value(name, tensors, 7) for name in names}
    tensors["inverse_lr/lr"] = 3e-5 * (1 - 0.99 ** (step + 1)) / (1 + step / 1e5).sqrt()
    assert golden_schedules.check_tensors(metadata, tensors) == []
