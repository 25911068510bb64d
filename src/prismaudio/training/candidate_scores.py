"""Scoring of candidates in training, in a worker thread."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch

from prismaudio.errors import NotApplicableError, PrismAudioError
from prismaudio.scorers import RewardScorer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from torch import Tensor

    from prismaudio.plan import Plan
    from prismaudio.rewards.base import Cache, Reward
    from prismaudio.types import Clip

LOG = logging.getLogger("prismaudio.training")


class CandidateScorer:
    """Scores candidates with rewards in a worker thread, in the order of submission.

    Scores have the sign that makes higher better. A clip that a reward cannot score gets NaN, and is logged once.

    Args:
        rewards: Rewards by name.
        folder: Folder of prepared caches; None to store none.
    """

    def __init__(self, rewards: Mapping[str, Reward], folder: Path | None = None) -> None:
        self.scorers = {name: RewardScorer(reward, name, folder=folder) for name, reward in rewards.items()}
        self._worker: ThreadPoolExecutor | None = None
        self._logged: set[tuple[str, str]] = set()

    def prepare(self, clip: Clip, plan: Plan) -> dict[str, Cache | None]:
        """Prepared cache of each reward for a clip; None for a reward that cannot score it."""
        return {name: self._prepared(scorer, clip, plan) for name, scorer in self.scorers.items()}

    def _prepared(self, scorer: RewardScorer, clip: Clip, plan: Plan) -> Cache | None:
        try:
            return scorer.prepare(clip, plan)
        except NotApplicableError as error:
            self.log_once(scorer.name, clip, str(error))
            return None

    def log_once(self, name: str, clip: Clip, reason: str) -> None:
        """Log once why a reward cannot score a clip."""
        if (name, clip.id) not in self._logged:
            self._logged.add((name, clip.id))
            LOG.warning("%s cannot score clip %s: %s", name, clip.id, reason)

    def submit(
        self, audio: Tensor, sample_rate_hz: int, ids: Sequence[str], caches: Sequence[Mapping[str, Cache | None]]
    ) -> Future[dict[str, Tensor]]:
        """Score in the worker; the result is scores ``(batch,)`` by name, on the CPU.

        Args:
            audio: Candidates ``(batch, 2, samples)``.
            sample_rate_hz: Their sample rate.
            ids: Name of the clip of each row.
            caches: What :meth:`prepare` returned for each row; candidates of one clip share the object.
        """
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, thread_name_prefix="rewards")
        return self._worker.submit(self.score, audio, sample_rate_hz, ids, caches)

    def score(
        self, audio: Tensor, sample_rate_hz: int, ids: Sequence[str], caches: Sequence[Mapping[str, Cache | None]]
    ) -> dict[str, Tensor]:
        """Score in this thread, see :meth:`submit`.

        Raises:
            PrismAudioError: A score is not finite, or there are not as many as candidates; the text names the clip.
        """
        scores = {}
        for name, scorer in self.scorers.items():
            known = [cache for row in caches if (cache := row[name]) is not None]
            scored = torch.tensor([row[name] is not None for row in caches])
            found = torch.full((len(caches),), torch.nan)
            if known:
                some = audio if len(known) == len(caches) else audio[scored.to(audio.device)]
                made = scorer.scores(some, sample_rate_hz, known)
                found[scored] = made if scorer.higher_is_better else -made
            for row in (scored & ~torch.isfinite(found)).nonzero().flatten().tolist():
                raise PrismAudioError(
                    f"{name} is {float(found[row])} for a candidate of clip {ids[row]} (row {row} of {len(ids)}); "
                    "a score must be finite: check that clip, or remove the reward"
                )
            scores[name] = found
        return scores

    def close(self) -> None:
        """Shut down the worker; the next submission starts a new one."""
        if self._worker is not None:
            self._worker.shutdown(cancel_futures=True)
            self._worker = None
