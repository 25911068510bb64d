"""A reward for the timing of onsets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from prismaudio.audio.motion import change_peaks
from prismaudio.audio.onsets import min_strength, onset_peaks
from prismaudio.errors import NotApplicableError
from prismaudio.rewards.base import Cache, Reward, plan_text
from prismaudio.rewards.rows import map_in_chunks, pad_caches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.plan import Plan
    from prismaudio.types import Clip, Need

NEEDS: dict[str, frozenset[Need]] = {
    "plan": frozenset({"plan"}),
    "reference": frozenset({"reference"}),
    "frames": frozenset({"video"}),
    "auto": frozenset(),
}
EARLIEST_S = 0.05
"""Onsets before this time are ignored: they cannot be told from audio that is already active at the start."""


class TemporalReward(Reward):
    """A soft F1 score of onsets: expected onsets are matched to near detected ones, unmatched detections are penalized.

    Detected onsets are weighted by their strength: an onset at the threshold of :func:`detect_onsets` has weight one
    half. A pair is weighted by a Gaussian of its time difference. The kind of source is not considered. The first
    0.05 s are ignored: onsets there cannot be told from audio that is already active at the start.

    Args:
        against: Origin of the expected onsets: the times of the ``"plan"``, the onsets of the ``"reference"`` audio,
            sudden changes of the ``"frames"``; ``"auto"`` takes the first of these that is available.
        tolerance_s: Standard deviation of the Gaussian, in seconds.
        frame_tolerance_s: The same for onsets expected from frames, whose times are coarser.
        sharpness: Exponent of the onset strength, the steepness of its weight at the threshold.
    """

    dimension = "temporal"
    range = (0.0, 1.0)

    def __init__(
        self,
        against: Literal["auto", "plan", "reference", "frames"] = "auto",
        tolerance_s: float = 0.04,
        frame_tolerance_s: float = 0.08,
        sharpness: float = 4.0,
    ) -> None:
        self.against, self.sharpness = against, sharpness
        self.tolerance_s, self.frame_tolerance_s = tolerance_s, frame_tolerance_s
        self.needs = NEEDS[against]

    @property
    def reads(self) -> frozenset[Need]:
        """All inputs if the target is chosen automatically."""
        return self.needs or frozenset({"plan", "reference", "video"})

    def prepare(self, clip: Clip, plan: Plan) -> Cache:
        """The expected onsets and their weights.

        Raises:
            NotApplicableError: No onset is expected after the first 0.05 s.
        """
        sources = {"plan": self._of_plan, "reference": self._of_reference, "frames": self._of_frames}
        kinds = sources if self.against == "auto" else (self.against,)
        reasons = []
        for kind in kinds:
            try:
                times_s, weights = sources[kind](clip, plan)
            except NotApplicableError as error:
                reasons.append(str(error))
                continue
            tolerance_s = self.frame_tolerance_s if kind == "frames" else self.tolerance_s
            return {"times_s": times_s, "weights": weights, "tolerance_s": torch.tensor([tolerance_s])}
        raise NotApplicableError(", ".join(reasons))

    def _of_plan(self, clip: Clip, plan: Plan) -> tuple[Tensor, Tensor]:
        plan_text(plan, self.dimension)
        times_s = [time_s for source in plan.story.sources for time_s in source.onsets_s]
        if not times_s:
            raise NotApplicableError("the plan states no times")
        only_early = f"all sources of the plan begin in the first {EARLIEST_S} s, where onsets cannot be detected"
        return _usable(torch.tensor(times_s), torch.ones(len(times_s)), only_early)

    def _of_reference(self, clip: Clip, plan: Plan) -> tuple[Tensor, Tensor]:
        if clip.audio is None or clip.sample_rate_hz is None:
            raise NotApplicableError("there is no reference audio")
        times_s, weights = (row[0].cpu() for row in self._detect(clip.audio[None], clip.sample_rate_hz))
        return _usable(times_s, weights, "the reference audio has no onset")

    def _of_frames(self, clip: Clip, plan: Plan) -> tuple[Tensor, Tensor]:
        if clip.frames is None or clip.fps is None:
            raise NotApplicableError("there are no frames")
        return _usable(*change_peaks(clip.frames.cpu(), clip.fps), "the frames show no sudden change")

    def _detect(self, audio: Tensor, sample_rate_hz: int) -> tuple[Tensor, Tensor]:
        """Times and weights of detected onsets, ``(batch, onsets)``."""
        times_s, strength = onset_peaks(audio, sample_rate_hz)
        clear = (strength / min_strength(strength)).pow(self.sharpness)
        return times_s, clear / (1 + clear)

    def score(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Cache]) -> Tensor:
        """Soft F1 scores ``(batch,)`` in 0 .. 1."""

        def score_chunk(audio: Tensor, expected_s: Tensor, weights: Tensor, tolerance_s: Tensor) -> Tensor:
            detected_s, clear = self._detect(audio, sample_rate_hz)
            distance = (expected_s[:, :, None] - detected_s[:, None]) / tolerance_s[..., None]
            near = weights[..., None] * torch.exp(-distance.square() / 2) * clear[:, None]
            met = near.amax(1)  # by each detected onset
            found = torch.minimum(near.amax(2).sum(1), met.sum(1))  # one detected onset cannot match two expected ones
            costs = torch.where(detected_s < EARLIEST_S, met, clear)
            return 2 * found / (weights.sum(1) + costs.sum(1))

        expected = pad_caches(caches, "times_s", "weights", "tolerance_s", device=audio.device)
        return map_in_chunks(score_chunk, audio, *expected)


def _usable(times_s: Tensor, weights: Tensor, reason: str) -> tuple[Tensor, Tensor]:
    """The onsets that have some weight and are not too early to be detected.

    Raises:
        NotApplicableError: There are none; the message is ``reason``.
    """
    usable = times_s >= EARLIEST_S
    if not bool((weights[usable] > 0.1).any()):
        raise NotApplicableError(reason)
    usable &= weights > 0.01
    return times_s[usable], weights[usable]
