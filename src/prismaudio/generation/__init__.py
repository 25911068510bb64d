"""The facade: from a video to its plan and its sound."""

from prismaudio.generation.facade import PrismAudio
from prismaudio.generation.settings import Guidance, Settings
from prismaudio.generation.sound import Sound

__all__ = ["Guidance", "PrismAudio", "Settings", "Sound"]
