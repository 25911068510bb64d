"""A reward for the direction of sources."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from prismaudio.audio.interaural import HOP_S, WINDOW_S, Directions, azimuths_deg, directions, n_windows
from prismaudio.components import Dimension
from prismaudio.errors import NotApplicableError
from prismaudio.plan.story import SIDE_DEG
from prismaudio.planners.base import Planner
from prismaudio.rewards.base import Cache, Reward, plan_text
from prismaudio.rewards.lag import expected_onsets, lags_s
from prismaudio.rewards.moments import latest_source
from prismaudio.rewards.rows import map_in_chunks, pad_caches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.plan import Plan
    from prismaudio.types import Clip, Need

NEEDS: dict[str, frozenset[Need]] = {
    "plan": frozenset({"plan"}),
    "reference": frozenset({"reference"}),
    "trajectory": frozenset(),
    "auto": frozenset(),
}
ASKED = (Dimension("temporal", "When does each sound begin?"), Dimension("spatial", "Where does each sound come from?"))
"""The dimensions requested from a planner."""
POWER_FLOOR = 1e-6
"""Mean power, -60 dB, at which a source has half its weight."""


class SpatialReward(Reward):
    """Agreement of interaural time difference, level difference and side energy with those of the target direction.

    The audio is measured in frames of 80 ms over the whole clip. Each frame belongs to the source with the latest
    onset; frames in which another source is active are ignored. Frames are weighted by their increase in power, where
    the direct sound dominates the reverberation; sources are weighted equally. A silent source scores 0.

    Args:
        against: Origin of the target direction: the ``"plan"``, the ``"reference"`` audio, a ``"trajectory"``;
            ``"auto"`` takes the first available of points, plan, reference and planner.
        points: A trajectory for all audio: (time in seconds, azimuth in degrees), ascending in time.
        planner: Planner that estimates directions from the frames if no points are given.
        side_itd_ms: Interaural time difference of a source at 60 degrees, in ms; other angles follow the sine.
        side_ild_db: Interaural level difference of a source at 60 degrees, in dB.
        itd_tolerance_ms: Error of the time difference that scores one half, in ms.
        ild_tolerance_db: Error of the level difference that scores one half, in dB.
        weights: Weights of time difference, level difference and side energy.
    """

    dimension = "spatial"
    range = (0.0, 1.0)

    def __init__(
        self,
        against: Literal["auto", "plan", "reference", "trajectory"] = "auto",
        points: list[tuple[float, float]] | None = None,
        planner: Planner | None = None,
        side_itd_ms: float = 0.6,
        side_ild_db: float = 9.0,
        itd_tolerance_ms: float = 0.15,
        ild_tolerance_db: float = 3.0,
        weights: tuple[float, float, float] = (0.4, 0.4, 0.2),
    ) -> None:
        self.against, self.points, self.planner = against, points, planner
        self.side_itd_ms, self.side_ild_db = side_itd_ms, side_ild_db
        self.itd_tolerance_ms, self.ild_tolerance_db = itd_tolerance_ms, ild_tolerance_db
        self.weights = weights
        self.needs = NEEDS[against]

    @property
    def reads(self) -> frozenset[Need]:
        """All inputs if the target is chosen automatically or comes from a trajectory."""
        return self.needs or frozenset({"plan", "reference", "video"})

    def prepare(self, clip: Clip, plan: Plan) -> Cache:
        """Target differences, weight and source of each frame.

        Raises:
            NotApplicableError: No target direction is available.
        """
        sources = {
            "points": self._of_points,
            "plan": self._of_plan,
            "reference": self._of_reference,
            "planner": self._of_planner,
        }
        several = {"auto": ("points", "plan", "reference", "planner"), "trajectory": ("points", "planner")}
        reasons = []
        for kind in several.get(self.against, (self.against,)):
            try:
                return sources[kind](clip, plan)
            except NotApplicableError as error:
                reasons.append(str(error))
        raise NotApplicableError(", ".join(reasons))

    def _of_points(self, clip: Clip, plan: Plan) -> Cache:
        if not self.points:
            raise NotApplicableError("no trajectory is given")
        at, azimuths = torch.tensor(self.points).T.contiguous()
        times_s = _middles_s(clip)
        after = torch.searchsorted(at, times_s).clamp(1, max(1, len(at) - 1)).clamp(max=len(at) - 1)
        before = (after - 1).clamp(min=0)
        share = ((times_s - at[before]) / (at[after] - at[before]).clamp(min=1e-6)).clamp(0, 1)
        azimuth = azimuths[before] + share * (azimuths[after] - azimuths[before])
        return self._cache(azimuth, torch.ones_like(azimuth), torch.zeros_like(azimuth))

    def _of_planner(self, clip: Clip, plan: Plan) -> Cache:
        if self.planner is None or clip.frames is None:
            raise NotApplicableError("no planner is given" if self.planner is None else "there are no frames")
        return self._of_plan(clip, self.planner.plan(clip, ASKED))

    def _of_plan(self, clip: Clip, plan: Plan) -> Cache:
        plan_text(plan, self.dimension)
        placed = [source for source in plan.story.sources if source.azimuth_deg is not None]
        if not placed:
            raise NotApplicableError("the plan states no directions")
        times_s = _middles_s(clip)
        timed = [source for source in plan.story.sources if source.onsets_s]
        if not timed or len(placed) == len(plan.story.sources) == 1:
            if len({source.azimuth_deg for source in placed}) > 1:
                raise NotApplicableError("the plan states several directions, and no times")
            azimuth = azimuths_deg(placed[0], times_s)
            return self._cache(azimuth, torch.ones_like(azimuth), torch.zeros_like(azimuth))
        owner, alone = latest_source(timed, times_s, WINDOW_S / 2)
        azimuths = torch.stack([azimuths_deg(source, times_s) for source in timed])
        azimuth = azimuths.gather(0, owner[None])[0]
        alone = alone & azimuth.isfinite()
        if not bool(alone.any()):
            raise NotApplicableError("no source with a stated direction is ever active alone")
        onsets_s = torch.tensor([time_s for source in timed for time_s in source.onsets_s])
        return self._cache(azimuth.nan_to_num(), alone.float(), owner.float(), onsets_s)

    def _cache(self, azimuth: Tensor, weights: Tensor, source: Tensor, onsets_s: Tensor | None = None) -> Cache:
        side = torch.sin(torch.deg2rad(azimuth)) / math.sin(math.radians(SIDE_DEG))
        expected = {"itd_ms": self.side_itd_ms * side, "ild_db": self.side_ild_db * side}
        return {**expected, "weights": weights, "source": source, **expected_onsets(onsets_s)}

    def _of_reference(self, clip: Clip, plan: Plan) -> Cache:
        if clip.audio is None or clip.sample_rate_hz is None:
            raise NotApplicableError("there is no reference audio")
        measured = directions(clip.audio[None], clip.sample_rate_hz)
        fresh = _new_power(measured.power)[0].cpu()
        if float(fresh.amax()) < POWER_FLOOR:
            raise NotApplicableError("the reference is silent")
        weights = fresh / (fresh + 0.03 * fresh.amax())
        itd_ms, ild_db = measured.itd_ms[0].cpu(), measured.ild_db[0].cpu()
        expected = {"itd_ms": itd_ms, "ild_db": ild_db, "weights": weights, "source": torch.zeros_like(weights)}
        return {**expected, **expected_onsets()}

    def score(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Cache]) -> Tensor:
        """Agreement ``(batch,)`` in 0 .. 1."""

        def score_chunk(audio: Tensor, expected: Tensor, onsets_s: Tensor, counts: Tensor) -> Tensor:
            late_s = lags_s(audio, sample_rate_hz, onsets_s, counts)
            measured = directions(audio, sample_rate_hz).first(expected.shape[2])
            present = ((expected[:, 3:] == sources) & (expected[:, 2:3] > 0)).any(2)
            itd_ms, ild_db, weights, source = _delay(expected, late_s)[..., : measured.power.shape[1]].unbind(1)
            belongs = (source[:, None] == sources) & (weights[:, None] > 0)
            agreement = self._agreement(measured, itd_ms, ild_db)
            return _mean_over_sources(agreement, _new_power(measured.power) * weights, belongs, present)

        n_sources = 1 + max(int(cache["source"].amax()) for cache in caches)
        sources = torch.arange(n_sources, device=audio.device)[:, None]
        frames = pad_caches(caches, "itd_ms", "ild_db", "weights", "source", device=audio.device)
        onsets = pad_caches(caches, "onsets_s", "counts", device=audio.device)
        return map_in_chunks(score_chunk, audio, torch.stack(frames, 1), *onsets)

    def _agreement(self, measured: Directions, itd_ms: Tensor, ild_db: Tensor) -> Tensor:
        """Agreement of each frame with its target ``(batch, frames)``, 0 .. 1."""
        time = 1 / (1 + ((measured.itd_ms - itd_ms) / self.itd_tolerance_ms).square())
        level = 1 / (1 + ((measured.ild_db - ild_db) / self.ild_tolerance_db).square())
        side = (1 - 2 * measured.residual(itd_ms, ild_db)).clamp(min=0)
        weights = torch.tensor(self.weights, device=itd_ms.device)
        return torch.stack([time, level, side], -1) @ (weights / weights.sum())


def _delay(expected: Tensor, late_s: Tensor) -> Tensor:
    """The targets of each frame ``(batch, kinds, frames)``, delayed; zeros are shifted in at the ends."""
    frames = torch.arange(expected.shape[2], device=expected.device)
    at = frames - (late_s / HOP_S).round().long()[:, None]
    inside = (at >= 0) & (at < len(frames))
    at = at.clamp(0, len(frames) - 1)[:, None].expand_as(expected)
    return expected.gather(2, at) * inside[:, None]


def _middles_s(clip: Clip) -> Tensor:
    return torch.arange(n_windows(clip.duration_s)) * HOP_S + WINDOW_S / 2


def _new_power(power: Tensor) -> Tensor:
    """The increase in power ``(batch, frames)`` over two hops before, plus 2 % of the power itself."""
    before = torch.nn.functional.pad(power, (2, 0))[:, :-2]
    return (power - 0.9 * before).clamp(min=0) + 0.02 * power


def _mean_over_sources(values: Tensor, weights: Tensor, belongs: Tensor, counts: Tensor) -> Tensor:
    """Mean over sources of their weighted means, which tend to 0 where the weights do ``(batch,)``.

    Args:
        values: Values of the frames ``(batch, frames)``.
        weights: Weights of the frames.
        belongs: Whether a frame belongs to a source ``(batch, sources, frames)``.
        counts: Whether a source is present ``(batch, sources)``.
    """
    shares = weights[:, None] * belongs
    means = (shares * values[:, None]).sum(2) / (shares.sum(2) + POWER_FLOOR)
    return (means * counts).sum(1) / counts.sum(1).clamp(min=1)
