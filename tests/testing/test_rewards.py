from __future__ import annotations

import pytest
import torch

from prismaudio.errors import NotApplicableError
from prismaudio.rewards.base import Reward, plan_text
from prismaudio.testing import NonconformingError, check_reward


class Good(Reward):
    """Level, against that of the reference and the length of the section."""

    dimension = "semantic"
    needs = frozenset({"reference", "plan"})
    range = (0.0, 1.0)

    def prepare(self, clip, plan):
        if clip.audio is None:
            raise NotApplicableError("it needs reference audio, but there is none")
        return {"level": clip.audio.square().mean().sqrt(), "letters": torch.tensor(len(plan_text(plan, "semantic")))}

    def score(self, audio, sample_rate_hz, caches):
        levels = torch.stack([cache["level"] for cache in caches]).to(audio.device)
        return (audio.square().mean((1, 2)).sqrt() / (levels + 1)).clamp(max=1)


class OfTheGroup(Good):
    """Level against the mean of the candidates of its clip."""

    groupwise = True
    range = (-1.0, 1.0)

    def score(self, audio, sample_rate_hz, caches):
        plain = super().score(audio, sample_rate_hz, caches)
        rows = torch.tensor([[a is b for b in caches] for a in caches], device=audio.device).float()
        return plain - rows @ plain / rows.sum(1)


def test_a_good_reward_passes_and_so_does_one_of_groups():
    check_reward(Good())
    check_reward(OfTheGroup())


def scoring(function, base=Good, **attributes):
    return type("Bad", (base,), {"score": function, **attributes})()


def preparing(function, **attributes):
    return type("Bad", (Good,), {"prepare": function, **attributes})()


def score(audio):
    return audio.square().mean((1, 2)).sqrt()


def in_place(self, audio, rate_hz, caches):
    return score(audio.mul_(0.5))


def opens_its_cache(self, audio, rate_hz, caches):
    caches[0]["level"].add_(1)
    return score(audio)


BAD = {
    "scores must be finite": scoring(lambda s, audio, r, c: score(audio) / score(audio)),
    "in its range": scoring(lambda s, audio, r, c: score(audio) - 1),
    "each scored alone": scoring(lambda s, audio, r, c: score(audio) / score(audio).amax().clamp(min=1e-3)),
    "another clip is in the batch": scoring(lambda s, audio, r, c: score(audio) / len(audio), groupwise=True),
    "differ when repeated": scoring(lambda s, audio, r, c: torch.rand(len(audio))),
    "modifies the audio in place": scoring(in_place),
    "modifies 'level' of a cache": scoring(opens_its_cache),
    "must return (3, torch.float32, 'cpu')": scoring(lambda s, audio, r, c: score(audio).double()),
    "must return a tensor": scoring(lambda s, audio, r, c: score(audio).tolist()),
    "scores at 44.1 kHz differ": scoring(lambda s, audio, r, c: score(audio) * (r > 16_000)),
    "0.1 s at 8 kHz: RuntimeError": scoring(lambda s, audio, r, c: score(audio.unfold(-1, 2000, 2000).flatten(2))),
    "preparing a plan without its section: KeyError": preparing(
        lambda s, c, p: {"level": torch.tensor(len(p["semantic"]))}
    ),
    "preparing 0.1 s: RuntimeError": preparing(lambda s, c, p: {"level": c.audio.unfold(1, 9000, 9000).mean()}),
    "scoring for a silent reference": preparing(lambda s, c, p: {"level": c.audio.mean() / c.audio.abs().mean()}),
    "without reference, which needs does not list": preparing(Good.prepare, needs=frozenset({"plan"})),
    "must return tensors by name": preparing(lambda s, clip, plan: {"level": 3.0}, needs=frozenset()),
    "CPU tensors without gradient": preparing(lambda s, c, p: {"level": torch.ones(2, requires_grad=True)}),
    "not the same when prepared twice": preparing(lambda s, c, p: {"level": torch.rand(1)}),
    "with another video, which reads does not list": preparing(
        lambda s, clip, plan: {"level": torch.zeros(()) if clip.frames is None else clip.frames.float().mean()},
        needs=frozenset(),
    ),
    "the lowest and the highest": scoring(Good.score, range=(1.0, 0.0)),
    "needs may contain": scoring(Good.score, needs=frozenset({"smell"})),
    "it is not a Reward": object(),
}


@pytest.mark.parametrize("said", BAD)
def test_what_is_wrong_is_one_line(said):
    with pytest.raises(NonconformingError) as caught:
        check_reward(BAD[said])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, AssertionError)
