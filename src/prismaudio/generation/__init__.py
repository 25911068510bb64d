"""The facade: from a video to its plan and its sound."""

from prismaudio.generation.facade import PrismAudio
from prismaudio.generation.judges import Score
from prismaudio.generation.scoring import score
from prismaudio.generation.settings import Guidance, Settings
from prismaudio.generation.sound import Sound

__all__ = ["Guidance", "PrismAudio", "Score", "Settings", "Sound", "score"]
