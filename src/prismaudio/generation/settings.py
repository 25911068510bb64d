"""What a model wants to be fed, and how it samples unless told otherwise."""

from __future__ import annotations

from prismaudio.checkpoints import Configured


class Settings(Configured):
    """Saved with a model, so that whoever loads it reads clips as it was trained.

    Args:
        window_s: Length of sound that is rendered at once, in seconds: that of the training clips.
        fps: Pictures per second that planner and encoders watch.
        picture_size: Height and width of these pictures.
        guidance: How closely the conditions are followed; 1 is the network as it is.
        rescale: 0 .. 1, how far guided velocities are brought back to the spread of the conditional ones.
        max_windows: Windows that go through the network together; bounds the memory.

    Example:
        >>> Settings(guidance=2.5).config["guidance"]
        2.5
    """

    def __init__(
        self,
        window_s: float = 4.0,
        fps: float = 16.0,
        picture_size: int = 48,
        guidance: float = 3.0,
        rescale: float = 0.0,
        max_windows: int = 16,
    ) -> None:
        self.window_s, self.fps, self.picture_size = window_s, fps, picture_size
        self.guidance, self.rescale, self.max_windows = guidance, rescale, max_windows
