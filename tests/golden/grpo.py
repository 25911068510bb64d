"""Replays the golden files of the released reinforcement learning: every tensor in them, under its settings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import golden_dit
import torch
from safetensors import safe_open

from prismaudio.flow.kernels import EulerMaruyamaKernel, OdeKernel, Transition
from prismaudio.flow.times import release_grid
from prismaudio.samplers.guidance import guided_velocity
from prismaudio.samplers.rollout import Rollout, replay, rollout
from prismaudio.training.callbacks.ema import policy_decay
from prismaudio.training.grpo.advantages import WeightedSumAdvantage
from prismaudio.training.grpo.divergence import divergence
from prismaudio.training.grpo.losses import ClippedLoss, statistics
from prismaudio.training.grpo.windows import Window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor

    Pairs = Iterator[tuple[str, Tensor]]

STEP, TRAJECTORY, SQUARED = 1e-6, 5e-6, 1e-3
"""Allowed relative RMS of one step, of a whole rollout, and of squared differences of nearly equal densities."""
STEP_INPUTS = {
    *("in/sample", "in/model_output", "in/model_output_ref", "in/eps", "mixed/index", "mixed/prev", "adv/reward"),
    *("adv/group_id", "grpo/advantage_raw", "grpo/old_log_prob", "ema/param_after_step"),
}
ROLLOUT_INPUT = re.compile(r"in/(noise|window_eps/\d+|\w+_features/\d+)")


def read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a golden file."""
    with safe_open(path, "pt") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping


def check_steps(path: Path) -> list[str]:
    """What of a ``grpo_sde_*`` file we do not reproduce, one line each; empty when all is well."""
    return check_step_tensors(*read(path))


def check_rollout(path: Path) -> list[str]:
    """What of a ``grpo_rollout_*`` file we do not reproduce; the weights are in the file beside it that it names."""
    metadata, tensors = read(path)
    return check_rollout_tensors(metadata, tensors, read(path.with_name(metadata["weights"])))


def check_step_tensors(metadata: dict[str, str], tensors: dict[str, Tensor]) -> list[str]:
    """The same for what is in such a file."""
    steps = len(tensors["timesteps"])
    ours = {
        "sigmas": release_grid(steps),
        "timesteps": 1000 * release_grid(steps)[:-1],
        **dict(single_steps(tensors)),
        **dict(mixed_steps(tensors)),
        **dict(policy_loss(tensors)),
        **dict(advantages(tensors)),
        "ema/ema_after_step": averages(tensors["ema/param_after_step"], tensors["ema/ema_after_step"][0]),
    }
    return problems(ours, {name: value for name, value in tensors.items() if name not in STEP_INPUTS}, STEP)


def check_rollout_tensors(
    metadata: dict[str, str], tensors: dict[str, Tensor], network: tuple[dict[str, str], dict[str, Tensor]]
) -> list[str]:
    """The same for what is in such a file, with the transformer's file."""
    ours = dict(rolled_out(metadata, tensors, network))
    return problems(
        ours, {name: value for name, value in tensors.items() if not ROLLOUT_INPUT.fullmatch(name)}, TRAJECTORY
    )


def problems(ours: dict[str, Tensor], theirs: dict[str, Tensor], gate: float) -> list[str]:
    """What differs, and what nobody knows."""
    found = [f"{name} is not checked: nobody knows what it is" for name in theirs.keys() - ours.keys()]
    for name in theirs.keys() & ours.keys():
        if theirs[name].dtype == torch.int32:  # samples of 16 bits: a rounding apart at most
            apart = int((ours[name] - theirs[name]).abs().max())
            found += [f"{name} is up to {apart} apart"] if apart > 1 else []
        else:
            found += golden_dit.difference(
                name, ours[name], theirs[name], SQUARED if name == "grpo/approx_kl" else gate
            )
    return sorted(found)


# Steps ----------------------------------------------------------------------------------------------------------------
def single_steps(tensors: dict[str, Tensor]) -> Pairs:
    """One step of all samples, for each index and amount of noise in the file."""
    sample, velocity, other, eps = (
        tensors[f"in/{name}"] for name in ("sample", "model_output", "model_output_ref", "eps")
    )
    grid = release_grid(len(tensors["timesteps"]))
    for prefix in sorted({name.rpartition("/")[0] for name in tensors if name.startswith("out/i")}):
        index, noise = re.fullmatch(r"out/i(\d+)_nl([\d.]+)", prefix).groups()
        kernel = EulerMaruyamaKernel(float(noise)) if float(noise) else OdeKernel()
        now, later = (grid[int(index) + k].expand(len(sample)) for k in (0, 1))
        new = kernel.transition(velocity, sample, now, later)
        latents = new.sample(eps)
        yield f"{prefix}/mean", new.mean
        yield f"{prefix}/prev", latents
        yield f"{prefix}/dt", (later - now)[:1]
        yield f"{prefix}/std_dev_t", diffusion(new, now, later)
        if not float(noise):
            continue
        reference = kernel.transition(other, sample, now, later)
        published = divergence(new, reference, kernel, now, later, "flow_grpo")
        yield f"{prefix}/log_prob", new.log_prob(latents)
        yield f"{prefix}/log_prob_ref", reference.log_prob(latents)
        yield f"{prefix}/mean_ref", reference.mean
        yield f"{prefix}/kl_per_sample", published
        yield f"{prefix}/kl", published.mean()[None]
        yield f"{prefix}/kl_true_gaussian", divergence(new, reference, kernel, now, later).mean()[None]


def mixed_steps(tensors: dict[str, Tensor]) -> Pairs:
    """One step of each sample, each from a time of its own."""
    grid, index = release_grid(len(tensors["timesteps"])), tensors["mixed/index"]
    now, later = grid[index], grid[index + 1]
    new = EulerMaruyamaKernel(0.7).transition(tensors["in/model_output"], tensors["in/sample"], now, later)
    yield "mixed/mean", new.mean
    yield "mixed/std_dev_t", diffusion(new, now, later)
    yield "mixed/log_prob", new.log_prob(tensors["mixed/prev"])
    yield "grpo/log_prob", new.log_prob(tensors["mixed/prev"])


def diffusion(transition: Transition, now: Tensor, later: Tensor) -> Tensor:
    """The noise for each unit of time, as the file has it."""
    return (transition.std / (now - later).sqrt())[:, None, None]


# Learning -------------------------------------------------------------------------------------------------------------
def policy_loss(tensors: dict[str, Tensor]) -> Pairs:
    """The clipped loss of the file's densities."""
    log_ratio = dict(mixed_steps(tensors))["grpo/log_prob"] - tensors["grpo/old_log_prob"]
    unused = Transition(torch.zeros(0), torch.zeros(0))
    terms, limited = ClippedLoss(1e-4).terms(log_ratio, tensors["grpo/advantage_raw"].clamp(-5, 5), unused, unused)
    seen = statistics(log_ratio, limited)
    yield "grpo/ratio", log_ratio.exp()
    yield "grpo/policy_loss", terms.mean()[None]
    yield "grpo/clipfrac", seen["clip_fraction"][None]
    yield "grpo/approx_kl", seen["approx_kl"][None]


def advantages(tensors: dict[str, Tensor]) -> Pairs:
    """The three ways to standardise."""
    rewards, groups, weights = {"all": tensors["adv/reward"]}, tensors["adv/group_id"], {"all": 1.0}
    yield "adv/global_std_True", WeightedSumAdvantage("batch").estimate(rewards, groups, weights)
    yield "adv/global_std_False", WeightedSumAdvantage("group").estimate(rewards, groups, weights)
    yield "adv/no_tracking", WeightedSumAdvantage("batch").estimate(rewards, torch.zeros_like(groups), weights)


def averages(parameters: Tensor, average: Tensor) -> Tensor:
    """The moving average after each step, the first one included."""
    rows = []
    for step, parameter in enumerate(parameters, start=1):
        average = torch.lerp(average, parameter, 1 - policy_decay(step))
        rows.append(average)
    return torch.stack(rows)


# Rollouts -------------------------------------------------------------------------------------------------------------
def rolled_out(
    metadata: dict[str, str], tensors: dict[str, Tensor], network: tuple[dict[str, str], dict[str, Tensor]]
) -> Pairs:
    """A rollout of branches from the file's noise, in the file's order: all first branches, then all second ones."""
    branches, rows = int(metadata["K(mini_num_image_per_prompt)"]), int(metadata["B"])
    start, grid = int(metadata["window_start"]), release_grid(int(metadata["steps"]))
    noise, order = tensors["in/noise"], torch.arange(branches * rows).view(branches, rows).T.flatten()
    made = golden_dit.Replay(network[0], {**network[1], **tensors, "in/x": noise})
    scale, n_frames = float(metadata["cfg_scale"]), noise.shape[-1]
    twice = made.conditions.index(torch.arange(rows).repeat_interleave(branches))
    velocity = guided_velocity(made.transformer, twice, n_frames, scale)
    ours = rollout(
        velocity,
        noise,
        grid,
        Window(start, start + int(metadata["window_len"])),
        EulerMaruyamaKernel(float(metadata["noise_level"])),
        lambda step: tensors[f"in/window_eps/{step - start}"][order],
        branches=branches,
        prefix=guided_velocity(made.transformer, made.conditions, n_frames, scale),
    )
    yield "sigmas", grid
    yield "timesteps", 1000 * grid[:-1]
    yield from outputs(ours, velocity, order.argsort())


def outputs(ours: Rollout, velocity: object, back: Tensor) -> Pairs:
    """What the file has of a rollout; densities are those of the replay."""
    for index in range(len(ours.window) + 1):
        yield f"out/latents/{index}", ours.states[index][back]
    for index in range(len(ours.window)):
        with torch.no_grad():
            again = replay(velocity, ours, index)
        if not torch.equal(again.mean, ours.means[index]):
            raise ValueError(f"the replay of step {index} is not the step")
        yield f"out/log_prob/{index}", again.log_prob(ours.states[index + 1])[back]
        yield f"out/timestep/{index}", 1000 * ours.times(index)[0][back]
    yield "out/final_latent", ours.latents[back]
    loudest = ours.latents.abs().max()  # over all candidates: why there they are not independent
    yield "out/batch_peak_normalised_int32", (ours.latents / loudest).clamp(-1, 1).mul(32767).to(torch.int32)[back]
