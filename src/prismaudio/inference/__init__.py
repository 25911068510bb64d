"""From a video to its plan and its audio."""

from prismaudio.inference.pipeline import PrismAudio
from prismaudio.inference.settings import Guidance, Settings
from prismaudio.inference.generated import GeneratedAudio

__all__ = ["Guidance", "PrismAudio", "Settings", "GeneratedAudio"]
