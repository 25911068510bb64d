"""The encoder: when things move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.checkpoints import Configured
from prismaudio.encoders.base import Encoder
from prismaudio.errors import CheckpointError
from prismaudio.types import FrameSpec
from prismaudio_synchformer.segments import FPS, LENGTH, SIZE, at_25_fps
from prismaudio_synchformer.visual import TIMES, VisualTower, see
from prismaudio_synchformer.weights import fill_visual

if TYPE_CHECKING:
    from prismaudio.plan import Plan
    from prismaudio.types import Clip

RANDOM = "random"


class SynchformerEncoder(Configured, VisualTower, Encoder):
    """Synchformer's visual features: 8 for each segment of 16 frames, which begin every 8 frames; 216 in 9 s.

    Args:
        weights: A file, a folder that has it, or ``owner/name`` on the Hugging Face hub; None for the published one,
            ``"random"`` to draw them, for a try, and ``""`` when they are loaded afterwards, as a model folder does.
        dim: Dim of a feature.
        depth: Number of blocks.
        num_heads: Attention num_heads.

    Source:
        The ``sync_features`` of the published preprocessing. Differs: of a video shorter than 16 frames the last
        one is held, rather than nothing found in it.
    """

    rate_hz = FPS
    reads_plan = False
    """Features a second but for the end: none begins in the last 8 frames, so that there are 24 a second in 9 s."""
    group = TIMES
    frame_spec = FrameSpec(FPS, SIZE, keep_aspect_ratio=True)

    def __init__(self, weights: str | None = None, dim: int = 768, depth: int = 12, num_heads: int = 12) -> None:
        with torch.device("cpu" if weights == RANDOM else "meta"):
            super().__init__(dim, depth, num_heads)
        self.dim = dim
        self.eval().requires_grad_(requires_grad=False)
        if weights not in {RANDOM, ""}:
            fill_visual(self, weights)
        self.config = {**self.config, "weights": ""}  # they are saved with the model

    @torch.no_grad()
    def encode(self, clip: Clip, plan: Plan) -> Tensor:
        """Features ``(8 * segments, dim)`` of the frames of the clip, at whatever rate and size they are."""
        if self.cls_token.is_meta:
            raise CheckpointError(
                "SynchformerEncoder has no weights yet; name their file, or load a model that has them"
            )
        if clip.frames is None or clip.fps is None:
            return self.cls_token.new_zeros(0, self.dim)
        frames = at_25_fps(clip.frames, clip.fps)
        held = (frames if len(frames) else clip.frames)[-1:].expand(max(0, LENGTH - len(frames)), -1, -1, -1)
        return see(self, torch.cat([frames, held])).flatten(0, 1)
