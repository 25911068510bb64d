"""From a video to its plan and its audio."""

from prismaudio.inference.generated import GeneratedAudio
from prismaudio.inference.pipeline import PrismAudio
from prismaudio.inference.settings import Guidance, Settings

__all__ = ["GeneratedAudio", "Guidance", "PrismAudio", "Settings"]
