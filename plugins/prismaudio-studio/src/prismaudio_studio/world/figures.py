"""What each class looks like: coloured shapes in coordinates where the thing is two units high and stands on v = 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prismaudio_studio.world.shapes import Field, box, disc, ellipse, ring, trapezoid

Colour = tuple[float, float, float]
WHITE, BLACK = (0.95, 0.95, 0.92), (0.08, 0.08, 0.1)


class Pose(NamedTuple):
    """What a figure is drawn from; every field broadcasts to ``(frames, rows, columns)``.

    Args:
        u: From left to right.
        v: Downwards.
        turn: Angle in radians.
        tool: Distance of the mallet, 0 .. 1.
        flash: How much of an impact is seen, 0 .. 1.
        lit: How much it is switched on, 0 .. 1.
        phase: Seconds since it began to sound.
        hand: Size of a mallet relative to the thing.
    """

    u: Field
    v: Field
    turn: Field
    tool: Field
    flash: Field
    lit: Field
    phase: Field
    hand: float

    def rotated(self) -> tuple[Field, Field]:
        """Coordinates that turn with the thing."""
        c, s = np.cos(self.turn), np.sin(self.turn)
        return c * self.u + s * self.v, c * self.v - s * self.u


class Part(NamedTuple):
    """A coloured shape: signed distance, colour, and opacity."""

    distance: Field
    colour: Colour
    opacity: Field | float = 1.0


Parts = Iterator[Part]


def _mallet(p: Pose, head: float, colour: Colour, contact_v: float) -> Parts:
    u = (p.u - 0.15) / p.hand - 0.35 * p.tool
    v = (p.v - contact_v) / p.hand + head + 1.1 * p.tool
    yield Part(box(u - 0.45 - 0.35 * v, v + 0.35, 0.08, 0.4) * p.hand, (0.75, 0.6, 0.4))
    yield Part(disc(u, v, head) * p.hand, colour)


def _sparks(p: Pose, contact_v: float, reach: float = 0.75) -> Parts:
    u, v = p.u - 0.15, p.v - contact_v
    rays = np.abs(np.sin(2.5 * np.arctan2(v, u)))
    radius = np.sqrt(u * u + v * v)
    yield Part(np.maximum(radius - reach, 0.25 - radius) + 0.35 * rays, (1.0, 1.0, 0.85), p.flash)


def bell(p: Pose) -> Parts:
    """A golden bell that stands on its rim."""
    gold = (0.95, 0.75, 0.1)
    yield Part(disc(p.u, p.v + 0.82, 0.16), (0.7, 0.5, 0.05))
    yield Part(np.minimum(disc(p.u, p.v + 0.2, 0.55), trapezoid(p.u, p.v - 0.35, 0.55, 1.0, 0.55)), gold)
    yield Part(box(p.u, p.v - 0.8, 1.0, 0.1), (0.65, 0.45, 0.05))
    yield Part(ellipse(p.u + 0.25, p.v, 0.1, 0.4), WHITE, 0.6 + 0.4 * p.flash)
    yield from _sparks(p, -0.85)
    yield from _mallet(p, 0.28, (0.9, 0.9, 0.9), -0.85)


def woodblock(p: Pose) -> Parts:
    """A brown block with a slit."""
    yield Part(box(p.u, p.v - 0.4, 1.1, 0.6, 0.12), (0.55, 0.3, 0.12))
    yield Part(box(p.u, p.v - 0.45, 0.8, 0.11), (0.2, 0.08, 0.02))
    yield Part(box(p.u, p.v + 0.08, 1.0, 0.07), (0.8, 0.5, 0.25), 0.6 + 0.4 * p.flash)
    yield from _sparks(p, -0.2)
    yield from _mallet(p, 0.26, (0.95, 0.8, 0.6), -0.2)


def glass(p: Pose) -> Parts:
    """A wine glass: bowl, stem and foot."""
    bowl = trapezoid(p.u, p.v + 0.4, 0.62, 0.4, 0.55)
    yield Part(bowl, (0.6, 0.9, 1.0), 0.55 + 0.4 * p.flash)
    yield Part(ring(bowl, 0.07), (0.8, 1.0, 1.0))
    yield Part(box(p.u, p.v - 0.5, 0.08, 0.45), (0.8, 1.0, 1.0))
    yield Part(ellipse(p.u, p.v - 0.9, 0.5, 0.12), (0.7, 0.95, 1.0))
    yield from _sparks(p, -0.95)
    yield from _mallet(p, 0.22, (0.75, 0.75, 0.8), -0.95)


def drum(p: Pose) -> Parts:
    """A red drum with a white skin."""
    yield Part(box(p.u, p.v - 0.3, 1.05, 0.65, 0.1), (0.85, 0.1, 0.1))
    yield Part(box(p.u, p.v - 0.8, 1.05, 0.1), WHITE)
    yield Part(ellipse(p.u, p.v + 0.3 + 0.1 * p.flash, 1.05, 0.26), WHITE)
    yield Part(ellipse(p.u, p.v + 0.3, 0.6, 0.14), (1.0, 0.9, 0.5), p.flash)
    yield from _sparks(p, -0.4, 0.6)
    yield from _mallet(p, 0.3, (0.9, 0.85, 0.7), -0.35)


def ball(p: Pose) -> Parts:
    """An orange ball with a dark seam."""
    u, v = p.rotated()
    body = disc(p.u, p.v, 1.0)
    yield Part(body, (1.0, 0.5, 0.05))
    yield Part(np.maximum(body, ring(v + 0.3 * u * u, 0.13)), (0.35, 0.12, 0.0))
    yield Part(disc(p.u + 0.35, p.v + 0.4, 0.22), WHITE, 0.7)
    yield from _ground_flash(p)


def coin(p: Pose) -> Parts:
    """A silver coin that spins: now a disc, now a line."""
    width = 0.12 + 0.78 * np.abs(np.cos(p.turn))
    body = ellipse(p.u, p.v - 0.1, width, 0.9)
    yield Part(body, (0.8, 0.82, 0.88))
    yield Part(ring(body + 0.22, 0.08), (0.35, 0.37, 0.45))
    yield from _ground_flash(p)


def _ground_flash(p: Pose) -> Parts:
    yield Part(ellipse(p.u, p.v - 1.0, 1.5, 0.25), (1.0, 1.0, 0.85), p.flash)


def shaker(p: Pose) -> Parts:
    """A green maraca on a stick."""
    u, v = p.rotated()
    yield Part(box(u, v - 0.6, 0.14, 0.6, 0.1), (0.85, 0.7, 0.45))
    yield Part(ellipse(u, v + 0.35, 0.55, 0.68), (0.1, 0.75, 0.2))
    yield Part(np.maximum(ellipse(u, v + 0.35, 0.55, 0.68), ring(v + 0.35, 0.12)), (0.95, 0.95, 0.3))
    yield Part(ring(ellipse(u, v + 0.35, 0.85, 0.98), 0.09), (1.0, 1.0, 0.85), p.flash)


def marble(p: Pose) -> Parts:
    """A blue marble with a white swirl."""
    u, v = p.rotated()
    body = disc(p.u, p.v, 1.0)
    yield Part(body, (0.15, 0.2, 0.95))
    yield Part(np.maximum(body + 0.1, ring(u + 0.5 * np.sin(2.2 * v), 0.2)), (0.9, 0.95, 1.0))


def cart(p: Pose) -> Parts:
    """A teal cart on two spoked wheels."""
    yield Part(box(p.u, p.v + 0.15, 1.35, 0.45, 0.06), (0.0, 0.6, 0.6))
    yield Part(box(p.u, p.v + 0.52, 1.35, 0.09), (0.7, 0.95, 0.9))
    c, s = np.cos(p.turn), np.sin(p.turn)
    for side in (-0.8, 0.8):
        wheel = disc(p.u - side, p.v - 0.55, 0.45)
        spoke = np.minimum(np.abs(c * (p.u - side) + s * (p.v - 0.55)), np.abs(c * (p.v - 0.55) - s * (p.u - side)))
        yield Part(wheel, BLACK)
        yield Part(np.maximum(wheel + 0.08, spoke - 0.09), (0.9, 0.8, 0.6))


def whistle(p: Pose) -> Parts:
    """A pink steam whistle with a jet of steam."""
    yield Part(box(p.u, p.v - 0.3, 0.32, 0.7, 0.1), (0.95, 0.35, 0.65))
    yield Part(box(p.u, p.v - 0.05, 0.34, 0.1), BLACK)
    yield Part(box(p.u, p.v - 0.88, 0.6, 0.13), (0.6, 0.15, 0.4))
    for number in range(3):
        rise = (1.6 * p.phase + number / 3) % 1.0
        puff = disc(p.u - 0.25 * np.sin(6 * rise + number), p.v + 0.55 + 0.9 * rise, 0.25 + 0.3 * rise)
        yield Part(puff, (1.0, 1.0, 1.0), p.lit * (1.0 - 0.6 * rise))


def engine(p: Pose) -> Parts:
    """A grey engine block with cooling fins, an exhaust and a red light."""
    u, v = p.rotated()
    yield Part(box(u, v - 0.35, 1.05, 0.65, 0.08), (0.4, 0.42, 0.46))
    yield Part(np.maximum(box(u + 0.25, v - 0.35, 0.65, 0.45), ring((u * 4) % 1.0 - 0.5, 0.22) / 4), (0.15, 0.15, 0.18))
    yield Part(box(u - 0.7, v + 0.6, 0.16, 0.4), (0.3, 0.3, 0.33))
    rise = (2.5 * p.phase) % 1.0
    yield Part(
        disc(p.u - 0.7 - 0.3 * rise, p.v + 1.1 + 0.4 * rise, 0.2 + 0.25 * rise),
        (0.25, 0.25, 0.25),
        p.lit * (1 - 0.5 * rise),
    )
    yield Part(disc(u - 0.7, v - 0.3, 0.26), (0.25, 0.02, 0.02))
    yield Part(disc(u - 0.7, v - 0.3, 0.28), (1.0, 0.15, 0.1), p.lit)


def buzzer(p: Pose) -> Parts:
    """A dark box with a lamp that glows, and rings around it, while it sounds."""
    yield Part(box(p.u, p.v - 0.55, 0.85, 0.45, 0.08), (0.25, 0.12, 0.4))
    yield Part(np.maximum(disc(p.u, p.v - 0.1, 0.55), p.v - 0.1), (0.4, 0.35, 0.1))
    yield Part(np.maximum(disc(p.u, p.v - 0.1, 0.6), p.v - 0.1), (1.0, 0.95, 0.2), p.lit)
    spread = (3.0 * p.phase) % 1.0
    arc = np.maximum(ring(disc(p.u, p.v - 0.1, 0.75 + 0.5 * spread), 0.07), p.v + 0.1)
    yield Part(arc, (1.0, 0.95, 0.3), p.lit * (1 - 0.5 * spread))


FIGURES: dict[str, Callable[[Pose], Parts]] = {
    figure.__name__: figure
    for figure in (bell, woodblock, glass, drum, ball, coin, shaker, marble, cart, whistle, engine, buzzer)
}

Frame = NDArray[np.float32]
