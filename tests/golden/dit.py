"""Replays a golden file of the published transformer: every tensor in it, whatever its configuration."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from parity import Golden, read_tensors
from published_config import published_dit, sync_frames

from prismaudio.flow.path import interpolate, velocity_target
from prismaudio.models.conditioners import to_length
from prismaudio.models.dit import ConditioningCache, DiffusionTransformer
from prismaudio.models.published import dit_key, dit_weights, published_key, published_shaped
from prismaudio.samplers.euler import EulerSampler
from prismaudio.samplers.guidance import guided_velocity
from prismaudio.types import Conditions, Features

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

FORWARD, TRAJECTORY, GRADIENT, BF16 = 1e-5, 5e-5, 1e-5, 4e-2
"""Allowed relative RMS of a forward, of some tens of steps, of gradients, and of a forward under bfloat16 autocast."""
KNOWN = re.compile(r"(w|in|out|train|grad)/")
CFG = re.compile(r"velocity_cfg(?P<scale>[\d.]+)(_phi(?P<phi>[\d.]+))?(_(?P<kind>negative|emptysync))?")
PARTS = {"all": (), "sync": ("cross", "add"), "add": ("cross",), "cross": ("add", "sync")}
"""What is left when a part is absent; in the published model synchronisation goes with what is added."""


def check_dit(path: Path) -> list[str]:
    """What of a ``dit_*`` file our transformer does not reproduce, one line each; empty when all is well."""
    return check_tensors(*read_tensors(path))


def check_tensors(metadata: dict[str, str], tensors: dict[str, Tensor]) -> list[str]:
    """The same for what is in such a file."""
    problems = [f"{name} is neither weight, input, output nor gradient" for name in tensors if not KNOWN.match(name)]
    replay = Replay(metadata, tensors)
    wanted = {name: value for name, value in tensors.items() if re.match("out/|train/|grad/", name)}
    for name, theirs in wanted.items():
        try:
            ours = replay.value(name)
        except KeyError:
            problems.append(f"{name} is not checked: its name is unknown")
            continue
        problems += difference(name, ours, theirs, gate_of(name))
    problems += replay.gradient_problems()
    for name in (name for name in wanted if name == "out/velocity" or CFG.fullmatch(name.removeprefix("out/"))):
        with torch.autocast("cpu", torch.bfloat16):
            problems += difference(f"{name} in bf16", replay.value(name).float(), wanted[name], BF16)
    return problems


def gate_of(name: str) -> float:
    """Allowed relative RMS of a tensor."""
    if name.startswith("grad/"):
        return GRADIENT
    return TRAJECTORY if "euler" in name else FORWARD


def difference(name: str, ours: Tensor, theirs: Tensor, gate: float) -> list[str]:
    """What is wrong with a tensor, if anything is."""
    if ours.shape != theirs.shape:
        return [f"{name} is {tuple(ours.shape)}, expected {tuple(theirs.shape)}"]
    error = float((ours - theirs).double().norm() / theirs.double().norm().clamp_min(1e-12))
    return [] if error <= gate else [f"{name} differs by {error:.2e}, allowed {gate:.0e}"]


@dataclass(frozen=True, eq=False)
class Tokens:
    """Tokens that a forward of the published model is given: attended to, added, and added for synchronisation."""

    cross: Features | None = None
    add: Features | None = None
    sync: Features | None = None

    def keep(self, *parts: str) -> Tokens:
        """Without the other parts."""
        return Tokens(**{part: getattr(self, part) for part in parts})

    def zero(self, *parts: str) -> Tokens:
        """With zeros in some parts."""
        zeros = {part: getattr(self, part).null() for part in parts if getattr(self, part) is not None}
        return Tokens(**{**vars(self), **zeros})

    def and_then(self, other: Tokens) -> Tokens:
        """Both in one batch, as guidance has them."""
        pairs = {part: (mine, getattr(other, part)) for part, mine in vars(self).items() if mine is not None}
        return Tokens(
            **{
                part: Features(torch.cat([a.values, b.values]), torch.cat([a.mask, b.mask]))
                for part, (a, b) in pairs.items()
            }
        )


class Told:
    """The transformer with a cache that was computed already, for :func:`guided_velocity`."""

    def __init__(self, transformer: DiffusionTransformer, cache: ConditioningCache) -> None:
        self.transformer, self.made = transformer, cache

    def cache_conditions(self, conditions: Conditions, n_frames: int, mask: Tensor | None = None) -> ConditioningCache:
        """That cache."""
        return self.made

    def __call__(self, latents: Tensor, times: Tensor, cache: ConditioningCache, mask: Tensor | None = None) -> Tensor:
        """The transformer's velocity."""
        return self.transformer(latents, times, cache)


class Replay:
    """Computes what a file holds, by the names in it.

    Args:
        metadata: Metadata of the file.
        tensors: What is in it.
    """

    def __init__(self, metadata: dict[str, str], tensors: dict[str, Tensor]) -> None:
        metadata, tensors = Golden(metadata, "metadata "), Golden(tensors)
        self.given, self.train, self.official = (tensors.below(prefix) for prefix in ("in/", "train/", "w/"))
        self.norms = json.loads(metadata.get("grad_norms", "{}"))
        self.steps = max([1, *(int(step) for (step,) in tensors.numbered(r"out/euler_cfg[\d.]+/(\d+)"))])
        self.trajectories: dict[float, list[Tensor]] = {}
        config = json.loads(metadata["config"])
        self.cross_ids = config["diffusion"].get("cross_attention_cond_ids", [])
        self.transformer = DiffusionTransformer(**published_dit(config))
        self.transformer.load_state_dict(dit_weights(self.official))
        self.transformer.eval().requires_grad_(requires_grad=False)
        self.n_frames = self.given["x"].shape[-1]
        # padding counts as real there
        self.conditions = Conditions(
            {stream: Features.pad(self._rows(stream)) for stream in self.transformer.conditioners}
        ).unmasked()

    def _rows(self, stream: str) -> list[Tensor]:
        """The features of each sample."""
        count = sum(name.startswith(f"{stream}_features/") for name in self.given)
        return [self.given[f"{stream}_features/{i}"] for i in range(count)]

    def value(self, name: str) -> Tensor:
        """Our value of an output, a part of the training step or a gradient.

        Raises:
            KeyError: There is no such thing.
        """
        kind, _, rest = name.partition("/")
        if kind == "train":
            return self.step[rest]
        if kind == "grad":
            return self.gradients[rest]
        with torch.no_grad():
            return self._output(rest)

    # Outputs -----------------------------------------------------------------------------------------------------
    def _output(self, name: str) -> Tensor:
        word, _, rest = name.partition("/")
        if word == "hidden":
            return self.hidden[int(rest)]
        if scale := re.fullmatch(r"euler_cfg([\d.]+)", word):
            return self._euler(float(scale[1]))[int(rest)]
        if word == "cond":
            return self.made[rest]
        if word == "cond_mask":
            return torch.ones_like(self.made[rest][:, :1, 0])
        if name.startswith("velocity"):
            return self._velocity(name)
        return {
            "cross_attn_cond": lambda: self._cross(self.cross_ids).values,
            "cross_attn_mask": lambda: torch.ones(len(self.given["x"]), len(self.cross_ids)),
            "add_cond": lambda: self.made["video_features"],
            "sync_cond": lambda: self.made["sync_features"],
            "time_embed": lambda: self.transformer.time_embedding(self.given["t"]),
        }[name]()

    @cached_property
    def made(self) -> dict[str, Tensor]:
        """The conditioners' outputs by their published id."""
        with torch.no_grad():
            tokens = self.transformer.tokens(self.conditions)
        return {
            f"{stream}_features": to_length(made, sync_frames(made.mask.shape[1])) if stream == "sync" else made.values
            for stream, made in tokens.items()
        }

    @cached_property
    def hidden(self) -> dict[int, Tensor]:
        """Tokens after each block."""
        seen: dict[int, Tensor] = {}
        hooks = [
            block.register_forward_hook(lambda _, __, out, i=i: seen.update({i: out}))
            for i, block in enumerate(self.transformer.blocks)
        ]
        self._output("velocity")
        for hook in hooks:
            hook.remove()
        return seen

    def _cross(self, ids: Sequence[str]) -> Features:
        return whole(torch.cat([self.made[name] for name in ids], 1))

    @property
    def tokens(self) -> Tokens:
        """Tokens of all conditions."""
        add, sync = (self.made.get(f"{stream}_features") for stream in ("video", "sync"))
        return Tokens(
            self._cross(self.cross_ids) if self.cross_ids else None,
            None if add is None or "video" not in self.transformer.added else whole(add),
            None if sync is None or "sync" not in self.transformer.added else whole(sync),
        )

    def _velocity(self, name: str) -> Tensor:
        """One forward, guided or not, of more or fewer conditions."""
        if name == "velocity":
            return self.transformer(self.given["x"], self.given["t"], self.conditions)
        if match := re.fullmatch("velocity_null_(all|sync|add|cross)", name):
            return self._plain(self.tokens.zero(*(("cross", "add", "sync") if match[1] == "all" else (match[1],))))
        if match := re.fullmatch("velocity_no_(sync|add|cross)", name):
            return self._plain(self.tokens.keep(*PARTS[match[1]]))
        alone = {
            "velocity_uncond_none": Tokens(),
            "velocity_text_only": Tokens(self._cross(["text_features"])),
            "velocity_video_only": Tokens(self._cross(["video_features"]), self.tokens.add),
        }
        if name in alone:
            return self._plain(alone[name])
        if match := re.fullmatch(r"velocity_text_only_cfg([\d.]+)", name):
            return self._cached(alone["velocity_text_only"], float(match[1]))
        if match := CFG.fullmatch(name):
            return self._cfg(float(match["scale"]), float(match["phi"] or 0), match["kind"])
        raise KeyError(name)

    def _cfg(self, scale: float, phi: float, kind: str | None) -> Tensor:
        if kind is None:
            velocity = guided_velocity(self.transformer, self.conditions, self.n_frames, scale, phi)
            return velocity(self.given["x"], self.given["t"])
        tokens = self.tokens
        if kind == "negative":
            other = replace(tokens.zero("add", "sync"), cross=whole(self.given["negative_cross_attn_cond"]))
            return self._cached(tokens, scale, phi, other)
        empty = self.official["model.model.empty_sync_feat"].expand_as(tokens.sync.values)
        return self._cached(replace(tokens, sync=whole(empty)), scale, phi)

    def _cached(self, tokens: Tokens, scale: float, phi: float = 0.0, other: Tokens | None = None) -> Tensor:
        both = tokens.and_then(other or tokens.zero("cross", "add", "sync"))
        told = Told(self.transformer, self._cache(both))
        return guided_velocity(told, Conditions(), self.n_frames, scale, phi)(self.given["x"], self.given["t"])

    def _plain(self, tokens: Tokens) -> Tensor:
        return self.transformer(self.given["x"], self.given["t"], self._cache(tokens))

    def _cache(self, tokens: Tokens) -> ConditioningCache:
        added = {"video": tokens.add, "sync": tokens.sync}
        attended = [] if tokens.cross is None else [tokens.cross]
        return self.transformer.cache_tokens(attended, {k: v for k, v in added.items() if v is not None}, self.n_frames)

    def _euler(self, scale: float) -> list[Tensor]:
        """Latents before each step and after the last one."""
        if scale not in self.trajectories:
            guided = guided_velocity(self.transformer, self.conditions, self.n_frames, scale)
            states: list[Tensor] = []

            def velocity(latents: Tensor, times: Tensor) -> Tensor:
                states.append(latents)
                return guided(latents, times)

            states.append(EulerSampler(self.steps).sample(velocity, self.given["noise"]))
            self.trajectories[scale] = states
        return self.trajectories[scale]

    # Training ----------------------------------------------------------------------------------------------------
    @cached_property
    def step(self) -> dict[str, Tensor]:
        """One training step, without dropout; it leaves gradients behind."""
        data, noise, times = self.train["x0"], self.train["noise"], self.train["t"]
        point, target = interpolate(data, noise, times), velocity_target(data, noise)
        self.transformer.requires_grad_(requires_grad=True)
        output = self.transformer(point, times, self.conditions)
        loss = (output - target).square().mean()
        loss.backward()
        self.transformer.requires_grad_(requires_grad=False)
        made = {"x_t": point, "target": target, "output": output.detach(), "loss": loss.detach()[None]}
        return {"x0": data, "noise": noise, "t": times, **made}

    @cached_property
    def gradients(self) -> dict[str, Tensor]:
        """Gradients of that step by published key."""
        _ = self.step
        named = self.transformer.named_parameters()
        return {published_key(key): published_shaped(key, p.grad) for key, p in named if p.grad is not None}

    def gradient_problems(self) -> list[str]:
        """Parameters whose gradient is not as large as it should be, or that are dead in one of the two models only."""
        problems = []
        for key, norm in self.norms.items():
            ours = self.gradients.get(key)
            if norm is None or ours is None:
                if ours is not None or norm is not None or dit_key(key) is not None:
                    problems.append(f"grad of {key} is {ours if ours is None else ours.norm()}, expected {norm}")
            else:
                problems += difference(f"norm of the grad of {key}", ours.norm(), torch.tensor(norm), GRADIENT)
        return problems


def whole(values: Tensor) -> Features:
    """A stream in which everything is real."""
    return Features(values, torch.ones(values.shape[:2], dtype=torch.bool))
