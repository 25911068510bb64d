"""Scoring of candidates in training, in worker threads."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import torch

from prismaudio.errors import NotApplicableError, PrismAudioError
from prismaudio.samplers.base import on_device_of
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
    """Scores candidates with rewards in worker threads; each reward scores in the order of submission.

    On a CPU there is one thread for all rewards, whose operations use all cores. On a GPU each reward has its own
    thread and its own stream, so that rewards that do not fill the device run side by side.

    Scores have the sign that makes higher better. A clip that a reward cannot score gets NaN, and is logged once.

    Args:
        rewards: Rewards by name.
        folder: Folder of prepared caches; None to store none.
    """

    def __init__(self, rewards: Mapping[str, Reward], folder: Path | None = None) -> None:
        self.scorers = {name: RewardScorer(reward, name, folder=folder) for name, reward in rewards.items()}
        self._worker: ThreadPoolExecutor | None = None
        self._stream: torch.cuda.Stream | None = None
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
    ) -> dict[str, Future[Tensor]]:
        """Score in the worker; the results are scores ``(batch,)`` by name, on the CPU.

        Audio on a GPU is scored on a stream of its own, once the work that is queued for the audio now is done.

        Args:
            audio: Candidates ``(batch, 2, samples)``.
            sample_rate_hz: Their sample rate.
            ids: Name of the clip of each row.
            caches: What :meth:`prepare` returned for each row; candidates of one clip share the object.
        """
        ready = torch.cuda.current_stream(audio.device).record_event() if audio.is_cuda else None
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, thread_name_prefix="rewards")  # rewards may share networks
        arguments = audio, sample_rate_hz, ids, caches
        return {name: self._worker.submit(self._score_in_worker, ready, name, *arguments) for name in self.scorers}

    def _score_in_worker(self, ready: torch.cuda.Event | None, name: str, audio: Tensor, *rest: Any) -> Tensor:
        if ready is None:
            return self._score(name, audio, *rest)
        if self._stream is None:
            self._stream = torch.cuda.Stream(audio.device)
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(ready)
            audio.record_stream(self._stream)  # its memory is not reused before this stream is done with it
            return self._score(name, audio, *rest)

    def score(
        self, audio: Tensor, sample_rate_hz: int, ids: Sequence[str], caches: Sequence[Mapping[str, Cache | None]]
    ) -> dict[str, Tensor]:
        """Score in this thread, see :meth:`submit`.

        Raises:
            PrismAudioError: A score is not finite, or there are not as many as candidates; the text names the clip.
        """
        return {name: self._score(name, audio, sample_rate_hz, ids, caches) for name in self.scorers}

    def _score(
        self,
        name: str,
        audio: Tensor,
        sample_rate_hz: int,
        ids: Sequence[str],
        caches: Sequence[Mapping[str, Cache | None]],
    ) -> Tensor:
        """Scores ``(batch,)`` of one reward."""
        scorer = self.scorers[name]
        known = [cache for row in caches if (cache := row[name]) is not None]
        scored = torch.tensor([row[name] is not None for row in caches])
        found = torch.full((len(caches),), torch.nan)
        if known:
            rows = scored.nonzero().flatten()
            some = audio if len(known) == len(caches) else audio[on_device_of(audio, rows)]
            made = scorer.scores(some, sample_rate_hz, known)
            found[scored] = made if scorer.higher_is_better else -made
        for row in (scored & ~torch.isfinite(found)).nonzero().flatten().tolist():
            raise PrismAudioError(
                f"{name} is {float(found[row])} for a candidate of clip {ids[row]} (row {row} of {len(ids)}); "
                "a score must be finite: check that clip, or remove the reward"
            )
        return found

    def close(self) -> None:
        """Shut down the worker; the next submission starts a new one."""
        if self._worker is not None:
            self._worker.shutdown(cancel_futures=True)
            self._worker = None
