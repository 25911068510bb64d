"""Recordings from random directions and in rooms, as a Lightning data module."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from prismaudio.audio.resample import resample
from prismaudio.data.buckets import Draw, batch_loader
from prismaudio.errors import DataError
from prismaudio.hyperparameters import RecordsArguments
from prismaudio.plan import Plan
from prismaudio.plan.story import SIDE_DEG
from prismaudio.types import Clip, ClipBatch
from prismaudio_studio.world.audio import placed, recorded
from prismaudio_studio.world.bank import read_usable
from prismaudio_studio.world.excerpts import usable_s
from prismaudio_studio.world.looks import Look
from prismaudio_studio.world.recordings import Recording, read_recordings
from prismaudio_studio.world.scene import Scene

if TYPE_CHECKING:
    from prismaudio_studio.world.voices import Signal

ROOMS, ROOM_SHARES = ("dry", "room", "hall"), (0.5, 0.3, 0.2)
PEAKS_DB = (-18.0, -2.0)


class RecordedClips(Dataset[ClipBatch]):
    """Batches of pieces of recordings, each from a direction of its own.

    Args:
        recordings: The recordings.
        piece_s: Length of a piece in seconds; the last one of a recording is padded with silence.
        sample_rate_hz: Sample rate of the clips.
    """

    def __init__(self, recordings: Sequence[Recording], piece_s: float, sample_rate_hz: int) -> None:
        self.piece_s, self.sample_rate_hz = piece_s, sample_rate_hz
        self.pieces = [
            (recording.file, start)
            for recording in recordings
            for start in np.arange(0, usable_s(recording.file) - 0.1 * piece_s, piece_s).tolist() or [0.0]
        ]

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, draws: Sequence[Draw] | int) -> ClipBatch:
        draws = [Draw(draws)] if isinstance(draws, int) else draws
        clips = [self.clip(draw.clip) for draw in draws]
        return ClipBatch(clips, [Plan({})] * len(clips))

    def clip(self, index: int) -> Clip:
        """A piece; its direction, level and room depend on its recording and place alone."""
        file, start_s = self.pieces[index]
        rate_hz = self.sample_rate_hz
        rng = np.random.default_rng([crc32(file.name.encode()), round(1e3 * start_s)])
        first, n_samples = round(start_s * rate_hz), round(self.piece_s * rate_hz)
        piece = _resampled(file, rate_hz)[first : first + n_samples]
        mono = np.zeros(n_samples, np.float32)
        mono[: len(piece)] = piece * np.float32(10 ** (rng.uniform(*PEAKS_DB) / 20))
        stereo = placed(mono, float(rng.uniform(-SIDE_DEG, SIDE_DEG)), rate_hz)
        room, key = str(rng.choice(ROOMS, p=ROOM_SHARES)), int(rng.integers(2**31))
        name = f"{file.stem}@{start_s:g}"
        scene = Scene(name, "plain", False, (), "clean", room, Look(), key, self.piece_s)
        audio = torch.from_numpy(recorded(scene, stereo, mono, rate_hz))
        return Clip(name, self.piece_s, audio=audio, sample_rate_hz=rate_hz)


@lru_cache(maxsize=32)
def _resampled(file: Path, rate_hz: int) -> Signal:
    sound = read_usable(file)
    audio: Signal = resample(torch.from_numpy(sound.audio), sound.rate_hz, rate_hz).numpy()
    return audio


class RecordingsDataModule(RecordsArguments, LightningDataModule):
    """Pieces of recordings, each from a random direction, at a random level and half of them in a room.

    Sources that are held out are for validation.

    Args:
        recordings: Table of recordings, see ``prismaudio studio recordings``.
        sample_rate_hz: Sample rate of the clips, that of the autoencoder.
        piece_s: Length of a piece in seconds; the last one of a recording is padded with silence.
        batch_size: Pieces per batch.
        seed: Seed of the order, and of the choice of sources that are held out where the table has no folds.
        shuffle: Whether the pieces to train on come in random order; in the order of the table, each file is read once.
    """

    def __init__(
        self,
        recordings: str,
        sample_rate_hz: int = 16_000,
        piece_s: float = 2.0,
        batch_size: int = 32,
        seed: int = 0,
        *,
        shuffle: bool = True,
    ) -> None:
        super().__init__()
        self.recordings, self.sample_rate_hz, self.piece_s = recordings, sample_rate_hz, piece_s
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle

    def train_dataloader(self) -> DataLoader[Any]:
        """Pieces of the recordings to train on."""
        return self._loader(held_out=False)

    def val_dataloader(self) -> DataLoader[Any]:
        """Pieces of the recordings that are held out."""
        return self._loader(held_out=True)

    def _loader(self, *, held_out: bool) -> DataLoader[Any]:
        found = [item for item in read_recordings(self.recordings, self.seed) if item.held_out == held_out]
        if not found:
            part = "that are held out" if held_out else "to train on"
            raise DataError(f"{self.recordings} has no recordings {part}; add some, or state the column fold")
        clips = RecordedClips(found, self.piece_s, self.sample_rate_hz)
        shuffle = self.shuffle and not held_out
        return batch_loader(clips, [1] * len(clips), self.batch_size, self.seed, shuffle=shuffle, trainer=self.trainer)
