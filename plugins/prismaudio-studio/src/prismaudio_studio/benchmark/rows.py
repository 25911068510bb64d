"""The rows of the studio benchmark: whose sound is measured."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from prismaudio.audio.resample import resample
from prismaudio_studio.benchmark.stage import RATE_HZ, Take, restage
from prismaudio_studio.narration import narrate
from prismaudio_studio.words import NOUNS
from prismaudio_studio.world.audio import render_audio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.inference import PrismAudio
    from prismaudio.plan import Plan
    from prismaudio.plan.story import Story

POOL = 64
"""How many clips the shuffled row remembers, besides those of the batch."""
ROWS = ("truth", "codec", "given_plan", "end_to_end", "shuffled")


class Row(ABC):
    """One way to get the sound of a clip, at 16 kHz.

    Attributes:
        seeded: Whether another sampling seed gives another sound.
    """

    seeded = False

    @abstractmethod
    def sounds(self, takes: Sequence[Take], seed: int) -> list[Tensor]:
        """Audio ``(2, samples)`` of each clip."""

    def story(self, take: Take) -> Story:
        """The story that a person would edit."""
        return take.scene.story

    @abstractmethod
    def edited_sounds(self, takes: Sequence[Take], stories: Sequence[Story], seed: int) -> list[Tensor]:
        """Audio ``(2, samples)`` of each clip after its story was edited."""


class TruthRow(Row):
    """The real sound: what the instruments can see at best."""

    def sounds(self, takes: Sequence[Take], seed: int) -> list[Tensor]:
        """The sound of the scene."""
        return [take.audio for take in takes]

    def edited_sounds(self, takes: Sequence[Take], stories: Sequence[Story], seed: int) -> list[Tensor]:
        """The sound of the edited scene."""
        scenes = [restage(take.scene, story) for take, story in zip(takes, stories, strict=True)]
        return [torch.as_tensor(render_audio(scene, RATE_HZ)).float() for scene in scenes]


class CodecRow(TruthRow):
    """The real sound through the autoencoder: what a perfect model would reach.

    Args:
        model: The model whose autoencoder is used.
    """

    def __init__(self, model: PrismAudio) -> None:
        self.autoencoder = model.autoencoder

    @torch.no_grad()
    def _through(self, sounds: list[Tensor]) -> list[Tensor]:
        rate_hz = self.autoencoder.sample_rate_hz
        audio = resample(torch.stack(sounds), RATE_HZ, rate_hz)
        decoded = self.autoencoder.decode(self.autoencoder.encode(audio))
        return fitted(list(decoded), rate_hz, sounds)

    def sounds(self, takes: Sequence[Take], seed: int) -> list[Tensor]:
        """The sound of the scene, encoded and decoded."""
        return self._through(super().sounds(takes, seed))

    def edited_sounds(self, takes: Sequence[Take], stories: Sequence[Story], seed: int) -> list[Tensor]:
        """The sound of the edited scene, encoded and decoded."""
        return self._through(super().edited_sounds(takes, stories, seed))


class GivenPlanRow(Row):
    """The model's sound for the true plan and the frame.

    Args:
        model: The model.
        guidance: Scale of classifier-free guidance; None for the model's own.
    """

    seeded = True

    def __init__(self, model: PrismAudio, guidance: float | None = None) -> None:
        self.model = model
        self.guidance = guidance

    def plan(self, take: Take) -> Plan:
        """The plan that is given to the model."""
        return narrate(take.scene.story, random.Random(take.index))

    def sounds(self, takes: Sequence[Take], seed: int) -> list[Tensor]:
        """What the model makes of the clip and its plan."""
        return self._render(takes, [self.plan(take) for take in takes], seed)

    def edited_sounds(self, takes: Sequence[Take], stories: Sequence[Story], seed: int) -> list[Tensor]:
        """What the model makes of the clip and the edited plan."""
        plans = [narrate(story, random.Random(t.index)) for t, story in zip(takes, stories, strict=True)]
        return self._render(takes, plans, seed)

    def _render(self, takes: Sequence[Take], plans: list[Plan], seed: int) -> list[Tensor]:
        clips = [take.clip for take in takes if take.clip is not None]
        seeds = [1000 * take.index + seed for take in takes]
        made = self.model.render(clips, plans, seeds, guidance=self.guidance)
        return fitted(made, self.model.autoencoder.sample_rate_hz, [take.audio for take in takes])


class EndToEndRow(GivenPlanRow):
    """The model's sound for the frame alone: it plans first, then renders its plan."""

    def __init__(self, model: PrismAudio, guidance: float | None = None) -> None:
        super().__init__(model, guidance)
        self._plans: dict[int, Plan] = {}

    def plan(self, take: Take) -> Plan:
        """The plan that the model writes, once for all sampling seeds."""
        if take.index not in self._plans and take.clip is not None:
            self._plans[take.index] = self.model.plan(take.clip)
        return self._plans[take.index]

    def story(self, take: Take) -> Story:
        """The story as the model sees it."""
        return self.plan(take).read(NOUNS)


class ShuffledRow(Row):
    """The real sound of another clip: chance. Another seed takes another clip."""

    seeded = True

    def __init__(self) -> None:
        self._sounds: dict[int, Tensor] = {}

    def sounds(self, takes: Sequence[Take], seed: int) -> list[Tensor]:
        """The sound of the clip ``seed + 1`` places before; the first clips take those of the end of their batch."""
        self._sounds.update({take.index: take.audio for take in takes})
        recent = {*list(self._sounds)[-POOL:], *(take.index for take in takes)}  # edits come back to the first clips
        order = [index for index in self._sounds if index in recent]
        self._sounds = {index: self._sounds[index] for index in order}
        return [self._sounds[order[order.index(take.index) - 1 - seed % len(order)]] for take in takes]

    def edited_sounds(self, takes: Sequence[Take], stories: Sequence[Story], seed: int) -> list[Tensor]:
        """The sound of another clip."""
        return self.sounds(takes, seed)


def fitted(sounds: Sequence[Tensor], rate_hz: int, like: Sequence[Tensor]) -> list[Tensor]:
    """Sounds at 16 kHz and of the same lengths as others: what is missing is silence."""
    made = []
    for sound, other in zip(sounds, like, strict=True):
        at_rate = resample(sound.float().cpu(), rate_hz, RATE_HZ)[..., : other.shape[-1]]
        made.append(pad(at_rate, (0, other.shape[-1] - at_rate.shape[-1])))
    return made


def make_rows(names: Sequence[str], model: PrismAudio | None, guidance: float | None = None) -> dict[str, Row]:
    """The rows of these names; those that need a model are left out when there is none."""
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
