"""Figures of the families of things that sound like recordings, in the coordinates of ``figures``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from prismaudio_studio.world.figures import (
    BLACK,
    WHITE,
    Colour,
    ColouredShape,
    ColouredShapes,
    Pose,
    ground_flash,
    sparks,
)
from prismaudio_studio.world.shapes import Field, box, capsule, cluster, disc, ellipse, placed, ring, trapezoid

MOUTH: Colour = (0.75, 0.03, 0.12)
STEEL: Colour = (0.68, 0.7, 0.76)
SKIN: tuple[Colour, Colour] = ((0.45, 0.28, 0.18), (1.0, 0.8, 0.65))
WATER: Colour = (0.1, 0.4, 0.9)


def _share(p: Pose, multiple: int = 1) -> float:
    """A number 0 .. 1 from the variant; different odd multiples give numbers that hardly depend on each other."""
    return (p.variant * multiple) % 1.0 if multiple > 1 else p.variant


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    """A colour between two."""
    a, b, c = ((1 - share) * one + share * other for one, other in zip(first, second, strict=True))
    return a, b, c


def _pick(share: float, *colours: Colour) -> Colour:
    """One of several colours."""
    return colours[min(int(share * len(colours)), len(colours) - 1)]


def _running(p: Pose) -> Field:
    """Seconds since the first onset while on, 0 while off: what depends on it is still while off."""
    return np.where(p.lit > 0, p.phase, np.float32(0))


def _jaws(
    u: Field, v: Field, lit: Field, length: float, root: float, tip: float, colours: tuple[Colour, Colour]
) -> ColouredShapes:
    """Two jaws or halves of a beak to the right of the origin that open by up to 0.55 rad each."""
    angle = 0.55 * lit
    inside = np.maximum(np.abs(v) * np.cos(angle) - u * np.sin(angle), disc(u, v, 0.85 * length))
    yield ColouredShape(inside, MOUTH, np.minimum(1, 4 * lit))
    for side, colour in ((1, colours[1]), (-1, colours[0])):
        along, across = placed(u, v, (0, 0), side * angle)
        yield ColouredShape(
            trapezoid(across - side * root / 2, along - length / 2, root / 2, tip / 2, length / 2), colour
        )


def _wheels(p: Pose, first: float, spacing: float, n: int, v: float, radius: float, colour: Colour) -> ColouredShapes:
    """``n`` wheels with four spokes, rotated by ``turn``."""
    u = p.u - first - spacing * np.clip(np.round((p.u - first) / spacing), 0, n - 1)
    along, across = placed(u, p.v, (0, v), p.turn)
    wheel = disc(u, p.v - v, radius)
    yield ColouredShape(wheel, BLACK)
    yield ColouredShape(np.maximum(wheel + 0.25 * radius, np.minimum(abs(along), abs(across)) - 0.2 * radius), colour)


def _puffs(p: Pose, u: float, v: float, colour: Colour) -> ColouredShapes:
    """Two puffs of smoke that rise from a point while on."""
    for number in range(2):
        rise = (1.4 * p.phase + number / 2) % 1.0
        puff = disc(p.u - u + 0.6 * rise, p.v - v + 0.7 * rise, 0.2 + 0.3 * rise)
        yield ColouredShape(puff, colour, p.lit * (1 - 0.7 * rise))


def _sea(p: Pose, level: float) -> ColouredShapes:
    """Water up to ``level`` with waves that move while on."""
    surface = level + 0.09 * np.sin(5 * p.u - 7 * _running(p))
    yield ColouredShape(np.maximum(box(p.u, p.v - 0.5, 1.5, 0.5), surface - p.v), WATER)


def dog(p: Pose) -> ColouredShapes:
    """A dog in profile with a raised tail, a floppy or raised ear and a snout that opens."""
    coat = _pick(_share(p), (0.5, 0.26, 0.1), (0.7, 0.42, 0.15), (0.95, 0.8, 0.55), (0.95, 0.93, 0.9))
    dark = _mix(coat, BLACK, 0.5)
    length = 0.6 + 0.3 * _share(p, 3)
    yield ColouredShape(box(abs(p.u + 0.25) - 0.7 * length, p.v - 0.65, 0.15, 0.35), dark)
    yield ColouredShape(capsule(p.u, p.v, (-length, 0.1), (-length - 0.4, -0.6), 0.13), coat)
    yield ColouredShape(ellipse(p.u + 0.2, p.v - 0.2, length + 0.15, 0.36), coat)
    u, v = placed(p.u, p.v, (0.4, -0.4), p.turn)
    yield ColouredShape(disc(u - 0.05, v, 0.46), coat)
    yield from _jaws(u - 0.15, v - 0.08, p.lit, 0.85, 0.36, 0.26, (coat, dark))
    yield ColouredShape(ellipse(u + 0.22, v + 0.45 - 0.65 * _share(p, 7), 0.17, 0.42), dark)
    yield ColouredShape(disc(u - 0.22, v + 0.17, 0.1), BLACK)


def cat(p: Pose) -> ColouredShapes:
    """A sitting cat from the front with pointed ears and a mouth that opens."""
    coat = _pick(_share(p), (0.5, 0.33, 0.22), (0.95, 0.55, 0.15), (0.92, 0.9, 0.88), (0.6, 0.62, 0.68))
    tail = 0.7 + 0.35 * _share(p, 3)
    yield ColouredShape(ring(np.maximum(disc(p.u - tail, p.v - 0.35, 0.45), 0.2 - p.u), 0.1), coat)
    yield ColouredShape(trapezoid(p.u, p.v - 0.45, 0.35, 0.7, 0.55), coat)
    yield ColouredShape(ellipse(p.u, p.v - 0.65, 0.3, 0.35), _mix(coat, WHITE, 0.8))
    u, v = placed(p.u, p.v, (0, 0), p.turn)
    height = 0.25 + 0.15 * _share(p, 7)
    yield ColouredShape(
        np.minimum(ellipse(u, v + 0.4, 0.7, 0.52), trapezoid(abs(u) - 0.45, v + 0.75, 0.02, 0.26, height)), coat
    )
    yield ColouredShape(disc(abs(u) - 0.3, v + 0.5, 0.13), (0.7, 1.0, 0.2))
    yield ColouredShape(ellipse(u, v + 0.14, 0.14 + 0.2 * p.lit, 0.05 + 0.28 * p.lit), MOUTH)


def rooster(p: Pose) -> ColouredShapes:
    """A rooster with a red comb, dark tail feathers and a beak that opens."""
    body = _pick(_share(p), (0.95, 0.92, 0.85), (0.75, 0.3, 0.05), (0.95, 0.65, 0.2), (0.55, 0.12, 0.1))
    tail = 0.55 + 0.25 * _share(p, 3)
    yield ColouredShape(box(abs(p.u + 0.1) - 0.2, p.v - 0.75, 0.07, 0.25), (0.95, 0.75, 0.1))
    feathers = ring(ellipse(p.u + 1.0, p.v - 0.2, 0.35, tail), 0.22)
    yield ColouredShape(np.maximum(feathers, p.v - 0.3), (0.05, 0.42, 0.3))
    yield ColouredShape(ellipse(p.u + 0.15, p.v - 0.2, 0.72, 0.42), body)
    u, v = placed(p.u, p.v, (0.3, 0.1), p.turn)
    yield ColouredShape(cluster(u, v, (0.0, -1.15, 0.2), (0.25, -1.2, 0.22), (0.4, -0.5, 0.18)), (0.95, 0.05, 0.05))
    yield ColouredShape(np.minimum(capsule(u, v, (0, 0), (0.15, -0.75), 0.26), disc(u - 0.18, v + 0.8, 0.33)), body)
    yield from _jaws(u - 0.4, v + 0.8, p.lit, 0.7, 0.28, 0.02, ((1.0, 0.75, 0.1), (0.9, 0.6, 0.05)))
    yield ColouredShape(disc(u - 0.27, v + 0.88, 0.09), BLACK)


def bird(p: Pose) -> ColouredShapes:
    """A round songbird on a branch with a beak that opens."""
    colour = _pick(_share(p), (0.1, 0.45, 0.95), (0.95, 0.2, 0.2), (1.0, 0.85, 0.2), (0.45, 0.3, 0.2))
    yield ColouredShape(capsule(p.u, p.v, (-1.3, 0.95), (1.3, 0.8), 0.12), (0.35, 0.2, 0.08))
    tail = 1.2 + 0.4 * _share(p, 3)
    yield ColouredShape(capsule(p.u, p.v, (-0.4, 0.3), (-tail, 0.75), 0.15), _mix(colour, BLACK, 0.4))
    yield ColouredShape(ellipse(p.u + 0.1, p.v - 0.15, 0.72, 0.58 + 0.08 * _share(p, 7)), colour)
    yield ColouredShape(ellipse(p.u - 0.2, p.v - 0.35, 0.35, 0.35), WHITE)
    u, v = placed(p.u, p.v, (0.25, -0.3), p.turn)
    yield ColouredShape(disc(u - 0.1, v + 0.15, 0.45), colour)
    yield from _jaws(u - 0.4, v + 0.12, p.lit, 0.7, 0.26, 0.02, ((1.0, 0.8, 0.1), (0.9, 0.6, 0.0)))
    yield ColouredShape(disc(u - 0.22, v + 0.28, 0.11), BLACK)


def duck(p: Pose) -> ColouredShapes:
    """A duck on water with a flat bill that opens."""
    body = _pick(_share(p), (1.0, 0.88, 0.2), (0.6, 0.5, 0.42), (0.95, 0.95, 0.93), (0.5, 0.3, 0.18))
    head = _pick(_share(p), (1.0, 0.92, 0.35), (0.0, 0.45, 0.25), (0.95, 0.95, 0.93), (0.15, 0.35, 0.75))
    tail = 0.2 + 0.8 * _share(p, 3)
    yield ColouredShape(capsule(p.u, p.v, (-0.6, 0.3), (-1.0, -tail / 2), 0.2), body)
    yield ColouredShape(np.maximum(ellipse(p.u + 0.15, p.v - 0.3, 1.0, 0.42 + 0.3 * _share(p, 7)), 0.1 - p.v), body)
    u, v = placed(p.u, p.v, (0.4, 0.2), p.turn)
    yield ColouredShape(np.minimum(capsule(u, v, (0, 0), (0.05, -0.7), 0.22), disc(u - 0.1, v + 0.8, 0.38)), head)
    yield from _jaws(u - 0.35, v + 0.75, p.lit, 0.7, 0.17, 0.2, ((1.0, 0.5, 0.0), (0.85, 0.4, 0.0)))
    yield ColouredShape(disc(u - 0.2, v + 0.9, 0.1), BLACK)
    yield ColouredShape(box(p.u, p.v - 0.82, 1.35, 0.18), WATER)


def frog(p: Pose) -> ColouredShapes:
    """A frog from the front with eyes on top, a wide mouth and a throat that swells."""
    green = _mix((0.1, 0.5, 0.1), (0.55, 0.85, 0.1), _share(p))
    width = 0.95 + 0.2 * _share(p, 3)
    yield ColouredShape(ellipse(abs(p.u) - 0.95, p.v - 0.65, 0.4, 0.35), _mix(green, BLACK, 0.35))
    yield ColouredShape(ellipse(p.u, p.v - 0.5, 0.8, 0.5), green)
    yield ColouredShape(ellipse(p.u, p.v - 0.55, 0.35 + 0.3 * p.lit, 0.25 + 0.25 * p.lit), (0.95, 0.95, 0.6))
    u, v = placed(p.u, p.v, (0, 0.2), p.turn)
    yield ColouredShape(np.minimum(ellipse(u, v + 0.15, width, 0.45), disc(abs(u) - 0.5, v + 0.62, 0.3)), green)
    yield ColouredShape(disc(abs(u) - 0.5, v + 0.65, 0.17 + 0.05 * _share(p, 7)), (1.0, 0.95, 0.4))
    yield ColouredShape(disc(abs(u) - 0.5, v + 0.65, 0.09), BLACK)
    yield ColouredShape(ellipse(u, v, 0.75, 0.05 + 0.24 * p.lit), MOUTH)


def horse(p: Pose) -> ColouredShapes:
    """A horse in profile with long legs, a long neck, a mane and a mouth that opens."""
    coat = _pick(_share(p), (0.45, 0.2, 0.07), (0.65, 0.35, 0.12), (0.92, 0.9, 0.88), (0.5, 0.42, 0.4))
    mane = _pick(_share(p, 3), (0.25, 0.12, 0.08), (0.9, 0.75, 0.45))
    yield ColouredShape(box(abs(abs(p.u + 0.4) - 0.45) - 0.12, p.v - 0.65, 0.09, 0.4), coat)
    yield ColouredShape(capsule(p.u, p.v, (-1.1, 0.05), (-1.3, 0.7), 0.14), mane)
    yield ColouredShape(ellipse(p.u + 0.4, p.v - 0.1, 0.8, 0.35 + 0.08 * _share(p, 7)), coat)
    u, v = placed(p.u, p.v, (0.1, 0.0), 0.6 * p.turn)
    yield ColouredShape(capsule(u, v, (-0.1, -0.2), (0.4, -1.15), 0.22), mane)
    yield ColouredShape(capsule(u, v, (0.05, 0.05), (0.55, -0.95), 0.26), coat)
    u, v = placed(u, v, (0.55, -0.95), 0.5 + 0.6 * p.turn)
    yield from _jaws(u + 0.1, v, p.lit, 1.0, 0.28, 0.18, (coat, _mix(coat, BLACK, 0.3)))
    yield ColouredShape(disc(u - 0.1, v + 0.12, 0.09), BLACK)


def cow(p: Pose) -> ColouredShapes:
    """A spotted cow with horns and a pink muzzle that opens."""
    spots = _pick(_share(p), BLACK, (0.6, 0.25, 0.08), (0.8, 0.5, 0.2))
    yield ColouredShape(box(abs(p.u + 0.35) - 0.65, p.v - 0.7, 0.14, 0.3), WHITE)
    body = box(p.u + 0.35, p.v - 0.05, 0.95, 0.45, 0.2)
    yield ColouredShape(body, WHITE)
    shift = 0.3 * _share(p, 3)
    patches = cluster(p.u, p.v, (-1.1 + shift, -0.25, 0.35), (-0.4 + shift, 0.15, 0.4), (0.4, -0.3, 0.3))
    yield ColouredShape(np.maximum(body, patches), spots)
    u, v = placed(p.u, p.v, (0.6, -0.35), p.turn)
    tip = (0.4 + 0.2 * _share(p, 7), -0.85)
    yield ColouredShape(capsule(abs(u - 0.05), v, (0.2, -0.35), tip, 0.1), (0.95, 0.85, 0.5))
    yield ColouredShape(box(u - 0.05, v, 0.36, 0.42, 0.15), spots)
    yield from _jaws(u - 0.1, v - 0.15, p.lit, 0.75, 0.34, 0.3, ((1.0, 0.6, 0.65), (0.9, 0.45, 0.5)))
    yield ColouredShape(disc(u - 0.15, v + 0.22, 0.1), WHITE)


def sheep(p: Pose) -> ColouredShapes:
    """A woolly sheep with a dark face and a mouth that opens."""
    face = _mix((0.28, 0.24, 0.28), (0.5, 0.4, 0.35), _share(p))
    wool = _mix((1.0, 1.0, 1.0), (0.9, 0.8, 0.6), _share(p, 3))
    yield ColouredShape(box(abs(p.u + 0.25) - 0.45, p.v - 0.75, 0.11, 0.25), face)
    size = 0.4 + 0.1 * _share(p, 7)
    yield ColouredShape(
        cluster(
            p.u, p.v, (-0.9, 0.1, size), (-0.5, -0.25, size), (0.05, -0.25, size), (-0.45, 0.35, 0.5), (0.2, 0.2, 0.4)
        ),
        wool,
    )
    u, v = placed(p.u, p.v, (0.5, -0.3), p.turn)
    yield ColouredShape(ellipse(u + 0.12, v - 0.05, 0.3, 0.14), face)
    yield ColouredShape(disc(u - 0.15, v, 0.34), face)
    yield from _jaws(u - 0.15, v - 0.1, p.lit, 0.9, 0.34, 0.28, (face, _mix(face, WHITE, 0.2)))
    yield ColouredShape(cluster(u, v, (0.0, -0.32, 0.28), (0.25, -0.35, 0.2)), wool)
    yield ColouredShape(disc(u - 0.28, v + 0.05, 0.09), WHITE)


def pig(p: Pose) -> ColouredShapes:
    """A round pink pig with a curled tail and a blunt snout that opens."""
    pink = _pick(_share(p), (1.0, 0.65, 0.7), (0.95, 0.45, 0.5), (1.0, 0.8, 0.78), (0.85, 0.5, 0.6))
    dark = _mix(pink, BLACK, 0.35)
    length = 0.65 + 0.4 * _share(p, 3)
    yield ColouredShape(box(abs(p.u + 0.25) - 0.45, p.v - 0.75, 0.15, 0.25), dark)
    yield ColouredShape(ring(disc(p.u + 0.35 + length, p.v + 0.05, 0.17), 0.07), dark)
    yield ColouredShape(ellipse(p.u + 0.25, p.v - 0.2, length, 0.55), pink)
    u, v = placed(p.u, p.v, (0.4, 0.0), p.turn)
    yield ColouredShape(disc(u - 0.05, v, 0.5), pink)
    yield from _jaws(u - 0.3, v - 0.1, p.lit, 0.65, 0.34, 0.3, (pink, dark))
    nose, across = placed(u, v, (0.3, 0.1), -0.55 * p.lit)
    yield ColouredShape(ellipse(nose - 0.66, across + 0.16, 0.1, 0.24), dark)
    yield ColouredShape(trapezoid(u + 0.15, v + 0.42, 0.3, 0.02, 0.15 + 0.15 * _share(p, 7)), dark)
    yield ColouredShape(disc(u - 0.2, v + 0.15, 0.09), BLACK)


def baby(p: Pose) -> ColouredShapes:
    """A baby with a big head, a romper and a mouth that cries with tears."""
    skin = _mix(*SKIN, 0.25 + 0.75 * _share(p))
    romper = _pick(_share(p, 3), (0.4, 0.75, 1.0), (1.0, 0.95, 0.35), (1.0, 0.6, 0.75))
    yield ColouredShape(capsule(abs(p.u), p.v, (0.2, 0.45), (0.85, 0.25 - 0.5 * _share(p, 7)), 0.17), skin)
    yield ColouredShape(ellipse(p.u, p.v - 0.6, 0.55, 0.42), romper)
    u, v = placed(p.u, p.v, (0, 0.2), p.turn)
    yield ColouredShape(np.minimum(disc(u, v + 0.55, 0.7), disc(abs(u) - 0.7, v + 0.5, 0.17)), skin)
    yield ColouredShape(ring(np.maximum(disc(u - 0.1, v + 1.2, 0.2), u - 0.15), 0.08), (0.3, 0.15, 0.05))
    yield ColouredShape(disc(abs(u) - 0.28, v + 0.68, 0.1), BLACK)
    yield ColouredShape(ellipse(u, v + 0.25, 0.14 + 0.2 * p.lit, 0.05 + 0.24 * p.lit), MOUTH)
    yield ColouredShape(ellipse(abs(u) - 0.5, v + 0.4 - 0.2 * p.lit, 0.1, 0.22), (0.5, 0.85, 1.0), p.lit)


def sneeze(p: Pose) -> ColouredShapes:
    """A person in profile with a big nose whose head jerks forwards and sprays."""
    skin = _mix(*SKIN, _share(p))
    hair = _mix(BLACK, (0.85, 0.6, 0.2), _share(p, 3))
    shirt = _pick(_share(p, 7), (0.6, 0.1, 0.6), (0.1, 0.6, 0.4), (0.9, 0.85, 0.2))
    yield ColouredShape(np.maximum(ellipse(p.u + 0.2, p.v - 1.0, 0.85, 0.6), p.v - 1.0), shirt)
    u, v = placed(p.u, p.v, (-0.2, 0.4), -1.2 * p.turn)
    spread = 0.35 + 0.5 * np.sqrt(np.maximum(p.lit, 0))
    spray = cluster(u - 0.4 - spread, abs(v + 0.3), (0.0, 0.0, 0.15), (0.2, 0.35, 0.17), (0.55, 0.15, 0.15))
    yield ColouredShape(spray, (0.8, 0.95, 1.0), np.minimum(1, 2 * p.lit))
    yield ColouredShape(ellipse(u + 0.12, v + 0.65, 0.64, 0.68), hair)
    yield ColouredShape(np.minimum(ellipse(u - 0.08, v + 0.5, 0.5, 0.58), box(u, v - 0.05, 0.22, 0.2)), skin)
    yield ColouredShape(ellipse(u - 0.62, v + 0.45, 0.24, 0.17), (0.95, 0.35, 0.3))
    yield ColouredShape(capsule(u, v, (0.2, -0.68), (0.45, -0.62), 0.06), BLACK)
    yield ColouredShape(ellipse(u - 0.38, v + 0.1, 0.14, 0.05 + 0.12 * p.lit), MOUTH)


def horn(p: Pose) -> ColouredShapes:
    """A signal horn with a rubber bulb, and rings in front of it while it sounds."""
    colour = _pick(_share(p), (0.8, 0.83, 0.88), (0.95, 0.7, 0.1), (0.85, 0.1, 0.1), (0.1, 0.5, 0.75))
    flare = 0.45 + 0.35 * _share(p, 3)
    yield ColouredShape(box(p.u + 0.3, p.v - 0.55, 0.1, 0.45), STEEL)
    yield ColouredShape(ellipse(p.u + 1.05 + 0.1 * p.lit, p.v, 0.42 - 0.1 * p.lit, 0.36), (0.42, 0.25, 0.22))
    yield ColouredShape(trapezoid(p.v, p.u + 0.05, 0.1, flare, 0.7), colour)
    yield ColouredShape(ellipse(p.u - 0.65, p.v, 0.16, flare), _mix(colour, BLACK, 0.5))
    for number in range(2):
        spread = (2.0 * p.phase + number / 2) % 1.0
        arc = ring(disc(p.u - 0.4, p.v, 0.5 + 0.8 * spread), 0.08)
        yield ColouredShape(np.maximum(arc, abs(p.v) - 0.9 * (p.u - 0.4)), (1.0, 0.95, 0.3), p.lit * (1 - 0.6 * spread))


def thunder(p: Pose) -> ColouredShapes:
    """A dark cloud with a lightning bolt."""
    cloud = _pick(_share(p), (0.38, 0.36, 0.52), (0.36, 0.38, 0.42), (0.32, 0.28, 0.38))
    hill = _pick(_share(p, 3), (0.15, 0.4, 0.15), (0.45, 0.33, 0.18), (0.25, 0.35, 0.5))
    yield ColouredShape(np.maximum(ellipse(p.u, p.v - 1.0, 1.2, 0.35), p.v - 1.0), hill)
    shift = 0.5 * _share(p, 3) - 0.25
    bolt = np.minimum(
        np.minimum(
            capsule(p.u, p.v, (shift, -0.3), (shift - 0.3, 0.3), 0.14),
            capsule(p.u, p.v, (shift - 0.3, 0.3), (shift + 0.25, 0.3), 0.12),
        ),
        capsule(p.u, p.v, (shift + 0.25, 0.3), (shift - 0.1, 1.0), 0.08),
    )
    yield ColouredShape(bolt - 0.25 * p.lit, (1.0, 1.0, 0.9), 0.6 * p.lit)
    yield ColouredShape(bolt, (1.0, 0.95, 0.1), np.clip(2 * p.lit, 0, 1))
    size = 0.4 + 0.2 * _share(p, 7)
    discs = ((-0.85, -0.4, 0.42), (-0.3 + shift, -0.65, size), (0.35 + shift, -0.6, size), (0.9, -0.4, 0.4))
    edge = np.minimum(cluster(p.u, p.v, *discs), box(p.u, p.v + 0.3, 1.0, 0.3, 0.1))
    yield ColouredShape(edge, cloud)
    yield ColouredShape(edge, (0.85, 0.8, 1.0), 0.75 * p.lit)


def footstep(p: Pose) -> ColouredShapes:
    """Two walking legs with shoes, and a flash on the ground at each step."""
    trousers = _pick(_share(p), (0.2, 0.25, 0.6), (0.25, 0.45, 0.9), (0.85, 0.75, 0.5), (0.5, 0.5, 0.54))
    shoe = _pick(_share(p, 3), (0.75, 0.1, 0.05), (0.95, 0.95, 0.95), (0.5, 0.28, 0.1))
    width = 0.17 + 0.07 * _share(p, 7)
    yield from ground_flash(p)
    for side, shade in ((1, 0.45), (-1, 0.0)):
        u, v = placed(p.u, p.v, (0.22 * side, -0.9), side * p.turn)
        yield ColouredShape(capsule(u, v, (0, 0), (0, 1.5), width), _mix(trousers, BLACK, shade))
        yield ColouredShape(np.maximum(ellipse(u - 0.2, v - 1.82, 0.46, 0.34), v - 1.85), _mix(shoe, BLACK, shade))
    yield ColouredShape(box(p.u, p.v + 0.95, 0.5, 0.15, 0.08), _mix(trousers, BLACK, 0.3))


def hand_clap(p: Pose) -> ColouredShapes:
    """Two hands with sleeves that meet."""
    skin = _mix(*SKIN, _share(p))
    sleeve = _pick(_share(p, 3), (0.9, 0.2, 0.2), (0.2, 0.3, 0.9), WHITE)
    u, v = placed(abs(p.u), p.v, (0.17 + 0.65 * p.tool, -0.05), 0.45 * p.tool - 0.1)
    yield ColouredShape(capsule(u, v, (0.1, 0.3), (0.45, 0.75), 0.24), sleeve)
    yield ColouredShape(ellipse(u, v, 0.22, 0.42), skin)
    length = 0.75 + 0.2 * _share(p, 7)
    yield ColouredShape(capsule(u, v, (0, 0), (-0.03, -length), 0.17), skin)
    yield ColouredShape(capsule(u, v, (0.1, 0), (0.42, -0.35), 0.11), skin)
    yield from sparks(p, -0.6, 1.0, 0.0)


def finger_snap(p: Pose) -> ColouredShapes:
    """A raised hand with two fingers that meet above the fist."""
    skin = _mix(*SKIN, _share(p))
    sleeve = _pick(_share(p, 3), (0.1, 0.6, 0.5), (0.95, 0.5, 0.1), (0.3, 0.2, 0.6))
    width = 0.15 + 0.06 * _share(p, 7)
    yield ColouredShape(trapezoid(p.u, p.v - 0.75, 0.42, 0.65, 0.25), sleeve)
    yield ColouredShape(box(p.u, p.v - 0.5, 0.26, 0.25), skin)
    yield ColouredShape(box(p.u, p.v - 0.1, 0.52, 0.36, 0.2), skin)
    for side, lean in ((1, 0.75), (-1, 0.55)):
        u, v = placed(p.u, p.v, (0.36 * side, 0.0), side * (lean * p.tool - 0.36))
        yield ColouredShape(capsule(u, v, (0, 0), (0, -0.85), width), _mix(skin, BLACK, 0.25 * (side > 0)))
    knuckles = np.maximum(box(p.u, p.v - 0.15, 0.3, 0.12), abs((6 * p.u) % 1.0 - 0.5) / 6 - 0.03)
    yield ColouredShape(knuckles, _mix(skin, BLACK, 0.5))
    yield from sparks(p, -0.9, 0.95, 0.0)


def knife(p: Pose) -> ColouredShapes:
    """A kitchen knife that chops a vegetable on a board."""
    vegetable = _pick(_share(p), (1.0, 0.5, 0.05), (0.3, 0.75, 0.15), (0.9, 0.15, 0.1))
    height = 0.18 + 0.16 * _share(p, 3)
    yield ColouredShape(
        box(p.u, p.v - 0.85, 1.4, 0.15, 0.05), _pick(_share(p, 3), (0.9, 0.7, 0.4), (0.45, 0.25, 0.1), (0.9, 0.92, 0.9))
    )
    yield ColouredShape(trapezoid(p.v - 0.5, p.u + 0.55, 0.1, 0.28, 0.65), vegetable)
    u, v = placed(p.u, p.v, (-0.7, 0.7 - 0.6 * p.tool), -0.45 * p.tool)
    yield ColouredShape(np.maximum(box(u - 0.65, v + height, 0.8, height), -u - v - 0.4), (0.85, 0.88, 0.95))
    yield ColouredShape(box(u - 1.75, v + 1.5 * height, 0.38, 0.14, 0.08), _mix(BLACK, (0.5, 0.1, 0.1), _share(p, 7)))
    yield from sparks(p, 0.7, 1.0, 0.0)


def hammer(p: Pose) -> ColouredShapes:
    """A hammer that swings onto a nail in a wooden beam."""
    wood = _pick(_share(p), (0.85, 0.62, 0.32), (0.5, 0.28, 0.12), (0.95, 0.85, 0.65))
    size = 0.32 + 0.2 * _share(p, 3)
    yield ColouredShape(box(p.u, p.v - 0.78, 1.3, 0.22), wood)
    yield ColouredShape(box(p.u - 0.5, p.v - 0.45, 0.07, 0.2), (0.75, 0.75, 0.8))
    u, v = placed(p.u, p.v, (-1.2, 0.3 - size), -0.85 * p.tool)
    yield ColouredShape(
        capsule(u, v, (0, 0), (1.7, 0), 0.1), _pick(_share(p, 7), (0.95, 0.8, 0.2), (0.9, 0.2, 0.15), (0.2, 0.5, 0.85))
    )
    yield ColouredShape(box(u - 1.7, v, 0.26, size, 0.05), _pick(_share(p, 3), (0.45, 0.47, 0.53), (0.8, 0.83, 0.88)))
    yield from sparks(p, 0.35, 0.7, 0.5)


def metal_bar(p: Pose) -> ColouredShapes:
    """A stick that strikes a metal bar hanging in a frame."""
    frame = _pick(_share(p), (0.6, 0.1, 0.1), (0.2, 0.35, 0.8), (0.55, 0.55, 0.6), (0.55, 0.35, 0.15))
    length = 0.6 + 0.4 * _share(p, 3)
    yield ColouredShape(np.minimum(box(abs(p.u) - 1.2, p.v - 0.1, 0.09, 0.9), box(p.u, p.v + 0.8, 1.29, 0.09)), frame)
    u, v = placed(p.u, p.v, (0, 0.3), 0.15 * p.flash)
    yield ColouredShape(box(abs(u) - 0.55, v + 0.5, 0.04, 0.55), WHITE)
    yield ColouredShape(
        box(u, v, length, 0.13 + 0.14 * _share(p, 7)),
        _pick(_share(p, 7), (0.7, 0.85, 0.95), (1.0, 0.8, 0.3), (0.85, 0.5, 0.3)),
    )
    yield ColouredShape(box(u, v, length, 0.1), (1.0, 1.0, 1.0), p.flash)
    yield from sparks(p, 0.15, 0.65, 0.1)
    u, v = placed(p.u, p.v, (0.1, 0.02 - 0.5 * p.tool), -0.4 * p.tool)
    yield ColouredShape(capsule(u, v, (0, 0), (1.2, -0.5), 0.09), (0.9, 0.7, 0.4))
    yield ColouredShape(disc(u, v, 0.18), (0.95, 0.2, 0.1))


def drum_kit(p: Pose) -> ColouredShapes:
    """A drum kit: bass drum, two toms, a cymbal, and two sticks."""
    shell = _pick(_share(p), (0.1, 0.25, 0.9), (0.95, 0.55, 0.1), (0.6, 0.15, 0.6), (0.1, 0.6, 0.3))
    size = 0.55 + 0.1 * _share(p, 3)
    yield ColouredShape(capsule(p.u, p.v, (-1.15, -0.7), (-0.95, 1.0), 0.06), (0.7, 0.7, 0.75))
    tilt_u, tilt_v = placed(p.u, p.v, (-1.1, -0.75), -0.15 - 0.4 * p.flash)
    yield ColouredShape(ellipse(tilt_u, tilt_v, 0.55, 0.12), (1.0, 0.85, 0.2))
    bass = disc(p.u, p.v - 0.4, size)
    yield ColouredShape(bass, shell)
    yield ColouredShape(bass + 0.14, _mix(WHITE, (0.2, 0.2, 0.22), float(_share(p, 7) > 0.5)))
    yield ColouredShape(box(abs(p.u) - 0.4, p.v + 0.4, 0.33, 0.22), shell)
    yield ColouredShape(ellipse(abs(p.u) - 0.4, p.v + 0.62, 0.34, 0.1), WHITE)
    yield from sparks(p, -0.65, 0.7, 0.4)
    u, v = placed(p.u, p.v, (0.4, -0.7), -0.6 * p.tool)
    yield ColouredShape(capsule(u, v + 0.35 * p.tool, (0, 0), (1.1, -0.35), 0.08), (0.95, 0.75, 0.45))


def tabla(p: Pose) -> ColouredShapes:
    """Two round drums with black spots on their skins, and a hand."""
    bowl = _pick(_share(p), (0.8, 0.8, 0.86), (0.85, 0.55, 0.15), (0.5, 0.12, 0.12))
    size = 0.5 + 0.2 * _share(p, 3)
    yield ColouredShape(np.maximum(ellipse(p.u + 0.65, p.v - 0.3, size, 0.7), -0.05 - p.v), bowl)
    yield ColouredShape(
        trapezoid(p.u - 0.65, p.v - 0.45, 0.42, 0.58, 0.5),
        _pick(_share(p, 5), (0.5, 0.22, 0.08), (0.75, 0.45, 0.2), (0.55, 0.2, 0.3)),
    )
    right = p.u > 0
    u = np.where(right, p.u - 0.65, p.u + 0.65)
    v = p.v + 0.02
    wide = np.where(right, np.float32(0.5), np.float32(size))
    yield ColouredShape(ellipse(u, v, wide, 0.2 + 0.06 * p.flash), (1.0, 0.95, 0.8))
    yield ColouredShape(ellipse(u, v, 0.45 * wide, 0.09), BLACK)
    yield from sparks(p, -0.1, 0.6, 0.65)
    skin = _mix(*SKIN, _share(p, 7))
    u, v = placed(p.u, p.v, (0.6, -0.12 - 0.75 * p.tool), 0.35 * p.tool)
    yield ColouredShape(np.minimum(ellipse(u, v, 0.42, 0.14), capsule(u, v, (0.2, 0), (0.9, -0.45), 0.15)), skin)


def guitar(p: Pose) -> ColouredShapes:
    """A guitar with a hand that strums its strings."""
    wood = _pick(_share(p), (0.92, 0.65, 0.3), (0.65, 0.12, 0.08), (0.1, 0.4, 0.7), (0.5, 0.28, 0.1))
    waist = 0.42 + 0.1 * _share(p, 3)
    u, v = placed(p.u, p.v, (-0.1, 0.05), -0.5)
    yield ColouredShape(box(u - 0.9, v, 0.85, 0.1), (0.55, 0.33, 0.15))
    yield ColouredShape(box(u - 1.75, v, 0.2, 0.18, 0.05), (0.55, 0.33, 0.15))
    yield ColouredShape(cluster(u, v, (-0.55, 0.0, 0.68), (0.15, 0.0, waist)), wood)
    yield ColouredShape(disc(u + 0.05, v, 0.24), (0.1, 0.05, 0.03))
    yield ColouredShape(box(u - 0.35, v, 1.2, 0.04 + 0.08 * p.flash), (1.0, 1.0, 0.8))
    yield from sparks(p, 0.15, 0.6, -0.25)
    skin = _mix(*SKIN, _share(p, 7))
    u, v = placed(p.u, p.v, (-0.25, 0.1 - 0.7 * p.tool), 0.3 * p.tool)
    yield ColouredShape(np.minimum(disc(u, v, 0.22), capsule(u, v, (0, 0), (-0.75, -0.75), 0.15)), skin)


def keyboard(p: Pose) -> ColouredShapes:
    """White and black keys, and a finger that presses one."""
    case = _pick(_share(p), (0.3, 0.3, 0.34), (0.5, 0.2, 0.1), (0.75, 0.1, 0.15))
    spacing = 0.45 + 0.15 * _share(p, 3)
    yield ColouredShape(box(p.u, p.v - 0.45, 1.5, 0.55, 0.08), case)
    keys = box(p.u, p.v - 0.45, 1.38, 0.43)
    yield ColouredShape(keys, (1.0, 1.0, 1.0))
    gap = 0.5 * spacing - abs(p.u - spacing * np.round(p.u / spacing))
    yield ColouredShape(np.maximum(keys, np.minimum(gap - 0.03, np.maximum(gap - 0.13, p.v - 0.45))), BLACK)
    yield ColouredShape(box(p.u, p.v - 0.45, spacing, 0.43), (1.0, 0.6, 0.1), p.flash)
    skin = _mix(*SKIN, _share(p, 7))
    v = p.v - 0.6 + 1.0 * p.tool
    yield ColouredShape(
        np.minimum(capsule(p.u, v, (0, 0), (0.1, -0.6), 0.16), box(p.u - 0.25, v + 0.9, 0.4, 0.3, 0.15)), skin
    )


def door(p: Pose) -> ColouredShapes:
    """A door that slams shut in its frame."""
    colour = _pick(_share(p), (0.55, 0.3, 0.12), (0.15, 0.45, 0.3), (0.7, 0.12, 0.12), (0.25, 0.5, 0.8))
    half = 0.55 + 0.15 * _share(p, 3)
    angle = 1.25 * p.tool
    width = 2 * half * np.cos(angle)
    lean = (p.u + half) * 0.25 * np.tan(np.minimum(angle, 1.2)) / (2 * half)
    yield ColouredShape(box(p.u, p.v + 0.15, half + 0.35, 1.15), (1.0, 1.0, 0.8), p.flash)
    yield ColouredShape(box(p.u, p.v + 0.07, half + 0.14, 1.05), (0.92, 0.9, 0.85))
    yield ColouredShape(box(p.u, p.v, half, 0.98), (0.05, 0.04, 0.08))
    leaf = np.maximum(abs(p.u + half - width / 2) - width / 2, abs(p.v) - 0.88 - np.clip(lean, 0, 0.15))
    yield ColouredShape(leaf, colour)
    panels = abs(abs(p.v) - 0.45) - 0.3
    yield ColouredShape(np.maximum(leaf + 0.16, panels), _mix(colour, BLACK, 0.2 + 0.4 * _share(p, 7)))
    yield ColouredShape(disc(p.u + half - 0.87 * width, p.v - 0.1, 0.1), (1.0, 0.85, 0.2))


def splash(p: Pose) -> ColouredShapes:
    """A drop that falls into water, and a crown where it hits."""
    water = _pick(_share(p), (0.05, 0.3, 0.8), (0.05, 0.6, 0.65), (0.2, 0.38, 0.6))
    size = 0.18 + 0.14 * _share(p, 3)
    drop_v = p.v - 0.35 + 1.5 * p.tool
    tip = trapezoid(p.u, drop_v + 1.3 * size, 0.01, 0.8 * size, size)
    yield ColouredShape(np.minimum(disc(p.u, drop_v, size), tip), (0.55, 0.85, 1.0))
    u = abs(p.u)
    crown = np.minimum(
        capsule(u, p.v, (0.2, 0.6), (0.65, -0.35 - 0.3 * _share(p, 7)), 0.13),
        capsule(u, p.v, (0.1, 0.6), (1.1, 0.0), 0.1),
    )
    yield ColouredShape(crown, (0.85, 0.97, 1.0), p.flash)
    yield ColouredShape(ellipse(p.u, p.v - 0.68, 1.1 + 0.4 * _share(p, 5), 0.32), water)
    yield ColouredShape(
        ring(ellipse(p.u, p.v - 0.62, 0.4 + 0.4 * p.flash, 0.1 + 0.08 * p.flash), 0.06), WHITE, 0.3 + 0.7 * p.flash
    )


def insect(p: Pose) -> ColouredShapes:
    """A flying striped insect with beating wings."""
    time = _running(p)
    body = _pick(_share(p), (1.0, 0.8, 0.05), (0.95, 0.45, 0.05), (0.3, 0.75, 0.35))
    length = 0.5 + 0.35 * _share(p, 3)
    u, v = p.u, p.v - 0.1 * np.sin(13 * time)
    beat = 0.75 * np.sin(29 * time)
    for lean in (-0.35, 0.35):
        a, b = placed(u, v, (0, 0), lean + (beat if lean > 0 else -beat))
        yield ColouredShape(ellipse(a, b + 0.72, 0.26, 0.55 + 0.2 * _share(p, 7)), (0.8, 0.92, 1.0), 0.8)
    shape = ellipse(u + 0.1, v - 0.15, length + 0.1, 0.42)
    yield ColouredShape(shape, body)
    yield ColouredShape(np.maximum(shape, abs((u * 2.2) % 1.0 - 0.5) / 2.2 - 0.11), BLACK)
    yield ColouredShape(disc(u - length - 0.05, v - 0.1, 0.3), BLACK)
    yield ColouredShape(disc(u - length - 0.12, v - 0.02, 0.1), (1.0, 0.2, 0.1))


def clock(p: Pose) -> ColouredShapes:
    """A clock with a ticking hand and a pendulum."""
    case = _pick(_share(p), (0.4, 0.18, 0.06), (0.1, 0.35, 0.6), (0.85, 0.15, 0.15), (0.45, 0.45, 0.5))
    time = _running(p)
    u, v = placed(p.u, p.v, (0, -0.2), 0.4 * np.sin(2 * np.pi * time))
    yield ColouredShape(box(u, v - 0.55, 0.05, 0.5), (0.6, 0.5, 0.2))
    yield ColouredShape(disc(u, v - 0.95, 0.2 + 0.06 * _share(p, 3)), (1.0, 0.8, 0.2))
    face = disc(p.u, p.v + 0.3, 0.72)
    square = box(p.u, p.v + 0.3, 0.76, 0.76, 0.1)
    yield ColouredShape(square if _share(p, 7) > 0.6 else face, case)
    yield ColouredShape(face + 0.13, _pick(_share(p, 3), (1.0, 1.0, 0.95), (1.0, 0.88, 0.6)))
    u, v = placed(p.u, p.v, (0, -0.3), 2.1 + 2 * np.pi * _share(p, 5))
    yield ColouredShape(capsule(u, v, (0, 0), (0, -0.32), 0.08), BLACK)
    u, v = placed(p.u, p.v, (0, -0.3), np.pi / 6 * np.floor(2 * time))
    yield ColouredShape(capsule(u, v, (0, 0.1), (0, -0.5), 0.06), (0.85, 0.05, 0.05))


def power_tool(p: Pose) -> ColouredShapes:
    """A chainsaw with a moving chain."""
    colour = _pick(_share(p), (1.0, 0.4, 0.0), (0.95, 0.8, 0.05), (0.8, 0.1, 0.1), (0.15, 0.6, 0.25))
    time = _running(p)
    length = 1.0 + 0.55 * _share(p, 3)
    shake = 0.05 * np.sin(37 * time)
    u, v = p.u + 0.1, p.v + shake
    blade = capsule(u, v, (0.0, 0.5), (length, 0.5), 0.24)
    teeth = abs((2.2 * u - 3.7 * np.sign(0.5 - v) * time) % 1.0 - 0.5) - 0.25
    yield ColouredShape(np.maximum(blade - 0.12, teeth / 2.2), BLACK)
    yield ColouredShape(blade, (0.8, 0.82, 0.88))
    yield ColouredShape(ring(box(u + 0.65, v + 0.1, 0.4 + 0.2 * _share(p, 5), 0.4, 0.2), 0.1), (0.5, 0.5, 0.55))
    yield ColouredShape(box(u + 0.6, v - 0.5, 0.75, 0.42, 0.12), colour)
    yield ColouredShape(disc(u + 0.6, v - 0.5, 0.15 + 0.1 * _share(p, 7)), (0.2, 0.2, 0.2))


def jackhammer(p: Pose) -> ColouredShapes:
    """A jackhammer that shakes on broken ground."""
    colour = _pick(_share(p), (1.0, 0.85, 0.0), (0.2, 0.45, 0.9), (0.95, 0.35, 0.1), (0.2, 0.6, 0.25))
    time = _running(p)
    width = 0.22 + 0.22 * _share(p, 3)
    v = p.v - 0.14 * np.sin(41 * time)
    yield ColouredShape(ellipse(p.u, p.v - 0.9, 0.6 + 0.12 * np.sin(23 * time), 0.3), (0.8, 0.75, 0.65), p.lit)
    yield ColouredShape(box(p.u, v - 0.5, 0.09, 0.45), (0.8, 0.82, 0.88))
    yield ColouredShape(trapezoid(p.u, v - 0.25, width, 0.14, 0.2), STEEL)
    yield ColouredShape(box(p.u, v + 0.4, width, 0.5, 0.06), colour)
    yield ColouredShape(box(p.u, v + 0.95, 0.5 + 0.35 * _share(p, 7), 0.12, 0.1), STEEL)
    yield ColouredShape(box(p.u, p.v - 0.95, 1.2, 0.1), (0.5, 0.42, 0.36))


def helicopter(p: Pose) -> ColouredShapes:
    """A helicopter with a turning rotor."""
    colour = _pick(_share(p), (0.85, 0.12, 0.1), (0.35, 0.5, 0.2), (0.95, 0.8, 0.1), (0.15, 0.3, 0.75))
    length = 1.2 + 0.3 * _share(p, 3)
    yield ColouredShape(capsule(p.u, p.v, (-0.1, 0.1), (-length, -0.1), 0.11), colour)
    yield ColouredShape(box(p.u + length, p.v + 0.1, 0.1, 0.1 + 0.35 * abs(np.sin(p.turn))), WHITE)
    yield ColouredShape(
        np.minimum(box(p.u - 0.3, p.v - 0.9, 0.75, 0.07), box(abs(p.u - 0.3) - 0.35, p.v - 0.7, 0.05, 0.2)), STEEL
    )
    yield ColouredShape(ellipse(p.u - 0.3, p.v - 0.15, 0.72, 0.48 + 0.08 * _share(p, 7)), colour)
    yield ColouredShape(np.maximum(ellipse(p.u - 0.35, p.v - 0.1, 0.6, 0.38), 0.45 - p.u), (0.6, 0.9, 1.0))
    yield ColouredShape(box(p.u - 0.25, p.v + 0.5, 0.07, 0.2), STEEL)
    yield ColouredShape(box(p.u - 0.25, p.v + 0.72, 0.15 + 1.25 * abs(np.cos(p.turn)), 0.08), (0.88, 0.9, 0.94))


def fan(p: Pose) -> ColouredShapes:
    """A fan on a stand with three turning blades."""
    blade = _pick(_share(p), (0.2, 0.6, 0.95), (0.95, 0.4, 0.6), (0.95, 0.95, 0.95), (0.4, 0.85, 0.5))
    cage = disc(p.u, p.v + 0.3, 0.75 + 0.1 * _share(p, 3))
    yield ColouredShape(box(p.u, p.v - 0.65, 0.1, 0.35), (0.7, 0.7, 0.75))
    yield ColouredShape(box(p.u, p.v - 0.92, 0.3 + 0.3 * _share(p, 7), 0.09), (0.7, 0.7, 0.75))
    yield ColouredShape(cage, (0.12, 0.12, 0.16))
    angle = np.arctan2(p.v + 0.3, p.u) - p.turn
    yield ColouredShape(disc(p.u, p.v + 0.3, 0.72 * abs(np.cos(1.5 * angle))), blade)
    yield ColouredShape(ring(cage, 0.07), (0.85, 0.85, 0.9))
    yield ColouredShape(disc(p.u, p.v + 0.3, 0.14), WHITE)


def car(p: Pose) -> ColouredShapes:
    """A car with turning wheels."""
    colour = _pick(_share(p), (0.85, 0.1, 0.1), (0.15, 0.3, 0.85), (1.0, 0.8, 0.1), (0.93, 0.93, 0.95))
    roof = 0.4 + 0.3 * _share(p, 3)
    height = 0.3 + 0.1 * _share(p, 7)
    yield ColouredShape(trapezoid(p.u + 0.15, p.v + 0.05, roof, roof + 0.4, height), colour)
    yield ColouredShape(trapezoid(p.u + 0.15, p.v + 0.02, roof - 0.08, roof + 0.2, height - 0.1), (0.7, 0.92, 1.0))
    yield ColouredShape(box(p.u + 0.1, p.v + 0.05, 0.06, height), colour)
    yield ColouredShape(box(p.u, p.v - 0.45, 1.45, 0.27, 0.15), colour)
    yield ColouredShape(disc(p.u - 1.3, p.v - 0.4, 0.13), (1.0, 1.0, 0.6))
    yield from _wheels(p, -0.8, 1.6, 2, 0.68, 0.34, (0.85, 0.85, 0.9))


def train(p: Pose) -> ColouredShapes:
    """A steam locomotive with turning wheels."""
    colour = _pick(_share(p), (0.35, 0.35, 0.4), (0.05, 0.45, 0.25), (0.15, 0.3, 0.75), (0.55, 0.12, 0.12))
    yield ColouredShape(box(p.u - 0.35, p.v + 0.1, 0.95, 0.35, 0.1), colour)
    chimney = 0.7 + 0.45 * _share(p, 3)
    yield ColouredShape(trapezoid(p.u - 0.95, p.v + 0.45 * chimney + 0.3, 0.28, 0.15, 0.3), _mix(colour, BLACK, 0.4))
    yield ColouredShape(box(p.u + 0.85, p.v + 0.1, 0.35 + 0.15 * _share(p, 7), 0.65), colour)
    yield ColouredShape(box(p.u + 0.85, p.v + 0.35, 0.25, 0.2), (1.0, 0.9, 0.4))
    trim = _pick(_share(p, 5), (0.9, 0.1, 0.1), (0.95, 0.7, 0.1))
    yield ColouredShape(np.minimum(box(p.u, p.v - 0.4, 1.4, 0.13), box(p.u + 0.85, p.v + 0.8, 0.6, 0.1)), trim)
    yield from _wheels(p, -0.82, 0.82, 3, 0.62, 0.37, trim)
    yield from _puffs(p, 0.95, -0.95, (0.95, 0.95, 0.95))


def airplane(p: Pose) -> ColouredShapes:
    """An airplane with a turning propeller."""
    spin = p.turn + 9 * _running(p)
    colour = _pick(_share(p), (0.95, 0.95, 0.97), (1.0, 0.82, 0.1), (0.75, 0.8, 0.9))
    stripe = _pick(_share(p, 3), (0.85, 0.1, 0.1), (0.2, 0.35, 0.9), (0.05, 0.5, 0.3))
    yield ColouredShape(capsule(p.u, p.v, (-1.0, 0.1), (-1.3, -0.6), 0.2), stripe)
    yield ColouredShape(ellipse(p.u, p.v - 0.1, 1.35, 0.34), colour)
    yield ColouredShape(np.maximum(ellipse(p.u - 0.35, p.v + 0.15, 0.4, 0.26), p.v + 0.1), (0.35, 0.65, 0.85))
    yield ColouredShape(capsule(p.u, p.v, (0.2, 0.2), (-0.45 - 0.3 * _share(p, 7), 0.75), 0.17), stripe)
    yield ColouredShape(box(p.u - 1.42, p.v - 0.1, 0.1, 0.12 + 0.78 * abs(np.cos(spin))), (0.95, 0.93, 0.75))


def boat(p: Pose) -> ColouredShapes:
    """A steamboat that rocks on moving water."""
    hull = _pick(_share(p), (0.75, 0.1, 0.1), (0.42, 0.25, 0.5), (0.1, 0.45, 0.25), (0.9, 0.9, 0.92))
    time = _running(p)
    u, v = placed(p.u, p.v, (0, 0.6), 0.1 * np.sin(5 * time))
    yield ColouredShape(
        box(u + 0.25, v + 1.15, 0.17, 0.2 + 0.3 * _share(p, 3)),
        _pick(_share(p, 5), (1.0, 0.55, 0.1), (0.8, 0.2, 0.2), (0.9, 0.9, 0.3)),
    )
    yield ColouredShape(
        box(u + 0.1, v + 0.55, 0.45 + 0.4 * _share(p, 7), 0.3, 0.05), _pick(_share(p, 3), WHITE, (0.95, 0.8, 0.5))
    )
    yield ColouredShape(
        np.maximum(box(u + 0.1, v + 0.6, 0.45, 0.12), abs((3 * u) % 1.0 - 0.5) / 3 - 0.1), (0.2, 0.35, 0.5)
    )
    yield ColouredShape(trapezoid(u, v - 0.02, 1.3, 0.85, 0.32), hull)
    yield from _puffs(p, -0.25, -0.95, (0.7, 0.7, 0.72))
    yield from _sea(p, 0.72)


def rain(p: Pose) -> ColouredShapes:
    """A cloud, an umbrella, and streaks that fall while it rains."""
    umbrella = _pick(_share(p), (0.95, 0.1, 0.3), (1.0, 0.8, 0.0), (0.55, 0.15, 0.7), (0.1, 0.65, 0.3))
    column = np.round(3 * p.u)
    along = (p.v - 2.6 * p.phase + 0.37 * column) % 0.75 - 0.375
    streak = box(p.u - column / 3, along, 0.07, 0.2)
    yield ColouredShape(np.maximum(streak, box(p.u, p.v - 0.2, 1.25, 0.8)), (0.3, 0.6, 1.0), p.lit)
    size = 0.36 + 0.1 * _share(p, 3)
    yield ColouredShape(
        cluster(p.u, p.v, (-0.75, -0.7, size), (0.0, -0.85, 0.45), (0.75, -0.7, size)), (0.75, 0.8, 0.86)
    )
    yield ColouredShape(box(p.u, p.v - 0.6, 0.06, 0.4), STEEL)
    canopy = disc(p.u, p.v - 0.45, 0.65 + 0.15 * _share(p, 7))
    yield ColouredShape(np.maximum(canopy, p.v - 0.4), umbrella)


def wave(p: Pose) -> ColouredShapes:
    """A sea whose foaming waves roll onto a beach."""
    water = _pick(_share(p), (0.0, 0.35, 0.75), (0.0, 0.6, 0.6), (0.2, 0.32, 0.5))
    time = _running(p)
    u = (2.2 + 0.8 * _share(p, 3)) * p.u
    rolling = np.cos(u - 4 * time) + 0.4 * np.cos(2 * (u - 4 * time) - 0.8)
    surface = p.v - 0.2 + 0.3 * _share(p, 5) + (0.08 + 0.38 * p.lit) * rolling
    frame = box(p.u, p.v, 1.5, 1.0, 0.3)
    yield ColouredShape(np.maximum(frame, -surface), water)
    foam = 0.12 + 0.08 * _share(p, 7)
    yield ColouredShape(np.maximum(frame, abs(surface) - foam), WHITE)
    yield ColouredShape(np.maximum(frame, np.maximum(-surface, abs(surface - 0.5) - 0.06)), _mix(water, WHITE, 0.6))
    yield ColouredShape(np.maximum(frame, 0.75 - p.v), (0.95, 0.85, 0.55))


def stream(p: Pose) -> ColouredShapes:
    """A stream that winds through a meadow."""
    meadow = _pick(_share(p), (0.2, 0.55, 0.1), (0.65, 0.65, 0.2), (0.45, 0.3, 0.15))
    time = _running(p)
    ground = box(p.u, p.v, 1.2, 1.0, 0.4)
    middle = p.u - 0.35 * np.sin((2.2 + _share(p, 3)) * p.v + 0.5)
    width = 0.42 + 0.16 * p.v
    yield ColouredShape(ground, meadow)
    yield ColouredShape(np.maximum(ground, abs(middle) - width), (0.2, 0.55, 1.0))
    for side in (-1, 1):
        along = (p.v - 1.3 * time + 0.2 * side) % 0.8 - 0.4
        dash = box(middle - 0.45 * side * width, along, 0.07, 0.2)
        yield ColouredShape(np.maximum(ground, dash), WHITE)
    size = 0.2 + 0.12 * _share(p, 7)
    yield ColouredShape(cluster(p.u, p.v, (-0.95, 0.45, size), (0.95, -0.3, size)), (0.5, 0.5, 0.52))


def fire(p: Pose) -> ColouredShapes:
    """A fire on two logs with flickering flames."""
    outer = _pick(_share(p), (1.0, 0.2, 0.0), (1.0, 0.5, 0.0), (0.85, 0.1, 0.2))
    time = _running(p)
    rise = np.clip((0.9 - p.v) / 2, 0, 1)
    u = p.u + 0.4 * rise * np.sin(4 * p.v + 11 * time)
    height = 0.9 + 0.2 * _share(p, 5) + 0.5 * p.lit + 0.25 * p.lit * np.sin(17 * time)
    for scale, colour in ((1.0, outer), (0.6, (1.0, 0.9, 0.2))):
        v = (p.v - 0.75) / (scale * height)
        width = scale * (0.6 + 0.4 * _share(p, 3)) * np.clip(1 + v, 0, 1) ** 0.7
        yield ColouredShape(np.maximum(abs(u) - width, abs(v + 0.45) * scale * height - 0.55 * scale * height), colour)
    log = _pick(_share(p, 3), (0.42, 0.25, 0.12), (0.35, 0.33, 0.33), (0.5, 0.3, 0.15))
    tilt = 0.05 + 0.35 * _share(p, 7)
    yield ColouredShape(capsule(p.u, p.v, (-0.95, 0.85), (0.95, 0.85 - tilt), 0.18), log)
    yield ColouredShape(capsule(p.u, p.v, (-0.95, 0.85 - tilt), (0.95, 0.85), 0.18), _mix(log, WHITE, 0.2))


def wind(p: Pose) -> ColouredShapes:
    """A tree that bends and trembles, and streaks of air."""
    leaves = _pick(_share(p), (0.05, 0.4, 0.15), (0.6, 0.75, 0.1), (0.9, 0.45, 0.1), (0.75, 0.3, 0.4))
    time = _running(p)
    rise = np.clip((1 - p.v) / 2, 0, 1.1)
    bend = p.lit * (0.7 + 0.3 * np.sin(9 * time))
    u = p.u + 0.2 - bend * rise**2
    yield ColouredShape(box(u, p.v - 0.4, 0.13, 0.6), (0.4, 0.22, 0.1))
    size = 0.35 + 0.25 * _share(p, 3)
    tall = 0.4 * _share(p, 7)
    v = p.v + 0.06 * p.lit * np.sin(8 * p.u + 21 * time)
    yield ColouredShape(cluster(u, v, (-0.35, -0.3, size), (0.35, -0.3, size), (0.0, -0.65 - tall, 0.45)), leaves)
    along = (p.u - 2.5 * time + 2 * p.v) % 1.8 - 0.9
    streaks = np.minimum(box(along, p.v + 0.85, 0.5, 0.07), box(along, p.v - 0.35, 0.5, 0.07))
    yield ColouredShape(np.maximum(streaks, abs(p.u) - 1.6), (0.9, 0.95, 1.0), p.lit)


def rustle(p: Pose) -> ColouredShapes:
    """A heap of leaves that jerk at impacts and tremble while it rustles."""
    first = _pick(_share(p), (0.9, 0.35, 0.05), (0.35, 0.6, 0.1), (0.65, 0.1, 0.1))
    second = _pick(_share(p, 3), (0.95, 0.75, 0.1), (0.55, 0.3, 0.1), (0.5, 0.8, 0.2))
    time = _running(p)
    yield ColouredShape(
        np.maximum(ellipse(p.u, p.v - 1.0, 1.3, 0.55 + 0.4 * _share(p, 5)), p.v - 1.0), (0.3, 0.2, 0.08)
    )
    length = 0.36 + 0.22 * _share(p, 7)
    for number, (place_u, place_v) in enumerate(((-0.8, 0.6), (0.75, 0.6), (-0.35, 0.25), (0.4, 0.2), (0.0, 0.65))):
        jerk = p.flash * (0.35 + 0.1 * number) + 0.15 * p.lit * (1 + np.sin((17 + 3 * number) * time + number))
        u, v = placed(p.u, p.v, (place_u * (1 + 0.3 * p.flash), place_v - jerk), number + 0.8 * jerk)
        yield ColouredShape(ellipse(u, v, length, 0.22), first if number % 2 else second)


FAMILY_FIGURES: dict[str, Callable[[Pose], ColouredShapes]] = {
    figure.__name__.replace("_", " "): figure
    for figure in (
        *(dog, cat, rooster, bird, duck, frog, horse, cow, sheep, pig, baby, sneeze, horn, thunder),
        *(footstep, hand_clap, finger_snap, knife, hammer, metal_bar, drum_kit, tabla, guitar, keyboard, door, splash),
        *(insect, clock, power_tool, jackhammer, helicopter, fan, car, train, airplane, boat),
        *(rain, wave, stream, fire, wind, rustle),
    )
}
