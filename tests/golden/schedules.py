"""Replays a golden file of the published schedules: times, grid, learning rate and decay of the average."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from parity import Golden, read_tensors

from prismaudio.flow.times import truncated_logistic, truncated_logit_normal_times, uniform_grid
from prismaudio.training.callbacks.ema import ema_decay
from prismaudio.training.schedule import inverse_lr

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

GATE = 1e-6
"""Allowed relative RMS: the formulas are the same, so that only the last bit may differ."""
DRAWS = 100_000
"""Draws of which the file has quantiles, mean and deviation."""
INPUTS = {"tln/normal", "tln/quantile_p", "tln/quantile_p_exact", "inverse_lr/step", "ema_pytorch/counter"}


def check_schedules(path: Path) -> list[str]:
    """What of a ``schedules*`` file our functions do not reproduce, one line each; empty when all is well."""
    return check_tensors(*read_tensors(path))


def check_tensors(metadata: dict[str, str], tensors: dict[str, Tensor]) -> list[str]:
    """The same for what is in such a file."""
    problems = []
    metadata, tensors = Golden(metadata, "metadata "), Golden(tensors)
    for name in tensors.keys() - INPUTS:
        try:
            ours = value(name, tensors, int(metadata["seed"]))
        except KeyError:
            problems.append(f"{name} is not checked: its name is unknown")
            continue
        theirs = tensors[name].double()
        if ours.shape != theirs.shape:
            problems.append(f"{name} is {tuple(ours.shape)}, expected {tuple(theirs.shape)}")
        elif (error := float((ours.double() - theirs).norm() / theirs.norm())) > GATE:
            problems.append(f"{name} differs by {error:.2e}, allowed {GATE:.0e}")
    return sorted(problems)


def value(name: str, given: dict[str, Tensor], seed: int) -> Tensor:
    """Our value of a tensor.

    Raises:
        KeyError: There is no such thing.
    """
    kind, _, rest = name.partition("/")
    if kind == "euler" and rest.startswith("t_"):
        return uniform_grid(int(rest.removeprefix("t_")))
    if name == "inverse_lr/lr":
        factors = torch.tensor([inverse_lr(int(step)) for step in given["inverse_lr/step"]], dtype=torch.float64)
        peak = (given[name] / factors).median()  # a run's own: what is checked is how the rate goes
        return peak * factors
    if name == "ema_pytorch/decay":
        return torch.tensor([ema_decay(int(step)) for step in given["ema_pytorch/counter"]], dtype=torch.float64)
    if kind == "tln":
        return _times(rest, given, seed)
    raise KeyError(name)


def _times(name: str, given: dict[str, Tensor], seed: int) -> Tensor:
    if name in {"rescaled", "t"}:
        rescaled = truncated_logistic(given["tln/normal"])
        return rescaled if name == "rescaled" else 1 - rescaled
    if name == "quantile_t_exact64":
        normal = -math.sqrt(2) * torch.erfinv(2 * given["tln/quantile_p_exact"] - 1)
        return 1 - truncated_logistic(normal)
    draws = truncated_logit_normal_times(DRAWS, generator=torch.Generator().manual_seed(seed)).double()
    drawn = {
        "quantile_t": draws.quantile(given["tln/quantile_p"]),
        "mean_std": torch.stack([draws.mean(), draws.std()]),
    }
    return drawn[name]
