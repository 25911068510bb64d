"""Whether something begins to sound when it should."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from prismaudio.audio.motion import change_peaks
from prismaudio.audio.onsets import min_strength, onset_peaks
from prismaudio.errors import NotApplicableError
from prismaudio.rewards.base import Cache, Reward, plan_text
from prismaudio.rewards.rows import a_few_at_a_time, side_by_side

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
"""What begins before this is not judged: it sounds like what was going on already when the file begins."""


class TemporalReward(Reward):
    """A soft F1 score of onsets: every expected one looks for one near it, every heard one that is not expected costs.

    What begins counts by how clearly it does: an onset at the threshold of :func:`detect_onsets` counts half. A pair
    counts by a Gaussian of its distance in time. Which thing sounds does not matter here. The first 0.05 s are not
    judged: what begins there cannot be told from what was going on already when the file begins.

    Args:
        against: Where the expected onsets come from: the times of the ``"plan"``, the onsets of the ``"reference"``
            sound, sudden changes of the ``"frames"``; ``"auto"`` takes the first of these that there is.
        tolerance_s: Standard deviation in seconds of that Gaussian.
        frame_tolerance_s: The same for expectations from frames, whose times are coarser.
        sharpness: How suddenly onsets begin to count, as an exponent of their strength.
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
        """Everything, if it may choose."""
        return self.needs or frozenset({"plan", "reference", "video"})

    def prepare(self, clip: Clip, plan: Plan) -> Cache:
        """The expected onsets, and how much each of them counts.

        Raises:
            NotApplicableError: Nothing says when anything should begin after the first 0.05 s.
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
        only_early = f"the plan has everything begin in the first {EARLIEST_S} s, where beginnings are not heard"
        return _counting(torch.tensor(times_s), torch.ones(len(times_s)), only_early)

    def _of_reference(self, clip: Clip, plan: Plan) -> tuple[Tensor, Tensor]:
        if clip.audio is None or clip.sample_rate_hz is None:
            raise NotApplicableError("there is no reference sound")
        times_s, weights = (row[0].cpu() for row in self._heard(clip.audio[None], clip.sample_rate_hz))
        return _counting(times_s, weights, "nothing begins in the reference sound")

    def _of_frames(self, clip: Clip, plan: Plan) -> tuple[Tensor, Tensor]:
        if clip.frames is None or clip.fps is None:
            raise NotApplicableError("there are no frames")
        return _counting(*change_peaks(clip.frames.cpu(), clip.fps), "nothing begins to move in the frames")

    def _heard(self, audio: Tensor, sample_rate_hz: int) -> tuple[Tensor, Tensor]:
        """Times of onsets and how much each of them counts, ``(batch, onsets)``."""
        times_s, strength = onset_peaks(audio, sample_rate_hz)
        clear = (strength / min_strength(strength)).pow(self.sharpness)
        return times_s, clear / (1 + clear)

    def score(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Cache]) -> Tensor:
        """Soft F1 scores ``(batch,)`` in 0 .. 1."""

        def judge(audio: Tensor, expected_s: Tensor, weights: Tensor, tolerance_s: Tensor) -> Tensor:
            heard_s, clear = self._heard(audio, sample_rate_hz)
            apart = (expected_s[:, :, None] - heard_s[:, None]) / tolerance_s[..., None]
            near = weights[..., None] * torch.exp(-apart.square() / 2) * clear[:, None]
            met = near.amax(1)  # by each of the heard ones
            found = torch.minimum(near.amax(2).sum(1), met.sum(1))  # one heard onset is not two expected ones
            costs = torch.where(heard_s < EARLIEST_S, met, clear)
            return 2 * found / (weights.sum(1) + costs.sum(1))

        expected = side_by_side(caches, "times_s", "weights", "tolerance_s", device=audio.device)
        return a_few_at_a_time(judge, audio, *expected)


def _counting(times_s: Tensor, weights: Tensor, nothing: str) -> tuple[Tensor, Tensor]:
    """Only what counts, and is not too early to be heard."""
    judged = times_s >= EARLIEST_S
    if not bool((weights[judged] > 0.1).any()):
        raise NotApplicableError(nothing)
    judged &= weights > 0.01
    return times_s[judged], weights[judged]
