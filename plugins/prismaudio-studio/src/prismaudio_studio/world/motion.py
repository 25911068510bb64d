"""Positions and states of things over time, synchronised with their sounds."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from prismaudio_studio.world.scene import Thing

Curve = NDArray[np.float64]

_SWING_S, _REBOUND_S, _FLASH_S = 0.22, 0.25, 0.07
_TURNS_RAD_S = 14.0
_SWING_RAD = 0.5


@dataclass(frozen=True)
class Motion:
    """The state of a thing over time; every curve has one value per frame.

    Args:
        x: Horizontal position, -1 (left) .. 1 (right).
        lift: Height above the ground in frame heights.
        turn: Angle in radians, clockwise.
        tool: Distance of the mallet from the thing, 0 (contact) .. 1; None for things that are not struck.
        flash: Brightness of the impact flash, 0 .. 1.
        lit: Share of the exposure in which it is on, 0 .. 1.
        phase: Seconds since the first onset, 0 before.
    """

    x: Curve
    lift: Curve
    turn: Curve
    tool: Curve | None
    flash: Curve
    lit: Curve
    phase: Curve


def _since(thing: Thing, times_s: Curve) -> Curve:
    return times_s[:, None] - np.asarray(thing.onsets_s)


def _tool(thing: Thing, times_s: Curve) -> Curve:
    """A mallet accelerates until contact and rebounds."""
    since = _since(thing, times_s)
    falling = 1 - np.clip(1 + since / _SWING_S, 0, 1) ** 2
    rising = np.sin(np.pi / 2 * np.clip(since / _REBOUND_S, 0, 1))
    return np.where(since < 0, falling, rising).min(1)


def _bounce(thing: Thing, times_s: Curve) -> Curve:
    """Height of a ballistic fall that touches the ground at every onset and ends at the last."""
    onsets = thing.onsets_s
    gravity = 0.62 / (0.5 * thing.fall_s**2)
    height = np.clip(0.62 - 0.5 * gravity * np.clip(times_s - (onsets[0] - thing.fall_s), 0, None) ** 2, 0, None)
    height = np.where(times_s < onsets[0], height, 0.0)
    for begin, end in pairwise(onsets):
        height += 0.5 * gravity * np.clip(times_s - begin, 0, None) * np.clip(end - times_s, 0, None)
    return height


def _shake(thing: Thing, times_s: Curve) -> Curve:
    """A downward jerk that ends at every onset."""
    since = _since(thing, times_s)
    return np.interp(since, [-0.18, -0.06, 0.0, 0.03, 0.14], [0.0, 1.0, -0.8, -0.8, 0.0]).sum(1)


def _call(thing: Thing, times_s: Curve) -> Curve:
    """How far a mouth is open, 0 .. 1."""
    return np.interp(_since(thing, times_s), [-0.03, 0.02, 0.15, 0.35], [0.0, 1.0, 0.8, 0.0]).max(1)


def _jerk(thing: Thing, times_s: Curve) -> Curve:
    """How far a head is thrown up, 0 .. 1."""
    return np.interp(_since(thing, times_s), [-0.1, 0.0, 0.1, 0.4], [0.0, 1.0, 0.8, 0.0]).max(1)


def _stride(thing: Thing, times_s: Curve) -> Curve:
    """Angle of a pair of legs in radians; one foot touches the ground at every onset, when it crosses zero."""
    onsets = np.asarray(thing.onsets_s)
    around = np.concatenate([onsets[:1] - 0.5, onsets, onsets[-1:] + 0.5])
    steps = np.interp(times_s, around, np.arange(len(around), dtype=np.float64))
    walks = (times_s > around[0]) & (times_s < around[-1])
    return _SWING_RAD * np.sin(np.pi * steps) * walks


def exposed(begin_s: float, end_s: float, times_s: Curve, exposure_s: float) -> Curve:
    """Share of each exposure, centred on its time, between ``begin_s`` and ``end_s``."""
    opened, closed = times_s - exposure_s / 2, times_s + exposure_s / 2
    return np.clip(np.minimum(closed, end_s) - np.maximum(opened, begin_s), 0, None) / exposure_s


def _flash(thing: Thing, times_s: Curve, exposure_s: float) -> Curve:
    """The afterglow of impacts, averaged over each exposure."""
    since = _since(thing, times_s)

    def integral(t: Curve) -> Curve:
        return _FLASH_S * (1 - np.exp(-np.clip(t, 0, None) / _FLASH_S))

    glow = (integral(since + exposure_s / 2) - integral(since - exposure_s / 2)) / exposure_s
    loudness = np.clip(1 + (np.asarray(thing.levels_db) + 8) / 26, 0.35, 1)
    return np.clip((glow * loudness).sum(1), 0, 1)


def _shifts(thing: Thing, times_s: Curve, x: Curve, aspect: float) -> tuple[Curve, Curve, Curve | None]:
    """Height, angle, and distance of what strikes it."""
    first, last = thing.span_s
    still = np.zeros_like(times_s)
    match thing.motion:
        case "struck":
            return still, still, _tool(thing, times_s)
        case "bouncing":
            falls_s = last - first + thing.fall_s
            return _bounce(thing, times_s), 5.0 * np.clip(times_s - first + thing.fall_s, 0, falls_s), None
        case "shaken":
            jerk = _shake(thing, times_s)
            return 0.1 + thing.radius * 0.6 * (1 + jerk), 0.5 - 0.5 * jerk, None
        case "rolling":
            wheel = thing.radius * (0.45 if thing.what == "cart" else 1.0)
            return still, (x - thing.x[0]) * 0.44 * aspect / wheel, None
        case "stepping":
            return still, _stride(thing, times_s), None
        case "spinning":
            return still, _TURNS_RAD_S * np.clip(times_s - first, 0, last - first), None
        case "calling":
            return still, -0.35 * _jerk(thing, times_s), None
    return still, still, None


def move(thing: Thing, times_s: Curve, fps: float, aspect: float) -> Motion:
    """Compute the motion of a thing.

    Args:
        thing: The thing.
        times_s: Times of the frames ``(frames,)``.
        fps: Frames per second; the exposure time is ``1 / fps``.
        aspect: Width of the frame relative to its height.
    """
    exposure_s = 1 / fps
    first, last = thing.span_s
    share = (times_s - first) / max(last - first, 1e-6)
    if thing.motion == "bouncing":
        lead = thing.fall_s / max(last - first, thing.fall_s)
        share = np.clip(share, -lead, 1)
    else:
        share = np.clip(share, 0, 1)
    x = np.clip(thing.x[0] + share * (thing.x[1] - thing.x[0]), -1, 1)
    nothing = np.zeros_like(times_s)
    lift, turn, tool = _shifts(thing, times_s, x, aspect)
    lit = nothing if thing.end_s is None else exposed(first, thing.end_s, times_s, exposure_s)
    if thing.motion in ("sustained", "rustling") and thing.end_s is not None:
        rng = np.random.default_rng(thing.key)
        tremble = rng.uniform(-1, 1, (2, len(times_s))) * lit
        x, turn = x + 0.012 * tremble[0], 0.06 * tremble[1]
    elif thing.motion == "calling":
        lit = _call(thing, times_s)
    phase = np.clip(times_s - first, 0, None if thing.is_synthetic else max(last - first, 0.4))
    flash = nothing if thing.end_s is not None else _flash(thing, times_s, exposure_s)
    return Motion(x, lift, turn, tool, flash, lit, phase)
