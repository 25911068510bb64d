"""A planner for clips of the studio and for real footage: it tells the ones from the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from prismaudio.errors import TrainingError
from prismaudio.plan import CORE, Plan
from prismaudio_footage.network import HEAD, load_recogniser
from prismaudio_footage.planner import FootagePlanner
from prismaudio_studio.planner.event import EventPlanner

if TYPE_CHECKING:
    from prismaudio.components import Dimension
    from prismaudio.types import Clip

LOOKS, SIDE = 6, 128
"""Frames of a clip that are looked at, and the height and width to which they are scaled."""
AXES = 64
"""Principal axes of the features of studio clips, along which clips may differ."""
LIMIT = 6.0
"""Distance from those axes, relative to the mean of the clips that were fitted, above which a clip is footage."""
FLOOR, CEILING = 0.01, 100.0
"""Least deviation of a feature, and the most that one feature counts, squared and in deviations."""


class StudioPlanner(EventPlanner):
    """Plans clips of the studio as :class:`EventPlanner` does, and other videos as ``FootagePlanner`` does.

    A clip is of the studio if the features of its frames lie near those of studio clips: the features of the image
    classifier of ``prismaudio_footage``, standardised, and their mean squared distance from the first 64 principal axes
    of studio clips. :meth:`observe` and :meth:`fit` compute the axes, without a gradient; before that, all clips are.

    Prompts and partial plans are completed as by :class:`EventPlanner`, with what the video shows.

    Args:
        classes: Nouns of the classes to detect.
        kwargs: See :class:`prismaudio_studio.planner.event.EventPlanner`.
    """

    centre: Tensor
    spread: Tensor
    axes: Tensor
    usual: Tensor

    def __init__(self, classes: Sequence[str], **kwargs: Any) -> None:
        super().__init__(classes, **kwargs)
        self.register_buffer("centre", torch.zeros(HEAD))
        self.register_buffer("spread", torch.ones(HEAD))
        self.register_buffer("axes", torch.zeros(AXES, HEAD))
        self.register_buffer("usual", torch.full((1,), torch.finfo(torch.float16).max))
        self._observed: list[Tensor] = []
        self.footage = FootagePlanner()

    # Fitting -----------------------------------------------------------------------------------------------------
    def observe(self, frames: Tensor) -> None:
        """Add the frames ``(time, 3, height, width)`` of a studio clip to those that :meth:`fit` uses."""
        self._observed.append(look(frames))

    def fit(self) -> None:
        """Compute the axes from the observed clips.

        Raises:
            TrainingError: Fewer clips than axes were observed.
        """
        if len(self._observed) <= AXES:
            raise TrainingError(f"{len(self._observed)} clips are too few for {AXES} axes; observe more")
        features = torch.stack(self._observed).to(self.centre.device)
        self.centre.copy_(features.mean(0))
        self.spread.copy_(features.std(0) + FLOOR)
        self.axes.copy_(torch.linalg.svd((features - self.centre) / self.spread, full_matrices=False)[2][:AXES])
        self.usual.fill_(float(self._distance(features).mean()))
        self._observed = []

    def _distance(self, features: Tensor) -> Tensor:
        scaled = (features.to(self.centre.device) - self.centre.float()) / self.spread.float()
        axes = self.axes.float()
        return (scaled - scaled @ axes.T @ axes).square().clamp(max=CEILING).mean(-1)

    def strangeness(self, clip: Clip) -> float:
        """Distance of a clip's frames from those of studio clips, about 1 for these; 0 without frames."""
        if clip.frames is None or not len(clip.frames):
            return 0.0
        return float(self._distance(look(clip.frames)) / self.usual)

    # Planning ----------------------------------------------------------------------------------------------------
    def plan(self, clip: Clip, dimensions: Sequence[Dimension], given: str | Plan | None = None) -> Plan:
        """See :meth:`EventPlanner.plan`; what real footage shows is planned by ``FootagePlanner``."""
        is_complete = isinstance(given, Plan) and all(given.get(name) for name in CORE)
        if is_complete or self.strangeness(clip) <= LIMIT:
            return super().plan(clip, dimensions, given)
        seen = self.footage.plan(clip, dimensions)
        if given is None:
            return seen
        plan = self.completed(given, Plan(seen), clip.duration_s)
        kept = given.origins if isinstance(given, Plan) else {}
        origins = {name: seen.origins[name] for name in plan if name in seen.origins and plan[name] == seen[name]}
        return Plan(plan, plan.warnings, {**origins, **kept})

    def unload(self) -> None:
        """Free the memory of the recogniser."""
        self.footage.unload()


@torch.no_grad()
def look(frames: Tensor) -> Tensor:
    """Mean features ``(1280,)`` of some frames of a clip ``(time, 3, height, width)``."""
    rows = torch.linspace(0, len(frames) - 1, min(LOOKS, len(frames))).round().long()
    small = interpolate(frames[rows].float().cpu(), (SIDE, SIDE), mode="bilinear")
    return load_recogniser(None).features(small).mean((0, 2, 3))
