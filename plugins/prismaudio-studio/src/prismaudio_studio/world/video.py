"""Render the video of a scene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from prismaudio_footage.families import UNKNOWN
from prismaudio_studio.world.backdrops import draw_backdrop, ground
from prismaudio_studio.world.family_figures import FAMILY_FIGURES
from prismaudio_studio.world.figures import FIGURES, ColouredShape, Pose
from prismaudio_studio.world.motion import Motion, move

if TYPE_CHECKING:
    from prismaudio_studio.world.scene import Scene, Thing

Frames = NDArray[np.float32]

_REACH = 2.2
"""Extent of a figure from its centre, in radii."""
_HAND = 0.125
"""Size of the mallet in frame heights, the same for things of all sizes."""
_ALL_FIGURES = FIGURES | FAMILY_FIGURES
_FAMILY_TINT = 0.35
"""Least random variation of the colours of figures of families."""
_SPAN = 0.44
"""Half the width of the stage relative to the width of the frame."""


def _paint(
    canvas: Frames, rows: NDArray[np.intp], columns: NDArray[np.intp], parts: list[tuple[ColouredShape, Frames]]
) -> None:
    """Blend coloured shapes with their coverage into boxes of the canvas ``(frames, 3, height, width)``."""
    frame = np.arange(len(canvas))[:, None, None]
    for channel in range(3):
        patch = canvas[frame, channel, rows, columns]
        for part, coverage in parts:
            patch += coverage * (np.float32(part.colour[channel]) - patch)
        canvas[frame, channel, rows, columns] = patch


def _draw(canvas: Frames, scene: Scene, thing: Thing, motion: Motion, jolt: NDArray[np.float64]) -> None:
    """Draw one thing into all frames, each in a box around its position."""
    _, _, height, width = canvas.shape
    zoom = scene.look.zoom
    radius = thing.radius * zoom * height
    cx = width * (0.5 + _SPAN * zoom * motion.x) + jolt[0] * height
    lowest = ground(scene.room, thing.depth)
    cy = height * (0.5 + zoom * (lowest - 0.5 - motion.lift)) - radius + jolt[1] * height
    hand = max(_HAND / thing.radius, 0.8)
    half = int(np.ceil(radius * (_REACH if motion.tool is None else 1.2 + 2.0 * hand))) + 1
    rows = np.round(cy).astype(np.intp)[:, None] + np.arange(-half, half + 1)
    columns = np.round(cx).astype(np.intp)[:, None] + np.arange(-half, half + 1)
    u = ((columns + 0.5 - cx[:, None]) / radius).astype(np.float32)[:, None, :]
    v = ((rows + 0.5 - cy[:, None]) / radius).astype(np.float32)[:, :, None]
    distance = np.ones_like(motion.x) if motion.tool is None else motion.tool
    turn, tool, flash, lit, phase = (
        curve.astype(np.float32)[:, None, None]
        for curve in (motion.turn, distance, motion.flash, motion.lit, motion.phase)
    )
    variant = 0.5
    if not thing.is_synthetic:
        rng = np.random.default_rng([thing.key, 1])
        variant, mirrored, width_factor = float(rng.random()), rng.random() < 0.5, float(rng.uniform(0.8, 1.25))
        faces_left = motion.x[-1] < motion.x[0] if thing.x[0] != thing.x[1] else mirrored
        u = u * np.float32((-1 if faces_left else 1) / width_factor)
    pose = Pose(u, v, turn, tool, flash, lit, phase, hand, variant)
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    tint = _tint(scene, thing)
    parts = []
    for part in _ALL_FIGURES.get(thing.what, FAMILY_FIGURES[UNKNOWN])(pose):
        coverage = np.clip(0.5 - part.distance * np.float32(radius), 0, 1) * part.opacity * inside
        colour = tuple(float(c) for c in np.clip((np.asarray(part.colour) * tint) * scene.look.light, 0, 1))
        parts.append((ColouredShape(part.distance, colour, part.opacity), np.asarray(coverage, np.float32)))  # type: ignore[arg-type]
    _paint(canvas, np.clip(rows, 0, height - 1)[:, :, None], np.clip(columns, 0, width - 1)[:, None, :], parts)


def _tint(scene: Scene, thing: Thing) -> NDArray[np.float64]:
    """Random colour factors ``(3,)`` of a thing, scaled by the look."""
    strength = scene.look.colours if thing.is_synthetic else max(scene.look.colours, _FAMILY_TINT)
    return 1 + strength * np.random.default_rng(thing.key).uniform(-0.6, 0.4, 3)


def _softened(frames: Frames, width: int) -> Frames:
    """Blur by two passes of a running mean in each direction."""
    for axis in (2, 3):
        for before in (width // 2, (width - 1) // 2):
            padding = [(0, 0)] * 4
            padding[axis] = (before + 1, width - before - 1)
            total = np.cumsum(np.pad(frames, padding, mode="edge"), axis=axis, dtype=np.float32)
            n = frames.shape[axis]
            difference = total.take(range(width, width + n), axis) - total.take(range(n), axis)
            frames = (difference / width).astype(np.float32)
    return frames


def _snow(shape: tuple[int, ...], rng: np.random.Generator) -> Frames:
    """Noise ``(frames, 1, height, width)``, independent per frame, with a grain of 1/48 of the height."""
    n_frames, _, height, width = shape
    grain = max(1, round(height / 48))
    rows, columns = -(-height // grain), -(-width // grain)
    n = n_frames * rows * columns
    noise = rng.standard_normal(2 * n + 1, dtype=np.float32)
    start = int(rng.integers(n))
    snow = noise[start : start + n].reshape(n_frames, 1, rows, columns)
    return snow.repeat(grain, 2).repeat(grain, 3)[:, :, :height, :width]


def _with_quality(scene: Scene, frames: Frames, rng: np.random.Generator) -> Frames:
    """Apply the visual counterpart of the sound quality: noise, overexposure, or fog."""
    if scene.quality == "noisy":
        return frames + 0.11 * _snow(frames.shape, rng)
    if scene.quality == "clipped":
        return (frames - 0.3) * 1.8 + 0.52
    if scene.quality == "muffled":
        return 0.3 + 0.5 * _softened(frames, max(2, frames.shape[2] // 24))
    return frames


def _jolt(scene: Scene, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Camera shake ``(2, frames)`` in frame heights."""
    rng = np.random.default_rng(scene.key)
    shake = sum(
        np.sin(2 * np.pi * rng.uniform(0.3, 3, (2, 1)) * times_s + rng.uniform(0, 6.28, (2, 1))) for _ in range(3)
    )
    return np.asarray(scene.look.shake / 2 * shake, np.float64).reshape(2, -1)


def render_video(scene: Scene, size: int | tuple[int, int] = 48, fps: float = 16.0) -> NDArray[np.uint8]:
    """Render the frames of a scene; frame ``i`` is at time ``i / fps``.

    Args:
        scene: The scene.
        size: Height and width in pixels, or one number for both.
        fps: Frames per second.

    Returns:
        Frames ``(time, 3, height, width)``. Things are at ``0.5 + 0.44 x`` of the width, and their azimuth is ``60 x``
        degrees. The brightness of lights is the share of the exposure in which they are on, which encodes times with
        a resolution finer than a frame.
    """
    height, width = (size, size) if isinstance(size, int) else size
    times_s = np.arange(round(scene.duration_s * fps)) / fps
    if scene.look.fps < fps:  # a lower recording rate repeats frames
        times_s = np.round(times_s * scene.look.fps) / scene.look.fps
    rng = np.random.default_rng(scene.key)
    jolt = _jolt(scene, times_s)
    backdrop = draw_backdrop(scene.room, scene.look, (height, width), rng)
    canvas = np.repeat(backdrop[None], len(times_s), 0)
    if scene.look.shake:
        canvas = _shaken(canvas, jolt)
    for thing in sorted(scene.things, key=lambda thing: thing.depth):
        _draw(canvas, scene, thing, move(thing, times_s, min(fps, scene.look.fps), width / height), jolt)
    frames = _with_quality(scene, canvas, rng)
    return (np.clip(frames, 0, 1) * 255 + 0.5).astype(np.uint8)


def _shaken(canvas: Frames, jolt: NDArray[np.float64]) -> Frames:
    """Shift the backdrop by the camera shake, in whole pixels."""
    _, _, height, width = canvas.shape
    dx, dy = np.round(jolt * height).astype(np.intp)
    rows = np.clip(np.arange(height) - dy[:, None], 0, height - 1)[:, None, :, None]
    columns = np.clip(np.arange(width) - dx[:, None], 0, width - 1)[:, None, None, :]
    frame = np.arange(len(canvas))[:, None, None, None]
    return canvas[frame, np.arange(3)[None, :, None, None], rows, columns]
