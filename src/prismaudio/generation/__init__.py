"""The facade: from a video to its plan and its sound."""

from prismaudio.generation.facade import PrismAudio
from prismaudio.generation.settings import Settings
from prismaudio.generation.sound import Sound

__all__ = ["PrismAudio", "Settings", "Sound"]
