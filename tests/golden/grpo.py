"""Replays the golden files of the released reinforcement learning: every tensor in them, under its settings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import golden_dit
import torch
from parity import Golden, arrays_in, kind_of, read_tensors

from prismaudio.flow.kernels import EulerMaruyamaKernel, OdeKernel, Transition
from prismaudio.flow.times import release_grid
from prismaudio.samplers.guidance import guided_velocity
from prismaudio.samplers.rollout import Rollout, Trajectory, replay, rollout
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

GATE = 5e-6
"""Allowed relative RMS of one step and of a whole rollout; see :func:`gates`."""
CLIP, MOST_ADVANTAGE = 1e-4, 5.0
"""The published clipping of the ratio and of advantages, where the metadata do not say it."""
STEP_INPUTS = {
    *("in/sample", "in/model_output", "in/model_output_ref", "in/eps", "mixed/index", "mixed/prev", "adv/reward"),
    *("adv/group_id", "grpo/advantage_raw", "grpo/old_log_prob", "ema/param_after_step"),
}
ROLLOUT_INPUT = re.compile(r"in/(noise|window_eps/\d+|\w+_features/\d+)")


def check_steps(path: Path) -> list[str]:
    """What of a ``grpo_sde_*`` file we do not reproduce, one line each; empty when all is well."""
    return check_step_tensors(*read_tensors(path))


def check_rollout(path: Path) -> list[str]:
    """What of a ``grpo_rollout_*`` file we do not reproduce."""
    metadata, tensors = read_tensors(path)
    return check_rollout_tensors(metadata, tensors, network_of(path, metadata, tensors))


def network_of(path: Path, metadata: Golden, tensors: Golden) -> tuple[Golden, Golden]:
    """The transformer's file of a rollout: the one beside it that it names, or else the only one there that fits it.

    Raises:
        ValueError: There is none, or there are several.
    """
    others = {other.name: other for other in arrays_in(path.parent) if kind_of(other) == "dit"}
    name = metadata.get("weights")
    if name in others:
        return read_tensors(others[name])
    fitting = [found for found in map(read_tensors, others.values()) if widths(found[1]) == widths(tensors)]
    if len(fitting) != 1:
        raise ValueError(
            f"the golden file lacks its transformer: {name} is not beside it, and {len(fitting)} others fit"
        )
    return fitting[0]


def widths(tensors: Golden) -> dict[str, int]:
    """Widths of the features and of the latents in a file."""
    return {
        name: value.shape[1] for name, value in tensors.items() if re.fullmatch(r"in/noise|in/\w+_features/0", name)
    }


def check_step_tensors(metadata: dict[str, str], tensors: dict[str, Tensor]) -> list[str]:
    """The same for what is in such a file."""
    tensors = Golden(tensors)
    ours = steps_made(Golden(metadata, "metadata "), tensors)
    wanted = {name: value for name, value in tensors.items() if name not in STEP_INPUTS}
    return problems(ours, wanted, gates(ours, tensors))


def steps_made(metadata: Golden, tensors: Golden) -> dict[str, Tensor]:
    """Our values of what is in such a file."""
    steps = len(tensors["timesteps"])
    return {
        "sigmas": release_grid(steps),
        "timesteps": 1000 * release_grid(steps)[:-1],
        **dict(single_steps(tensors)),
        **dict(mixed_steps(tensors)),
        **dict(policy_loss(metadata, tensors)),
        **dict(advantages(tensors)),
        "ema/ema_after_step": averages(metadata, tensors["ema/param_after_step"], tensors["ema/ema_after_step"][0]),
    }


def gates(ours: dict[str, Tensor], tensors: Golden) -> dict[str, float]:
    """Gates of what is made of differences, which are known less well than the two numbers.

    Means are known to their last bits, logarithms of densities to the gate. A ratio is the exponential of a difference
    of the latter, and divergences are squares.
    """

    def of_square(one: Tensor, other: Tensor, known: float) -> float:
        return GATE + 2 * known * float(one.norm() / (one - other).norm().clamp_min(1e-12))

    density, old = ours["grpo/log_prob"], tensors["grpo/old_log_prob"]
    found = {"grpo/approx_kl": of_square(density, old, GATE)}
    found |= dict.fromkeys(("grpo/ratio", "grpo/policy_loss"), GATE * max(1.0, float(density.square().mean().sqrt())))
    for name in ours:
        prefix, _, last = name.rpartition("/")
        if last.startswith("kl"):
            found[name] = of_square(ours[f"{prefix}/mean"], ours[f"{prefix}/mean_ref"], 2**-23)
    return found


def check_rollout_tensors(
    metadata: dict[str, str], tensors: dict[str, Tensor], network: tuple[dict[str, str], dict[str, Tensor]]
) -> list[str]:
    """The same for what is in such a file, with the transformer's file."""
    ours = dict(rolled_out(Golden(metadata, "metadata "), Golden(tensors), network))
    return problems(ours, {name: value for name, value in tensors.items() if not ROLLOUT_INPUT.fullmatch(name)}, {})


def problems(ours: dict[str, Tensor], theirs: dict[str, Tensor], gates: dict[str, float]) -> list[str]:
    """Tensors that differ by more than their gate, and unknown ones.

    Of logarithms and losses, which may happen to be near 0, what is below 1 counts as 1.
    """
    found = [f"{name} is not checked: its name is unknown" for name in theirs.keys() - ours.keys()]
    for name in theirs.keys() & ours.keys():
        gate = gates.get(name, GATE)
        if theirs[name].dtype == torch.int32 and ours[name].shape == theirs[name].shape:  # 16 bits: a rounding apart
            apart = int((ours[name] - theirs[name]).abs().max())
            found += [f"{name} is up to {apart} apart"] if apart > 1 else []
            continue
        if "log_prob" in name or name == "grpo/policy_loss":
            gate /= min(1.0, float(theirs[name].square().mean().sqrt().clamp_min(1e-12)))
        found += golden_dit.difference(name, ours[name], theirs[name], gate)
    return sorted(found)


# Steps ----------------------------------------------------------------------------------------------------------------
def single_steps(tensors: Golden) -> Pairs:
    """One step of all samples, for each index and amount of noise in the file."""
    sample, velocity, other, eps = (
        tensors[f"in/{name}"] for name in ("sample", "model_output", "model_output_ref", "eps")
    )
    grid = release_grid(len(tensors["timesteps"]))
    for prefix in sorted({name.rpartition("/")[0] for name in tensors if name.startswith("out/i")}):
        index, noise = re.fullmatch(r"out/i(\d+)_nl([\d.]+)", prefix).groups()
        kernel = EulerMaruyamaKernel(float(noise)) if float(noise) else OdeKernel()
        t, t_next = (grid[int(index) + k].expand(len(sample)) for k in (0, 1))
        new = kernel.transition(velocity, sample, t, t_next)
        latents = new.sample(eps)
        yield f"{prefix}/mean", new.mean
        yield f"{prefix}/prev", latents
        yield f"{prefix}/dt", (t_next - t)[:1]
        yield f"{prefix}/std_dev_t", diffusion(new, t, t_next)
        if not float(noise):
            continue
        reference = kernel.transition(other, sample, t, t_next)
        published = divergence(new, reference, kernel, t, t_next, "flow_grpo")
        yield f"{prefix}/log_prob", new.log_prob(latents)
        yield f"{prefix}/log_prob_ref", reference.log_prob(latents)
        yield f"{prefix}/mean_ref", reference.mean
        yield f"{prefix}/kl_per_sample", published
        yield f"{prefix}/kl", published.mean()[None]
        yield f"{prefix}/kl_true_gaussian", divergence(new, reference, kernel, t, t_next).mean()[None]


def mixed_steps(tensors: Golden) -> Pairs:
    """One step of each sample, each from a time of its own, with the noise that the file's deviations speak of."""
    grid, index = release_grid(len(tensors["timesteps"])), tensors["mixed/index"]
    t, t_next = grid[index], grid[index + 1]
    ratio = tensors["mixed/std_dev_t"].flatten() / EulerMaruyamaKernel(1.0).diffusion(t, t_next)
    kernel = EulerMaruyamaKernel(round(float(ratio.median()), 5))
    new = kernel.transition(tensors["in/model_output"], tensors["in/sample"], t, t_next)
    yield "mixed/mean", new.mean
    yield "mixed/std_dev_t", diffusion(new, t, t_next)
    yield "mixed/log_prob", new.log_prob(tensors["mixed/prev"])
    yield "grpo/log_prob", new.log_prob(tensors["mixed/prev"])


def diffusion(transition: Transition, t: Tensor, t_next: Tensor) -> Tensor:
    """The noise for each unit of time, as the file has it."""
    return (transition.std / (t - t_next).sqrt())[:, None, None]


# Learning -------------------------------------------------------------------------------------------------------------
def policy_loss(metadata: Golden, tensors: Golden) -> Pairs:
    """The clipped loss of the file's densities."""
    log_ratio = dict(mixed_steps(tensors))["grpo/log_prob"] - tensors["grpo/old_log_prob"]
    unused = Transition(torch.zeros(0), torch.zeros(0))
    most = float(metadata.get("adv_clip_max", MOST_ADVANTAGE))
    loss, advantages = ClippedLoss(float(metadata.get("clip_range", CLIP))), tensors["grpo/advantage_raw"]
    terms, limited = loss.terms(log_ratio, advantages.clamp(-most, most), unused, unused)
    seen = statistics(log_ratio, limited)
    yield "grpo/ratio", log_ratio.exp()
    yield "grpo/policy_loss", terms.mean()[None]
    yield "grpo/clipfrac", seen["clip_fraction"][None]
    yield "grpo/approx_kl", seen["approx_kl"][None]


def advantages(tensors: Golden) -> Pairs:
    """The three ways to standardise."""
    rewards, groups, weights = {"all": tensors["adv/reward"]}, tensors["adv/group_id"], {"all": 1.0}
    yield "adv/global_std_True", WeightedSumAdvantage("batch").estimate(rewards, groups, weights)
    yield "adv/global_std_False", WeightedSumAdvantage("group").estimate(rewards, groups, weights)
    yield "adv/no_tracking", WeightedSumAdvantage("batch").estimate(rewards, torch.zeros_like(groups), weights)


def averages(metadata: Golden, parameters: Tensor, average: Tensor) -> Tensor:
    """The moving average after each step, the first one included, by the rule that the metadata state.

    Raises:
        ValueError: They state another kind of rule.
    """
    rule = re.search(r"min\(\(1\+s\)/\(10\+s\),\s*([\d.]+)\).*\(s\+1\)%(\d+)==0", metadata["ema"])
    if rule is None:
        raise ValueError(f"unknown moving average: {metadata['ema']}")
    rows = []
    for step, parameter in enumerate(parameters, start=1):
        average = torch.lerp(average, parameter, 1 - policy_decay(step, beta=float(rule[1]), every=int(rule[2])))
        rows.append(average)
    return torch.stack(rows)


# Rollouts -------------------------------------------------------------------------------------------------------------
def rolled_out(metadata: Golden, tensors: Golden, network: tuple[Golden, Golden]) -> Pairs:
    """A rollout of branches from the file's noise, in the file's order: all first branches, then all second ones.

    Of the transformer's file it takes the configuration and the weights alone.
    """
    noise, start, grid = tensors["in/noise"], int(metadata["window_start"]), release_grid(len(tensors["timesteps"]))
    length, rows = len(tensors.numbered(r"in/window_eps/(\d+)")), len(noise)
    branches = len(tensors["in/window_eps/0"]) // rows
    order = torch.arange(branches * rows).view(branches, rows).T.flatten()
    weights = {name: value for name, value in network[1].items() if name.startswith("w/")}
    made = golden_dit.Replay(network[0], {**weights, **tensors, "in/x": noise})
    scale, n_frames = float(metadata["cfg_scale"]), noise.shape[-1]
    twice = made.conditions.index(torch.arange(rows).repeat_interleave(branches))
    velocity = guided_velocity(made.transformer, twice, n_frames, scale)
    ours = rollout(
        lambda rows: guided_velocity(made.transformer, twice.index(rows), n_frames, scale),
        noise,
        torch.stack([tensors[f"in/window_eps/{index}"][order] for index in range(length)]),
        [Trajectory(grid, Window(start, start + length))] * rows,
        EulerMaruyamaKernel(float(metadata["noise_level"])),
        branch_size=branches,
    )
    yield "sigmas", grid
    yield "timesteps", 1000 * grid[:-1]
    yield from outputs(ours, velocity, order.argsort())


def outputs(ours: Rollout, velocity: object, back: Tensor) -> Pairs:
    """What the file has of a rollout; densities are those of the replay."""
    for index in range(len(ours.states)):
        yield f"out/latents/{index}", ours.states[index][back]
    for index in range(len(ours.means)):
        with torch.no_grad():
            again = replay(velocity, ours, index)
        if not torch.equal(again.mean, ours.means[index]):
            raise ValueError(f"the replay of step {index} is not the step")
        yield f"out/log_prob/{index}", again.log_prob(ours.states[index + 1])[back]
        yield f"out/timestep/{index}", 1000 * ours.times(index)[0][back]
    yield "out/final_latent", ours.latents[back]
    loudest = ours.latents.abs().max()  # over all candidates: why there they are not independent
    yield "out/batch_peak_normalised_int32", (ours.latents / loudest).clamp(-1, 1).mul(32767).to(torch.int32)[back]
