"""The frame of a scene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from prismaudio_studio.world.backdrops import draw_backdrop, ground
from prismaudio_studio.world.figures import FIGURES, Part, Pose
from prismaudio_studio.world.motion import Motion, move

if TYPE_CHECKING:
    from prismaudio_studio.world.scene import Scene, Thing

Frames = NDArray[np.float32]

_REACH = 2.2
"""How far a figure extends from its middle, in radii."""
_HAND = 0.125
"""Size of the hand that holds the mallet, in frame heights: small things are struck by the same mallets."""
_SPAN = 0.44
"""Half the width of the stage relative to the width of the frame."""


def _paint(canvas: Frames, rows: NDArray[np.intp], columns: NDArray[np.intp], parts: list[tuple[Part, Frames]]) -> None:
    """Lay coloured shapes of given coverage over boxes of the canvas ``(frames, 3, height, width)``."""
    frame = np.arange(len(canvas))[:, None, None]
    for channel in range(3):
        patch = canvas[frame, channel, rows, columns]
        for part, coverage in parts:
            patch += coverage * (np.float32(part.colour[channel]) - patch)
        canvas[frame, channel, rows, columns] = patch


def _draw(canvas: Frames, scene: Scene, thing: Thing, motion: Motion, jolt: NDArray[np.float64]) -> None:
    """Draw one thing into all frames, each in a box around where it is."""
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
    still = np.ones_like(motion.x)
    away = still if motion.tool is None else motion.tool
    turn, tool, flash, lit, phase = (
        curve.astype(np.float32)[:, None, None] for curve in (motion.turn, away, motion.flash, motion.lit, motion.phase)
    )
    pose = Pose(u, v, turn, tool, flash, lit, phase, hand)
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    stray = _stray(scene, thing)
    parts = []
    for part in FIGURES[thing.what](pose):
        coverage = np.clip(0.5 - part.distance * np.float32(radius), 0, 1) * part.opacity * inside
        colour = tuple(float(c) for c in np.clip((np.asarray(part.colour) * stray) * scene.look.light, 0, 1))
        parts.append((Part(part.distance, colour, part.opacity), np.asarray(coverage, np.float32)))  # type: ignore[arg-type]
    _paint(canvas, np.clip(rows, 0, height - 1)[:, :, None], np.clip(columns, 0, width - 1)[:, None, :], parts)


def _stray(scene: Scene, thing: Thing) -> NDArray[np.float64]:
    """Factors on the colours of a thing, where the look lets them stray."""
    return 1 + scene.look.colours * np.random.default_rng(thing.key).uniform(-0.6, 0.4, 3)


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
    """Noise ``(frames, 1, height, width)``, new in each frame, its grain as coarse as a small frame's."""
    n_frames, _, height, width = shape
    grain = max(1, round(height / 48))
    rows, columns = -(-height // grain), -(-width // grain)
    n = n_frames * rows * columns
    noise = rng.standard_normal(2 * n + 1, dtype=np.float32)
    start = int(rng.integers(n))
    snow = noise[start : start + n].reshape(n_frames, 1, rows, columns)
    return snow.repeat(grain, 2).repeat(grain, 3)[:, :, :height, :width]


def _filmed(scene: Scene, frames: Frames, rng: np.random.Generator) -> Frames:
    """The recorder's flaws are seen as they are heard: snow, burnt-out whites, or fog."""
    if scene.quality == "noisy":
        return frames + 0.11 * _snow(frames.shape, rng)
    if scene.quality == "clipped":
        return (frames - 0.3) * 1.8 + 0.52
    if scene.quality == "muffled":
        return 0.3 + 0.5 * _softened(frames, max(2, frames.shape[2] // 24))
    return frames


def _jolt(scene: Scene, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shake of the camera ``(2, frames)`` in frame heights."""
    rng = np.random.default_rng(scene.key)
    shake = sum(
        np.sin(2 * np.pi * rng.uniform(0.3, 3, (2, 1)) * times_s + rng.uniform(0, 6.28, (2, 1))) for _ in range(3)
    )
    return np.asarray(scene.look.shake / 2 * shake, np.float64).reshape(2, -1)


def render_video(scene: Scene, size: int | tuple[int, int] = 48, fps: float = 16.0) -> NDArray[np.uint8]:
    """The frames of a scene; frame ``i`` shows the time ``i / fps``.

    Args:
        scene: What happens.
        size: Height and width in pixels, or one number for both.
        fps: Frames per second.

    Returns:
        Frames ``(time, 3, height, width)``. Things stand at ``0.5 + 0.44 x`` of the width, and their azimuth is
        ``60 x`` degrees; what is switched on is lit for its share of the exposure, so that times can be read more
        finely than one frame.
    """
    height, width = (size, size) if isinstance(size, int) else size
    times_s = np.arange(round(scene.duration_s * fps)) / fps
    if scene.look.fps < fps:  # filmed at a lower rate, so some frames repeat
        times_s = np.round(times_s * scene.look.fps) / scene.look.fps
    rng = np.random.default_rng(scene.key)
    jolt = _jolt(scene, times_s)
    backdrop = draw_backdrop(scene.room, scene.look, (height, width), rng)
    canvas = np.repeat(backdrop[None], len(times_s), 0)
    if scene.look.shake:
        canvas = _shaken(canvas, jolt)
    for thing in sorted(scene.things, key=lambda thing: thing.depth):
        _draw(canvas, scene, thing, move(thing, times_s, min(fps, scene.look.fps), width / height), jolt)
    frames = _filmed(scene, canvas, rng)
    return (np.clip(frames, 0, 1) * 255 + 0.5).astype(np.uint8)


def _shaken(canvas: Frames, jolt: NDArray[np.float64]) -> Frames:
    """The backdrop moved with the camera, by whole pixels."""
    _, _, height, width = canvas.shape
    dx, dy = np.round(jolt * height).astype(np.intp)
    rows = np.clip(np.arange(height) - dy[:, None], 0, height - 1)[:, None, :, None]
    columns = np.clip(np.arange(width) - dx[:, None], 0, width - 1)[:, None, None, :]
    frame = np.arange(len(canvas))[:, None, None, None]
    return canvas[frame, np.arange(3)[None, :, None, None], rows, columns]
