"""The encoders of the video stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from prismaudio.checkpoints import Configured, MetaTensors, within
from prismaudio.encoders.base import Encoder
from prismaudio.errors import CheckpointError
from prismaudio.types import FrameSpec
from prismaudio_clip.frames import PREPROCESSING, check, prepared, read_preprocessing
from prismaudio_clip.networks import CLIP, SIZES, XCLIP, XCLIP_SIZES, VisionTower, load_vision_tower

if TYPE_CHECKING:
    from prismaudio.plan import Plan
    from prismaudio.types import Clip

RANDOM = "random"
MAX_FRAMES = 64
"""Frames that are embedded at a time; a longer clip takes no more memory."""


class ClipEncoder(Configured, nn.Module, Encoder):
    """Embeddings of frames by the vision tower of CLIP or SigLIP, pooled and projected; each frame by itself.

    Args:
        weights: A folder in transformers' layout, or ``owner/name`` on the Hugging Face hub, such as
            ``google/siglip-so400m-patch14-384``; None for ``openai/clip-vit-large-patch14``, ``"random"`` to draw them,
            and ``""`` when they are loaded afterwards, as a model folder does.
        revision: Branch, tag or commit of a hub repository, such as ``refs/pr/2``.
        fps: Frames per second that are embedded, and so features per second.
        sizes: ``model_type`` (``clip`` or ``siglip``), ``projection_dim`` and the sizes of the vision tower, named as
            in ``config.json``, where ``weights`` does not say them; those of CLIP ViT-L/14 by default.
        preprocessing: Named as in :data:`prismaudio_clip.frames.PREPROCESSING`, where ``weights`` does not say it.
    """

    rate_hz: float
    reads_plan = False
    embedder = "prismaudio_clip.retrieval:VideoTextEmbedder"
    published = CLIP
    """The weights by default."""
    default_sizes = SIZES
    model_types: tuple[str, ...] = ("clip", "siglip")

    def __init__(
        self,
        weights: str | None = None,
        revision: str | None = None,
        fps: float = 4.0,
        *,
        sizes: dict[str, Any] | None = None,
        preprocessing: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        within(0.1, 120, fps=fps)
        if weights in {RANDOM, ""}:
            self.sizes = sizes or self.default_sizes
            self.preprocessing = PREPROCESSING | (preprocessing or {})
            check(self.preprocessing, type(self).__name__)
            if self.sizes.get("model_type") not in self.model_types:
                raise CheckpointError(f"{type(self).__name__} takes sizes of {' or '.join(self.model_types)}")
            if weights == RANDOM:
                self.tower = VisionTower(self.sizes)
            else:
                with MetaTensors(100_000):
                    self.tower = VisionTower(self.sizes)
        else:
            folder = self.published.find(weights, revision)
            self.preprocessing = read_preprocessing(folder)
            self.tower, self.sizes = load_vision_tower(folder, self.model_types)
        self.eval().requires_grad_(requires_grad=False)
        self.dim, self.rate_hz = self.tower.dim, fps
        size = self.preprocessing["size"] or self.preprocessing["crop"] or 224
        side = size if isinstance(size, int) else max(size)
        self.frame_spec = FrameSpec(fps, 2 * side, keep_aspect_ratio=True)  # what is larger is made smaller in decoding
        self.config = {
            "weights": "",  # they are saved with the model
            "revision": None,
            "fps": fps,
            "sizes": self.sizes,
            "preprocessing": self.preprocessing,
        }

    @torch.no_grad()
    def encode(self, clip: Clip, plan: Plan) -> Tensor:
        """Features ``(max(1, int(fps * duration_s)), dim)`` of the frames of the clip, of any rate and size.

        Raises:
            CheckpointError: There are no weights yet.
        """
        weight = next(self.tower.parameters())
        if weight.is_meta:
            name = type(self).__name__
            raise CheckpointError(f"{name} has no weights yet; name their folder, or load a model that has them")
        if clip.frames is None:
            return torch.zeros(0, self.dim, device=weight.device)
        frames, window = clip.frames_at(self.rate_hz), self.tower.window
        whole = torch.cat([frames, frames[-1:].expand(-len(frames) % window, -1, -1, -1)])
        parts = whole.split(max(1, MAX_FRAMES // window) * window)
        rows = [self.tower(prepared(part, self.preprocessing).to(weight)) for part in parts]
        return torch.cat(rows).float()[: len(frames)]


class XClipEncoder(ClipEncoder):
    """Embeddings of frames by X-CLIP, which looks at windows of frames: 8 of the default network, 2 s at 4 a second.

    There is one feature a frame, so ``fps`` features a second: the output of the network that integrates the frames of
    a window, before the mean over them that X-CLIP takes for a whole video. Windows follow each other without overlap;
    the last frame is repeated to fill the last one.

    Args:
        weights: A folder in transformers' layout, or ``owner/name`` on the Hugging Face hub; None for
            ``microsoft/xclip-base-patch32``, ``"random"`` to draw them, and ``""`` when they are loaded afterwards, as
            a model folder does.
        revision: Branch, tag or commit of a hub repository, such as ``refs/pr/2``.
        fps: Frames per second that are embedded, and so features per second.
        sizes: ``model_type`` (``xclip``), ``projection_dim`` and the sizes of the vision tower, named as in
            ``config.json``, where ``weights`` does not say them; those of X-CLIP B/32 by default.
        preprocessing: Named as in :data:`prismaudio_clip.frames.PREPROCESSING`, where ``weights`` does not say it.
    """

    published = XCLIP
    default_sizes = XCLIP_SIZES
    model_types = ("xclip",)
