"""Scoring candidates while training: what is prepared once for a clip, and scores from a worker of their own."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch

from prismaudio.errors import NotApplicableError, PrismAudioError
from prismaudio.rewards.preparing import prepare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from torch import Tensor

    from prismaudio.plan import Plan
    from prismaudio.rewards.base import Cache, Reward
    from prismaudio.types import Clip

LOG = logging.getLogger("prismaudio.training")


class Judges:
    """Rewards that score candidates in a worker, in the order in which they are asked.

    Scores are turned so that higher is better. What a reward cannot judge gets NaN from it, and is said once.

    Args:
        rewards: Rewards by name.
        folder: Where what they prepare is kept; None to keep nothing.
    """

    def __init__(self, rewards: Mapping[str, Reward], folder: Path | None = None) -> None:
        self.rewards, self.folder = dict(rewards), folder
        self._worker: ThreadPoolExecutor | None = None
        self._said: set[tuple[str, str]] = set()

    def prepare(self, clip: Clip, plan: Plan) -> dict[str, Cache | None]:
        """What each reward knows of a clip; None for one that cannot judge it."""
        return {name: self._prepared(name, reward, clip, plan) for name, reward in self.rewards.items()}

    def _prepared(self, name: str, reward: Reward, clip: Clip, plan: Plan) -> Cache | None:
        try:
            return prepare(reward, clip, plan, self.folder)
        except NotApplicableError as error:
            if (name, clip.id) not in self._said:
                self._said.add((name, clip.id))
                LOG.warning("%s does not judge clip %s: %s", name, clip.id, error)
            return None

    def ask(
        self, audio: Tensor, sample_rate_hz: int, ids: Sequence[str], caches: Sequence[Mapping[str, Cache | None]]
    ) -> Future[dict[str, Tensor]]:
        """Begin to score; the result is scores ``(batch,)`` by name, on the CPU.

        Args:
            audio: Candidates ``(batch, 2, samples)``.
            sample_rate_hz: Their sample rate.
            ids: Whose candidate each row is.
            caches: What :meth:`prepare` gave for each row; candidates of one clip share the object.
        """
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, thread_name_prefix="rewards")
        return self._worker.submit(self.score, audio, sample_rate_hz, ids, caches)

    @torch.no_grad()
    def score(
        self, audio: Tensor, sample_rate_hz: int, ids: Sequence[str], caches: Sequence[Mapping[str, Cache | None]]
    ) -> dict[str, Tensor]:
        """The same, at once.

        Raises:
            PrismAudioError: A score is not finite, or there are not as many as candidates; the text names the clip.
        """
        scores = {}
        for name, reward in self.rewards.items():
            known = [cache for row in caches if (cache := row[name]) is not None]
            judged = torch.tensor([row[name] is not None for row in caches])
            found = torch.full((len(caches),), torch.nan)
            if known:
                some = audio if len(known) == len(caches) else audio[judged.to(audio.device)]
                made = reward.score(some, sample_rate_hz, known).float().cpu()
                if made.shape != (len(known),):
                    raise PrismAudioError(f"{name} gives scores of shape {tuple(made.shape)}, expected {(len(known),)}")
                found[judged] = made if reward.higher_is_better else -made
            for row in (judged & ~torch.isfinite(found)).nonzero().flatten().tolist():
                raise PrismAudioError(
                    f"{name} gives {float(found[row])} to a candidate of clip {ids[row]} (row {row} of {len(ids)}); "
                    "a score must be finite: look at that clip, or leave the reward out"
                )
            scores[name] = found
        return scores

    def close(self) -> None:
        """Let the worker go; it comes again when it is asked."""
        if self._worker is not None:
            self._worker.shutdown(cancel_futures=True)
            self._worker = None
