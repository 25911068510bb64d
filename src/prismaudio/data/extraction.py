"""Extraction of latents and features from clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prismaudio.data.clips import read_audio, read_frames
from prismaudio.data.description import describe_features
from prismaudio.data.manifest import ManifestEntry
from prismaudio.errors import DataError
from prismaudio.plan import Plan
from prismaudio.types import LATENTS, Clip, FrameSpec

if TYPE_CHECKING:
    from prismaudio.autoencoders.base import Autoencoder
    from prismaudio.encoders.base import Encoder


@dataclass(frozen=True, eq=False)
class Extractor:
    """Computes training data with the autoencoder and the encoders of a model.

    Args:
        autoencoder: Encodes audio to latents.
        encoders: Encode clips and plans to features, by stream.
        frames: Rate and size of the frames for encoders without their own ``frame_spec``.
        write_plan: Writes the plan of a clip from a caption, which may be empty; None to keep plans unchanged.
        device: Device of the autoencoder.
        dtype: Data type in which latents and features are stored.
        versions: Versions of packages, stored in the description.
    """

    autoencoder: Autoencoder
    encoders: Mapping[str, Encoder]
    frames: FrameSpec
    write_plan: Callable[[Clip, str], Plan] | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    versions: Mapping[str, str] = field(default_factory=dict)

    def description(self) -> dict[str, Any]:
        """Description of the models that compute the latents and features."""
        return describe_features(self.autoencoder, self.encoders, self.versions)

    @torch.inference_mode()
    def extract(self, entry: ManifestEntry) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Latents and features of one clip, and its metadata.

        Raises:
            PrismAudioError: Its files cannot be read, its plan is invalid, or a result is not finite.
        """
        rate_hz, hop = self.autoencoder.sample_rate_hz, self.autoencoder.hop
        seen = read_frames(entry, [self.frames, *filter(None, (e.frame_spec for e in self.encoders.values()))])
        audio, duration_s = read_audio(entry, rate_hz, hop, seen[self.frames].duration_s if seen else None)
        clip = seen.get(self.frames) or Clip(entry.id, duration_s)
        plans = self._plans(entry, clip)
        for plan in plans:
            plan.check(duration_s)
        values = {LATENTS: self.autoencoder.encode(audio[None].to(self.device))[0].float()}
        for stream, encoder in self.encoders.items():
            encoder_clip = seen.get(encoder.frame_spec or self.frames, clip)
            for index, plan in enumerate(plans if encoder.reads_plan else plans[:1]):
                name = f"{stream}.{index}" if index else stream
                values[name] = encoder.encode(encoder_clip, plan)
        for name, value in values.items():
            if not bool(torch.isfinite(value).all()):
                raise DataError(f"the {name} computed from clip {entry.id} contain NaN or infinity")
        # copied, since an encoder may return the same tensor twice, and a file cannot store shared tensors
        stored = {name: value.to("cpu", self.dtype, copy=True).contiguous() for name, value in values.items()}
        return stored, {"duration_s": round(duration_s, 6), "split": entry.split, "plans": [str(p) for p in plans]}

    def _plans(self, entry: ManifestEntry, clip: Clip) -> list[Plan]:
        """The plans of a clip; captions are expanded by ``write_plan`` if it is given."""
        if entry.plans or self.write_plan is None:
            return list(entry.texts)
        return [self.write_plan(clip, caption) for caption in entry.captions or ("",)]
