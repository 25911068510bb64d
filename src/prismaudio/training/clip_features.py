"""Latents and conditions of clips, computed during training and cached in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from prismaudio.errors import CheckpointError, DataError
from prismaudio.types import ClipBatch, Conditions, Features, LatentBatch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from prismaudio.autoencoders.base import Autoencoder
    from prismaudio.encoders.base import Encoder
    from prismaudio.plan import Plan
    from prismaudio.types import Clip


class ClipFeatures:
    """Computes latents and conditions of batches of clips.

    Latents and features of frames are cached in memory in half precision: about 40 kB for a clip of four seconds with
    small frames. Precompute larger data with ``prismaudio extract``, see *Train on your own clips*.

    Args:
        autoencoder: Autoencoder of the latents; None if no latents are computed.
        encoders: Encoder of each stream.
        max_clips: Maximum number of cached clips; others are encoded each time.
    """

    def __init__(
        self, autoencoder: Autoencoder | None, encoders: Mapping[str, Encoder], max_clips: int = 50_000
    ) -> None:
        self.autoencoder, self.encoders, self.max_clips = autoencoder, encoders, max_clips
        self._latents: dict[str, Tensor] = {}
        self._features: dict[str, Tensor] = {}

    def batch(self, batch: ClipBatch, device: torch.device) -> LatentBatch:
        """Latents and conditions of a batch of clips of one length."""
        latents = self.latents(batch.clips).to(device)
        mask = torch.ones(len(latents), latents.shape[-1], dtype=torch.bool, device=device)
        conditions = self.conditions(batch.clips, batch.plans)
        if device.type == "cuda":
            conditions = conditions.map(lambda s: s.map(lambda x: x if x.is_cuda else x.pin_memory()))
        conditions = conditions.to(device, non_blocking=device.type == "cuda")
        return LatentBatch(batch.ids, latents, mask, conditions, (latents.shape[-1],) * len(latents))

    @torch.no_grad()
    def latents(self, clips: list[Clip]) -> Tensor:
        """Latents ``(batch, channels, frames)`` of the clips' audio."""
        if self.autoencoder is None:
            raise CheckpointError("latents of clips need an autoencoder: set autoencoder, or precompute the latents")
        rows = []
        for clip in clips:
            latents = self._latents.get(clip.id)
            if latents is None:
                if clip.audio is None:
                    raise DataError(f"clip {clip.id} has no audio to train on; remove it from the manifest")
                latents = _finite(self.autoencoder.encode(clip.audio[None])[0].half(), "latents", clip)
                self._remember(self._latents, clip.id, latents)
            rows.append(latents.float())
        return torch.stack(rows)

    @torch.no_grad()
    def conditions(self, clips: list[Clip], plans: list[Plan]) -> Conditions:
        """Conditions of a batch."""
        streams = {}
        for name, encoder in self.encoders.items():
            if encoder.reads_plan:
                rows = [encoder.encode(clip, plan) for clip, plan in zip(clips, plans, strict=True)]
            else:
                rows = [self._cached(name, encoder, clip, plan) for clip, plan in zip(clips, plans, strict=True)]
            streams[name] = Features.pad(rows)
        return Conditions(streams)

    def _cached(self, stream: str, encoder: Encoder, clip: Clip, plan: Plan) -> Tensor:
        key = f"{stream}/{clip.id}"
        features = self._features.get(key)
        if features is None:
            features = _finite(encoder.encode(clip, plan).half().cpu(), f"{stream} features", clip)
            self._remember(self._features, key, features)
        return features.float()

    def _remember(self, memory: dict[str, Tensor], key: str, value: Tensor) -> None:
        if len(memory) < self.max_clips:
            memory[key] = value


def _finite(values: Tensor, what: str, clip: Clip) -> Tensor:
    if not bool(values.isfinite().all()):
        raise DataError(f"the {what} of clip {clip.id} contain NaN or infinity; remove it from the manifest")
    return values
