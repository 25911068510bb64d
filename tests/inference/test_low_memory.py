"""Networks that are loaded when they are used, and dropped afterwards."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from prismaudio.errors import CheckpointError, PrismAudioError
from prismaudio.inference import PrismAudio
from prismaudio.profiling import Profile, phase
from prismaudio.types import Clip


@pytest.fixture
def clip():
    frames = torch.randint(0, 255, (32, 3, 48, 48), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Clip("a", 2.0, frames, 16.0)


def weights(part):
    return [value for value in part.state_dict().values() if not value.is_meta]


def test_the_audio_is_the_same_and_no_weights_stay(tiny_model, tiny_model_folder, clip):
    lean = PrismAudio.from_pretrained(tiny_model_folder, low_memory=True)
    assert lean.name == PrismAudio.from_pretrained(tiny_model_folder).name
    plan = tiny_model.plan(clip, "a click")
    assert lean.plan(clip, "a click") == plan
    for _ in range(2):
        assert torch.equal(lean.render([clip], [plan], [3])[0], tiny_model.render([clip], [plan], [3])[0])
    networks = [part for part in (lean.transformer, lean.autoencoder, *lean.encoders.values()) if weights_of(part)]
    assert networks
    assert not any(weights(part) for part in networks)


def weights_of(part):
    return isinstance(part, torch.nn.Module) and part.state_dict()


def test_only_one_network_is_in_memory_at_a_time(tiny_model, tiny_model_folder, clip):
    lean = PrismAudio.from_pretrained(tiny_model_folder, low_memory=True)
    with lean.ready(lean.transformer) as transformer:
        assert weights(transformer)
        assert not weights(lean.transformer)
    assert not weights(transformer)  # though the name still refers to it
    order = []
    make = dict(lean._on_demand)
    for key, load in make.items():
        lean._on_demand[key] = lambda load=load: order.append(type(made := load()).__name__) or made
    lean.render([clip], [tiny_model.plan(clip, "a click")], [0])
    assert order[-2:] == ["DiffusionTransformer", "OobleckAutoencoder"]
    assert len(order) == len(set(order))


def test_a_model_without_weights_is_not_saved(tiny_model_folder, tmp_path):
    lean = PrismAudio.from_pretrained(tiny_model_folder, low_memory=True)
    with pytest.raises(PrismAudioError, match="low_memory"):
        lean.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_precision_reaches_a_network_that_is_loaded_later(tiny_model_folder):
    lean = PrismAudio.from_pretrained(tiny_model_folder, precision="bf16", low_memory=True)
    with lean.ready(lean.transformer) as transformer:
        assert transformer.pre.weight.dtype == torch.bfloat16
    assert lean.transformer.pre.weight.dtype == torch.bfloat16


def test_a_damaged_model_is_found_before_anything_is_loaded(tiny_model_folder, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((tiny_model_folder / name).read_bytes()[: None if name == "config.json" else 999])
    with pytest.raises(CheckpointError):
        PrismAudio.from_pretrained(tmp_path, low_memory=True)


PHASES = """
import torch
from prismaudio.profiling import Profile, phase

with Profile() as profile:
    with phase("outer"):
        with phase("inner"):
            torch.ones(40_000_000).sum()
        with phase("inner"):
            pass
    with phase("after"):
        pass
inner, after = profile.phases["inner"], profile.phases["after"]
assert list(profile.phases) == ["outer", "inner", "after"]
assert inner.seconds > profile.phases["outer"].seconds
assert inner.peak_bytes == 0 or inner.peak_bytes > after.peak_bytes + 100_000_000, (inner, after)
print(profile.table())
"""


def test_phases_are_exclusive_and_peaks_are_their_own():
    done = subprocess.run([sys.executable, "-c", PHASES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["phase", "outer", "inner", "after", "all"]


def test_without_a_profile_nothing_is_measured():
    with phase("alone"):
        pass
    with Profile() as profile:
        pass
    assert profile.phases == {}
