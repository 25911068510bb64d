"""Recordings of one sound in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from prismaudio.errors import DataError, reason
from prismaudio_studio.world.bank import one_shots_of, read_usable
from prismaudio_studio.world.excerpts import texture

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from prismaudio_studio.world.scene import Thing
    from prismaudio_studio.world.voices import Signal

FEW = 3
"""Number of recordings below which all sounds are heard to be made from few."""


@dataclass(frozen=True)
class Found:
    """The recordings of a folder.

    Args:
        files: Those that can be used.
        refused: The others, each with the reason.
        treated: Of those that can be used, the ones used in part, with what was done.
    """

    files: tuple[Path, ...]
    refused: tuple[tuple[Path, str], ...]
    treated: tuple[tuple[Path, str], ...]


def find_recordings(folder: Path, rate_hz: int) -> Found:
    """The recordings in a folder, without its subfolders and hidden files.

    Args:
        folder: The folder.
        rate_hz: Sample rate at which they are used.

    Raises:
        DataError: The folder cannot be read, or has no recording that can be used.
    """
    try:
        every = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"cannot read the folder of recordings {folder}: {reason(error)}") from error
    files, refused, treated = [], [], []
    for file in every:
        try:
            sound = read_usable(file)
        except DataError as error:
            refused.append((file, str(error.__cause__ or error)))
            continue
        if not one_shots_of(file, rate_hz):
            refused.append((file, "has no sound of 30 ms or more"))
            continue
        files.append(file)
        if sound.treatment:
            treated.append((file, sound.treatment))
    if not files:
        why = "; ".join(f"{file.name} {text}" for file, text in refused[:3]) or "it has no files"
        raise DataError(f"no recording in {folder} can be used: {why}; give a folder with some, ten if you can")
    return Found(tuple(files), tuple(refused), tuple(treated))


class FolderBank:
    """Recordings that all things sound like, each like one of them.

    Args:
        files: The recordings.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files

    def one_shots(self, thing: Thing, rate_hz: int, *, held_out: bool) -> list[Signal]:
        """See :class:`prismaudio_studio.world.voices.Sounds`."""
        rng = np.random.default_rng([thing.key, 0])
        events = one_shots_of(self._file(rng), rate_hz)
        return [events[rng.integers(len(events))] for _ in thing.onsets_s]

    def texture(self, thing: Thing, n_samples: int, rate_hz: int, *, held_out: bool) -> Signal:
        """See :class:`prismaudio_studio.world.voices.Sounds`."""
        rng = np.random.default_rng([thing.key, 0])
        return texture(read_usable(self._file(rng)), n_samples, rate_hz, rng)

    def _file(self, rng: np.random.Generator) -> Path:
        return self.files[int(rng.integers(len(self.files)))]
