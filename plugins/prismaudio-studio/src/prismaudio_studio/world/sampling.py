"""Sample random scenes deterministically from an index and a seed."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from prismaudio.errors import DataError, UnknownNameError
from prismaudio.plan.words import QUALITIES, ROOMS
from prismaudio_studio.words import CLASSES, motion_of
from prismaudio_studio.world.combinations import is_held_out
from prismaudio_studio.world.looks import Look, random_look
from prismaudio_studio.world.scene import DURATION_S, Scene, Thing

if TYPE_CHECKING:
    from collections.abc import Sequence

SPLITS = ("plain", "randomised")
MIN_GAP_S = 0.16
"""Minimum time between any two onsets of a clip."""

_N_THINGS = {"plain": (0.45, 0.35, 0.2), "randomised": (0.4, 0.3, 0.2, 0.1)}
_QUALITY_SHARES = (0.46, 0.18, 0.18, 0.18)
_RADII = {"small": 0.085, "medium": 0.12, "large": 0.165}
_RESTITUTION = {"ball": (0.72, 0.85), "coin": (0.5, 0.62)}
_FIRST_S, _LAST_S = 0.12, 3.75
_MIN_DB, _MAX_DB = -19.0, -8.0
_LAST = ("rolling", "sustained", "spinning", "flowing")
"""Motions of things that are scheduled last, for they leave the most room."""
_WHOLE_SHARE = 0.45
"""Share of the lasting sounds of recorded things that sound throughout, as much of what is filmed does."""


def _struck(rng: np.random.Generator, min_gap_s: float, min_db: float) -> tuple[list[float], list[float]]:
    n = int(rng.integers(1, 5))
    times = [float(rng.uniform(_FIRST_S, 1.8))]
    regular = float(rng.uniform(min_gap_s, 1.0))
    steady = rng.random() < 0.3
    for _ in range(n - 1):
        times.append(times[-1] + (regular if steady else float(rng.uniform(min_gap_s, 1.1))))
    return times, [float(rng.uniform(min_db, _MAX_DB)) for _ in times]


def _bouncing(rng: np.random.Generator, what: str, fall_s: float) -> tuple[list[float], list[float]]:
    restitution = float(rng.uniform(*_RESTITUTION[what]))
    times, levels = [float(rng.uniform(0.2, 2.6))], [float(rng.uniform(-11.0, _MAX_DB))]
    gap_s = 2 * restitution * fall_s
    for _ in range(int(rng.integers(1, 5))):
        level = levels[-1] + 20 * np.log10(restitution)
        if gap_s < MIN_GAP_S or level < _MIN_DB:
            break
        times.append(times[-1] + gap_s)
        levels.append(float(level))
        gap_s *= restitution
    return times, levels


def _repeated(
    rng: np.random.Generator, most: int, gap_s: tuple[float, float], *, steady: bool
) -> tuple[list[float], list[float]]:
    """Up to ``most`` sounds; steady ones with nearly the same gap."""
    gaps_s = rng.uniform(*gap_s, most - 1)
    if steady:
        gaps_s = gaps_s[:1] * rng.uniform(0.95, 1.05, most - 1)
    n = int(rng.integers(1, most + 1))
    times = rng.uniform(0.0, 1.8) + np.concatenate([[0.0], np.cumsum(gaps_s)])[:n]
    levels = rng.uniform(-14.0, _MAX_DB) + rng.uniform(-3.0, 0.0, n)
    return times.tolist(), levels.tolist()


def _schedule(rng: np.random.Generator, what: str, fall_s: float) -> tuple[list[float], list[float], float | None]:
    """Onsets, their levels, and the end of a sustained sound."""
    motion, recorded = motion_of(what), what not in CLASSES
    if motion == "calling":
        return *_repeated(rng, 4, (0.5, 1.5), steady=False), None
    if motion == "stepping":
        return *_repeated(rng, 9, (0.27, 0.7), steady=True), None
    if (motion == "struck" and recorded) or (motion == "rustling" and rng.random() < 0.5):
        return *_repeated(rng, 10, (MIN_GAP_S, 0.9), steady=bool(rng.random() < 0.4)), None
    if motion == "struck":
        return *_struck(rng, 0.3, -16.0), None
    if motion == "shaken":
        return *_struck(rng, 0.28, -12.0), None
    if motion == "bouncing":
        return *_bouncing(rng, what, fall_s), None
    if recorded and rng.random() < _WHOLE_SHARE:
        return [0.0], [float(rng.uniform(-20.0, -10.0))], DURATION_S
    begin = float(rng.uniform(_FIRST_S, 2.6))
    end = min(begin + float(rng.uniform(0.8, 2.4)), DURATION_S - 0.1)
    loudest = -12.0 if motion == "rolling" else -14.0
    return [begin], [float(rng.uniform(loudest - 4.0, loudest))], round(end, 2)


def _free_schedule(
    rng: np.random.Generator, what: str, fall_s: float, taken: list[float]
) -> tuple[list[float], list[float], float | None]:
    """A schedule that keeps the minimum gap to the onsets in ``taken``."""
    for _ in range(200):
        times, levels, end_s = _schedule(rng, what, fall_s)
        times = [round(t, 4) for t in times]
        while times and times[-1] > _LAST_S:
            times, levels = times[:-1], levels[:-1]
        if times and all(abs(a - b) >= MIN_GAP_S for a in times for b in taken):
            return times, levels, end_s
    return [], [], None


def _positions(rng: np.random.Generator, what: str, taken: list[float], *, moves: bool) -> tuple[float, float]:
    """First and last horizontal position; static things do not occlude each other."""
    for _ in range(50):
        x = float(rng.uniform(-0.92, 0.92))
        if motion_of(what) in ("rolling", "stepping"):
            far = float(rng.uniform(0.5, 1.4)) * (1 if x < 0 else -1)
            return x, float(np.clip(x + far, -0.95, 0.95))
        if all(abs(x - other) > 0.42 for other in taken):
            break
    taken.append(x)
    if motion_of(what) == "bouncing" and moves:
        return x, float(np.clip(x + rng.uniform(-0.35, 0.35), -0.95, 0.95))
    return x, x


def _thing(rng: np.random.Generator, what: str, onsets: list[float], places: list[float]) -> Thing | None:
    size = str(rng.choice(list(_RADII)))
    fall_s = float(rng.uniform(0.34, 0.44))
    times, levels, end_s = _free_schedule(rng, what, fall_s, onsets)
    if not times:
        return None
    onsets += times
    return Thing(
        what=what,
        size=size,
        radius=_RADII[size] * float(rng.uniform(0.93, 1.07)),
        x=_positions(rng, what, places, moves=len(times) > 1),
        onsets_s=tuple(times),
        levels_db=tuple(levels),
        end_s=end_s,
        fall_s=fall_s,
        depth=float(rng.uniform(0.75, 1.0) if motion_of(what) == "rolling" else rng.uniform(0.0, 0.7)),
        key=int(rng.integers(2**31)),
    )


def _combination(
    rng: np.random.Generator, split: str, cast: Sequence[str], *, held_out: bool
) -> tuple[list[str], str, str]:
    """Sample classes, room and quality whose combination is held out or not, as requested."""
    n = min(1 + int(rng.choice(len(_N_THINGS[split]), p=_N_THINGS[split])), len(cast))
    room = str(rng.choice(list(ROOMS)))
    quality = str(rng.choice(list(QUALITIES), p=_QUALITY_SHARES))
    for attempt in range(10_000):
        whats = [cast[i] for i in rng.permutation(len(cast))[:n]]
        if is_held_out(tuple(whats), room, quality) == held_out:
            return whats, room, quality
        if attempt % 100 == 99:  # a small cast may have no such combination in this room
            room, n = str(rng.choice(list(ROOMS))), max(1, n - 1)
            quality = str(rng.choice(list(QUALITIES), p=_QUALITY_SHARES))
    raise DataError(f"no combination of {', '.join(cast)} is {'held out' if held_out else 'to train on'}; add classes")


def cast_key(cast: Sequence[str]) -> tuple[int, ...]:
    """What tells the scenes of a cast from those of others; empty for the synthetic classes."""
    return () if tuple(cast) == CLASSES else (zlib.crc32(",".join(cast).encode()),)


def sample_scene(
    index: int, seed: int = 0, split: str = "plain", *, held_out: bool = False, cast: Sequence[str] = CLASSES
) -> Scene:
    """Sample a scene.

    Args:
        index: Index of the clip in its split.
        seed: Seed of the split.
        split: ``"plain"``, or ``"randomised"`` for random visual details that the ground truth does not depend on.
        held_out: Whether to sample a held-out clip, whose combinations of classes, and of class, room and quality,
            occur in no training clip.
        cast: The classes of things, the synthetic ones or those that a bank of recordings has.

    Returns:
        The scene; the same for the same arguments.

    Example:
        >>> sample_scene(3, seed=1) == sample_scene(3, seed=1)
        True
    """
    if split not in SPLITS:
        raise UnknownNameError(f"no split named {split!r}; choose one of {', '.join(SPLITS)}")
    other = cast_key(cast)
    name = f"{split}{'-recorded' if other else ''}-{'held-out-' if held_out else ''}{seed}-{index:05d}"
    for attempt in range(100):
        rng = np.random.default_rng([zlib.crc32(split.encode()), int(held_out), seed, index, attempt, *other])
        scene = _draw(rng, name, split, cast, held_out=held_out)
        if is_held_out(tuple(t.what for t in scene.things), scene.room, scene.quality) == held_out:
            break  # otherwise a thing without a free schedule was dropped, which changed the combination
    return scene


def _draw(rng: np.random.Generator, name: str, split: str, cast: Sequence[str], *, held_out: bool) -> Scene:
    whats, room, quality = _combination(rng, split, cast, held_out=held_out)
    onsets: list[float] = []
    places: list[float] = []
    things = []
    for what in sorted(whats, key=lambda what: motion_of(what) in _LAST):
        thing = _thing(rng, what, onsets, places)
        if thing is not None:
            things.append(thing)
    return Scene(
        id=name,
        split=split,
        held_out=held_out,
        things=tuple(sorted(things, key=lambda thing: thing.onsets_s[0])),
        quality=quality,
        room=room,
        look=random_look(rng) if split == "randomised" else Look(),
        key=int(rng.integers(2**31)),
    )
