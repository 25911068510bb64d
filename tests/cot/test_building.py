"""Gates, scores and decisions about chain-of-thought rows, and the plans of the four strategies."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from prismaudio.builtin import CORE_DIMENSIONS
from prismaudio.checkpoints import Configured
from prismaudio.cot.building import Checks, CotBuild
from prismaudio.cot.results import Correction, conclude, decided
from prismaudio.cot.rows import CotRow, RowFolder, read_rows
from prismaudio.cot.strategies import strategy_plans
from prismaudio.cot.writers import ManifestPlans, Source, TwoSteps, Written
from prismaudio.data.manifest import read_manifest
from prismaudio.data.synthetic import SyntheticClips
from prismaudio.errors import DataError, NotApplicableError, PlanError, PrismAudioError
from prismaudio.media import write_video, write_video_with_audio
from prismaudio.media.files import relative
from prismaudio.plan import Plan
from prismaudio.planners.base import Annotation, Annotator, Decoupler
from prismaudio.progress import Reporter
from prismaudio.rewards.aesthetic import AestheticReward
from prismaudio.rewards.temporal import TemporalReward
from prismaudio.scorers import RewardScorer
from prismaudio.types import Clip, FrameSpec

NAMES = [dimension.name for dimension in CORE_DIMENSIONS]


class WordGate(Configured):
    """Rejects plans with a word."""

    needs = frozenset()

    def __init__(self, word="cat"):
        self.word = word

    def check(self, clip, plan, cot=""):
        if self.word == "fail":
            raise ZeroDivisionError
        if self.word == "weights":
            raise PrismAudioError("its weights are not there")
        return f"it has a {self.word}" if self.word in f"{plan} {cot}" else None


class SoundGate(WordGate):
    needs = frozenset({"reference"})


class SameGate(WordGate):
    """Rejects plans that differ."""

    def check(self, clip, plan, cot=""):
        raise NotApplicableError("it compares two plans")

    def check_pair(self, first, second):
        return None if dict(first) == dict(second) else "they differ"


def clip(**changes):
    noise = 0.1 * torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0))
    return replace(Clip("a", 1.0, audio=noise, sample_rate_hz=16_000), **changes)


def plan(text="A dog barks.", temporal="The dog sounds at 0.50 s."):
    return Plan({"semantic": text, "temporal": temporal})


def test_gates_pass_reject_or_do_not_apply():
    gates = {"WordGate": WordGate(), "SoundGate": SoundGate(), "SameGate": SameGate()}
    checks = Checks(gates)
    found = checks.apply(clip(), Written(plan()), None)
    assert found.gates == {"Plan": None, "WordGate": None, "SoundGate": None}
    assert "--samples 2" in found.skipped["SameGate"]
    found = checks.apply(clip(audio=None), Written(plan("A dog."), "A cat."), plan("A dog."))
    assert found.gates == {"Plan": None, "WordGate": "it has a cat", "SameGate": None}
    assert found.skipped == {"SoundGate": "it needs reference audio, but there is none"}
    assert checks.apply(clip(), Written(plan()), plan("A cow.")).gates["SameGate"] == "they differ"
    assert checks.description() == {"gates": {name: {"word": "cat"} for name in gates}, "rewards": {}}


def test_a_gate_that_fails_lets_nothing_pass_and_one_without_weights_does_not_apply():
    found = Checks({"A": WordGate("fail"), "B": WordGate("weights")}).apply(clip(), Written(plan()), None)
    assert found.gates["A"] == "the gate failed: ZeroDivisionError"
    assert found.skipped == {"B": "its weights are not there"}


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (Plan({}), "there is no section"),
        (plan(temporal="The dog sounds at 3.00 s."), "3.00 s, but the clip lasts 1.00 s"),
    ],
)
def test_a_plan_that_training_refuses_is_rejected_without_any_gate(written, says):
    assert says in Checks().apply(clip(), Written(written), None).gates["Plan"]


def test_the_real_sound_is_scored_against_the_plan_and_not_against_itself():
    """Onsets of the sound itself would be met by all of them."""
    (data, truth) = SyntheticClips(0, 4, 2.0, 8.0, 16, 16_000).clip(0)
    scorers = [RewardScorer(TemporalReward(against), against) for against in ("plan", "reference")]
    checks = Checks({}, scorers)
    found = checks.apply(data, Written(truth), None)
    assert found.scores["plan"] > 0.8
    assert found.skipped == {"reference": "it needs reference audio, but there is none"}
    late = truth.replace({"temporal": "The click sounds at 0.02 s and 1.98 s."})
    assert checks.apply(data, Written(late), None).scores["plan"] < found.scores["plan"] - 0.3
    assert "plan" in checks.apply(data, Written(truth.replace({"temporal": "It clicks."})), None).skipped


def row(**changes):
    sections = {"semantic": "A dog barks.", "temporal": "The dog sounds at 0.50 s."}
    return replace(CotRow("a", {"caption": "a dog"}, 1.0, sections, gates={"Plan": None, "G": None}), **changes)


def test_a_row_is_accepted_by_gates_thresholds_or_a_person():
    assert decided(row(), {}).accepted
    assert not decided(row(gates={"G": "bad"}), {}).accepted
    scored = row(scores={"R": 0.4})
    assert [decided(scored, {"R": low}).accepted for low in (0.3, 0.4, 0.5)] == [True, True, False]
    assert decided(row(), {"R": 0.5}).accepted  # which the reward cannot score
    assert decided(row(gates={"G": "bad"}), {}, Correction(accepted=True)).accepted
    assert not decided(row(), {}, Correction(accepted=False)).accepted
    corrected = decided(row(gates={"G": "bad"}), {}, Correction({"semantic": "A cat."}))
    assert (corrected.accepted, corrected.corrected, corrected.sections["semantic"]) == (True, True, "A cat.")
    same = decided(row(gates={"G": "bad"}), {}, Correction({"semantic": "A dog barks."}))
    assert (same.accepted, same.corrected) == (False, False)
    empty = decided(row(), {}, Correction({"semantic": "", "temporal": " "}, accepted=True))
    assert (empty.accepted, empty.gates["Plan"]) == (False, "there is no section")


def test_the_four_strategies_have_the_same_words():
    whole = row(cot="First a dog barks. Then it is quiet.")
    plans = strategy_plans(whole)
    assert plans["plan"] == whole.sections
    assert plans["plan_monolithic"] == {"semantic": whole.cot}
    assert plans["plan_none"] == {"semantic": "a dog"}
    words = plans["plan_random"]["semantic"].split()
    assert sorted(words) == sorted(whole.cot.split())
    assert words != whole.cot.split()
    assert strategy_plans(whole)["plan_random"] == plans["plan_random"]
    assert strategy_plans(replace(whole, id="b"))["plan_random"] != plans["plan_random"]
    assert strategy_plans(row())["plan_monolithic"] == {"semantic": "A dog barks. The dog sounds at 0.50 s."}
    assert strategy_plans(replace(whole, corrected=True))["plan_monolithic"] == strategy_plans(row())["plan_monolithic"]
    assert strategy_plans(row(clip={}))["plan_none"] is None
    assert strategy_plans(row(clip={"caption": ["a", "b"]}))["plan_none"] == [{"semantic": "a"}, {"semantic": "b"}]


# The folder ----------------------------------------------------------------------------------------------------------
SETTINGS = {"planner": {"class": "A"}, "gates": {}}


def test_a_row_is_what_is_read_back(tmp_path):
    kept = row(cot="A text.", request="1", origins={"semantic": {"planner": "A"}}, skipped={"G": "no"})
    assert CotRow.read(json.loads(kept.line())) == kept
    for wrong in ({}, [], {**json.loads(kept.line()), "gates": 3}, {**json.loads(kept.line()), "more": 1}):
        with pytest.raises(DataError, match="not a row"):
            CotRow.read(wrong)
    with pytest.raises(DataError, match=r"cannot read .*rows\.jsonl"):
        list(read_rows(tmp_path))
    (tmp_path / "rows.jsonl").write_bytes(kept.line() + b"{}\n")
    with pytest.raises(DataError, match="line 2"):
        list(read_rows(tmp_path))


def test_a_torn_line_of_this_process_is_dropped_and_one_of_another_is_left(tmp_path):
    with RowFolder(tmp_path, SETTINGS, 1, 2) as folder:
        folder.append(row(request="1"))
    for number in (1, 2):
        with (tmp_path / f"rows-{number}of2.jsonl").open("ab") as file:
            file.write(row(id="b", request="1").line()[:-5])
    with RowFolder(tmp_path, SETTINGS, 1, 2) as folder:
        folder.append(row(id="c", request="1"))
        index = folder.index()
    assert [(name, "1") in index for name in "abc"] == [True, False, True]
    assert index.row(("c", "1")).id == "c"
    assert (tmp_path / "rows-1of2.jsonl").read_bytes().count(b"\n") == 2
    assert not (tmp_path / "rows-2of2.jsonl").read_bytes().endswith(b"\n")


def test_a_damaged_line_is_asked_again_and_a_later_line_counts(tmp_path):
    lines = [b"{\n", row(request="1", cot="old").line(), b'{"id": "a", "request": "1", "failed": "x"}\n']
    (tmp_path / "rows-1of1.jsonl").write_bytes(b"".join([*lines, row(request="1", cot="new").line()]))
    with RowFolder(tmp_path, SETTINGS) as folder:
        index = folder.index()
    assert index.row(("a", "1")).cot == "new"
    assert ("a", "2") not in index


def test_paths_lead_from_the_folder_also_where_it_is_a_link(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "video.mp4").touch()
    (tmp_path / "out").symlink_to(tmp_path / "deep" / "er")
    found = relative(tmp_path / "video.mp4", tmp_path / "out")
    assert found == "../../video.mp4"
    assert (tmp_path / "out" / found).exists()


# The loop ------------------------------------------------------------------------------------------------------------
class Told(Annotator, Decoupler):
    """Writes what is known about a clip, and fails about some."""

    def __init__(self):
        self.batches = []

    def annotate_batch(self, clips, dimensions, captions=None):
        self.batches.append([one.id for one in clips])
        if any(one.id == "bad" for one in clips):
            raise PlanError("it has nothing to see")
        if any(one.id == "broken" for one in clips):
            raise ZeroDivisionError
        if any(one.id == "down" for one in clips):
            raise PrismAudioError("there is no endpoint")
        return [
            Annotation("" if one.id == "mum" else f"{caption}.") for one, caption in zip(clips, captions, strict=True)
        ]

    def decouple_batch(self, texts, clips, dimensions):
        return [Plan({"semantic": text}) for text in texts]


@pytest.fixture
def build(tmp_path):
    """Build rows of clips with these names: ``build(names, batch_size)`` gives annotator, loop and summary."""
    data, _ = SyntheticClips(0, 1, 1.0, 8.0, 48, 16_000).clip(0)
    write_video(data.frames, 8.0, tmp_path / "mute.mp4")
    write_video_with_audio(tmp_path / "mute.mp4", data.audio, 16_000, tmp_path / "a.mp4")

    def build(names, batch_size=1, gates=None):
        lines = [f"{name},a.mp4,a dog called {name}" for name in names]
        (tmp_path / "clips.csv").write_text("\n".join(["id,video,caption", *lines, ""]))
        entries = read_manifest(tmp_path / "clips.csv")
        told = Told()
        writer, checks = TwoSteps(told, told), Checks(gates or {}, [RewardScorer(AestheticReward(), "Aesthetic")])
        folder = RowFolder(tmp_path / "out", {**writer.description(), **checks.description()})
        with folder, Reporter(len(entries)) as reporter:
            loop = CotBuild(writer, None, checks, CORE_DIMENSIONS, folder, reporter, FrameSpec(8.0, 16))
            try:
                loop.run(entries, 2, batch_size)
            finally:
                summary = conclude(folder, entries, writer, NAMES, {"Aesthetic": 0.99}, {})
        return told, loop, summary

    return build


def test_a_clip_that_fails_does_not_take_its_batch_with_it(build, tmp_path):
    told, loop, summary = build(["a", "bad", "broken", "b"], 4)
    assert told.batches == [["a", "bad", "broken", "b"], ["a"], ["bad"], ["broken"], ["b"]]
    assert loop.failures == {"bad": "it has nothing to see", "broken": "ZeroDivisionError"}
    assert summary["failed"] == loop.failures
    assert [found.id for found in read_rows(tmp_path / "out")] == ["a", "b"]


def test_a_model_that_cannot_be_asked_stops_the_build_and_keeps_what_there_is(build, tmp_path):
    with pytest.raises(PrismAudioError, match="no endpoint"):
        build(["a", "down", "b"])
    assert [found.id for found in read_rows(tmp_path / "out")] == ["a"]


def test_the_summary_counts_gates_and_scores(build, tmp_path):
    gates = {"WordGate": WordGate("rex"), "SameGate": SameGate()}
    _, _, summary = build(["rex", "tom", "mum"], 2, gates)
    assert (summary["clips"], summary["rows"], summary["left"]) == (3, 3, 0)
    counts = {"passed": 2, "rejected": 1, "skipped": 0, "rejection_rate": 0.333333}
    assert summary["gates"]["WordGate"] == counts
    assert summary["gates"]["Plan"] == counts  # the one about which nothing is written
    assert summary["gates"]["SameGate"] == {"passed": 0, "rejected": 0, "skipped": 3, "rejection_rate": None}
    score = summary["scores"]["Aesthetic"]
    assert (score["rows"], score["threshold"]) == (3, 0.99)
    assert score["below"] == sum(found.scores["Aesthetic"] < 0.99 for found in read_rows(tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["settings"]["gates"]["WordGate"] == {
        "word": "rex"
    }


def test_plans_of_the_manifest_need_no_model(tmp_path):
    entry = read_manifest_of(tmp_path, {"id": "a", "video": "a.mp4", "plan": {"semantic": "A dog."}})
    (written,) = ManifestPlans().write([Source(entry, clip())], CORE_DIMENSIONS)
    assert dict(written.plan) == {"semantic": "A dog."}
    entry = read_manifest_of(tmp_path, {"id": "a", "video": "a.mp4", "caption": "a dog"})
    with pytest.raises(PlanError, match="has no plan in the manifest"):
        ManifestPlans().write([Source(entry, clip())], CORE_DIMENSIONS)


def read_manifest_of(folder, line):
    (folder / "a.mp4").touch()
    (folder / "one.jsonl").write_text(json.dumps(line) + "\n")
    return read_manifest(folder / "one.jsonl")[0]
