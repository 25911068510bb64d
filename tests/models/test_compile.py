from __future__ import annotations

import pytest
import torch
from streams import streams

from prismaudio.models.dit import DiffusionTransformer
from prismaudio.types import Conditions, Features


@pytest.mark.slow
@pytest.mark.parametrize("sigma_data", [None, 0.5])
def test_a_step_is_one_graph(sigma_data: float | None) -> None:
    """No branch on tensor values and no device synchronisation, so that a step can be compiled and replayed."""
    torch.manual_seed(0)
    model = DiffusionTransformer(6, 64, 1, 2, streams(64, video=5, sync=6, text=7), sigma_data=sigma_data).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    cond = Conditions(
        {
            name: Features.pad([torch.randn(8, conditioner.dim), torch.randn(5, conditioner.dim)])
            for name, conditioner in model.streams.items()
        }
    )
    latents, times = torch.randn(2, 6, 9), torch.tensor([0.2, 0.7])
    with torch.no_grad():
        cache = model.cache_conditions(cond, 9)
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(latents, times, cache), model(latents, times, cache))
        torch.testing.assert_close(compiled(latents, times, cond), model(latents, times, cache))
