"""The plan benchmark measures what planners write, what it costs, and goes on when they fail."""

import math

import pytest
import torch

from prismaudio.benchmarks.plans import (
    COLUMNS,
    KnownPlans,
    PlanCase,
    PlanQuality,
    PlanRow,
    noun_embedder,
    shuffled,
)
from prismaudio.builtin import CORE_DIMENSIONS
from prismaudio.encoders.base import Encoder
from prismaudio.encoders.brightness import BrightnessEncoder
from prismaudio.errors import MediaError, UnknownNameError
from prismaudio.metrics.plans import PlanReference
from prismaudio.plan import Plan
from prismaudio.plan.story import Source, Story
from prismaudio.plan.writing import describe
from prismaudio.planners.base import Planner
from prismaudio.types import Clip, FrameSpec

STORIES = [Story((Source(what, (1.0, 2.0), azimuth_deg=(20, 20)),)) for what in ("dog", "car", "cat", "cow", "hen")]
TRUTH = {f"clip {i}": Plan(describe(story)) for i, story in enumerate(STORIES)}
SMALL, LARGE = FrameSpec(4.0, 8), FrameSpec(8.0, 16)


class Rendered:
    """The frames of a clip; counts how often they are made."""

    def __init__(self, name, log):
        self.name, self.log = name, log

    def __call__(self, spec):
        self.log.append((self.name, spec))
        frames = torch.zeros(int(4 * spec.fps), 3, spec.size, spec.size, dtype=torch.uint8)
        return Clip(self.name, 4.0, frames, spec.fps)


def cases(log=None):
    log = [] if log is None else log
    return [
        PlanCase(f"clip {i}", PlanReference.from_story(story, 4.0), Rendered(f"clip {i}", log))
        for i, story in enumerate(STORIES)
    ]


class AskingPlanner(Planner):
    """Writes the truth, with origins of two sections; fails as it is told."""

    def __init__(self, failures=None):
        self.failures = failures or {}
        self.seen = []

    def plan(self, clip, dimensions, given=None):
        self.seen.append((clip.id, tuple(clip.frames.shape), [dimension.name for dimension in dimensions]))
        failure = self.failures.get(clip.id)
        if isinstance(failure, Exception):
            raise failure
        if isinstance(failure, str):
            return Plan({"semantic": ""}, [failure])
        origins = {
            "semantic": {"planner": "AskingPlanner", "asked": 1, "prompt_tokens": 100, "tokens": 7},
            "temporal": {"planner": "AskingPlanner", "asked": 2, "prompt_tokens": 250, "tokens": 13},
            "spatial": {"planner": "user"},
        }
        return Plan(TRUTH[clip.id], (), origins)


def value(report, row, column):
    cell = report.cell(row, column)
    return math.nan if cell is None else cell["mean"]


def test_rows_have_their_values_and_costs():
    rows = {
        "truth": PlanRow(KnownPlans(TRUTH)),
        "shuffled": PlanRow(KnownPlans(shuffled(TRUTH))),
        "asking": PlanRow(AskingPlanner(), SMALL),
    }
    steps = []
    report = PlanQuality(CORE_DIMENSIONS).run(rows, cases(), lambda *step: steps.append(step))
    assert list(report.values) == list(rows)
    assert tuple(report.columns) == COLUMNS
    for row in ("truth", "asking"):
        assert value(report, row, "event_f1_50ms") == value(report, row, "class_match") == 1
        assert value(report, row, "failed") == 0
    assert value(report, "shuffled", "event_f1_250ms") == value(report, "shuffled", "class_match") == 0
    assert value(report, "shuffled", "onset_f1_50ms") == 1  # all at the same times
    costs = {column: value(report, "asking", column) for column in ("asked", "prompt_tokens", "tokens")}
    assert costs == {"asked": 1.5, "prompt_tokens": 350, "tokens": 20}
    assert value(report, "asking", "seconds") > 0
    for column in ("asked", "seconds", "prompt_tokens", "tokens"):
        assert report.cell("truth", column) is None
    assert steps[-1] == (15, 15)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert report.meta["failures"] == {}


def test_frames_are_made_once_for_all_planners_of_one_size():
    log: list[object] = []
    small, also_small, large = AskingPlanner(), AskingPlanner(), AskingPlanner()
    rows = {"a": PlanRow(small, SMALL), "b": PlanRow(also_small, SMALL), "c": PlanRow(large, LARGE)}
    PlanQuality(CORE_DIMENSIONS).run(rows, cases(log))
    assert len(log) == len(set(log)) == 2 * len(STORIES)
    assert small.seen == also_small.seen
    assert small.seen[0] == ("clip 0", (16, 3, 8, 8), ["semantic", "temporal", "aesthetic", "spatial"])
    assert large.seen[0][1] == (32, 3, 16, 16)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 9])
def test_failures_are_counted_and_the_others_measured(batch_size):
    failing = AskingPlanner({"clip 1": ValueError("no answer"), "clip 3": "the model refused"})
    rows = {"failing": PlanRow(failing, SMALL), "truth": PlanRow(KnownPlans(TRUTH))}
    report = PlanQuality(CORE_DIMENSIONS, batch_size=batch_size).run(rows, cases())
    assert value(report, "failing", "failed") == 2
    assert value(report, "failing", "event_recall_50ms") == pytest.approx(3 / 5)
    assert value(report, "failing", "event_precision_50ms") == 1
    assert value(report, "failing", "validity_rate") == pytest.approx(3 / 5)
    assert report.meta["failures"] == {"failing": ["clip 1: ValueError: no answer", "clip 3: the model refused"]}
    assert value(report, "truth", "event_f1_50ms") == 1


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_clip_that_cannot_be_read_fails_alone(batch_size):
    def broken(spec):
        raise MediaError("clip 2 is damaged")

    some = cases()
    some[2] = PlanCase("clip 2", some[2].reference, broken)
    rows = {"asking": PlanRow(AskingPlanner(), SMALL)}
    report = PlanQuality(CORE_DIMENSIONS, batch_size=batch_size).run(rows, some)
    assert report.meta["failures"] == {"asking": ["clip 2: clip 2 is damaged"]}
    assert value(report, "asking", "event_recall_50ms") == pytest.approx(4 / 5)


def test_a_planner_that_always_fails_has_the_worst_values():
    failing = AskingPlanner({name: RuntimeError(name) for name in TRUTH})
    report = PlanQuality(CORE_DIMENSIONS, batch_size=2).run({"failing": PlanRow(failing, SMALL)}, cases())
    assert value(report, "failing", "failed") == 5
    assert value(report, "failing", "event_f1_250ms") == value(report, "failing", "section_coverage") == 0
    assert value(report, "failing", "missed_events") == 2
    assert report.cell("failing", "tokens") is None


class LetterEncoder(Encoder):
    """Features are letters."""

    dim, rate_hz = 26, None

    def encode(self, clip, plan):
        letters = [ord(letter) - ord("a") for letter in plan["semantic"] if letter.isalpha()]
        return torch.nn.functional.one_hot(torch.tensor(letters), 26).float()


def test_nouns_are_compared_by_a_text_encoder():
    embed = noun_embedder(LetterEncoder())
    expected = torch.tensor([[2 / 3, 1 / 3, *[0] * 24], [0, 0, 1, *[0] * 23]])
    torch.testing.assert_close(embed(["aab", "c"]), expected)
    rows = {"truth": PlanRow(KnownPlans(TRUTH)), "shuffled": PlanRow(KnownPlans(shuffled(TRUTH)))}
    report = PlanQuality(CORE_DIMENSIONS, embed=embed).run(rows, cases())
    assert value(report, "truth", "class_match_embedding") == pytest.approx(1)
    # the cosine of dog and car, car and cat, cat and cow, cow and hen, hen and dog
    assert value(report, "shuffled", "class_match_embedding") == pytest.approx(
        (0 + 2 / 3 + 1 / 3 + 0 + 0) / 5, abs=1e-6
    )
    with pytest.raises(UnknownNameError, match="BrightnessEncoder encodes no text"):
        noun_embedder(BrightnessEncoder())
