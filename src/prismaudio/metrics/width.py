"""How wide the stereo image of audio is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from prismaudio.errors import NotApplicableError
from prismaudio.metrics.base import MeanOfClips, reference_audio

if TYPE_CHECKING:
    from torch import Tensor

    from prismaudio.metrics.target import Target
    from prismaudio.types import Need

MIN_POWER = 1e-10
"""Mean square of audio that is silent."""


def stereo_width(audio: Tensor) -> float:
    """Energy of the difference of two channels over that of their sum and difference.

    Args:
        audio: Audio ``(2, samples)``.

    Returns:
        0 for equal channels, 0.5 for independent ones of equal level or a single channel, 1 for opposite ones.

    Raises:
        NotApplicableError: It is silent.

    Example:
        >>> stereo_width(torch.tensor([[1.0, -1.0], [1.0, -1.0]])), stereo_width(torch.tensor([[1.0], [0.0]]))
        (0.0, 0.5)
    """
    mid, side = (audio[0] + audio[1]).double().square().mean(), (audio[0] - audio[1]).double().square().mean()
    if float(mid + side) < MIN_POWER:
        raise NotApplicableError("its audio is silent")
    return float(side / (mid + side))


class StereoWidth(MeanOfClips):
    """Mean width of the stereo image: energy of the difference of the channels over that of sum and difference.

    Neither more nor less is better by itself: it tells how much spatial scores can mean. Nearly mono audio agrees with
    nearly mono references whatever it contains.
    """

    dimension, range = "spatial", (0.0, 1.0)
    higher_is_better = None  # type: ignore[assignment]

    def measured(self, audio: Tensor, target: Target) -> Tensor:
        """The audio ``(2, samples)`` whose width counts."""
        return audio

    def observe(self, audio: Tensor, sample_rate_hz: int, target: Target) -> None:
        """Add the width of one clip."""
        self.add(torch.tensor(stereo_width(self.measured(audio, target)), dtype=torch.float64))


class ReferenceWidth(StereoWidth):
    """Mean width of the stereo image of the reference audio, see :class:`StereoWidth`."""

    needs: frozenset[Need] = frozenset({"reference"})

    def measured(self, audio: Tensor, target: Target) -> Tensor:
        """The reference audio ``(2, samples)``."""
        return reference_audio(target)[0]
