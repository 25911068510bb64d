"""The methods that the reinforcement-learning benchmark compares: the recipes of ``recipes/fast_grpo``, with overrides.

For all methods the time grid is uniform and ``kl_coef`` is 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import prismaudio
from prismaudio.flow import kernels
from prismaudio.flow.kernels import EulerMaruyamaKernel, TransitionKernel
from prismaudio.flow.times import shorten_tail, uniform_grid
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
OPTIONS = ("rollout", "policy", "scoring")
"""Groups of options of a recipe."""
PARTS = (kernels, advantages, losses, weighting, windows)
"""Modules of the classes that options refer to."""


@dataclass(frozen=True)
class Method:
    """How a policy is trained: options of a recipe, with the same names and defaults.

    For what all methods have in common, see :mod:`rl_benchmark.protocol`.

    Args:
        num_steps: Steps of a trajectory in training.
        window: The stochastic steps.
        kernel: Transition of a stochastic step.
        advantage: Estimator of advantages from rewards.
        branch_size: Candidates that share the steps before the window.
        share_first: Whether a branch shares the network evaluation of its first stochastic step.
        max_tail_steps: Maximum number of steps after the window; None for those of the grid.
        loss: The policy loss.
        weighting: Weights of the steps of a window.
        same_start: Whether a whole group starts from the same noise; recipes have no such key.
    """

    num_steps: int = 24
    window: WindowSchedule = field(default_factory=RandomWindow)
    kernel: TransitionKernel = field(default_factory=EulerMaruyamaKernel)
    advantage: AdvantageEstimator = field(default_factory=WeightedSumAdvantage)
    branch_size: int = GROUP
    share_first: bool = True
    max_tail_steps: int | None = None
    loss: PolicyLoss = field(default_factory=ClippedLoss)
    weighting: StepWeighting = field(default_factory=UniformWeighting)
    same_start: bool = False

    @classmethod
    def of_recipe(cls, name: str, folder: Path = RECIPES, **overrides: Any) -> Method:
        """The method of a recipe.

        Args:
            name: Name of the recipe file, without its suffix.
            folder: Folder of the recipe.
            overrides: Options to change, by key; for a class, a mapping of its arguments to change.
        """
        options = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))["model"]["init_args"]
        recipe = {key: value for group in OPTIONS for key, value in options.get(group, {}).items()}
        keys = [key.name for key in fields(cls)]
        settings: dict[str, Any] = {key: recipe[key] for key in keys if key in recipe}
        for key, value in settings.items():
            if isinstance(value, str | dict):
                settings[key] = _built(value, **overrides.pop(key, {}))
        return cls(**settings | overrides)

    def windows(self, seed: int, update: int, groups: int) -> list[Window]:
        """The window of each group in an update."""
        return [self.window.window(self.num_steps, seed, update, group) for group in range(groups)]

    def grid(self, window: Window) -> Tensor:
        """Times ``(steps + 1,)`` of trajectories with a window, from 1 to 0."""
        grid = uniform_grid(self.num_steps)
        return grid if self.max_tail_steps is None else shorten_tail(grid, window.stop, self.max_tail_steps)

    @property
    def objective(self) -> Objective:
        """The objective of an update."""
        return Objective(self.loss, self.weighting, uniform_grid(self.num_steps))

    def evaluations(self, window: Window) -> tuple[float, float]:
        """Expected network evaluations per sample, for rollout and for training.

        A backward pass counts as two forward passes. Steps that a branch shares count once for the branch.

        Args:
            window: The stochastic steps.
        """
        shared = window.start + self.share_first
        steps = len(self.grid(window)) - 1
        trained = 3 * (len(window) - self.share_first * (1 - 1 / self.branch_size))
        return steps - shared * (1 - 1 / self.branch_size), trained


def _built(described: str | dict[str, Any], **changes: object) -> object:
    """Create the object that a recipe describes by class, or class and arguments, with some arguments changed."""
    name, arguments = (
        (described, {}) if isinstance(described, str) else (described["class_path"], described.get("init_args", {}))
    )
    found = next(module for module in PARTS if hasattr(module, name))
    return getattr(found, name)(**arguments | changes)


_TOGETHER: dict[str, Any] = {"window": {"per": "update"}}
"""All groups of an update have the same window, as in the released code."""
_RELEASE = Method.of_recipe("release", **_TOGETHER)
_BEST = replace(
    _RELEASE,
    window=RandomWindow(4, latest=10 / 24, per="update"),
    kernel=EulerMaruyamaKernel(1.0),
    advantage=DecoupledAdvantage(),
    branch_size=GROUP,
)
_BEST_T10 = replace(_BEST, num_steps=10, window=RandomWindow(3, latest=0.4, per="update"))

METHODS: dict[str, Method] = {
    "flow_grpo": Method.of_recipe("flow_grpo"),
    "flow_grpo_T10": Method.of_recipe("flow_grpo", num_steps=10),
    # as published: candidates start from the same noise and share no evaluations
    "mix_grpo": Method.of_recipe("mix_grpo", branch_size=1, share_first=False, same_start=True),
    "release": _RELEASE,
    "paper": Method.of_recipe("paper", share_first=False, **_TOGETHER),
    "release_T10": replace(_RELEASE, num_steps=10),
    "best_T24": _BEST,
    "best_T10": _BEST_T10,
    "best_T10_sum": replace(_BEST_T10, advantage=WeightedSumAdvantage("batch")),
    "recommended": Method.of_recipe("recommended"),
    "recommended_w2": Method.of_recipe("recommended", window={"length": 2, "latest": 0.7}),
}
"""Methods by name: the recipes with the stated changes; ``best_…``, the candidates of an earlier survey, one of them
also with the weighted sum of rewards; and the recommended settings with a window of two steps."""

STUDIO_STEPS = 8
STUDIO_METHODS: dict[str, Method] = {
    name: replace(METHODS[name], num_steps=STUDIO_STEPS) for name in ("flow_grpo", "release", "recommended")
}
"""Methods of the studio environment, where all trajectories have eight steps, in training and in evaluation."""
