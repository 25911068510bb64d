"""The rows of the studio benchmark: the sources of the evaluated audio."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from prismaudio.audio.resample import resample
from prismaudio_studio.benchmark.stage import RATE_HZ, Take, restage
from prismaudio_studio.narration import written
from prismaudio_studio.words import NOUNS
from prismaudio_studio.world.audio import render_audio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.inference import PrismAudio
    from prismaudio.plan import Plan
    from prismaudio.plan.story import Story

POOL_SIZE = 64
"""Number of recent clips that the shuffled row keeps, besides those of the batch."""
ROWS = ("truth", "codec", "given_plan", "end_to_end", "shuffled")


class Row(ABC):
    """A method that produces the audio of clips, at 16 kHz.

    Attributes:
        seeded: Whether the audio depends on the sampling seed.
    """

    seeded = False

    @abstractmethod
    def audio(self, takes: Sequence[Take], seed: int) -> list[Tensor]:
        """Audio ``(2, samples)`` of each clip."""

    def story(self, take: Take) -> Story:
        """The story to edit."""
        return take.scene.story

    @abstractmethod
    def edited_audio(self, takes: Sequence[Take], stories: Sequence[Story], seed: int) -> list[Tensor]:
        """Audio ``(2, samples)`` of each clip for its edited story."""


class TruthRow(Row):
    """The ground-truth audio: upper bound of the metrics."""

    def audio(self, takes: Sequence[Take], seed: int) -> list[Tensor]:
        """Audio of the scene."""
        return [take.audio for take in takes]

    def edited_audio(self, takes: Sequence[Take], stories: Sequence[Story], seed: int) -> list[Tensor]:
        """Audio of the edited scene."""
        scenes = [restage(take.scene, story) for take, story in zip(takes, stories, strict=True)]
        return [torch.as_tensor(render_audio(scene, RATE_HZ)).float() for scene in scenes]


class CodecRow(TruthRow):
    """The ground-truth audio, encoded and decoded by the autoencoder: upper bound of the model.

    Args:
        model: The model whose autoencoder is used.
    """

    def __init__(self, model: PrismAudio) -> None:
        self.autoencoder = model.autoencoder

    @torch.no_grad()
    def _reconstructed(self, audio: list[Tensor]) -> list[Tensor]:
        rate_hz = self.autoencoder.sample_rate_hz
        latents = self.autoencoder.encode(resample(torch.stack(audio), RATE_HZ, rate_hz))
        decoded = self.autoencoder.decode(latents)
        return match_lengths(list(decoded), rate_hz, audio)

    def audio(self, takes: Sequence[Take], seed: int) -> list[Tensor]:
        """Audio of the scene, encoded and decoded."""
        return self._reconstructed(super().audio(takes, seed))

    def edited_audio(self, takes: Sequence[Take], stories: Sequence[Story], seed: int) -> list[Tensor]:
        """Audio of the edited scene, encoded and decoded."""
        return self._reconstructed(super().edited_audio(takes, stories, seed))


class GivenPlanRow(Row):
    """Audio that the model generates from the ground-truth plan and the video.

    Args:
        model: The model.
        guidance: Scale of classifier-free guidance; None for the model's own.
        strategy: Form of the plan, see :func:`prismaudio.cot.strategies.restructured`.
    """

    seeded = True

    def __init__(self, model: PrismAudio, guidance: float | None = None, strategy: str = "decomposed") -> None:
        self.model = model
        self.guidance = guidance
        self.strategy = strategy

    def plan(self, take: Take) -> Plan:
        """The plan that conditions the model."""
        return written(take.scene.story, self.strategy, take.index)

    def audio(self, takes: Sequence[Take], seed: int) -> list[Tensor]:
        """Audio that the model generates from the clip and its plan."""
        return self._render(takes, [self.plan(take) for take in takes], seed)

    def edited_audio(self, takes: Sequence[Take], stories: Sequence[Story], seed: int) -> list[Tensor]:
        """Audio that the model generates from the clip and the edited plan."""
        plans = [written(story, self.strategy, take.index) for take, story in zip(takes, stories, strict=True)]
        return self._render(takes, plans, seed)

    def _render(self, takes: Sequence[Take], plans: list[Plan], seed: int) -> list[Tensor]:
        clips = [take.clip for take in takes if take.clip is not None]
        seeds = [1000 * take.index + seed for take in takes]
        generated = self.model.render(clips, plans, seeds, guidance=self.guidance)
        return match_lengths(generated, self.model.autoencoder.sample_rate_hz, [take.audio for take in takes])


class EndToEndRow(GivenPlanRow):
    """Audio that the model generates from the video alone, with its own plan."""

    def __init__(self, model: PrismAudio, guidance: float | None = None) -> None:
        super().__init__(model, guidance)
        self._plans: dict[int, Plan] = {}

    def plan(self, take: Take) -> Plan:
        """The plan that the model writes, computed once for all sampling seeds."""
        if take.index not in self._plans and take.clip is not None:
            self._plans[take.index] = self.model.plan(take.clip)
        return self._plans[take.index]

    def story(self, take: Take) -> Story:
        """The story that the model's plan states."""
        return self.plan(take).read(NOUNS)


class ShuffledRow(Row):
    """The ground-truth audio of another clip, which depends on the seed: chance level."""

    seeded = True

    def __init__(self) -> None:
        self._recent: dict[int, Tensor] = {}

    def audio(self, takes: Sequence[Take], seed: int) -> list[Tensor]:
        """Audio of the clip ``seed + 1`` positions before, cyclically over the kept clips."""
        self._recent.update({take.index: take.audio for take in takes})
        recent = {*list(self._recent)[-POOL_SIZE:], *(take.index for take in takes)}  # edits revisit the first clips
        order = [index for index in self._recent if index in recent]
        self._recent = {index: self._recent[index] for index in order}
        return [self._recent[order[order.index(take.index) - 1 - seed % len(order)]] for take in takes]

    def edited_audio(self, takes: Sequence[Take], stories: Sequence[Story], seed: int) -> list[Tensor]:
        """Audio of another clip."""
        return self.audio(takes, seed)


def match_lengths(audio: Sequence[Tensor], rate_hz: int, like: Sequence[Tensor]) -> list[Tensor]:
    """Resample audio to 16 kHz and crop or zero-pad it to the lengths of ``like``."""
    matched = []
    for item, other in zip(audio, like, strict=True):
        resampled = resample(item.float().cpu(), rate_hz, RATE_HZ)[..., : other.shape[-1]]
        matched.append(pad(resampled, (0, other.shape[-1] - resampled.shape[-1])))
    return matched


def make_rows(names: Sequence[str], model: PrismAudio | None, guidance: float | None = None) -> dict[str, Row]:
    """The rows of the given names; without a model, rows that need one are left out."""
    rows: dict[str, Row] = {}
    for name in names:
        if name == "truth":
            rows[name] = TruthRow()
        elif name == "shuffled":
            rows[name] = ShuffledRow()
        elif model is not None:
            rows[name] = CodecRow(model) if name == "codec" else _model_row(name, model, guidance)
    return rows


def _model_row(name: str, model: PrismAudio, guidance: float | None) -> Row:
    return EndToEndRow(model, guidance) if name == "end_to_end" else GivenPlanRow(model, guidance)
