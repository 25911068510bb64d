"""What a model wants to be fed, and how it samples unless told otherwise."""

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
    """How closely the conditions are followed, and when.

    Args:
        scale: 1 is the network as it is; more follows the conditions more closely.
        rescale: 0 .. 1, how far guided velocities are brought back to the spread of the conditional ones.
        interval: Lowest and highest flow time (1 is noise, 0 is sound) with guidance; outside it the scale is 1.
    """

    scale: float = 3.0
    rescale: float = 0.0
    interval: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if not all(math.isfinite(number) for number in (self.scale, self.rescale, *self.interval)):
            raise PrismAudioError(f"a guidance of {self.scale} is no number to follow; expected finite ones")


class Settings(Configured):
    """Saved with a model, so that whoever loads it reads clips as it was trained.

    Args:
        segment_s: Length of sound that is rendered at once, in seconds: that of the training clips. None for a model
            that renders any length in one pass.
        fps: Frames per second that planner and encoders watch.
        frame_size: Height and width of these frames.
        keep_aspect_ratio: Whether frames keep their shape; then the size is the most that their shorter side has.
        guidance: How closely the conditions are followed; 1 is the network as it is.
        rescale: 0 .. 1, how far guided velocities are brought back to the spread of the conditional ones.
        guidance_interval: Lowest and highest flow time (1 is noise, 0 is sound) with guidance.
        max_segments: Windows that go through the network together; bounds the memory.

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
        keep_aspect_ratio: bool = False,  # noqa: FBT001, FBT002  (an argument in a model folder)
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
        """The guidance that is asked for; a number is another scale, None asks for nothing in particular."""
        if isinstance(guidance, Guidance):
            return guidance
        return self.guidance if guidance is None else replace(self.guidance, scale=guidance)
