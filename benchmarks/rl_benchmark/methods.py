"""The methods that the reinforcement-learning benchmark compares: each is a row of settings, as a recipe is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from prismaudio.flow.kernels import EulerMaruyamaKernel, RhoKernel, TransitionKernel
from prismaudio.flow.times import shortened, uniform_grid
from prismaudio.grpo.advantages import AdvantageEstimator, DecoupledAdvantage, WeightedSumAdvantage
from prismaudio.grpo.losses import ClippedLoss, PolicyLoss
from prismaudio.grpo.weighting import StepWeighting, UniformWeighting
from prismaudio.grpo.windows import AllSteps, RandomWindow, SlidingWindow, Window, WindowSchedule

if TYPE_CHECKING:
    from torch import Tensor

GROUP = 16


@dataclass(frozen=True)
class Method:
    """How a policy is trained. The protocol is the same for all: see :mod:`rl_benchmark.protocol`.

    Args:
        steps: Steps of a trajectory in training.
        schedule: Where the window is.
        kernel: The random steps.
        advantage: From rewards to advantages.
        branches: Siblings that share what comes before the window.
        same_start: Whether a whole group begins with the same noise.
        share_first: Whether siblings share their first random step, too: exact, and cheaper.
        after: At most so many steps after the window; None for those of the grid.
        loss: The policy loss.
        weighting: Weights of the steps of a window.
    """

    steps: int = 24
    schedule: WindowSchedule = field(default_factory=AllSteps)
    kernel: TransitionKernel = field(default_factory=EulerMaruyamaKernel)
    advantage: AdvantageEstimator = field(default_factory=lambda: WeightedSumAdvantage("batch"))
    branches: int = 1
    same_start: bool = False
    share_first: bool = False
    after: int | None = None
    loss: PolicyLoss = field(default_factory=ClippedLoss)
    weighting: StepWeighting = field(default_factory=UniformWeighting)

    def windows(self, seed: int, update: int, groups: int) -> dict[Window, list[int]]:
        """The random steps of an update, and the groups whose they are."""
        found: dict[Window, list[int]] = {}
        for group in range(groups):
            found.setdefault(self.schedule.window(self.steps, seed, update, group), []).append(group)
        return found

    def grid(self, window: Window) -> Tensor:
        """Times ``(steps + 1,)`` of trajectories with a window, from 1 to 0."""
        grid = uniform_grid(self.steps)
        return grid if self.after is None else shortened(grid, window.stop, self.after)

    def evaluations(self, window: Window) -> tuple[float, float]:
        """Evaluations of the network for each sample, by formula: rolling out, and training.

        A backward pass counts as two forward passes. What siblings share counts once for all of them.

        Args:
            window: The random steps.
        """
        shared = window.start + self.share_first
        steps = len(self.grid(window)) - 1
        trained = 3 * (len(window) - self.share_first * (1 - 1 / self.branches))
        return steps - shared * (1 - 1 / self.branches), trained


def _windowed(length: int, latest: float) -> RandomWindow:
    return RandomWindow(length, latest=latest, per="update")


_RELEASE = Method(schedule=_windowed(2, 0.5), branches=8)
_BEST = Method(
    schedule=_windowed(4, 10 / 24), kernel=EulerMaruyamaKernel(1.0), advantage=DecoupledAdvantage(), branches=GROUP
)

_BEST_T10 = replace(_BEST, steps=10, schedule=_windowed(3, 0.4))
_RECOMMENDED = Method(
    steps=10,
    schedule=RandomWindow(1, latest=0.8),
    kernel=RhoKernel(1.0),
    advantage=WeightedSumAdvantage("group"),
    branches=GROUP,
    share_first=True,
    after=4,
)

METHODS: dict[str, Method] = {
    "flow_grpo": Method(),
    "flow_grpo_T10": Method(steps=10),
    "mix_grpo": Method(schedule=SlidingWindow(4, every=25), advantage=DecoupledAdvantage(), same_start=True),
    "release": _RELEASE,
    "paper": replace(_RELEASE, schedule=_windowed(2, 1.0), advantage=WeightedSumAdvantage("group"), branches=GROUP),
    "release_T10": replace(_RELEASE, steps=10),
    "best_T24": _BEST,
    "best_T10": _BEST_T10,
    "best_T10_sum": replace(_BEST_T10, advantage=WeightedSumAdvantage("batch")),
    "recommended": _RECOMMENDED,
    "recommended_w2": replace(_RECOMMENDED, schedule=RandomWindow(2, latest=0.7)),
}
"""By name: the known methods; the two best of our survey's prototype, one with the rewards added up, too; and what we
recommend, with windows of one step and of two."""

EMBEDDED_STEPS = 8
EMBEDDED_METHODS: dict[str, Method] = {
    name: replace(METHODS[name], steps=EMBEDDED_STEPS) for name in ("flow_grpo", "release", "recommended")
}
"""By name: those of the second tier, where all trajectories have eight steps, in training as in evaluation."""
