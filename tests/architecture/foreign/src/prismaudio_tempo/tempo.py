"""The dimension ``tempo``: how it is planned, and how it is scored."""

import re

import torch
from torch import nn

from prismaudio.audio.onsets import onset_peaks
from prismaudio.checkpoints import Configured
from prismaudio.encoders.brightness import brightness
from prismaudio.errors import NotApplicableError
from prismaudio.plan import Plan
from prismaudio.planners.base import TrainablePlanner
from prismaudio.rewards.base import Reward


def stated(plan):
    """The number of events that a plan states; None where it states none."""
    found = re.search(r"(\d+) events", plan.get("tempo", ""))
    return found and int(found[1])


class TempoReward(Reward):
    """Minus half the difference between the number of onsets and that of the planned events."""

    dimension = "tempo"
    needs = frozenset({"plan"})

    def prepare(self, clip, plan):
        if stated(plan) is None:
            raise NotApplicableError("the plan states no tempo")
        return {"events": torch.tensor(float(stated(plan)))}

    def score(self, audio, sample_rate_hz, caches):
        _, strength = onset_peaks(audio, sample_rate_hz)
        events = torch.stack([cache["events"] for cache in caches]).to(strength.device)
        return -((strength > 0).sum(1) - events).abs() / 2


class TempoPlanner(Configured, TrainablePlanner):
    """Writes the section of ``tempo``: how many times something flashes, as far as it has learned to see flashes."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.2))

    def count(self, clip):
        bright = brightness(clip.frames, 1)[:, 0]
        return self.scale * (bright[1:] - bright[:-1]).clamp(min=0).sum() / (bright.max() - bright.min() + 1e-6)

    def plan(self, clip, dimensions, given=None):
        given = Plan({"semantic": given}) if isinstance(given, str) else given or Plan({})
        asked = any(dimension.name == "tempo" for dimension in dimensions)
        written = {"tempo": f"There are {round(float(self.count(clip)))} events."} if asked else {}
        return Plan({**written, **given})

    def loss(self, clips, plans):
        errors = [self.count(clip) - stated(plan) for clip, plan in zip(clips, plans, strict=True)]
        return {"count": torch.stack(errors).square().mean()}
