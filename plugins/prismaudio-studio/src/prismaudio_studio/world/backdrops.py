"""What is behind the things: the room that is heard is seen."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray

from prismaudio_studio.world.looks import Look

Frame = NDArray[np.float32]

_HORIZON = {"dry": 0.78, "room": 0.62, "hall": 0.56}


def _turned(colour: tuple[float, float, float], look: Look) -> NDArray[np.float32]:
    hue, lightness, saturation = colorsys.rgb_to_hls(*colour)
    return np.asarray(colorsys.hls_to_rgb((hue + look.hue) % 1.0, lightness, saturation), np.float32)


def _grain(look: Look, size: tuple[int, int], rng: np.random.Generator) -> Frame:
    """A texture without direction or with stripes, mean 0."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    texture = np.zeros(size, np.float32)
    for _ in range(5):
        frequency, angle = rng.uniform(3, 30), rng.uniform(0, np.pi)
        wave = np.sin(2 * np.pi * frequency * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 6.28))
        texture += rng.uniform(0.2, 1) * wave
    return (0.035 * look.texture * texture).astype(np.float32)


def _dry(x: Frame, y: Frame, look: Look) -> Frame:
    """Dark quilted padding right behind the things."""
    frame = np.broadcast_to(_turned((0.13, 0.14, 0.2), look)[:, None, None], (3, *y.shape)).copy()
    quilt = np.minimum(np.abs((x * 7) % 1 - 0.5), np.abs((y * 7) % 1 - 0.5)) * 2
    frame += 0.05 * np.clip(quilt * 3, 0, 1) - 0.03
    frame[:, y > _HORIZON["dry"]] *= 0.55
    return frame


def _room(x: Frame, y: Frame, look: Look) -> Frame:
    """A light wall with corners and a skirting board, and a striped floor."""
    middle = x.max() / 2
    side = np.abs(x - middle) / middle
    corner = 0.72
    horizon = _HORIZON["room"] + np.clip(side - corner, 0, 1) * 0.7
    wall, floor = _turned((0.42, 0.5, 0.44), look), _turned((0.3, 0.25, 0.28), look)
    shade = np.where(side > corner, 0.8, 1.0)
    frame = wall[:, None, None] * shade
    frame = np.where(y > horizon - 0.05, np.float32(0.7), frame)
    return np.where(y > horizon, floor[:, None, None] * (0.9 + 0.2 * (np.sin(x * 50) > 0)), frame)


def _hall(x: Frame, y: Frame, look: Look) -> Frame:
    """Columns that grow smaller towards a far bright wall, under a bright ceiling."""
    middle = x.max() / 2
    p, q = (x - middle) / middle, (y - 0.42) / 0.42
    depth = np.maximum(np.maximum(np.abs(p), np.where(q < 0, -q, q * 0.55)), 0.16)
    stone = _turned((0.5, 0.55, 0.68), look)
    frame = stone[:, None, None] * (0.55 + 0.25 * depth)
    columns = (np.sin(9.0 / depth) > 0.1) & (np.abs(p) >= np.abs(q) * 0.999) & (depth > 0.17)
    frame = np.where(columns, stone[:, None, None] * 0.42, frame)
    frame = np.where((q < 0) & (-q > np.abs(p)) & (depth > 0.17), np.float32(0.6) + 0.12 * depth, frame)
    floor = (q > 0) & (q * 0.55 >= np.abs(p) * 0.55) & (y > 0.5)
    frame = np.where(floor, stone[:, None, None] * (0.35 + 0.12 * (np.sin(9.0 / depth) > 0)), frame)
    return np.where(depth <= 0.17, np.float32(0.82), frame)


_DRAWN = {"dry": _dry, "room": _room, "hall": _hall}


def ground(room: str, depth: float) -> float:
    """Where things of a depth stand, in frame heights from the top."""
    return 0.84 + 0.1 * depth if room == "dry" else 0.8 + 0.14 * depth


def _furnish(frame: Frame, x: Frame, y: Frame, floor: float, rng: np.random.Generator) -> None:
    """Draw a silent box or post that stands on the floor."""
    middle, width, height = rng.uniform(0, x.max()), rng.uniform(0.03, 0.12), rng.uniform(0.08, 0.35)
    lowest = floor + rng.uniform(-0.06, 0.04)
    covered = (np.abs(x - middle) < width) & (y < lowest) & (y > lowest - height)
    frame[:, covered] = rng.uniform(0.1, 0.6, (3, 1)) * (1 - 0.3 * ((y[covered] * 23) % 1 > 0.7))


def draw_backdrop(room: str, look: Look, size: tuple[int, int], rng: np.random.Generator) -> Frame:
    """The empty set ``(3, height, width)``, 0 .. 1."""
    y, x = (np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32) + 0.5) / size[0]
    frame = _DRAWN[room](x, y, look).astype(np.float32)
    if look.texture:
        frame = frame + _grain(look, size, rng)
    for _ in range(look.clutter):
        _furnish(frame, x, y, ground(room, 0.0), rng)
    slope = 1 + look.slope * (x / x.max() - 0.5)
    return np.asarray(frame * slope * look.light, np.float32)
