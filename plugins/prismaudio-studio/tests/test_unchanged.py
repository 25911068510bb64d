"""The arithmetic of the embedded model's kind of transformer stays what it was: a change would change its sound."""

from __future__ import annotations

import zlib

import pytest
import torch
from streams import streams

from prismaudio.models.dit import DiffusionTransformer
from prismaudio.types import Conditions, Features

ARGUMENTS = {
    "latent_channels": 6,
    "width": 64,
    "depth": 2,
    "heads": 2,
    "sigma_data": 0.45,
    "expansion": 4,
}
KEYS = 3869386895
VELOCITY = [
    2.7413168,
    4.8380485,
    1.400615,
    3.0683947,
    0.6338454,
    2.7853189,
    1.5488756,
    0.0116332,
    2.9167802,
    -0.1837554,
]
"""From the code that the embedded weights were trained with."""


def wave(name: str, *shape: int) -> torch.Tensor:
    """Numbers that depend on a name alone, on every machine."""
    count = torch.Size(shape).numel()
    return (
        torch.sin(torch.arange(count, dtype=torch.float64) * 0.7 + zlib.crc32(name.encode()) % 1000).view(shape).float()
    )


def test_the_velocity_is_what_it_was() -> None:
    model = DiffusionTransformer(
        **ARGUMENTS,  # type: ignore[arg-type]
        streams=streams(64, ["text"], ["video", "plan"], video=5, text=7, plan=4),
    )
    state = model.state_dict()
    assert zlib.crc32(" ".join(sorted(state)).encode()) == KEYS
    model.load_state_dict({name: 0.3 * wave(name, *value.shape) for name, value in state.items()})
    told = Conditions(
        video=Features.pad([wave("seen", 5, 5), wave("seen too", 5, 5)]),
        text=Features.pad([wave("words", 9, 7), wave("fewer", 4, 7)]),
        plan=Features.pad([wave("plan", 20, 4), wave("other", 20, 4)]),
    )
    with torch.no_grad():
        velocity = model.eval()(wave("latents", 2, 6, 20), torch.tensor([0.3, 0.9]), told)
    assert velocity.flatten()[::24].tolist() == pytest.approx(VELOCITY, rel=1e-5, abs=1e-5)
