"""A small trainable planner that places a sound event at every flash in the video."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prismaudio.checkpoints import Configured, within
from prismaudio.encoders.brightness import brightness
from prismaudio.errors import MediaError, PlanError
from prismaudio.plan import CORE, Plan
from prismaudio.plan.story import SIDE_DEG, Source, Story
from prismaudio.plan.writing import describe
from prismaudio.planners.base import TrainablePlanner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.components import Dimension
    from prismaudio.types import Clip


class FlashPlanner(Configured, TrainablePlanner):
    """Predicts a sound event when and where frames become brighter: a minimal planner to test stage-two recipes.

    Args:
        what: Noun used for the sound source.
        columns: Number of image columns distinguished, from 60° left to 60° right.
        reach: Number of frames of context before and after each frame.
    """

    def __init__(self, what: str = "click", columns: int = 2, reach: int = 1) -> None:
        super().__init__()
        within(1, 64, columns=columns, reach=reach)
        self.what, self.columns = what, columns
        self.chance = nn.Conv1d(1, 1, 2 * reach + 1, padding=reach)

    def forward(self, clip: Clip) -> Tensor:
        """Return the logits ``(columns, frames)`` of a sound onset in each frame."""
        if clip.frames is None:
            raise MediaError(f"clip {clip.id} has no frames to plan from; give a plan or a prompt")
        levels = brightness(clip.frames.to(self.chance.weight.device), self.columns)
        return self.chance(levels.T[:, None])[:, 0]

    @torch.no_grad()
    def plan(self, clip: Clip, dimensions: Sequence[Dimension], given: str | Plan | None = None) -> Plan:
        """Generate a plan from the detected flashes; sections in ``given`` take precedence."""
        if isinstance(given, str):
            given = Plan({"semantic": given})
        if given is not None and all(given.get(dimension.name) for dimension in dimensions if dimension.name in CORE):
            return given
        if clip.frames is None and given is None:
            raise PlanError(f"clip {clip.id} has no frames and no prompt or plan; give at least one of them")
        written = describe(self._story(clip)) if clip.frames is not None else {}
        names = {dimension.name for dimension in dimensions}
        return Plan({**{name: text for name, text in written.items() if name in names}, **(given or {})})

    def _story(self, clip: Clip) -> Story:
        chance = self(clip).sigmoid().cpu()
        frames = torch.nonzero(chance.amax(0) > 0.5).flatten().tolist()
        if not frames:
            return Story()
        column = int(chance[:, frames].sum(1).argmax())
        azimuth_deg = SIDE_DEG * (2 * (column + 0.5) / self.columns - 1)
        onsets_s = tuple(round(frame / (clip.fps or 1.0), 2) for frame in frames)
        return Story((Source(self.what, onsets_s, None, (azimuth_deg, azimuth_deg)),), "clean", "dry")

    def loss(self, clips: Sequence[Clip], plans: Sequence[Plan]) -> dict[str, Tensor]:
        """Compute the binary cross-entropy against the onsets and directions of the target plans."""
        losses = [
            F.binary_cross_entropy_with_logits(logits, self._target(plan.story, logits, clip.fps or 1.0))
            for clip, plan in zip(clips, plans, strict=True)
            for logits in [self(clip)]
        ]
        return {"flash": torch.stack(losses).mean()}

    def _target(self, story: Story, logits: Tensor, fps: float) -> Tensor:
        target = torch.zeros_like(logits)
        for source in story.sources:
            share = 0.5 if source.azimuth_deg is None else (source.azimuth_deg[0] / SIDE_DEG + 1) / 2
            column = min(max(int(share * self.columns), 0), self.columns - 1)
            for onset_s in source.onsets_s:
                target[column, min(round(onset_s * fps), target.shape[1] - 1)] = 1.0
        return target
