"""Signed distance functions of 2D shapes: negative inside, in the unit of the coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]


def disc(u: Field, v: Field, radius: Field | float) -> Field:
    """A circle around the origin."""
    return np.sqrt(u * u + v * v) - radius


def ellipse(u: Field, v: Field, a: Field | float, b: Field | float) -> Field:
    """An ellipse around the origin; distances are accurate near its edge."""
    a, b = np.maximum(a, 0.02), np.maximum(b, 0.02)
    scaled = np.sqrt((u / a) ** 2 + (v / b) ** 2)
    gradient = np.sqrt((u / a**2) ** 2 + (v / b**2) ** 2) / np.maximum(scaled, 1e-3)
    return (scaled - 1) / np.maximum(gradient, 1e-3)


def box(u: Field, v: Field, half_width: Field | float, half_height: Field | float, corner: float = 0.0) -> Field:
    """A rectangle around the origin with rounded corners."""
    p, q = np.abs(u) - (half_width - corner), np.abs(v) - (half_height - corner)
    return np.hypot(np.maximum(p, 0), np.maximum(q, 0)) + np.minimum(np.maximum(p, q), 0) - corner


def trapezoid(u: Field, v: Field, top: float, bottom: float, half_height: float) -> Field:
    """A symmetric trapezoid around the origin with half widths ``top`` and ``bottom``."""
    share = (v + half_height) / (2 * half_height)
    edge = top + (bottom - top) * share
    slant = (bottom - top) / (2 * half_height)
    return np.maximum((np.abs(u) - edge) / np.sqrt(1 + slant**2), np.abs(v) - half_height)


def capsule(u: Field, v: Field, begin: tuple[float, float], end: tuple[float, float], half_width: float) -> Field:
    """A line with round ends from ``begin`` to ``end``."""
    du, dv = end[0] - begin[0], end[1] - begin[1]
    share = np.clip(((u - begin[0]) * du + (v - begin[1]) * dv) / (du * du + dv * dv), 0, 1)
    return np.hypot(u - begin[0] - share * du, v - begin[1] - share * dv) - half_width


def cluster(u: Field, v: Field, *discs: tuple[float, float, float]) -> Field:
    """The union of discs ``(u, v, radius)``."""
    distance = disc(u - discs[0][0], v - discs[0][1], discs[0][2])
    for centre_u, centre_v, radius in discs[1:]:
        distance = np.minimum(distance, disc(u - centre_u, v - centre_v, radius))
    return distance


def placed(
    u: Field, v: Field, origin: tuple[Field | float, Field | float], angle: Field | float
) -> tuple[Field, Field]:
    """Coordinates of a part at ``origin`` that is rotated clockwise by ``angle`` in radians."""
    c, s = np.cos(angle, dtype=np.float32), np.sin(angle, dtype=np.float32)
    du, dv = u - origin[0], v - origin[1]
    return c * du + s * dv, c * dv - s * du


def ring(distance: Field, half_width: float) -> Field:
    """The outline of a shape."""
    return np.abs(distance) - half_width
