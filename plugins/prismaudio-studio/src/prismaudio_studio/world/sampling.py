"""Drawing scenes at random, the same one each time for the same numbers."""

from __future__ import annotations

import zlib

import numpy as np

from prismaudio.errors import UnknownNameError
from prismaudio.plan.words import QUALITIES, ROOMS
from prismaudio_studio.words import CLASSES
from prismaudio_studio.world.combinations import is_held_out
from prismaudio_studio.world.looks import Look, random_look
from prismaudio_studio.world.scene import BOUNCING, DURATION_S, ROLLING, SHAKEN, STRUCK, SUSTAINED, Scene, Thing

SPLITS = ("plain", "randomised")
APART_S = 0.16
"""Least time between any two onsets of a clip."""

_N_THINGS = {"plain": (0.45, 0.35, 0.2), "randomised": (0.4, 0.3, 0.2, 0.1)}
_QUALITY_SHARES = (0.46, 0.18, 0.18, 0.18)
_RADII = {"small": 0.085, "medium": 0.12, "large": 0.165}
_RESTITUTION = {"ball": (0.72, 0.85), "coin": (0.5, 0.62)}
_FIRST_S, _LAST_S = 0.12, 3.75
_LEAST_DB, _MOST_DB = -19.0, -8.0


def _struck(rng: np.random.Generator, least_gap_s: float, least_db: float) -> tuple[list[float], list[float]]:
    n = int(rng.integers(1, 5))
    times = [float(rng.uniform(_FIRST_S, 1.8))]
    regular = float(rng.uniform(least_gap_s, 1.0))
    steady = rng.random() < 0.3
    for _ in range(n - 1):
        times.append(times[-1] + (regular if steady else float(rng.uniform(least_gap_s, 1.1))))
    return times, [float(rng.uniform(least_db, _MOST_DB)) for _ in times]


def _bouncing(rng: np.random.Generator, what: str, fall_s: float) -> tuple[list[float], list[float]]:
    restitution = float(rng.uniform(*_RESTITUTION[what]))
    times, levels = [float(rng.uniform(0.2, 2.6))], [float(rng.uniform(-11.0, _MOST_DB))]
    gap_s = 2 * restitution * fall_s
    for _ in range(int(rng.integers(1, 5))):
        level = levels[-1] + 20 * np.log10(restitution)
        if gap_s < APART_S or level < _LEAST_DB:
            break
        times.append(times[-1] + gap_s)
        levels.append(float(level))
        gap_s *= restitution
    return times, levels


def _schedule(rng: np.random.Generator, what: str, fall_s: float) -> tuple[list[float], list[float], float | None]:
    """Onsets, their levels, and the end of a lasting sound."""
    if what in STRUCK:
        return *_struck(rng, 0.3, -16.0), None
    if what in SHAKEN:
        return *_struck(rng, 0.28, -12.0), None
    if what in BOUNCING:
        return *_bouncing(rng, what, fall_s), None
    begin = float(rng.uniform(_FIRST_S, 2.6))
    end = min(begin + float(rng.uniform(0.8, 2.4)), DURATION_S - 0.1)
    loudest = -12.0 if what in ROLLING else -14.0
    return [begin], [float(rng.uniform(loudest - 4.0, loudest))], round(end, 2)


def _timed(
    rng: np.random.Generator, what: str, fall_s: float, taken: list[float]
) -> tuple[list[float], list[float], float | None]:
    """A schedule that keeps its distance from the onsets that are ``taken``."""
    for _ in range(200):
        times, levels, end_s = _schedule(rng, what, fall_s)
        times = [round(t, 4) for t in times]
        while times and times[-1] > _LAST_S:
            times, levels = times[:-1], levels[:-1]
        if times and all(abs(a - b) >= APART_S for a in times for b in taken):
            return times, levels, end_s
    return [], [], None


def _places(rng: np.random.Generator, what: str, taken: list[float], *, moves: bool) -> tuple[float, float]:
    """Where a thing is first and last; things that stand still do not hide each other."""
    for _ in range(50):
        x = float(rng.uniform(-0.92, 0.92))
        if what in ROLLING:
            far = float(rng.uniform(0.5, 1.4)) * (1 if x < 0 else -1)
            return x, float(np.clip(x + far, -0.95, 0.95))
        if all(abs(x - other) > 0.42 for other in taken):
            break
    taken.append(x)
    if what in BOUNCING and moves:
        return x, float(np.clip(x + rng.uniform(-0.35, 0.35), -0.95, 0.95))
    return x, x


def _thing(rng: np.random.Generator, what: str, onsets: list[float], places: list[float]) -> Thing | None:
    size = str(rng.choice(list(_RADII)))
    fall_s = float(rng.uniform(0.34, 0.44))
    times, levels, end_s = _timed(rng, what, fall_s, onsets)
    if not times:
        return None
    onsets += times
    return Thing(
        what=what,
        size=size,
        radius=_RADII[size] * float(rng.uniform(0.93, 1.07)),
        x=_places(rng, what, places, moves=len(times) > 1),
        onsets_s=tuple(times),
        levels_db=tuple(levels),
        end_s=end_s,
        fall_s=fall_s,
        depth=float(rng.uniform(0.75, 1.0) if what in ROLLING else rng.uniform(0.0, 0.7)),
        key=int(rng.integers(2**31)),
    )


def _cast(rng: np.random.Generator, split: str, *, held_out: bool) -> tuple[list[str], str, str]:
    """Classes, room and quality whose combination belongs to the wanted side."""
    n = 1 + int(rng.choice(len(_N_THINGS[split]), p=_N_THINGS[split]))
    room = str(rng.choice(list(ROOMS)))
    quality = str(rng.choice(list(QUALITIES), p=_QUALITY_SHARES))
    while True:
        whats = [CLASSES[i] for i in rng.permutation(len(CLASSES))[:n]]
        if is_held_out(tuple(whats), room, quality) == held_out:
            return whats, room, quality


def sample_scene(index: int, seed: int = 0, split: str = "plain", *, held_out: bool = False) -> Scene:
    """Draw a scene.

    Args:
        index: Number of the clip in its split.
        seed: Seed of the split.
        split: ``"plain"``, or ``"randomised"`` for frames that vary in everything that does not matter.
        held_out: Whether to draw from the clips that are never trained on: their combinations of classes, and of
            class, room and quality, occur in no training clip.

    Returns:
        Always the same scene for the same arguments.

    Example:
        >>> sample_scene(3, seed=1) == sample_scene(3, seed=1)
        True
    """
    if split not in SPLITS:
        raise UnknownNameError(f"no split named {split!r}; known are {', '.join(SPLITS)}")
    for attempt in range(100):
        rng = np.random.default_rng([zlib.crc32(split.encode()), int(held_out), seed, index, attempt])
        scene = _draw(rng, f"{split}-{'held-out-' if held_out else ''}{seed}-{index:05d}", split, held_out=held_out)
        if is_held_out(tuple(t.what for t in scene.things), scene.room, scene.quality) == held_out:
            break  # else a thing found no time to sound, and without it the combination is another one
    return scene


def _draw(rng: np.random.Generator, name: str, split: str, *, held_out: bool) -> Scene:
    whats, room, quality = _cast(rng, split, held_out=held_out)
    onsets: list[float] = []
    places: list[float] = []
    things = []
    for what in sorted(whats, key=lambda what: what in (*ROLLING, *SUSTAINED)):
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
