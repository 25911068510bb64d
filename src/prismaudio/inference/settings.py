"""Settings of a model: its input frames, segments, and default guidance."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prismaudio.checkpoints import Configured, within
from prismaudio.errors import PrismAudioError
from prismaudio.types import FrameSpec

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance.

    Args:
        scale: Guidance scale; 1 disables guidance, larger values follow the conditions more closely.
        rescale: 0 .. 1, how far guided velocities are rescaled to the standard deviation of conditional ones.
        interval: Lowest and highest flow time (1 is noise, 0 is data) with guidance; outside it the scale is 1.
    """

    scale: float = 3.0
    rescale: float = 0.0
    interval: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if not all(math.isfinite(number) for number in (self.scale, self.rescale, *self.interval)):
            raise PrismAudioError(
                f"a guidance of {self.scale} with rescale {self.rescale} is not valid; expected finite numbers"
            )


class Settings(Configured):
    """Settings that are saved with a model, so that clips are read as in training.

    Args:
        segment_s: Length in seconds of the segments that are rendered at once, that of the training clips. None for a
            model that renders any length in one pass.
        fps: Frames per second for planner and encoders.
        frame_size: Height and width of the frames in pixels.
        keep_aspect_ratio: Whether frames keep their aspect ratio; then ``frame_size`` is the maximum of the shorter
            side.
        guidance: Guidance scale; 1 disables guidance.
        rescale: 0 .. 1, how far guided velocities are rescaled to the standard deviation of conditional ones.
        guidance_interval: Lowest and highest flow time (1 is noise, 0 is data) with guidance.
        max_segments: Maximum number of segments in a batch of the network; bounds the memory.

    Example:
        >>> Settings(guidance=2.5).config["guidance"]
        2.5
    """

    def __init__(
        self,
        segment_s: float | None = 4.0,
        fps: float = 16.0,
        frame_size: int = 48,
        guidance: float = 3.0,
        rescale: float = 0.0,
        guidance_interval: Sequence[float] = (0.0, 1.0),
        max_segments: int = 16,
        keep_aspect_ratio: bool = False,  # noqa: FBT001, FBT002  (a key in model folders)
    ) -> None:
        within(0.1, 3600, segment_s=segment_s)
        within(0.1, 1000, fps=fps)
        within(1, 4096, frame_size=frame_size, max_segments=max_segments)
        within(-1000, 1000, guidance=guidance)
        within(0, 1, rescale=rescale, **dict(zip(("lowest", "highest"), guidance_interval, strict=False)))
        if len(guidance_interval) != 2:
            raise ValueError(
                f"guidance_interval has {len(guidance_interval)} numbers; expected the lowest and the highest time"
            )
        self.segment_s, self.max_segments = segment_s, max_segments
        self.frame_spec = FrameSpec(fps, frame_size, keep_aspect_ratio)
        lowest, highest = guidance_interval
        self.guidance = Guidance(guidance, rescale, (lowest, highest))

    def guided(self, guidance: float | Guidance | None) -> Guidance:
        """The requested guidance; a number replaces the scale of the default, None returns the default."""
        if isinstance(guidance, Guidance):
            return guidance
        return self.guidance if guidance is None else replace(self.guidance, scale=guidance)
