"""Scoring in worker threads: what it gives, in which order, and on a GPU beside the work that makes the audio."""

from __future__ import annotations

import threading
from concurrent.futures import wait

import pytest
import torch

from prismaudio.errors import NotApplicableError, PrismAudioError
from prismaudio.plan import Plan
from prismaudio.rewards.base import Reward
from prismaudio.training.candidate_scores import CandidateScorer
from prismaudio.types import Clip

RATE_HZ = 8000


class Level(Reward):
    """How loud, by a few matrix products that take a while."""

    def __init__(self, inapplicable: str = "", *, higher_is_better: bool = True) -> None:
        self.inapplicable, self.higher_is_better = inapplicable, higher_is_better
        self.calls: list[tuple[str, float]] = []

    def prepare(self, clip, plan):
        if clip.id == self.inapplicable:
            raise NotApplicableError("it is not for this reward")
        return {"offset": torch.tensor(float(len(clip.id)))}

    def score(self, audio, sample_rate_hz, caches):
        self.calls.append((threading.current_thread().name, float(caches[0]["offset"])))
        offsets = torch.stack([cache["offset"] for cache in caches]).to(audio.device)
        return audio.abs().mean((1, 2)) + offsets


def scorer_of() -> CandidateScorer:
    return CandidateScorer({"level": Level(), "soft": Level("bb", higher_is_better=False)})


def submitted(scorer: CandidateScorer, audio: list[torch.Tensor]):
    """Scores of a clip for each batch of audio, whose names are one letter longer each."""
    futures = []
    for number, candidates in enumerate(audio, 1):
        clip = Clip("b" * number, 0.1)
        caches = [scorer.prepare(clip, Plan({"semantic": "Loud."}))] * len(candidates)
        futures.append(scorer.submit(candidates, RATE_HZ, [clip.id] * len(candidates), caches))
    return futures


def expected(audio: list[torch.Tensor]):
    level = [candidates.abs().mean((1, 2)).cpu() + number for number, candidates in enumerate(audio, 1)]
    return [{"level": found, "soft": torch.full_like(found, torch.nan) if n == 1 else -found}
            for n, found in enumerate(level)]  # fmt: skip


def check(device: str) -> CandidateScorer:
    scorer, audio = scorer_of(), [torch.randn(3, 2, 800, device=device) for _ in range(4)]
    for found, wanted in zip(submitted(scorer, audio), expected(audio), strict=True):
        assert found.keys() == wanted.keys()
        for name, scores in wanted.items():
            assert found[name].result().device.type == "cpu"
            torch.testing.assert_close(found[name].result(), scores, equal_nan=True)
    calls = scorer.scorers["level"].reward.calls
    assert [number for _, number in calls] == [1, 2, 3, 4]  # in the order of submission
    scorer.close()
    return scorer


def test_on_a_cpu_one_thread_scores_with_all_rewards():
    scorer = check("cpu")
    threads = {name for one in scorer.scorers.values() for name, _ in one.reward.calls}
    assert len(threads) == 1
    assert threads.pop().startswith("rewards")


def test_a_closed_scorer_starts_again_and_a_failure_names_the_clip():
    scorer = scorer_of()
    for _ in range(2):
        (found,) = submitted(scorer, [torch.ones(2, 2, 8)])
        assert found["level"].result().tolist() == [2, 2]
        scorer.close()
    (found,) = submitted(scorer, [torch.full((2, 2, 8), torch.nan)])
    wait(found.values())
    with pytest.raises(PrismAudioError, match=r"level is nan for a candidate of clip b \(row 0 of 2\)"):
        found["level"].result()
    scorer.close()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_each_reward_waits_for_the_audio_on_a_stream_of_its_own():
    scorer = check("cuda")
    assert len({name for one in scorer.scorers.values() for name, _ in one.reward.calls}) == 2
    square, scorer = torch.randn(4096, 4096, device="cuda"), scorer_of()
    futures, audio = [], []
    for _ in range(8):
        busy = square
        for _ in range(8):  # the audio depends on work that is still queued when it is submitted
            busy = torch.tanh(busy @ square)
        made = busy[:48].reshape(4, 2, -1).clone()
        audio.append(made.clone())
        futures += submitted(scorer, [made])
        del made  # its memory may be reused as soon as the main stream is done with it
    torch.cuda.synchronize()
    for found, candidates in zip(futures, audio, strict=True):
        torch.testing.assert_close(found["level"].result(), candidates.abs().mean((1, 2)).cpu() + 1)
    scorer.close()
