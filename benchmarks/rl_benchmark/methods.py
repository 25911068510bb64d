"""The methods that the reinforcement-learning benchmark compares: the recipes of ``recipes/fast_grpo``, with overrides.

The protocol overrides two keys of all recipes: the time grid is uniform, and the KL penalty (``kl``) is off.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import prismaudio
from prismaudio.flow import kernels
from prismaudio.flow.kernels import EulerMaruyamaKernel, TransitionKernel
from prismaudio.flow.times import shortened, uniform_grid
from prismaudio.training.grpo import advantages, losses, weighting, windows
from prismaudio.training.grpo.advantages import AdvantageEstimator, DecoupledAdvantage, WeightedSumAdvantage
from prismaudio.training.grpo.losses import ClippedLoss, PolicyLoss
from prismaudio.training.grpo.update import Objective
from prismaudio.training.grpo.weighting import StepWeighting, UniformWeighting
from prismaudio.training.grpo.windows import RandomWindow, Window, WindowSchedule

if TYPE_CHECKING:
    from torch import Tensor

GROUP = 16
RECIPES = Path(prismaudio.__file__).parent / "recipes" / "fast_grpo"
PARTS = (kernels, advantages, losses, weighting, windows)
"""Modules of the classes that recipes name."""


@dataclass(frozen=True)
class Method:
    """A training method: settings of a recipe, with the same names and defaults.

    See :mod:`rl_benchmark.protocol` for the settings that all methods share.

    Args:
        steps: Number of steps of a training trajectory.
        window: Schedule of the window of stochastic steps.
        kernel: Transition kernel of the stochastic steps.
        advantage: Advantage estimator.
        branches: Number of samples of a group that share the steps before the window.
        share_first: Whether they also share the network evaluation of the first stochastic step; exact and cheaper.
        after: Maximum number of steps after the window; None for all steps of the grid.
        loss: The policy loss.
        weighting: Weights of the steps of a window.
        same_start: Whether a whole group starts from the same noise; not a recipe key.
    """

    steps: int = 24
    window: WindowSchedule = field(default_factory=RandomWindow)
    kernel: TransitionKernel = field(default_factory=EulerMaruyamaKernel)
    advantage: AdvantageEstimator = field(default_factory=WeightedSumAdvantage)
    branches: int = GROUP
    share_first: bool = True
    after: int | None = None
    loss: PolicyLoss = field(default_factory=ClippedLoss)
    weighting: StepWeighting = field(default_factory=UniformWeighting)
    same_start: bool = False

    @classmethod
    def of_recipe(cls, name: str, folder: Path = RECIPES, **overrides: Any) -> Method:
        """The method of a recipe.

        Args:
            name: Name of the recipe file, without suffix.
            folder: Folder of the recipe.
            overrides: Values that replace those of the recipe, by key; for a class, a mapping of arguments.
        """
        recipe = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))["model"]["init_args"]
        keys = [key.name for key in fields(cls)]
        settings: dict[str, Any] = {key: recipe[key] for key in keys if key in recipe}
        for key, value in settings.items():
            if isinstance(value, str | dict):
                settings[key] = _instantiate(value, **overrides.pop(key, {}))
        return cls(**settings | overrides)

    def windows(self, seed: int, update: int, groups: int) -> dict[Window, list[int]]:
        """The windows of an update, each with the groups that use it."""
        found: dict[Window, list[int]] = {}
        for group in range(groups):
            found.setdefault(self.window.window(self.steps, seed, update, group), []).append(group)
        return found

    def grid(self, window: Window) -> Tensor:
        """Times ``(steps + 1,)`` of trajectories with a window, from 1 to 0."""
        grid = uniform_grid(self.steps)
        return grid if self.after is None else shortened(grid, window.stop, self.after)

    @property
    def objective(self) -> Objective:
        """The objective that updates minimise."""
        return Objective(self.loss, self.weighting, uniform_grid(self.steps))

    def evaluations(self, window: Window) -> tuple[float, float]:
        """Theoretical network evaluations per sample: rollout and training.

        A backward pass counts as two forward passes. Shared evaluations count once for all samples that share them.

        Args:
            window: The stochastic steps.
        """
        shared = window.start + self.share_first
        steps = len(self.grid(window)) - 1
        trained = 3 * (len(window) - self.share_first * (1 - 1 / self.branches))
        return steps - shared * (1 - 1 / self.branches), trained


def _instantiate(spec: str | dict[str, Any], **overrides: object) -> object:
    """Instantiate a class of a recipe, given by name or with arguments, with some arguments overridden."""
    name, arguments = (spec, {}) if isinstance(spec, str) else (spec["class_path"], spec.get("init_args", {}))
    module = next(module for module in PARTS if hasattr(module, name))
    return getattr(module, name)(**arguments | overrides)


_COMMON_WINDOW: dict[str, Any] = {"window": {"per": "update"}}
"""All groups of an update have the same window, as in the released code."""
_RELEASE = Method.of_recipe("release", **_COMMON_WINDOW)
_BEST = replace(
    _RELEASE,
    window=RandomWindow(4, latest=10 / 24, per="update"),
    kernel=EulerMaruyamaKernel(1.0),
    advantage=DecoupledAdvantage(),
    branches=GROUP,
)
_BEST_T10 = replace(_BEST, steps=10, window=RandomWindow(3, latest=0.4, per="update"))

METHODS: dict[str, Method] = {
    "flow_grpo": Method.of_recipe("flow_grpo"),
    "flow_grpo_T10": Method.of_recipe("flow_grpo", steps=10),
    # as published: all candidates of a group start from the same noise and share no computation
    "mix_grpo": Method.of_recipe("mix_grpo", branches=1, share_first=False, same_start=True),
    "release": _RELEASE,
    "paper": Method.of_recipe("paper", share_first=False, **_COMMON_WINDOW),
    "release_T10": replace(_RELEASE, steps=10),
    "best_T24": _BEST,
    "best_T10": _BEST_T10,
    "best_T10_sum": replace(_BEST_T10, advantage=WeightedSumAdvantage("batch")),
    "recommended": Method.of_recipe("recommended"),
    "recommended_w2": Method.of_recipe("recommended", window={"length": 2, "latest": 0.7}),
}
"""Methods by name: the recipes, some with overrides; the two best of a survey of prototypes, ``best_T10`` also with
summed rewards; and the recommended method with windows of two steps."""

STUDIO_STEPS = 8
STUDIO_METHODS: dict[str, Method] = {
    name: replace(METHODS[name], steps=STUDIO_STEPS) for name in ("flow_grpo", "release", "recommended")
}
"""Methods of the second tier by name; all trajectories have eight steps, in training and evaluation."""
