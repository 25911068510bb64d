"""A reward for recording quality: clean, or with the flaws that the plan states."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.audio.loudness import loudness_lufs
from prismaudio.audio.recording import detected_late_energy_db, flat_tops, highs_db, noise_floor_db, offset_share
from prismaudio.rewards.base import Cache, Reward
from prismaudio.rewards.rows import map_in_chunks, pad_caches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.plan import Plan
    from prismaudio.types import Clip, Need

WEIGHTS = {"noise": 0.3, "clipping": 0.2, "highs": 0.15, "room": 0.15, "loudness": 0.1, "offset": 0.1}
FLAWS = ("noisy", "clipped", "muffled")


class AestheticReward(Reward):
    """Recording quality: noise floor, clipping, high frequencies, reverberation, loudness, DC offset.

    Each term is in 0 .. 1 and smooth; the score is their weighted mean, and 0 for silence. The target of each term
    comes from the aesthetic section of the plan: a noisy, clipped or muffled recording, a hall or a dry room. If it
    does not mention a flaw, the target is a clean recording; the room term applies only if the plan names a room and
    a decay can be measured.

    Args:
        weights: Weight of each term; terms that are not listed have no weight.
        noise_db: Noise floors at which the clean and the noisy term are one half, in dB.
        flat: Fraction of samples at flat tops that separates an undistorted from a clipped recording.
        high_db: Power above 3 kHz relative to the total that separates a muffled from a clear recording, in dB.
        late_db: Power 200 to 350 ms after an onset relative to the direct sound that separates a dry room from a hall,
            in dB.
        loudness_lufs: Lowest and highest acceptable loudness.
    """

    dimension = "aesthetic"
    range = (0.0, 1.0)

    def __init__(
        self,
        weights: dict[str, float] | None = None,
        noise_db: tuple[float, float] = (-62.0, -50.0),
        flat: float = 0.05,
        high_db: float = -25.0,
        late_db: float = -33.0,
        loudness_lufs: tuple[float, float] = (-45.0, -6.0),
    ) -> None:
        self.weights = WEIGHTS if weights is None else weights
        self.noise_db, self.flat, self.high_db, self.late_db = noise_db, flat, high_db, late_db
        self.loudness_lufs = loudness_lufs

    @property
    def reads(self) -> frozenset[Need]:
        """The plan, if present."""
        return frozenset({"plan"})

    def prepare(self, clip: Clip, plan: Plan) -> Cache:
        """Targets, 1 or 0 for each flaw, for a hall and for a stated room, and the times of sustained sources."""
        story = plan.story
        lasting = [(s.onsets_s[0], s.end_s) for s in story.sources if s.end_s is not None and s.onsets_s]
        asked = [float(story.quality == flaw) for flaw in FLAWS]
        rooms = [float(story.room == "hall"), float(story.room is not None)]
        return {"asked": torch.tensor([*asked, *rooms]), "lasting_s": torch.tensor(lasting).reshape(-1, 2)}

    def score(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Cache]) -> Tensor:
        """Weighted means of the terms ``(batch,)`` in 0 .. 1."""

        def score_chunk(audio: Tensor, asked: Tensor, lasting_s: Tensor) -> Tensor:
            lufs = loudness_lufs(audio, sample_rate_hz)
            terms = self.terms(audio, sample_rate_hz, asked, lasting_s, lufs)
            values = torch.stack([terms[name][0] for name in self.weights])
            weights = torch.stack([weight * terms[name][1] for name, weight in self.weights.items()])
            return torch.sigmoid((lufs + 60) / 2) * (weights * values).sum(0) / weights.sum(0)

        return map_in_chunks(score_chunk, audio.float(), *pad_caches(caches, "asked", "lasting_s", device=audio.device))

    def terms(
        self, audio: Tensor, sample_rate_hz: int, asked: Tensor, lasting_s: Tensor, lufs: Tensor
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Value in 0 .. 1 of each term and its applicability, ``(batch,)`` each."""
        noisy, clipped, muffled, hall, has_room = asked.unbind(1)
        floor_db = noise_floor_db(audio, sample_rate_hz)
        flat = (flat_tops(audio, sample_rate_hz) / self.flat).square()
        late_db, n_late = detected_late_energy_db(audio, sample_rate_hz, *lasting_s.unbind(2))
        low, high = self.loudness_lufs
        clean_db, noisy_db = self.noise_db
        clean = torch.sigmoid((clean_db - floor_db) / 5)
        noise = torch.sigmoid((floor_db - noisy_db) / 5) * torch.sigmoid((noisy_db + 20 - floor_db) / 3)
        always = torch.ones_like(floor_db)
        return {
            "noise": (torch.where(noisy > 0, noise, clean), always),
            "clipping": (_to_target(flat / (1 + flat), clipped), always),
            "highs": (
                _to_target(torch.sigmoid((self.high_db - highs_db(audio, sample_rate_hz)) / 6), muffled),
                always,
            ),
            "room": (_to_target(torch.sigmoid((late_db - self.late_db) / 5), hall), has_room * n_late.clamp(max=1)),
            "loudness": (torch.sigmoid((lufs - low) / 3) * torch.sigmoid((high - lufs) / 1.5), always),
            "offset": (1 / (1 + (offset_share(audio) / 0.1).square()), always),
        }


def _to_target(flaw: Tensor, asked: Tensor) -> Tensor:
    """The amount of a flaw where it is the target, one minus that amount elsewhere."""
    return torch.where(asked > 0, flaw, 1 - flaw)
