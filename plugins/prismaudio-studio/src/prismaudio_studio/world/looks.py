"""What a frame looks like beyond what the truth says: the variation that a planner has to see through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

FRAME_RATES = (12.0, 15.0, 16.0, 20.0, 24.0, 25.0, 30.0)
SIZES_PX = ((192, 192), (256, 256), (192, 256), (240, 320), (288, 288), (256, 456), (180, 320), (320, 180))


@dataclass(frozen=True)
class Look:
    """Variation of a frame; the defaults are those of the plain split.

    Args:
        hue: Turn of all backdrop hues, in turns.
        colours: How far colours of things stray, 0 .. 1.
        texture: Contrast of the textures of wall and floor, 0 .. 1.
        light: Brightness of the lighting, about 1.
        slope: Difference in brightness from left to right, -1 .. 1.
        shake: Amplitude of camera shake in frame heights.
        zoom: Enlargement of the frame, about 1.
        clutter: Number of silent things that stand around.
        fps: Frames per second at which it was filmed.
        size_px: Height and width at which it was filmed.
    """

    hue: float = 0.0
    colours: float = 0.0
    texture: float = 0.0
    light: float = 1.0
    slope: float = 0.0
    shake: float = 0.0
    zoom: float = 1.0
    clutter: int = 0
    fps: float = 24.0
    size_px: tuple[int, int] = (256, 256)


def random_look(rng: np.random.Generator) -> Look:
    """A look of the randomised split."""
    return Look(
        hue=float(rng.uniform(0, 1)),
        colours=float(rng.uniform(0.1, 0.5)),
        texture=float(rng.uniform(0.1, 1.0)),
        light=float(rng.uniform(0.7, 1.25)),
        slope=float(rng.uniform(-0.5, 0.5)),
        shake=float(rng.choice([0.0, rng.uniform(0.0, 0.02)])),
        zoom=float(rng.uniform(0.9, 1.12)),
        clutter=int(rng.integers(0, 4)),
        fps=float(rng.choice(FRAME_RATES)),
        size_px=SIZES_PX[int(rng.integers(len(SIZES_PX)))],
    )
