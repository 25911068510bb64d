"""Decoded frames: which way up and in which colours they are shown, as small RGB arrays and for an encoder."""

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

_UNKNOWN = 2  # the colour matrix of frames that do not name one
_KNOWN_MATRICES = {0, 1, _UNKNOWN, 4, 5, 6, 7, 9}  # AVColorSpace values that FFmpeg's scaler converts
_TALLEST_SD = 576  # of RGB frames, taller ones become BT.709, as players expect of HD


def display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """How a stored frame is turned and mirrored to be shown: ``(a, b, c, d)``, each -1, 0 or 1.

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


class Orientation:
    """The display matrix of each frame of a video, read once for each rotation.

    PyAV ties a frame to its side data in a cycle, which keeps the frame until garbage is collected.
    """

    def __init__(self) -> None:
        self._matrices: dict[int, tuple[int, int, int, int]] = {}

    def __call__(self, frame: VideoFrame) -> tuple[int, int, int, int]:
        """See :func:`display_matrix`."""
        if (matrix := self._matrices.get(frame.rotation)) is None:
            matrix = self._matrices[frame.rotation] = display_matrix(frame)
        return matrix


def upright(frame: NDArray[np.uint8], matrix: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Turn a stored frame ``(height, width, 3)`` the way it is shown.

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
    """Squashes frames to a fixed size while they are decoded, so that none is kept at full size.

    Args:
        spec: The size of the result. The whole frame is squashed into it, whatever its aspect ratio, so that left
            stays left and the edges stay the edges; where the aspect ratio is kept, the first frame decides.
        pixel_aspect: Width of a stored pixel as it is shown, by its height.
    """

    def __init__(self, spec: FrameSpec, pixel_aspect: Fraction = Fraction(1)) -> None:
        self.size = None if spec.keep_aspect_ratio else spec.height_and_width
        self._side = min(spec.height_and_width)
        self._pixel_aspect = pixel_aspect
        self._reformatter = VideoReformatter()
        self._orientation = Orientation()

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """RGB ``(height, width, 3)`` of a frame as it is shown."""
        matrix = self._orientation(frame)
        if self.size is None:
            stored = frame.height, float(frame.width * self._pixel_aspect)
            shown = stored if matrix[0] else stored[::-1]
            scale = min(1.0, self._side / min(shown))
            self.size = max(1, round(scale * shown[0])), max(1, round(scale * shown[1]))
        height, width = self.size if matrix[0] else self.size[::-1]
        while frame.width > 64 * width or frame.height > 64 * height:  # the scaler's filters are limited in length
            frame = self._scale(frame, max(frame.width // 16, width), max(frame.height // 16, height), "rgb24")
        small = self._scale(frame, width, height, "rgb24")
        return np.ascontiguousarray(upright(small.to_ndarray().astype(np.uint8, copy=False), matrix))

    def _scale(self, frame: VideoFrame, width: int, height: int, pixels: str) -> VideoFrame:
        shrinks = frame.width >= width and frame.height >= height
        how = Interpolation.AREA if shrinks else Interpolation.BILINEAR
        with _known_matrix(frame):
            return self._reformatter.reformat(frame, width, height, pixels, interpolation=how)


class FrameConverter:
    """Turns frames into what a video encoder takes, upright and of even size, in the colours in which they are shown.

    The colour matrix stays as it is, so that frames that name none look as before; the range becomes that of video.
    The first frame decides the size.
    """

    def __init__(self) -> None:
        self._size: tuple[int, int] | None = None  # width and height as they are shown
        self._reformatter = VideoReformatter()
        self._orientation = Orientation()

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """A frame in 8-bit YUV 4:2:0, with its colour tags."""
        matrix = self._orientation(frame)
        stored = frame.width + frame.width % 2, frame.height + frame.height % 2
        self._size = self._size or (stored if matrix[0] else stored[::-1])
        width, height = self._size if matrix[0] else self._size[::-1]
        is_rgb = frame.format.is_rgb or frame.format.name == "pal8"
        target = (Colorspace.ITU709 if frame.height > _TALLEST_SD else Colorspace.ITU601) if is_rgb else None
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
    """Leave out the colour matrix of a frame while it is scaled, where the scaler does not know it."""
    named = frame.colorspace
    if named not in _KNOWN_MATRICES:
        frame.colorspace = _UNKNOWN
    try:
        yield named
    finally:
        frame.colorspace = named


def _turned(frame: VideoFrame, matrix: tuple[int, int, int, int]) -> VideoFrame:
    """A 4:2:0 frame the way it is shown."""
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
