"""A tiny font for the labels of a picture: capitals, digits and a few signs, three by five dots each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH, HEIGHT = 3, 5
_ROWS = {
    "A": "25755",
    "B": "65656",
    "C": "34443",
    "D": "65556",
    "E": "74647",
    "F": "74644",
    "G": "34553",
    "H": "55755",
    "I": "72227",
    "J": "11152",
    "K": "55655",
    "L": "44447",
    "M": "57755",
    "N": "65555",
    "O": "25552",
    "P": "65644",
    "Q": "25573",
    "R": "65655",
    "S": "34216",
    "T": "72222",
    "U": "55557",
    "V": "55552",
    "W": "55775",
    "X": "55255",
    "Y": "55222",
    "Z": "71247",
    "0": "75557",
    "1": "26227",
    "2": "61247",
    "3": "61216",
    "4": "55711",
    "5": "74616",
    "6": "34757",
    "7": "71222",
    "8": "75757",
    "9": "75716",
    "+": "02720",
    "-": "00700",
    ".": "00002",
    " ": "00000",
}
"""For each sign its five rows from the top, each an octal digit whose bits are the dots."""


def write(image: NDArray[np.uint8], text: str, x: int, y: int, colour: tuple[int, int, int], scale: int = 2) -> None:
    """Write capitals into an image ``(height, width, 3)``; what does not fit or has no sign is left out.

    Args:
        image: The image, changed in place.
        text: The text.
        x: Left edge in pixels.
        y: Upper edge in pixels.
        colour: Red, green and blue.
        scale: Pixels a dot.

    Example:
        >>> image = np.zeros((5, 3, 3), np.uint8)
        >>> write(image, "T", 0, 0, (1, 1, 1), scale=1); image[..., 0].tolist()
        [[1, 1, 1], [0, 1, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]]
    """
    for index, sign in enumerate(text):
        rows = _ROWS.get(sign, _ROWS[" "])
        dots = np.array([[int(row) >> bit & 1 for bit in (2, 1, 0)] for row in rows], bool)
        dots = dots.repeat(scale, 0).repeat(scale, 1)
        left = x + index * (WIDTH + 1) * scale
        if left >= 0 and y >= 0 and left + dots.shape[1] <= image.shape[1] and y + dots.shape[0] <= image.shape[0]:
            image[y : y + dots.shape[0], left : left + dots.shape[1]][dots] = colour
