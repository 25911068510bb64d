"""Latents and features of clips, computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prismaudio.data.clips import read_audio, read_frames
from prismaudio.data.description import describe
from prismaudio.data.manifest import ManifestEntry
from prismaudio.errors import DataError
from prismaudio.plan import Plan
from prismaudio.types import LATENTS, Clip, FrameSpec

if TYPE_CHECKING:
    from prismaudio.autoencoders.base import Autoencoder
    from prismaudio.encoders.base import Encoder


@dataclass(frozen=True, eq=False)
class Extractor:
    """Computes what is trained on, with the autoencoder and the encoders of a model.

    Args:
        autoencoder: Sound to latents.
        encoders: Clips and plans to features, by stream.
        frames: Rate and size of the frames that encoders watch, unless one says otherwise by its ``frame_spec``.
        write_plan: Writes the plan of a clip, given a caption or nothing; None to leave plans as they are.
        device: Where the autoencoder runs.
        dtype: How latents and features are stored.
        versions: Versions of packages, to be told beside them.
    """

    autoencoder: Autoencoder
    encoders: Mapping[str, Encoder]
    frames: FrameSpec
    write_plan: Callable[[Clip, str], Plan] | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    versions: Mapping[str, str] = field(default_factory=dict)

    def description(self) -> dict[str, Any]:
        """What the latents and features are computed with."""
        return describe(self.autoencoder, self.encoders, self.versions)

    @torch.inference_mode()
    def extract(self, entry: ManifestEntry) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Latents and features of one clip, and what else is known of it.

        Raises:
            PrismAudioError: Its files cannot be read, its plan does not fit, or what comes out is not finite.
        """
        rate_hz, hop = self.autoencoder.sample_rate_hz, self.autoencoder.hop
        seen = read_frames(entry, self.frames)
        audio, duration_s = read_audio(entry, rate_hz, hop, None if seen is None else seen.duration_s)
        clip = seen or Clip(entry.id, duration_s)
        plans = self._plans(entry, clip)
        for plan in plans:
            plan.check(duration_s)
        values = {LATENTS: self.autoencoder.encode(audio[None].to(self.device))[0].float()}
        for stream, encoder in self.encoders.items():
            watched = self._for_encoder(encoder, entry, clip)
            for index, plan in enumerate(plans if encoder.reads_plan else plans[:1]):
                name = f"{stream}.{index}" if index else stream
                values[name] = encoder.encode(watched, plan)
        for name, value in values.items():
            if not bool(torch.isfinite(value).all()):
                raise DataError(f"the {name} computed from clip {entry.id} hold NaN or infinity")
        # copied, for an encoder may keep and give again what it gave; one file holds no tensor twice
        stored = {name: value.to("cpu", self.dtype, copy=True).contiguous() for name, value in values.items()}
        return stored, {"duration_s": round(duration_s, 6), "split": entry.split, "plans": [str(p) for p in plans]}

    def _plans(self, entry: ManifestEntry, clip: Clip) -> list[Plan]:
        """The texts of a clip; those that are not plans are written out by the planner, if one is to."""
        if entry.plans or self.write_plan is None:
            return list(entry.texts)
        return [self.write_plan(clip, caption) for caption in entry.captions or ("",)]

    def _for_encoder(self, encoder: Encoder, entry: ManifestEntry, clip: Clip) -> Clip:
        """The clip as an encoder wants to see it."""
        if encoder.frame_spec in (None, self.frames):
            return clip
        return read_frames(entry, encoder.frame_spec) or clip
