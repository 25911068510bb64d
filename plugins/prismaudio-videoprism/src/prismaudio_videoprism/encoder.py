"""The encoder of the video stream."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from prismaudio.checkpoints import Configured
from prismaudio.encoders.base import Encoder
from prismaudio.errors import CheckpointError
from prismaudio.types import FrameSpec
from prismaudio_videoprism.frames import FPS, squared
from prismaudio_videoprism.network import ATTENTION, SIZES, VideoTower, vision_config
from prismaudio_videoprism.weights import find, load_video_tower

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prismaudio.plan import Plan
    from prismaudio.types import Clip

RANDOM = "random"
MAX_SIDE = 1080
"""Frames whose shorter side is longer are made smaller while they are decoded."""


class VideoPrismEncoder(Configured, nn.Module, Encoder):
    """Frame embeddings of VideoPrism, four a second, each of length 1.

    All frames of a clip are encoded together: each embedding depends on the whole clip.

    Args:
        weights: The Flax file ``flax_lvt_large_f8r288_repeated.npz``, a folder that has it, a folder in transformers'
            layout, or ``owner/name`` on the Hugging Face hub; None for the published file, ``"random"`` to draw them,
            and ``""`` when they are loaded afterwards, as a model folder does.
        revision: Branch, tag or commit of a hub repository in transformers' layout, such as ``refs/pr/2``.
        sizes: Sizes of the network, named as in :data:`prismaudio_videoprism.network.SIZES`, where ``weights`` does not
            say them; those of ``videoprism_lvt_public_v1_large`` by default.
        attention: ``"blocks"`` computes attention for one block of queries at a time, ``"eager"`` for all of them, as
            transformers does. The result is the same; the memory of ``"eager"`` grows with the square of the frames.
        precision: ``"fp32"``, or ``"bf16"`` for matrix products in bfloat16; weights and embeddings are float32.

    Source:
        The ``video_features`` of the published preprocessing.
    """

    rate_hz = FPS
    reads_plan = False
    embedder = "prismaudio_videoprism.retrieval:VideoTextEmbedder"
    frame_spec = FrameSpec(FPS, MAX_SIDE, keep_aspect_ratio=True)
    plain: ClassVar[Mapping[str, Any]] = MappingProxyType({"attention": "eager"})

    def __init__(
        self,
        weights: str | None = None,
        revision: str | None = None,
        sizes: dict[str, int] | None = None,
        attention: Literal["blocks", "eager"] = "blocks",
        precision: Literal["fp32", "bf16"] = "fp32",
    ) -> None:
        super().__init__()
        self.precision = precision
        self.sizes = {**SIZES, **(sizes or {})}
        function = ATTENTION if attention == "blocks" else attention
        if weights in {RANDOM, ""}:
            with torch.device("cpu" if weights == RANDOM else "meta"):
                tower = VideoTower(vision_config(self.sizes), function)
                self.tower = tower.eval().requires_grad_(requires_grad=False)
        else:
            self.tower, self.sizes = load_video_tower(find(weights, revision), function)
        self.dim = self.sizes["dim"]
        # weights are saved with the model
        saved = {"weights": "", "revision": None, "sizes": self.sizes}
        self.config = {**saved, "attention": attention, "precision": precision}

    def encode(self, clip: Clip, plan: Plan) -> Tensor:
        """Embeddings ``(max(1, int(4 * duration_s)), dim)`` of the frames of the clip, of any rate and size."""
        return self.encode_batch([clip], [plan])[0]

    @torch.no_grad()
    def encode_batch(self, clips: Sequence[Clip], plans: Sequence[Plan]) -> list[Tensor]:
        """Embeddings of several clips; those of equal length share a forward pass."""
        weight = next(self.tower.parameters())
        if weight.is_meta:
            raise CheckpointError(
                "VideoPrismEncoder has no weights yet; name their file, or load a model that has them"
            )
        embeddings = [torch.zeros(0, self.dim, device=weight.device) for _ in clips]
        by_length: dict[int, dict[int, Tensor]] = {}
        for row, clip in enumerate(clips):
            if clip.frames is not None and clip.fps is not None:
                frames = squared(clip.frames_at(FPS), self.sizes["image_size"])
                by_length.setdefault(len(frames), {})[row] = frames
        for group in by_length.values():
            pixels = torch.stack(list(group.values())).to(weight.device)
            with torch.autocast(weight.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                found: Tensor = self.tower(pixels)[0]
            for row, values in zip(group, found, strict=True):
                embeddings[row] = values
        return embeddings
