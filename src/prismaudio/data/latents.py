"""Batches of latents and conditions from disk."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from prismaudio.data.buckets import Draw
from prismaudio.data.clips import fitted
from prismaudio.data.features import FeatureSet, read_tensor
from prismaudio.data.media_clips import MediaClips
from prismaudio.data.records import Record, StoredTensor
from prismaudio.errors import DataError
from prismaudio.types import LATENTS, ClipBatch, Conditions, Features, LatentBatch


class LatentClips(Dataset[LatentBatch | ClipBatch]):
    """Whole batches of a feature set; nothing but what a batch needs is read.

    Of a clip that is longer than ``max_frames`` a piece is taken, at random in training, and from its beginning
    otherwise. It begins where a feature, or group of features, of its slowest stream begins, so that what is seen stays
    with what is heard. Text is not cut. Of several texts one is taken, the first one when nothing is drawn.

    Args:
        found: The set.
        max_frames: Longest piece in latent frames; None for whole clips.
        seed: Seed of pieces and texts; they depend on it, the epoch and the clip alone.
        media: Where the clips themselves are read from, to be given with their features; None to give no clips. With
            them, pieces are from the beginning, and the first text is taken, because frames and plans are.
    """

    def __init__(
        self, found: FeatureSet, max_frames: int | None = None, seed: int = 0, media: MediaClips | None = None
    ) -> None:
        self.found, self.max_frames, self.seed, self.media = found, max_frames, seed, media
        self.streams = [name for name, stream in found.streams.items() if stream.get("width")]

    @property
    def lengths(self) -> list[int]:
        """Latent frames of what is given of each clip."""
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
        if rate_hz is not None:  # no longer than what features and latents are of
            lengths_s = [length / rate_hz for length in features.mask.sum(1).tolist()]
            clips = [fitted(clip, min(clip.duration_s, s)) for clip, s in zip(clips, lengths_s, strict=True)]
        return ClipBatch(clips, media.plans, features)

    def _features(self, draws: Sequence[Draw]) -> LatentBatch:
        clips = [self.clip(draw) for draw in draws]
        latents = [clip[LATENTS].T for clip in clips]
        padded = Features.pad(latents)
        streams = {name: Features.pad([clip[name] for clip in clips]) for name in self.streams}
        ids = [self.found.records[draw.clip].id for draw in draws]
        return LatentBatch(ids, padded.values.transpose(1, 2).contiguous(), padded.mask, Conditions(streams))

    def clip(self, draw: Draw) -> dict[str, Tensor]:
        """Latents ``(channels, frames)`` and features ``(time, width)`` of one clip.

        Raises:
            DataError: A value is no number; look the set over (``verify``) to leave such clips out.
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
                values[name] = read_tensor(part, *self._stretch(name, part, record, start, n_frames))
            else:
                values[name] = read_tensor(part)
        for name, value in values.items():
            if not bool(torch.isfinite(value).all()):
                raise DataError(f"the {name} of clip {record.id} hold NaN or infinity; set verify to leave it out")
        return values

    def _start(
        self, record: Record, parts: dict[str, StoredTensor | None], n_frames: int, rng: random.Random | None
    ) -> int:
        """Latent frame where the piece begins."""
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

    def _stretch(self, name: str, part: StoredTensor, record: Record, start: int, n_frames: int) -> tuple[int, int]:
        """First and last feature of the piece, in whole groups."""
        group = self.found.group(name)
        n_groups = part.shape[0] // group
        length = min(n_groups, max(1, round(n_frames / record.n_frames * n_groups)))
        first = min(round(start / record.n_frames * n_groups), n_groups - length)
        return first * group, (first + length) * group
