"""Decoded pictures: which way up they are shown, and how they become small RGB arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

UPRIGHT = (1, 0, 0, 1)


def display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """How a stored picture is turned and mirrored to be shown: ``(a, b, c, d)``, each -1, 0 or 1.

    A stored point ``(x, y)`` is shown at ``(a x + c y, b x + d y)``. Other angles than quarter turns snap to the
    nearest one.
    """
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return UPRIGHT
    matrix = np.frombuffer(bytes(data), np.int32).reshape(3, 3)
    a, b, c, d = (int(v) for v in (matrix[0, 0], matrix[0, 1], matrix[1, 0], matrix[1, 1]))
    quarter = abs(b) > abs(a)
    snapped = (0, b, c, 0) if quarter else (a, 0, 0, d)
    return tuple((v > 0) - (v < 0) for v in snapped)  # type: ignore[return-value]


def upright(picture: NDArray[np.uint8], matrix: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Turn a stored picture ``(height, width, 3)`` the way it is shown.

    Example:
        >>> stored = np.arange(6, dtype=np.uint8).reshape(1, 6, 1)
        >>> upright(stored, (0, 1, -1, 0)).shape, int(upright(stored, (-1, 0, 0, -1))[0, 0, 0])
        ((6, 1, 1), 5)
    """
    a, b, c, d = matrix
    if b or c:
        picture, a, d = picture.transpose(1, 0, 2), c, b
    return picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


class Shrinker:
    """Squashes pictures to a fixed size while they are decoded, so that none is kept at full size.

    Args:
        size: Height and width of the result in pixels; the whole picture is squashed into it, whatever its aspect
            ratio, so that left stays left and the edges stay the edges. Or one number, the most that the shorter side
            of a picture has that keeps its shape; the first picture decides.
    """

    def __init__(self, size: tuple[int, int] | int) -> None:
        self.size = size if isinstance(size, tuple) else None
        self._side = size if isinstance(size, int) else 0
        self._reformatter = VideoReformatter()
        self._matrices: dict[int, tuple[int, int, int, int]] = {}

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """RGB ``(height, width, 3)`` of a frame as it is shown."""
        # PyAV ties a frame to its side data in a cycle, which keeps the frame until garbage is collected: once is enough
        if (matrix := self._matrices.get(frame.rotation)) is None:
            matrix = self._matrices[frame.rotation] = display_matrix(frame)
        if self.size is None:
            shown = (frame.height, frame.width) if matrix[0] else (frame.width, frame.height)
            scale = min(1.0, self._side / min(shown))
            self.size = round(scale * shown[0]), round(scale * shown[1])
        height, width = self.size if matrix[0] else self.size[::-1]
        while frame.width > 64 * width or frame.height > 64 * height:  # the scaler's filters are limited in length
            frame = self._scale(frame, max(frame.width // 16, width), max(frame.height // 16, height), "rgb24")
        small = self._scale(frame, width, height, "rgb24")
        return np.ascontiguousarray(upright(small.to_ndarray().astype(np.uint8, copy=False), matrix))

    def _scale(self, frame: VideoFrame, width: int, height: int, pixels: str) -> VideoFrame:
        shrinks = frame.width >= width and frame.height >= height
        how = Interpolation.AREA if shrinks else Interpolation.BILINEAR
        return self._reformatter.reformat(frame, width, height, pixels, interpolation=how)
