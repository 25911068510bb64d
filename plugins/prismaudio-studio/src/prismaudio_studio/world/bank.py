"""A bank of recorded sounds that things of the world use instead of synthesis."""

from __future__ import annotations

import hashlib
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from prismaudio.checkpoints import within
from prismaudio.errors import DataError
from prismaudio.paths import expanded
from prismaudio_footage.families import UNKNOWN
from prismaudio_studio.families import voices
from prismaudio_studio.words import FAMILIES
from prismaudio_studio.world.excerpts import MonoSound, cut_one_shots, kind_of, read_sound, texture
from prismaudio_studio.world.recordings import Recording, read_recordings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prismaudio_studio.world.scene import Thing
    from prismaudio_studio.world.voices import Signal

RECORDED = {
    "bell": ("bell", "cowbell", "chime", "ting", "perc_bell", "drum_cowbell"),
    "woodblock": ("woodblock", "wood", "chop", "clack", "knock"),
    "glass": ("glass", "clink"),
    "drum": (
        *("drum", "tom", "snare", "drum_heavy_kick"),
        *(
            f"drum_{name}_{how}"
            for name in ("bass", "snare", "tom_hi", "tom_mid", "tom_lo")
            for how in ("hard", "soft")
        ),
    ),
    "ball": ("ball", "bounce"),
    "coin": ("coin", "coins"),
    "shaker": ("shaker", "maraca", "rattle"),
    "marble": ("marble",),
    "cart": ("cart", "wagon", "trolley"),
    "whistle": ("whistle",),
    "engine": ("engine", "motor"),
    "buzzer": ("buzzer",),
}
"""Classes of recordings that each synthetic class may sound like; those of families are in their table."""


class SoundBank:
    """Recordings of the classes of the world, by class, kind and part.

    Decaying sounds use the single events of recordings, lasting ones a texture made of one. Synthetic classes take
    recordings of the kind of their sound, and keep their synthetic voice where there is none. Families have all of
    theirs; if chance would hold out all recordings of a family, it is trained on them.

    Args:
        table: A table of recordings, see :func:`prismaudio_studio.world.recordings.read_recordings`.
        seed: Seed of the choice of sources that are held out.
        best: Train on at most so many recordings of each family, those in which it is heard most clearly; None for all.

    Raises:
        DataError: The table cannot be used, has no recording of any class of the world, or does not say in which
            recordings of a family it is heard.

    Example:
        >>> bank = SoundBank("recordings.csv")  # doctest: +SKIP
        >>> render_audio(sample_scene(0), bank=bank)  # doctest: +SKIP
    """

    def __init__(self, table: str | Path, seed: int = 0, best: int | None = None) -> None:
        within(1, 10**6, best=best)
        self.table, self.seed, self.best = expanded(table), seed, best
        self._recordings: dict[tuple[str, str, bool], list[Recording]] = {}
        for recording in read_recordings(self.table, seed):
            for what, kind in _voices_of(recording):
                self._recordings.setdefault((what, kind, recording.held_out), []).append(recording)
        for name in FAMILIES:
            kept = self._recordings.get((name, "", True), [])
            if (name, "", False) not in self._recordings and kept and not any(item.fold for item in kept):
                self._recordings[name, "", False] = self._recordings.pop((name, "", True))
        if best is not None:
            self._keep_best(best)
        if not self._recordings:
            known = sorted({name for names in RECORDED.values() for name in names} | {*voices()})
            raise DataError(
                f"{self.table} has no recording of a class of the world; expected one of {', '.join(known)}"
            )

    def _keep_best(self, best: int) -> None:
        for (name, _, held_out), these in self._recordings.items():
            if name not in FAMILIES or held_out or len(these) <= best:
                continue
            if any(recording.heard is None for recording in these):
                raise DataError(
                    f"{self.table} does not say in which of its {len(these)} recordings {name} is heard most clearly, "
                    f"to take the best {best}; write it anew with prismaudio studio recordings --heard"
                )
            these.sort(key=lambda recording: (-(recording.heard or 0.0), recording.file))
            del these[best:]

    @property
    def cast(self) -> tuple[str, ...]:
        """The families to train on, and what is not recognised, as the cast of a scene.

        Raises:
            DataError: The table has no recording of a family to train on.
        """
        return (*self._families(False), UNKNOWN)

    @property
    def held_out(self) -> tuple[str, ...]:
        """The families that have both held-out recordings and others, as the cast of a held-out scene.

        Raises:
            DataError: There is none.
        """
        return self._families(False, True)

    def _families(self, *parts: bool) -> tuple[str, ...]:
        found = tuple(name for name in FAMILIES if all((name, "", part) in self._recordings for part in parts))
        if not found:
            wanted = " both to train on and held out" if len(parts) > 1 else " to train on"
            raise DataError(f"{self.table} has recordings of no family{wanted}; expected some of {', '.join(FAMILIES)}")
        return found

    @cached_property
    def hash(self) -> str:
        """Eight hexadecimal digits of a SHA-256 hash of what was given, and the contents of table and files."""
        found = hashlib.sha256(repr((self.table.read_bytes(), self.seed, self.best)).encode())
        for path in sorted({recording.file for these in self._recordings.values() for recording in these}):
            with path.open("rb") as file:
                found.update(hashlib.file_digest(file, "sha256").digest())
        return found.hexdigest()[:8]

    @property
    def classes(self) -> dict[str, tuple[int, int]]:
        """Number of recordings to train on, and held out, of each class of the world that has any."""
        found = sorted({what for what, _, _ in self._recordings})
        return {what: (self._count(what, held_out=False), self._count(what, held_out=True)) for what in found}

    def _count(self, what: str, *, held_out: bool) -> int:
        return sum(
            len(these) for (name, _, part), these in self._recordings.items() if (name, part) == (what, held_out)
        )

    def recording(self, thing: Thing, *, held_out: bool) -> Recording | None:
        """The recording that a thing sounds like, chosen by its key; None if there is none of its class and kind."""
        found = self._found(thing, held_out=held_out)
        return found[_rng(thing, 0).integers(len(found))] if found else None

    def _found(self, thing: Thing, *, held_out: bool) -> list[Recording]:
        kind = "" if not thing.is_synthetic else "one-shot" if thing.end_s is None else "sustained"
        return self._recordings.get((thing.what, kind, held_out), [])

    def one_shots(self, thing: Thing, rate_hz: int, *, held_out: bool) -> list[Signal] | None:
        """An event for each onset of a thing, with peak 1; None if it keeps its synthetic voice."""
        recording = self.recording(thing, held_out=held_out)
        if recording is None:
            return None
        rng = _rng(thing, 1)
        files = [recording.file]
        if thing.motion == "stepping":  # no two steps are alike, and many recordings have one
            found = self._found(thing, held_out=held_out)
            files = [other.file for other in found if other.what == recording.what]
        sounds = []
        for _ in thing.onsets_s:
            events = one_shots_of(files[rng.integers(len(files))], rate_hz)
            sounds.append(events[rng.integers(len(events))])
        return sounds

    def texture(self, thing: Thing, n_samples: int, rate_hz: int, *, held_out: bool) -> Signal | None:
        """A lasting sound of a thing ``(n_samples,)`` with peak 1; None if it keeps its synthetic voice."""
        recording = self.recording(thing, held_out=held_out)
        return None if recording is None else texture(read_usable(recording.file), n_samples, rate_hz, _rng(thing, 1))


def _voices_of(recording: Recording) -> Iterator[tuple[str, str]]:
    """The classes that a recording gives a voice to, with the kind of it for synthetic ones."""
    what = recording.what.strip().lower()
    for name, names in RECORDED.items():
        if what in names:
            yield name, recording.kind or kind_of(read_usable(recording.file))
    for voice in voices().values():
        if voice.is_of(what):
            yield voice.name, ""


def _rng(thing: Thing, purpose: int) -> np.random.Generator:
    return np.random.default_rng([thing.key, purpose])


@lru_cache(maxsize=64)
def read_usable(file: Path) -> MonoSound:
    """Read a recording that a table lists, see :func:`prismaudio_studio.world.excerpts.read_sound`; it is kept.

    Raises:
        DataError: It cannot be used; the message names the file.
    """
    try:
        return read_sound(file)
    except DataError as error:
        raise DataError(f"the recording {file} {error}; take it out of the table") from error


@lru_cache(maxsize=512)
def one_shots_of(file: Path, rate_hz: int) -> list[Signal]:
    """The single events of a recording, see :func:`prismaudio_studio.world.excerpts.cut_one_shots`; they are kept."""
    return cut_one_shots(read_usable(file), rate_hz)
