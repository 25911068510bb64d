"""Extraction of latents and features from clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prismaudio.data.clips import read_audio, read_frames
from prismaudio.data.description import describe_features
from prismaudio.data.manifest import COLUMNS, ManifestEntry, other_columns
from prismaudio.errors import DataError
from prismaudio.plan import Plan
from prismaudio.types import LATENTS, Clip, FrameSpec

if TYPE_CHECKING:
    from prismaudio.autoencoders.base import Autoencoder
    from prismaudio.encoders.base import Encoder


@dataclass(frozen=True, eq=False)
class LoadedClip:
    """A clip in memory, with everything that its latents and features are computed from.

    Args:
        entry: Its line of the manifest.
        clip: The clip at the rate and size of :attr:`Extractor.frames`; without frames if it has no video.
        frames: The clip at each other rate and size that an encoder expects.
        audio: Stereo audio ``(2, samples)``, a whole number of latent frames long; None if no latents are computed.
    """

    entry: ManifestEntry
    clip: Clip
    frames: Mapping[FrameSpec, Clip]
    audio: Tensor | None

    @property
    def duration_s(self) -> float:
        """Duration of the clip in seconds."""
        return self.clip.duration_s


@dataclass(frozen=True, eq=False)
class Extracted:
    """What is stored of a clip.

    Args:
        entry: Its line of the manifest.
        values: Latents and features by name.
        info: Its metadata.
    """

    entry: ManifestEntry
    values: dict[str, Tensor]
    info: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Extractor:
    """Computes training data with the autoencoder and the encoders of a model.

    Args:
        autoencoder: Encodes audio to latents; None for features without latents.
        encoders: Encode clips and plans to features, by stream.
        frames: Rate and size of the frames for encoders without their own ``frame_spec``.
        write_plan: Writes the plan of a clip from a caption, which may be empty; None to keep plans unchanged.
        device: Device of the autoencoder.
        dtype: Data type in which latents and features are stored.
        versions: Versions of packages, stored in the description.
    """

    autoencoder: Autoencoder | None
    encoders: Mapping[str, Encoder]
    frames: FrameSpec
    write_plan: Callable[[Clip, str], Plan] | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    versions: Mapping[str, str] = field(default_factory=dict)

    def description(self) -> dict[str, Any]:
        """Description of the models that compute the latents and features."""
        return describe_features(self.autoencoder, self.encoders, self.versions)

    def read(self, entry: ManifestEntry) -> LoadedClip:
        """Read the files of a clip; its video is decoded once. Threads may call it at the same time.

        Raises:
            PrismAudioError: A file cannot be read.
        """
        seeing = [encoder for encoder in self.encoders.values() if encoder.frame_spec or encoder.rate_hz is not None]
        specs = {encoder.frame_spec or self.frames for encoder in seeing}
        if self.write_plan is not None or not specs:
            specs.add(self.frames)
        frames = read_frames(entry, list(specs))
        duration_s = next((clip.duration_s for clip in frames.values()), None)
        audio = None
        if self.autoencoder is not None:
            audio, duration_s = read_audio(entry, self.autoencoder.sample_rate_hz, self.autoencoder.hop, duration_s)
        if duration_s is None:
            raise DataError(f"clip {entry.id} has no video, and without an autoencoder its audio is not read")
        return LoadedClip(entry, frames.get(self.frames) or Clip(entry.id, duration_s), frames, audio)

    @torch.inference_mode()
    def encode(self, clips: Sequence[LoadedClip]) -> list[Extracted]:
        """Latents and features of several clips, which each encoder encodes as one batch.

        The autoencoder, whose memory grows with the length of the audio, encodes one clip after the other.

        Raises:
            PrismAudioError: The plan of a clip is invalid, or a result is not finite.
        """
        plans = [self._plans(one) for one in clips]
        values = [self._latents(one) for one in clips]
        for stream, encoder in self.encoders.items():
            places = [
                (row, index, plan)
                for row, own in enumerate(plans)
                for index, plan in enumerate(own if encoder.reads_plan else own[:1])
            ]
            seen = [clips[row].frames.get(encoder.frame_spec or self.frames, clips[row].clip) for row, *_ in places]
            features = encoder.encode_batch(seen, [plan for *_, plan in places])
            for (row, index, _), value in zip(places, features, strict=True):
                values[row][f"{stream}.{index}" if index else stream] = value
        return [self._stored(*each) for each in zip(clips, plans, values, strict=True)]

    def _latents(self, loaded: LoadedClip) -> dict[str, Tensor]:
        if self.autoencoder is None or loaded.audio is None:
            return {}
        return {LATENTS: self.autoencoder.encode(loaded.audio[None].to(self.device))[0].float()}

    def _stored(self, loaded: LoadedClip, plans: Sequence[Plan], values: Mapping[str, Tensor]) -> Extracted:
        entry = loaded.entry
        # copied, since an encoder may return the same tensor twice, and a file cannot store shared tensors
        stored = {name: value.to("cpu", self.dtype, copy=True).contiguous() for name, value in values.items()}
        for name, value in stored.items():
            if not bool(torch.isfinite(value).all()):
                too_large = bool(torch.isfinite(values[name]).all())
                why = f", since they are too large for {self.dtype}; store them as float32" if too_large else ""
                raise DataError(f"the {name} computed from clip {entry.id} contain NaN or infinity{why}")
        duration_s, texts = round(loaded.duration_s, 6), [str(plan) for plan in plans]
        info: dict[str, Any] = {"duration_s": duration_s, "split": entry.split, "plans": texts}
        others = other_columns(entry.columns, (*COLUMNS, *(name for plan in entry.plans for name in plan)))
        return Extracted(entry, stored, info | ({"columns": others} if others else {}))

    def _plans(self, loaded: LoadedClip) -> list[Plan]:
        """The plans of a clip after a check; captions are expanded by ``write_plan`` if it is given."""
        entry = loaded.entry
        if entry.plans or self.write_plan is None:
            plans = list(entry.texts)
        else:
            plans = [self.write_plan(loaded.clip, caption) for caption in entry.captions or ("",)]
        for plan in plans:
            plan.check(loaded.duration_s)
        return plans
