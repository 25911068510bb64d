"""Whether sounds come from where they should."""

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
from prismaudio.rewards.moments import whose
from prismaudio.rewards.rows import a_few_at_a_time, side_by_side

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
"""What a planner is asked for."""
HEARD = 1e-6
"""Mean power, -60 dB, of a source that counts half."""


class SpatialReward(Reward):
    """How near time and level differences of the ears, and the side energy, are to those of the right direction.

    The sound is measured in windows of 80 ms over the whole clip. Each belongs to the source that began last; what
    another source disturbs is left out. Windows count by the power that is new in them, where the direct sound is
    stronger than the answer of the room; sources count alike. One that is not heard has no direction, and scores 0.

    Args:
        against: Where the right direction comes from: the ``"plan"``, the ``"reference"`` sound, a ``"trajectory"``;
            ``"auto"`` takes the points if there are any, else the plan, the reference, the planner.
        points: A trajectory for everything that sounds: (time in seconds, azimuth in degrees), ascending in time.
        planner: Who watches the frames and says where things are, if no points are given.
        side_itd_ms: How much later a sound from 60 degrees reaches the far ear, in ms; others follow the sine.
        side_ild_db: How much softer it is there, in dB.
        itd_tolerance_ms: Error of the time difference at which it scores one half, in ms.
        ild_tolerance_db: Error of the level difference at which it scores one half, in dB.
        weights: How much time difference, level difference and side energy count.
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
        """Everything, if it may choose or somebody watches."""
        return self.needs or frozenset({"plan", "reference", "video"})

    def prepare(self, clip: Clip, plan: Plan) -> Cache:
        """What each window should measure, how much it counts, and which source it belongs to.

        Raises:
            NotApplicableError: Nothing says where anything should be.
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
            raise NotApplicableError("nobody watches the frames" if self.planner is None else "there are no frames")
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
        owner, alone = whose(timed, times_s, WINDOW_S / 2)
        azimuths = torch.stack([azimuths_deg(source, times_s) for source in timed])
        azimuth = azimuths.gather(0, owner[None])[0]
        alone = alone & azimuth.isfinite()
        if not bool(alone.any()):
            raise NotApplicableError("no sound with a direction is ever alone")
        onsets_s = torch.tensor([time_s for source in timed for time_s in source.onsets_s])
        return self._cache(azimuth.nan_to_num(), alone.float(), owner.float(), onsets_s)

    def _cache(self, azimuth: Tensor, weights: Tensor, source: Tensor, onsets_s: Tensor | None = None) -> Cache:
        side = torch.sin(torch.deg2rad(azimuth)) / math.sin(math.radians(SIDE_DEG))
        expected = {"itd_ms": self.side_itd_ms * side, "ild_db": self.side_ild_db * side}
        return {**expected, "weights": weights, "source": source, **expected_onsets(onsets_s)}

    def _of_reference(self, clip: Clip, plan: Plan) -> Cache:
        if clip.audio is None or clip.sample_rate_hz is None:
            raise NotApplicableError("there is no reference sound")
        heard = directions(clip.audio[None], clip.sample_rate_hz)
        fresh = _fresh(heard.power)[0].cpu()
        if float(fresh.amax()) < HEARD:
            raise NotApplicableError("the reference is silent")
        weights = fresh / (fresh + 0.03 * fresh.amax())
        itd_ms, ild_db = heard.itd_ms[0].cpu(), heard.ild_db[0].cpu()
        expected = {"itd_ms": itd_ms, "ild_db": ild_db, "weights": weights, "source": torch.zeros_like(weights)}
        return {**expected, **expected_onsets()}

    def score(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Cache]) -> Tensor:
        """Nearness ``(batch,)`` in 0 .. 1."""

        def judge(audio: Tensor, expected: Tensor, onsets_s: Tensor, counts: Tensor) -> Tensor:
            late_s = lags_s(audio, sample_rate_hz, onsets_s, counts)
            heard = directions(audio, sample_rate_hz).first(expected.shape[2])
            there = ((expected[:, 3:] == sources) & (expected[:, 2:3] > 0)).any(2)
            itd_ms, ild_db, weights, source = _moved(expected, late_s)[..., : heard.power.shape[1]].unbind(1)
            belongs = (source[:, None] == sources) & (weights[:, None] > 0)
            near = self._near(heard, itd_ms, ild_db)
            return _over_sources(near, _fresh(heard.power) * weights, belongs, there)

        n_sources = 1 + max(int(cache["source"].amax()) for cache in caches)
        sources = torch.arange(n_sources, device=audio.device)[:, None]
        windows = side_by_side(caches, "itd_ms", "ild_db", "weights", "source", device=audio.device)
        onsets = side_by_side(caches, "onsets_s", "counts", device=audio.device)
        return a_few_at_a_time(judge, audio, torch.stack(windows, 1), *onsets)

    def _near(self, heard: Directions, itd_ms: Tensor, ild_db: Tensor) -> Tensor:
        """How near each window is to what it should measure ``(batch, windows)``, 0 .. 1."""
        late = 1 / (1 + ((heard.itd_ms - itd_ms) / self.itd_tolerance_ms).square())
        loud = 1 / (1 + ((heard.ild_db - ild_db) / self.ild_tolerance_db).square())
        turned = (1 - 2 * heard.left_over(itd_ms, ild_db)).clamp(min=0)
        weights = torch.tensor(self.weights, device=itd_ms.device)
        return torch.stack([late, loud, turned], -1) @ (weights / weights.sum())


def _moved(expected: Tensor, late_s: Tensor) -> Tensor:
    """What is expected in each window ``(batch, kinds, windows)``, later; at the ends nothing moves in."""
    windows = torch.arange(expected.shape[2], device=expected.device)
    at = windows - (late_s / HOP_S).round().long()[:, None]
    inside = (at >= 0) & (at < len(windows))
    at = at.clamp(0, len(windows) - 1)[:, None].expand_as(expected)
    return expected.gather(2, at) * inside[:, None]


def _middles_s(clip: Clip) -> Tensor:
    return torch.arange(n_windows(clip.duration_s)) * HOP_S + WINDOW_S / 2


def _fresh(power: Tensor) -> Tensor:
    """The power ``(batch, windows)`` that was not there a window before, and a little of what was."""
    before = torch.nn.functional.pad(power, (2, 0))[:, :-2]
    return (power - 0.9 * before).clamp(min=0) + 0.02 * power


def _over_sources(values: Tensor, weights: Tensor, belongs: Tensor, counts: Tensor) -> Tensor:
    """Mean over the sources of their weighted means, lower where there is hardly anything to weigh ``(batch,)``.

    Args:
        values: What is averaged ``(batch, windows)``.
        weights: How much each window counts.
        belongs: Whether it counts for a source ``(batch, sources, windows)``.
        counts: Which sources there are ``(batch, sources)``.
    """
    shares = weights[:, None] * belongs
    means = (shares * values[:, None]).sum(2) / (shares.sum(2) + HEARD)
    return (means * counts).sum(1) / counts.sum(1).clamp(min=1)
