"""Batches of clips read from media files during training."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch.utils.data import Dataset

from prismaudio.data.buckets import Draw
from prismaudio.data.clips import fit_duration, read_whole
from prismaudio.data.manifest import ManifestEntry
from prismaudio.errors import PrismAudioError
from prismaudio.plan import Plan
from prismaudio.types import Clip, ClipBatch, FrameSpec


@dataclass(frozen=True)
class Reading:
    """How media files are read.

    Args:
        duration_s: Duration of every clip; longer ones are trimmed, shorter ones padded with silence. None for clips of
            their own length, which may lack audio.
        frames: Frame rate and size.
        sample_rate_hz: Sample rate of the audio.
    """

    duration_s: float | None
    frames: FrameSpec
    sample_rate_hz: int


class MediaClips(Dataset[ClipBatch]):
    """Dataset of collated batches of clips of equal length, each with one of its plans.

    Args:
        entries: Lines of a manifest.
        reading: How they are read.
        seed: Seed of the choice between several plans.
    """

    def __init__(self, entries: Sequence[ManifestEntry], reading: Reading, seed: int = 0) -> None:
        self.entries, self.reading, self.seed = list(entries), reading, seed
        self.numbers = {entry.id: number for number, entry in enumerate(self.entries)}

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, draws: Sequence[Draw] | int) -> ClipBatch:
        draws = [Draw(draws)] if isinstance(draws, int) else draws
        clips, plans = zip(*(self.clip(draw) for draw in draws), strict=True)
        return ClipBatch(clips, plans)

    def of(self, ids: Sequence[str]) -> ClipBatch:
        """The clips with these ids, each with the first of its plans."""
        return self[[Draw(self.numbers[name]) for name in ids]]

    def clip(self, draw: Draw) -> tuple[Clip, Plan]:
        """A clip and its plan."""
        entry = self.entries[draw.clip]
        plans = entry.texts
        if draw.epoch is None:
            return read_entry(entry, self.reading), plans[0]
        return read_entry(entry, self.reading), random.Random(f"plan {self.seed} {draw.epoch} {entry.id}").choice(plans)


def read_entry(entry: ManifestEntry, reading: Reading) -> Clip:
    """Read frames and audio of a clip.

    Raises:
        PrismAudioError: They cannot be read.
    """
    if reading.duration_s is None:
        return read_whole(entry, reading.frames, reading.sample_rate_hz, needs_audio=False)
    end_s = entry.start_s + reading.duration_s
    entry = replace(entry, end_s=end_s if entry.end_s is None else min(entry.end_s, end_s))
    return fit_duration(read_whole(entry, reading.frames, reading.sample_rate_hz), reading.duration_s)


def readable(entries: Sequence[ManifestEntry], reading: Reading) -> tuple[list[ManifestEntry], dict[str, str]]:
    """The clips that can be read, and the reasons for the others by id."""
    good, failures = [], {}
    for entry in entries:
        try:
            read_entry(entry, reading)
            good.append(entry)
        except PrismAudioError as error:
            failures[entry.id] = str(error)
    return good, failures
