"""Conversion of decoded video frames: orientation and colours, to small RGB arrays and to encoder input."""

from __future__ import annotations

from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from prismaudio.types import FrameSpec

UPRIGHT = (1, 0, 0, 1)

_UNKNOWN = 2  # the colour matrix of untagged frames
_KNOWN_MATRICES = {0, 1, _UNKNOWN, 4, 5, 6, 7, 9}  # AVColorSpace values that FFmpeg's scaler converts
_MAX_SD_HEIGHT = 576  # taller RGB frames become BT.709, as players expect of HD


def display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """Return the rotation and reflection of a stored frame for display: ``(a, b, c, d)``, each -1, 0 or 1.

    A stored point ``(x, y)`` is displayed at ``(a x + c y, b x + d y)``. Angles are rounded to quarter turns.
    """
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return UPRIGHT
    matrix = np.frombuffer(bytes(data), np.int32).reshape(3, 3)
    a, b, c, d = (int(v) for v in (matrix[0, 0], matrix[0, 1], matrix[1, 0], matrix[1, 1]))
    quarter = abs(b) > abs(a)
    snapped = (0, b, c, 0) if quarter else (a, 0, 0, d)
    return tuple((v > 0) - (v < 0) for v in snapped)  # type: ignore[return-value]


class Orientation:
    """The display matrix of each frame of a video, cached by rotation.

    In PyAV, a frame and its side data form a reference cycle, which keeps the frame until the next garbage collection.
    """

    def __init__(self) -> None:
        self._matrices: dict[int, tuple[int, int, int, int]] = {}

    def __call__(self, frame: VideoFrame) -> tuple[int, int, int, int]:
        """See :func:`display_matrix`."""
        if (matrix := self._matrices.get(frame.rotation)) is None:
            matrix = self._matrices[frame.rotation] = display_matrix(frame)
        return matrix


def upright(frame: NDArray[np.uint8], matrix: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Rotate and reflect a stored frame ``(height, width, 3)`` for display.

    Example:
        >>> stored = np.arange(6, dtype=np.uint8).reshape(1, 6, 1)
        >>> upright(stored, (0, 1, -1, 0)).shape, int(upright(stored, (-1, 0, 0, -1))[0, 0, 0])
        ((6, 1, 1), 5)
    """
    a, b, c, d = matrix
    if b or c:
        frame, a, d = frame.transpose(1, 0, 2), c, b
    return frame[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


class Shrinker:
    """Resizes frames while they are decoded, so that no full-size frame is kept.

    Args:
        spec: Size of the result. The whole frame is stretched to it, whatever its aspect ratio, so that left stays left
            and edges stay edges; if the aspect ratio is kept, the first frame determines the size.
        pixel_aspect: Pixel aspect ratio, displayed width by height.
    """

    def __init__(self, spec: FrameSpec, pixel_aspect: Fraction = Fraction(1)) -> None:
        self.size = None if spec.keep_aspect_ratio else spec.height_and_width
        self._side = min(spec.height_and_width)
        self._pixel_aspect = pixel_aspect
        self._reformatter = VideoReformatter()
        self._orientation = Orientation()

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """Convert a frame to RGB ``(height, width, 3)``, as displayed."""
        matrix = self._orientation(frame)
        if self.size is None:
            stored = frame.height, float(frame.width * self._pixel_aspect)
            shown = stored if matrix[0] else stored[::-1]
            scale = min(1.0, self._side / min(shown))
            self.size = max(1, round(scale * shown[0])), max(1, round(scale * shown[1]))
        height, width = self.size if matrix[0] else self.size[::-1]
        while frame.width > 64 * width or frame.height > 64 * height:  # the scaler limits the filter length
            frame = self._scale(frame, max(frame.width // 16, width), max(frame.height // 16, height), "rgb24")
        small = self._scale(frame, width, height, "rgb24")
        return np.ascontiguousarray(upright(small.to_ndarray().astype(np.uint8, copy=False), matrix))

    def _scale(self, frame: VideoFrame, width: int, height: int, pixels: str) -> VideoFrame:
        shrinks = frame.width >= width and frame.height >= height
        how = Interpolation.AREA if shrinks else Interpolation.BILINEAR
        with _known_matrix(frame):
            return self._reformatter.reformat(frame, width, height, pixels, interpolation=how)


class FrameConverter:
    """Converts frames to encoder input: upright, of even size, with unchanged displayed colours.

    The colour matrix is kept, so that untagged frames look the same; the range becomes that of video. The first frame
    determines the size.
    """

    def __init__(self) -> None:
        self._size: tuple[int, int] | None = None  # displayed width and height
        self._reformatter = VideoReformatter()
        self._orientation = Orientation()

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """Convert a frame to 8-bit YUV 4:2:0, with its colour tags."""
        matrix = self._orientation(frame)
        stored = frame.width + frame.width % 2, frame.height + frame.height % 2
        self._size = self._size or (stored if matrix[0] else stored[::-1])
        width, height = self._size if matrix[0] else self._size[::-1]
        is_rgb = frame.format.is_rgb or frame.format.name == "pal8"
        target = (Colorspace.ITU709 if frame.height > _MAX_SD_HEIGHT else Colorspace.ITU601) if is_rgb else None
        with _known_matrix(frame) as named:
            made = self._reformatter.reformat(
                frame,
                width,
                height,
                "yuv420p",
                dst_colorspace=target,
                dst_color_range=ColorRange.MPEG,
                interpolation=Interpolation.AREA,
            )
        if not is_rgb:
            made.colorspace = named
        return made if matrix == UPRIGHT else _turned(made, matrix)


@contextmanager
def _known_matrix(frame: VideoFrame) -> Iterator[int]:
    """Remove the colour matrix tag of a frame during scaling if the scaler does not support it."""
    named = frame.colorspace
    if named not in _KNOWN_MATRICES:
        frame.colorspace = _UNKNOWN
    try:
        yield named
    finally:
        frame.colorspace = named


def _turned(frame: VideoFrame, matrix: tuple[int, int, int, int]) -> VideoFrame:
    """Rotate and reflect a 4:2:0 frame for display."""
    planes = []
    for plane in frame.planes:
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        planes.append(upright(rows[..., None], matrix)[..., 0])
    height, width = planes[0].shape
    array = np.concatenate([plane.reshape(-1) for plane in planes]).reshape(height * 3 // 2, width)
    made = VideoFrame.from_ndarray(np.ascontiguousarray(array), "yuv420p")
    for tag in ("colorspace", "color_range", "color_primaries", "color_trc"):
        setattr(made, tag, getattr(frame, tag))
    return made
