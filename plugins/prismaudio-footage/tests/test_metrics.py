"""The metric of what is heard."""

import pytest
import torch

from prismaudio.errors import NotApplicableError
from prismaudio.metrics.target import Target
from prismaudio.plan.story import Source, Story
from prismaudio_footage import metrics
from prismaudio_footage.metrics import FamilyHeard

AUDIO = torch.zeros(1, 2, 16_000)


def target(*nouns: str) -> Target:
    return Target(Story(tuple(Source(noun, (0.5,)) for noun in nouns)), ())


def test_a_family_is_heard_if_one_of_its_classes_is(monkeypatch):
    heard = type("Ear", (), {"classes_heard": lambda self, audio, rate: ["Music", "Bark", "Animal"]})()
    monkeypatch.setattr(metrics, "listener", lambda: heard)
    metric = FamilyHeard()
    metric.update(AUDIO, 16_000, [target("puppy")])
    metric.update(AUDIO, 16_000, [target("rain")])
    assert float(metric.compute()) == 0.5


@pytest.mark.parametrize(("nouns", "reason"), [(("dog", "rain"), "has 2"), (("zither",), "of no family")])
def test_other_plans_are_left_out(nouns, reason):
    with pytest.raises(NotApplicableError, match=reason):
        FamilyHeard().is_correct(AUDIO[0], 16_000, target(*nouns))


def test_yamnet_listens():
    assert "Silence" in metrics.listener().classes_heard(AUDIO[0], 16_000)
