"""The encoder of motion in frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.checkpoints import Configured
from prismaudio.encoders.base import Encoder
from prismaudio.errors import CheckpointError
from prismaudio.types import FrameSpec
from prismaudio.weight_files import fill
from prismaudio_synchformer.segments import FPS, LENGTH, SIZE, at_25_fps
from prismaudio_synchformer.visual import TIMES, VisualTower, encode_frames
from prismaudio_synchformer.weights import visual_sizes, visual_weights

if TYPE_CHECKING:
    from prismaudio.plan import Plan
    from prismaudio.types import Clip

RANDOM = "random"


class SynchformerEncoder(Configured, VisualTower, Encoder):
    """Synchformer's visual features: 8 for each segment of 16 frames, which begin every 8 frames; 216 in 9 s.

    Args:
        weights: A file, a folder that has it, or ``owner/name`` on the Hugging Face hub; None for the published one,
            ``"random"`` for random weights, and ``""`` if they are loaded later, as from a model folder.
        dim: Dim of a feature; None for that of the weights, 768 without a file.
        depth: Number of blocks; None for that of the weights, 12 without a file.
        num_heads: Attention heads.

    Source:
        The ``sync_features`` of the published preprocessing. Differs: for a video shorter than 16 frames the last
        one is repeated; the original returns no features.
    """

    rate_hz = FPS
    reads_plan = False
    """Nominal features per second; no segment begins in the last 8 frames, so that there are 24 per second in 9 s."""
    group = TIMES
    frame_spec = FrameSpec(FPS, SIZE, keep_aspect_ratio=True)

    def __init__(
        self, weights: str | None = None, dim: int | None = None, depth: int | None = None, num_heads: int = 12
    ) -> None:
        path, found = (None, {}) if weights in {RANDOM, ""} else visual_weights(weights)
        sizes = visual_sizes(found)
        dim, depth = sizes[0] if dim is None else dim, sizes[1] if depth is None else depth
        with torch.device("cpu" if weights == RANDOM else "meta"):
            super().__init__(dim, depth, num_heads)
        self.dim = dim
        self.eval().requires_grad_(requires_grad=False)
        if path is not None:
            fill(self, found, path)
        self.config = {"weights": "", "dim": dim, "depth": depth, "num_heads": num_heads}  # saved with the model

    @torch.no_grad()
    def encode(self, clip: Clip, plan: Plan) -> Tensor:
        """Features ``(8 * segments, dim)`` of the frames of the clip, of any rate and size."""
        if self.cls_token.is_meta:
            raise CheckpointError(
                "SynchformerEncoder has no weights yet; pass a weights file, or load a model that has them"
            )
        if clip.frames is None or clip.fps is None:
            return self.cls_token.new_zeros(0, self.dim)
        frames = at_25_fps(clip.frames, clip.fps)
        held = (frames if len(frames) else clip.frames)[-1:].expand(max(0, LENGTH - len(frames)), -1, -1, -1)
        return encode_frames(self, torch.cat([frames, held])).flatten(0, 1)
