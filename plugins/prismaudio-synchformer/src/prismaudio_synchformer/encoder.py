"""The encoder of motion in frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.checkpoints import Configured
from prismaudio.encoders.base import Encoder
from prismaudio.errors import CheckpointError, MediaError
from prismaudio.types import FrameSpec
from prismaudio.weight_files import fill
from prismaudio_synchformer.segments import FPS, LENGTH, SIZE, at_25_fps
from prismaudio_synchformer.visual import TIMES, VisualTower, encode_clips
from prismaudio_synchformer.weights import visual_sizes, visual_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    """Nominal features per second; no segment begins in the last 8 frames, so that there are 24 per second in 9 s."""
    reads_plan = False
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

    def encode(self, clip: Clip, plan: Plan) -> Tensor:
        """Features ``(8 * segments, dim)`` of the frames of the clip, of any rate and size."""
        return self.encode_batch([clip], [plan])[0]

    @torch.no_grad()
    def encode_batch(self, clips: Sequence[Clip], plans: Sequence[Plan]) -> list[Tensor]:
        """Features of several clips of any lengths, whose segments share forward passes."""
        if self.cls_token.is_meta:
            raise CheckpointError(
                "SynchformerEncoder has no weights yet; pass a weights file, or load a model that has them"
            )
        seen = {row: frames_of(clip) for row, clip in enumerate(clips) if clip.frames is not None}
        made = dict(zip(seen, encode_clips(self, list(seen.values())), strict=True)) if seen else {}
        nothing = self.cls_token.new_zeros(0, self.dim)
        return [made[row].flatten(0, 1) if row in made else nothing for row in range(len(clips))]


def frames_of(clip: Clip) -> Tensor:
    """The frames of a clip at 25 a second; the last one is repeated if they are fewer than those of a segment."""
    if clip.frames is None or clip.fps is None:
        raise MediaError(f"clip {clip.id} has no frames to encode")
    frames = at_25_fps(clip.frames, clip.fps)
    held = (frames if len(frames) else clip.frames)[-1:].expand(max(0, LENGTH - len(frames)), -1, -1, -1)
    return torch.cat([frames, held])
