"""Batches of latents and conditions from disk."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from prismaudio.data.buckets import Draw
from prismaudio.data.clips import fit_duration
from prismaudio.data.features import FeatureSet, read_tensor
from prismaudio.data.media_clips import MediaClips
from prismaudio.data.records import Record, StoredTensor
from prismaudio.errors import DataError
from prismaudio.types import LATENTS, ClipBatch, Conditions, Features, LatentBatch

TRIMMED_FRAMES = 2
"""Latent frames by which crops are shortened at most, so that clips nearly as long as a crop need no padding."""


def crop_length(lengths: Iterable[int], max_frames: int) -> int:
    """The length of crops: ``max_frames``, or up to :data:`TRIMMED_FRAMES` less where clips are that little shorter.

    Args:
        lengths: Latent frames of each clip.
        max_frames: Maximum length of a crop.

    Example:
        >>> crop_length([215, 193, 120], 194), crop_length([215, 191, 120], 194)
        (193, 194)
    """
    return min((length for length in lengths if max_frames - TRIMMED_FRAMES <= length < max_frames), default=max_frames)


class LatentClips(Dataset[LatentBatch | ClipBatch]):
    """Dataset of collated batches of a feature set; only the required slices are read.

    Clips longer than ``max_frames`` are cropped, at random in training and from the start otherwise. A crop starts at
    the boundary of a feature, or group of features, of the slowest timed stream, so that video and audio stay aligned.
    Text is not cropped. One of several texts is chosen at random in training, the first one otherwise.

    Args:
        found: The feature set.
        max_frames: Maximum length of a crop in latent frames; None for whole clips.
        seed: Seed of crops and texts, which depend only on it, the epoch and the clip.
        media: Dataset of the media clips, to return them along with their features; None for features only. With it,
            crops start at the beginning and the first text is used, to match frames and plans.
    """

    def __init__(
        self, found: FeatureSet, max_frames: int | None = None, seed: int = 0, media: MediaClips | None = None
    ) -> None:
        self.found, self.max_frames, self.seed, self.media = found, max_frames, seed, media
        self.streams = [name for name, stream in found.streams.items() if stream.get("width")]

    @property
    def lengths(self) -> list[int]:
        """Latent frames of each clip after cropping."""
        return [min(record.n_frames, self.max_frames or record.n_frames) for record in self.found.records]

    def __len__(self) -> int:
        return len(self.found.records)

    def __getitem__(self, draws: Sequence[Draw] | int) -> LatentBatch | ClipBatch:
        draws = [Draw(draws)] if isinstance(draws, int) else draws
        if self.media is None:
            return self._features(draws)
        draws = [Draw(draw.clip) for draw in draws]
        features = self._features(draws)
        media, rate_hz = self.media.of(features.ids), self.found.latent_rate_hz
        clips = media.clips
        if rate_hz is not None:  # no longer than the latents
            lengths_s = [length / rate_hz for length in features.lengths]
            clips = [fit_duration(clip, min(clip.duration_s, s)) for clip, s in zip(clips, lengths_s, strict=True)]
        return ClipBatch(clips, media.plans, features)

    def _features(self, draws: Sequence[Draw]) -> LatentBatch:
        clips = [self.clip(draw) for draw in draws]
        latents = [clip[LATENTS].T for clip in clips]
        padded = Features.pad(latents)
        streams = {name: Features.pad([clip[name] for clip in clips]) for name in self.streams}
        ids = [self.found.records[draw.clip].id for draw in draws]
        lengths = tuple(len(frames) for frames in latents)
        return LatentBatch(ids, padded.values.transpose(1, 2).contiguous(), padded.mask, Conditions(streams), lengths)

    def clip(self, draw: Draw) -> dict[str, Tensor]:
        """Latents ``(channels, frames)`` and features ``(time, dim)`` of one clip.

        Raises:
            DataError: A value is not finite; set ``verify`` to skip such clips.
        """
        record = self.found.records[draw.clip]
        rng = None if draw.epoch is None else random.Random(f"clip {self.seed} {draw.epoch} {record.id}")
        text = 0 if rng is None else rng.randrange(record.n_texts)
        parts = {name: record.stream(name, text) for name in self.streams}
        n_frames = min(record.n_frames, self.max_frames or record.n_frames)
        start = self._start(record, parts, n_frames, rng)
        values = {LATENTS: read_tensor(record.parts[LATENTS], start, start + n_frames, axis=1)}
        for name, part in parts.items():
            if part is None:
                values[name] = torch.zeros(0, self.found.streams[name]["width"])
            elif self.found.is_timed(name) and n_frames < record.n_frames:
                values[name] = read_tensor(part, *self._slice_of(name, part, record, start, n_frames))
            else:
                values[name] = read_tensor(part)
        for name, value in values.items():
            if not bool(torch.isfinite(value).all()):
                raise DataError(f"the {name} of clip {record.id} contain NaN or infinity; set verify to skip it")
        return values

    def _start(
        self, record: Record, parts: dict[str, StoredTensor | None], n_frames: int, rng: random.Random | None
    ) -> int:
        """First latent frame of the crop."""
        spare = record.n_frames - n_frames
        if not spare or rng is None:
            return 0
        counts = [
            part.shape[0] // self.found.group(name)
            for name, part in parts.items()
            if part is not None and part.shape[0] and self.found.is_timed(name)
        ]
        n_places = min(counts, default=record.n_frames)
        places = [place for i in range(n_places) if (place := round(i * record.n_frames / n_places)) <= spare]
        return rng.choice(places)

    def _slice_of(self, name: str, part: StoredTensor, record: Record, start: int, n_frames: int) -> tuple[int, int]:
        """Start and end of the crop in features, in whole groups."""
        group = self.found.group(name)
        n_groups = part.shape[0] // group
        length = min(n_groups, max(1, round(n_frames / record.n_frames * n_groups)))
        first = min(round(start / record.n_frames * n_groups), n_groups - length)
        return first * group, (first + length) * group
