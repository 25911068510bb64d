"""Figures of the classes: coloured shapes, in coordinates where a figure is two units high and stands on v = 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prismaudio_studio.world.shapes import Field, box, disc, ellipse, ring, trapezoid

Colour = tuple[float, float, float]
WHITE, BLACK = (0.95, 0.95, 0.92), (0.08, 0.08, 0.1)


class Pose(NamedTuple):
    """Coordinates and state of a figure; every field broadcasts to ``(frames, rows, columns)``.

    Args:
        u: Horizontal coordinate, to the right.
        v: Vertical coordinate, downwards.
        turn: Angle in radians.
        tool: Distance of the mallet, 0 .. 1.
        flash: Brightness of the impact flash, 0 .. 1.
        lit: Share of the exposure in which it is on, 0 .. 1.
        phase: Seconds since the first onset.
        hand: Size of the mallet relative to the figure.
        variant: Number 0 .. 1 by which a figure varies its proportions and colours.
    """

    u: Field
    v: Field
    turn: Field
    tool: Field
    flash: Field
    lit: Field
    phase: Field
    hand: float
    variant: float = 0.5

    def rotated(self) -> tuple[Field, Field]:
        """Coordinates rotated by ``turn``."""
        c, s = np.cos(self.turn), np.sin(self.turn)
        return c * self.u + s * self.v, c * self.v - s * self.u


class ColouredShape(NamedTuple):
    """A coloured shape: signed distance, colour, and opacity."""

    distance: Field
    colour: Colour
    opacity: Field | float = 1.0


ColouredShapes = Iterator[ColouredShape]


def _mallet(p: Pose, head: float, colour: Colour, contact_v: float) -> ColouredShapes:
    u = (p.u - 0.15) / p.hand - 0.35 * p.tool
    v = (p.v - contact_v) / p.hand + head + 1.1 * p.tool
    yield ColouredShape(box(u - 0.45 - 0.35 * v, v + 0.35, 0.08, 0.4) * p.hand, (0.75, 0.6, 0.4))
    yield ColouredShape(disc(u, v, head) * p.hand, colour)


def sparks(p: Pose, contact_v: float, reach: float = 0.75, contact_u: float = 0.15) -> ColouredShapes:
    """A star around the point of contact, as bright as the impact flash."""
    u, v = p.u - contact_u, p.v - contact_v
    rays = np.abs(np.sin(2.5 * np.arctan2(v, u)))
    radius = np.sqrt(u * u + v * v)
    yield ColouredShape(np.maximum(radius - reach, 0.25 - radius) + 0.35 * rays, (1.0, 1.0, 0.85), p.flash)


def bell(p: Pose) -> ColouredShapes:
    """A golden bell standing on its rim."""
    gold = (0.95, 0.75, 0.1)
    yield ColouredShape(disc(p.u, p.v + 0.82, 0.16), (0.7, 0.5, 0.05))
    yield ColouredShape(np.minimum(disc(p.u, p.v + 0.2, 0.55), trapezoid(p.u, p.v - 0.35, 0.55, 1.0, 0.55)), gold)
    yield ColouredShape(box(p.u, p.v - 0.8, 1.0, 0.1), (0.65, 0.45, 0.05))
    yield ColouredShape(ellipse(p.u + 0.25, p.v, 0.1, 0.4), WHITE, 0.6 + 0.4 * p.flash)
    yield from sparks(p, -0.85)
    yield from _mallet(p, 0.28, (0.9, 0.9, 0.9), -0.85)


def woodblock(p: Pose) -> ColouredShapes:
    """A brown block with a slit."""
    yield ColouredShape(box(p.u, p.v - 0.4, 1.1, 0.6, 0.12), (0.55, 0.3, 0.12))
    yield ColouredShape(box(p.u, p.v - 0.45, 0.8, 0.11), (0.2, 0.08, 0.02))
    yield ColouredShape(box(p.u, p.v + 0.08, 1.0, 0.07), (0.8, 0.5, 0.25), 0.6 + 0.4 * p.flash)
    yield from sparks(p, -0.2)
    yield from _mallet(p, 0.26, (0.95, 0.8, 0.6), -0.2)


def glass(p: Pose) -> ColouredShapes:
    """A wine glass: bowl, stem and foot."""
    bowl = trapezoid(p.u, p.v + 0.4, 0.62, 0.4, 0.55)
    yield ColouredShape(bowl, (0.6, 0.9, 1.0), 0.55 + 0.4 * p.flash)
    yield ColouredShape(ring(bowl, 0.07), (0.8, 1.0, 1.0))
    yield ColouredShape(box(p.u, p.v - 0.5, 0.08, 0.45), (0.8, 1.0, 1.0))
    yield ColouredShape(ellipse(p.u, p.v - 0.9, 0.5, 0.12), (0.7, 0.95, 1.0))
    yield from sparks(p, -0.95)
    yield from _mallet(p, 0.22, (0.75, 0.75, 0.8), -0.95)


def drum(p: Pose) -> ColouredShapes:
    """A red drum with a white skin."""
    yield ColouredShape(box(p.u, p.v - 0.3, 1.05, 0.65, 0.1), (0.85, 0.1, 0.1))
    yield ColouredShape(box(p.u, p.v - 0.8, 1.05, 0.1), WHITE)
    yield ColouredShape(ellipse(p.u, p.v + 0.3 + 0.1 * p.flash, 1.05, 0.26), WHITE)
    yield ColouredShape(ellipse(p.u, p.v + 0.3, 0.6, 0.14), (1.0, 0.9, 0.5), p.flash)
    yield from sparks(p, -0.4, 0.6)
    yield from _mallet(p, 0.3, (0.9, 0.85, 0.7), -0.35)


def ball(p: Pose) -> ColouredShapes:
    """An orange ball with a dark seam."""
    u, v = p.rotated()
    body = disc(p.u, p.v, 1.0)
    yield ColouredShape(body, (1.0, 0.5, 0.05))
    yield ColouredShape(np.maximum(body, ring(v + 0.3 * u * u, 0.13)), (0.35, 0.12, 0.0))
    yield ColouredShape(disc(p.u + 0.35, p.v + 0.4, 0.22), WHITE, 0.7)
    yield from ground_flash(p)


def coin(p: Pose) -> ColouredShapes:
    """A spinning silver coin."""
    width = 0.12 + 0.78 * np.abs(np.cos(p.turn))
    body = ellipse(p.u, p.v - 0.1, width, 0.9)
    yield ColouredShape(body, (0.8, 0.82, 0.88))
    yield ColouredShape(ring(body + 0.22, 0.08), (0.35, 0.37, 0.45))
    yield from ground_flash(p)


def ground_flash(p: Pose) -> ColouredShapes:
    """A flat patch of light on the ground, as bright as the impact flash."""
    yield ColouredShape(ellipse(p.u, p.v - 1.0, 1.5, 0.25), (1.0, 1.0, 0.85), p.flash)


def shaker(p: Pose) -> ColouredShapes:
    """A green maraca on a stick."""
    u, v = p.rotated()
    yield ColouredShape(box(u, v - 0.6, 0.14, 0.6, 0.1), (0.85, 0.7, 0.45))
    yield ColouredShape(ellipse(u, v + 0.35, 0.55, 0.68), (0.1, 0.75, 0.2))
    yield ColouredShape(np.maximum(ellipse(u, v + 0.35, 0.55, 0.68), ring(v + 0.35, 0.12)), (0.95, 0.95, 0.3))
    yield ColouredShape(ring(ellipse(u, v + 0.35, 0.85, 0.98), 0.09), (1.0, 1.0, 0.85), p.flash)


def marble(p: Pose) -> ColouredShapes:
    """A blue marble with a white swirl."""
    u, v = p.rotated()
    body = disc(p.u, p.v, 1.0)
    yield ColouredShape(body, (0.15, 0.2, 0.95))
    yield ColouredShape(np.maximum(body + 0.1, ring(u + 0.5 * np.sin(2.2 * v), 0.2)), (0.9, 0.95, 1.0))


def cart(p: Pose) -> ColouredShapes:
    """A teal cart on two spoked wheels."""
    yield ColouredShape(box(p.u, p.v + 0.15, 1.35, 0.45, 0.06), (0.0, 0.6, 0.6))
    yield ColouredShape(box(p.u, p.v + 0.52, 1.35, 0.09), (0.7, 0.95, 0.9))
    c, s = np.cos(p.turn), np.sin(p.turn)
    for side in (-0.8, 0.8):
        wheel = disc(p.u - side, p.v - 0.55, 0.45)
        spoke = np.minimum(np.abs(c * (p.u - side) + s * (p.v - 0.55)), np.abs(c * (p.v - 0.55) - s * (p.u - side)))
        yield ColouredShape(wheel, BLACK)
        yield ColouredShape(np.maximum(wheel + 0.08, spoke - 0.09), (0.9, 0.8, 0.6))


def whistle(p: Pose) -> ColouredShapes:
    """A pink steam whistle with a jet of steam."""
    yield ColouredShape(box(p.u, p.v - 0.3, 0.32, 0.7, 0.1), (0.95, 0.35, 0.65))
    yield ColouredShape(box(p.u, p.v - 0.05, 0.34, 0.1), BLACK)
    yield ColouredShape(box(p.u, p.v - 0.88, 0.6, 0.13), (0.6, 0.15, 0.4))
    for number in range(3):
        rise = (1.6 * p.phase + number / 3) % 1.0
        puff = disc(p.u - 0.25 * np.sin(6 * rise + number), p.v + 0.55 + 0.9 * rise, 0.25 + 0.3 * rise)
        yield ColouredShape(puff, (1.0, 1.0, 1.0), p.lit * (1.0 - 0.6 * rise))


def engine(p: Pose) -> ColouredShapes:
    """A grey engine block with cooling fins, an exhaust and a red light."""
    u, v = p.rotated()
    yield ColouredShape(box(u, v - 0.35, 1.05, 0.65, 0.08), (0.4, 0.42, 0.46))
    yield ColouredShape(
        np.maximum(box(u + 0.25, v - 0.35, 0.65, 0.45), ring((u * 4) % 1.0 - 0.5, 0.22) / 4), (0.15, 0.15, 0.18)
    )
    yield ColouredShape(box(u - 0.7, v + 0.6, 0.16, 0.4), (0.3, 0.3, 0.33))
    rise = (2.5 * p.phase) % 1.0
    yield ColouredShape(
        disc(p.u - 0.7 - 0.3 * rise, p.v + 1.1 + 0.4 * rise, 0.2 + 0.25 * rise),
        (0.25, 0.25, 0.25),
        p.lit * (1 - 0.5 * rise),
    )
    yield ColouredShape(disc(u - 0.7, v - 0.3, 0.26), (0.25, 0.02, 0.02))
    yield ColouredShape(disc(u - 0.7, v - 0.3, 0.28), (1.0, 0.15, 0.1), p.lit)


def buzzer(p: Pose) -> ColouredShapes:
    """A dark box with a lamp that is lit and surrounded by rings while the buzzer is on."""
    yield ColouredShape(box(p.u, p.v - 0.55, 0.85, 0.45, 0.08), (0.25, 0.12, 0.4))
    yield ColouredShape(np.maximum(disc(p.u, p.v - 0.1, 0.55), p.v - 0.1), (0.4, 0.35, 0.1))
    yield ColouredShape(np.maximum(disc(p.u, p.v - 0.1, 0.6), p.v - 0.1), (1.0, 0.95, 0.2), p.lit)
    spread = (3.0 * p.phase) % 1.0
    arc = np.maximum(ring(disc(p.u, p.v - 0.1, 0.75 + 0.5 * spread), 0.07), p.v + 0.1)
    yield ColouredShape(arc, (1.0, 0.95, 0.3), p.lit * (1 - 0.5 * spread))


FIGURES: dict[str, Callable[[Pose], ColouredShapes]] = {
    figure.__name__: figure
    for figure in (bell, woodblock, glass, drum, ball, coin, shaker, marble, cart, whistle, engine, buzzer)
}

Frame = NDArray[np.float32]
