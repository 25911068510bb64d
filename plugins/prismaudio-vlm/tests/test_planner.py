"""Planners that ask a model: what it is asked and shown, what becomes of its answers."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from prismaudio.components import Dimension
from prismaudio.errors import PlanError
from prismaudio.media import read_clip, write_video
from prismaudio.plan import CORE, Plan
from prismaudio.testing import check_planner
from prismaudio.types import Clip, FrameSpec
from prismaudio_vlm.chat import Answer

from .conftest import numbered
from .scripted_chat import ANSWERS, ScriptedPlanner, failing, section_of

LOUDNESS = Dimension("loudness", "How loud is the whole, in LUFS?", "The whole is at -23 LUFS.")


def shown(question):
    """Numbers of the frames of each view."""
    return [[int(frame[0, 0, 0]) for frame in view.frames] for view in question.views]


def test_each_section_is_asked_for_with_what_is_written(clip, dimensions):
    planner = ScriptedPlanner()
    plan = planner.plan(clip, dimensions)
    assert dict(plan) == ANSWERS
    assert [section_of(question) for question in planner.questions] == list(CORE)
    assert plan.warnings == ()
    last = planner.questions[-1]
    assert "<Semantic> A small dog barks twice.\n<Temporal> The dog sounds" in last.text
    assert "From which direction does each sound come" in last.text
    assert "The clip lasts 4.00 s." in last.text
    assert last.system == planner.prompts.texts["system"]
    origin = plan.origins["temporal"]
    assert (origin["model"], origin["asked"], origin["prompt_tokens"], origin["tokens"]) == ("scripted", 1, 100, 9)
    assert origin["prompt"].startswith("planner 2 (")
    assert ", temporal 1 (" in origin["prompt"]
    json.dumps(plan.origins)


def test_the_whole_is_seen_slowly_and_its_moments_fast_with_true_times(clip, dimensions):
    planner = ScriptedPlanner(fps=1.0, moment_fps=5.0, max_frames=20)
    planner.plan(clip, dimensions)
    semantic, temporal = planner.questions[:2]
    assert shown(semantic) == [[0, 10, 20, 30]]
    assert semantic.views[0].times_s == (0.0, 1.0, 2.0, 3.0)
    assert shown(temporal) == [list(range(0, 40, 2))]  # the rate of moments for all of a short clip
    assert temporal.views[0].times_s == tuple(i / 5 for i in range(20))
    still = replace(numbered(20.0), frames=torch.zeros(200, 3, 24, 32, dtype=torch.uint8))
    still.frames[120] = 255
    planner = ScriptedPlanner(fps=1.0, moment_fps=5.0, max_frames=20, cache=False)
    planner.plan(still, dimensions)
    whole, moment = planner.questions[1].views
    assert whole.times_s == tuple(float(i) for i in range(20))
    assert moment.times_s[0] == pytest.approx(11.5, abs=0.1)
    assert moment.label == "A moment of change, up to 5 frames per second"


def test_frames_are_read_from_the_file_at_full_size_with_their_own_times(tmp_path, dimensions):
    frames = torch.arange(24, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 60, 80).contiguous() * 10
    write_video(frames, 8, tmp_path / "a.mp4")
    clip = read_clip(tmp_path / "a.mp4", FrameSpec(16, 8))
    planner = ScriptedPlanner(fps=2.0, moment_fps=4.0, frame_size=30)
    planner.plan(replace(clip, start_s=1.0, duration_s=2.0, frames=clip.frames[16:]), dimensions)
    (view,) = planner.questions[0].views
    assert view.frames.shape == (4, 3, 30, 40)
    assert view.times_s == (0.0, 0.5, 1.0, 1.5)
    assert [round(float(frame.float().mean()) / 10) for frame in view.frames] == pytest.approx([8, 12, 16, 20], abs=1)


def test_what_is_given_is_kept_and_completed(clip, dimensions):
    planner = ScriptedPlanner()
    plan = planner.plan(clip, dimensions, "a dog, far away")
    assert plan["semantic"] == "a dog, far away"
    assert "semantic" not in plan.origins
    assert [section_of(question) for question in planner.questions] == ["temporal", "aesthetic", "spatial"]
    assert "<Semantic> a dog, far away" in planner.questions[0].text
    given = Plan({"semantic": "A dog.", "spatial": "", "temporal": "The dog sounds at 1 s."})
    plan = planner.plan(clip, dimensions, given)
    assert (plan["temporal"], plan["spatial"]) == ("The dog sounds at 1 s.", ANSWERS["spatial"])
    asked = len(planner.questions)
    assert dict(planner.plan(clip, dimensions, Plan(ANSWERS))) == ANSWERS
    assert len(planner.questions) == asked


def test_a_dimension_of_a_plugin_is_asked_with_its_own_question(clip, dimensions):
    planner = ScriptedPlanner(lambda q: "The whole is at -30 LUFS." if section_of(q) == "loudness" else "A dog barks.")
    plan = planner.plan(clip, [*dimensions, LOUDNESS], Plan(ANSWERS))
    assert plan["loudness"] == "The whole is at -30 LUFS."
    assert "How loud is the whole, in LUFS?" in planner.questions[0].text
    assert "Example: The whole is at -23 LUFS." in planner.questions[0].text
    assert plan.origins["loudness"]["prompt"].endswith(", loudness 1")


def test_without_frames_a_plan_is_completed_from_text_alone(dimensions):
    planner = ScriptedPlanner()
    plan = planner.plan(Clip("text", 3.0), dimensions, "a small dog barks twice")
    assert plan["temporal"] == ANSWERS["temporal"]
    assert planner.questions[0].views == () or not planner.questions[0].views[0].times_s
    assert "There is no picture" in planner.questions[0].text
    with pytest.raises(PlanError, match="no frames and no prompt"):
        planner.plan(Clip("text", 3.0), dimensions)


def test_a_wrong_answer_is_sent_back_once_with_what_is_wrong(clip, dimensions):
    def script(question):
        if section_of(question) != "temporal":
            return ANSWERS[section_of(question)]
        return ANSWERS["temporal"] if question.corrections else "The dog sounds at 1.00 s and 9.50 s."

    planner = ScriptedPlanner(script)
    plan = planner.plan(clip, dimensions)
    assert plan["temporal"] == ANSWERS["temporal"]
    assert plan.warnings == ()
    assert plan.origins["temporal"]["asked"] == 2
    ((answer, told),) = planner.questions[2].corrections
    assert answer == "The dog sounds at 1.00 s and 9.50 s."
    assert "9.50 s" in told
    assert "4.00 s" in told


def test_a_section_that_stays_wrong_is_left_out_with_the_reason(clip, dimensions):
    def script(question):
        name = section_of(question)
        return "I'm sorry, but I cannot help with that." if name == "spatial" else ANSWERS[name]

    planner = ScriptedPlanner(script)
    plan = planner.plan(clip, dimensions)
    assert list(plan) == ["semantic", "temporal", "aesthetic"]
    (warning,) = plan.warnings
    assert warning.startswith("ScriptedPlanner left out the spatial section: ")
    assert "(after 2 answers)" in warning
    assert len(planner.questions) == 5
    assert len(ScriptedPlanner(script, retries=0, cache=False).plan(clip, dimensions)) == 3


BAD = {
    "": "empty",
    "   \n": "empty",
    "word " * 10_000: "at most",
    "Der Hund bellt zweimal und danach ist es still in dem Raum.": "English",
    "The dog is on the left (azimuth -140°).": "140",
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:12] or "nothing")
def test_bad_answers_are_recorded_and_nothing_is_lost(clip, dimensions, text):
    planner = ScriptedPlanner(lambda q: text if section_of(q) == "spatial" else ANSWERS[section_of(q)])
    plan = planner.plan(clip, dimensions)
    assert list(plan) == ["semantic", "temporal", "aesthetic"]
    assert BAD[text] in plan.warnings[0]


def test_an_answer_that_is_cut_off_is_not_used(clip, dimensions):
    cut = Answer("The dog is on the left and then it moves to the", 1, 1, is_complete=False)
    planner = ScriptedPlanner(lambda q: cut if section_of(q) == "spatial" else ANSWERS[section_of(q)])
    assert "cut off" in planner.plan(clip, dimensions).warnings[0]


def test_the_error_of_one_question_leaves_its_section_out(clip, dimensions):
    def script(question):
        name = section_of(question)
        return failing("the endpoint answered 500") if name == "aesthetic" else ANSWERS[name]

    planner = ScriptedPlanner(script)
    plan = planner.plan(clip, dimensions)
    assert list(plan) == ["semantic", "temporal", "spatial"]
    assert plan.warnings == ("ScriptedPlanner left out the aesthetic section: the endpoint answered 500",)
    assert len(planner.questions) == 4


def test_a_contradiction_is_sent_back_and_else_reported(clip, dimensions):
    other = "The car is on the left (azimuth -40°)."
    planner = ScriptedPlanner(lambda q: other if section_of(q) == "spatial" else ANSWERS[section_of(q)])
    plan = planner.plan(clip, dimensions)
    assert plan["spatial"] == other
    assert plan.origins["spatial"]["asked"] == 2
    assert "the spatial section contradicts another one: " in plan.warnings[0]
    assert "car" in plan.warnings[0]


def test_a_contradiction_that_makes_no_plan_is_left_out(clip, dimensions):
    given = Plan({"semantic": "A dog barks. The dog is heard at 3 s.", "aesthetic": "Dry acoustics."})
    for text in ("The dog sounds from 3.00 s to 1.00 s.", "The dog sounds at 2.00 s and ends at 0.50 s."):
        planner = ScriptedPlanner(lambda q, text=text: text if section_of(q) == "temporal" else ANSWERS[section_of(q)])
        plan = planner.plan(clip, dimensions, given)
        assert "temporal" not in plan
        assert "left out the temporal section" in plan.warnings[0]
        plan.check(clip.duration_s)


def test_all_sections_in_one_answer(clip, dimensions):
    def script(question):
        if question.corrections:
            return f"<Spatial> {ANSWERS['spatial']}"
        return "\n".join(f"**{name.title()}:** {text}" for name, text in ANSWERS.items() if name != "spatial")

    planner = ScriptedPlanner(script, ask="together")
    plan = planner.plan(clip, dimensions)
    assert dict(plan) == ANSWERS
    assert planner.batches == [1, 1]
    assert "in this form: <Semantic> ... <Temporal> ... <Aesthetic> ... <Spatial> ..." in planner.questions[0].text
    assert planner.questions[1].corrections[0][1].count("the spatial section: the answer has no <Spatial> section") == 1
    assert [plan.origins[name]["asked"] for name in CORE] == [1, 1, 1, 2]
    assert plan.origins["semantic"]["prompt_tokens"] == 25


def test_clips_are_asked_about_together(dimensions):
    planner = ScriptedPlanner()
    planner.batch_size = 3
    clips = [numbered(1.0, name=str(number)) for number in range(4)]
    clips[1] = replace(clips[1], frames=clips[1].frames + 100)
    plans = planner.plan_batch(clips, dimensions, [None, "a cat", None, Plan(ANSWERS)])
    assert [plan["semantic"] for plan in plans] == [
        ANSWERS["semantic"],
        "a cat",
        ANSWERS["semantic"],
        ANSWERS["semantic"],
    ]
    assert planner.batches[0] == 2
    assert dict(plans[0]) == dict(planner.plan(clips[0], dimensions))


def test_a_long_clip_is_planned_in_segments_with_times_of_the_clip(dimensions):
    def script(question):
        name = section_of(question)
        if name != "temporal":
            return ANSWERS[name]
        begin_s = question.views[0].times_s[0]
        return f"The dog sounds at {begin_s + 1:.2f} s and {begin_s + 2:.2f} s."

    planner = ScriptedPlanner(script, segment_s=10.0, max_segments=3)
    plan = planner.plan(numbered(24.0, 4.0), dimensions)
    assert plan["temporal"] == (
        "The dog sounds at 1.00 s and 2.00 s. The dog sounds at 9.00 s and 10.00 s. "
        "The dog sounds at 17.00 s and 18.00 s."
    )
    assert plan["semantic"] == ANSWERS["semantic"]
    assert "You see its part from 8.00 s to 16.00 s" in planner.questions[1].text
    assert plan.origins["temporal"]["asked"] == 3
    wrong = ScriptedPlanner(lambda q: ANSWERS[section_of(q)], segment_s=10.0, cache=False).plan(
        numbered(24.0, 4.0), dimensions
    )
    assert wrong["temporal"] == ANSWERS["temporal"]
    assert "left out the temporal section from 8 to 16 s, 16 to 24 s: it has a time at 0.20 s" in wrong.warnings[0]


@pytest.mark.parametrize("duration_s", [0.2, 7200.0])
def test_very_short_and_very_long_clips(duration_s, dimensions):
    planner = ScriptedPlanner(lambda q: ANSWERS[section_of(q)].replace("0.20", "0.10").replace(" and 0.60 s", ""))
    clip = numbered(duration_s, 10.0 if duration_s < 1 else 0.03)
    plan = planner.plan(clip, dimensions)
    assert plan["semantic"]
    assert len(planner.questions) <= 16 * 4 * 2
    assert all(len(view.times_s) <= 32 for question in planner.questions for view in question.views)


def test_the_existing_audio_is_heard_if_the_user_says_so(tmp_path, dimensions):
    audio = torch.linspace(-0.5, 0.5, 32_000).repeat(2, 1)
    clip = replace(numbered(2.0), audio=audio, sample_rate_hz=16_000)
    planner = ScriptedPlanner(hear=True)
    planner.plan(clip, dimensions)
    assert torch.equal(planner.questions[0].audio, audio.mean(0))
    assert "You also hear the sound" in planner.questions[0].text
    silent = planner.plan(numbered(2.0), dimensions)
    assert silent.warnings == ("the clip has no audio to hear; the plan is written from its frames",)
    assert planner.questions[-1].audio is None
    unheard = ScriptedPlanner(cache=False)
    unheard.plan(clip, dimensions)
    assert unheard.questions[0].audio is None


def test_a_question_is_asked_once_per_content_model_and_viewing(clip, dimensions, own_cache):
    first = ScriptedPlanner().plan(clip, dimensions)
    again = ScriptedPlanner()
    assert dict(again.plan(clip, dimensions)) == dict(first)
    assert again.questions == []
    assert again.plan(clip, dimensions).origins["semantic"]["seconds"] == 0.0

    def n_asked(planner, clip):
        planner.plan(clip, dimensions)
        return len(planner.questions)

    assert n_asked(ScriptedPlanner(fps=1.0), clip) == 3  # the temporal section is shown the same frames
    assert n_asked(ScriptedPlanner(cache=False), clip) == 4
    assert n_asked(ScriptedPlanner(), replace(clip, frames=clip.frames + 1)) == 4
    assert n_asked(ScriptedPlanner(), replace(clip, id="other name")) == 0
    other = ScriptedPlanner()
    other.identity = "another model"
    assert n_asked(other, clip) == 4
    for file in own_cache.rglob("*.json"):
        file.write_text("{damaged")
    assert n_asked(ScriptedPlanner(), clip) == 4


def test_answers_are_kept_when_a_run_is_stopped(clip, dimensions):
    def stopping(question):
        if section_of(question) == "aesthetic":
            raise KeyboardInterrupt
        return ANSWERS[section_of(question)]

    with pytest.raises(KeyboardInterrupt):
        ScriptedPlanner(stopping).plan(clip, dimensions)
    second = ScriptedPlanner()
    second.plan(clip, dimensions)
    assert [section_of(question) for question in second.questions] == ["aesthetic", "spatial"]


def test_errors_are_not_kept(clip, dimensions):
    ScriptedPlanner(lambda q: failing("busy")).plan(clip, dimensions)
    second = ScriptedPlanner()
    assert dict(second.plan(clip, dimensions)) == ANSWERS


@pytest.mark.parametrize("wrong", [{"ask": "both"}, {"retries": -1}, {"fps": 0}, {"max_frames": 0}, {"segment_s": 0}])
def test_arguments_out_of_range_are_reported(wrong):
    with pytest.raises((ValueError, PlanError), match=next(iter(wrong))):
        ScriptedPlanner(**wrong)


# Annotating and decoupling -------------------------------------------------------------------------------------------
COT = "A small dog barks twice. It sounds at 0.20 s and 0.60 s. A clean recording of a room. It is on the right (+24°)."


def tagged(**changes):
    return " ".join(f"<{name.capitalize()}> {text}" for name, text in {**ANSWERS, **changes}.items() if text)


def test_one_question_shows_all_views_and_asks_for_one_text(clip, dimensions):
    heard = replace(clip, audio=torch.zeros(2, 44_100 * 4), sample_rate_hz=44_100)
    planner = ScriptedPlanner(lambda _: f"**{COT}**", hear=True, fps=1.0, moment_fps=5.0, max_frames=20)
    (annotation,) = planner.annotate_batch([heard], dimensions, ["a dog"])
    assert (annotation.text, annotation.warnings, annotation.unanswered) == (COT, (), "")
    (question,) = planner.questions
    assert shown(question) == [list(range(0, 40, 2))]
    assert question.audio.shape == (64_000,)
    assert "This is known about the clip: a dog" in question.text
    assert "You also hear the sound" in question.text
    places = [question.text.index(dimension.question) for dimension in dimensions]
    assert places == sorted(places)
    origin = annotation.origin
    assert (origin["model"], origin["asked"], origin["tokens"]) == ("scripted", 1, len(COT.split()))
    assert origin["prompt"].startswith("planner 2 (")
    assert ", spatial 1 (" in origin["prompt"]


def test_a_long_clip_is_annotated_with_one_question(dimensions):
    planner = ScriptedPlanner(lambda _: COT, segment_s=2.0, max_frames=8)
    planner.annotate_batch([numbered(9.0)], dimensions)
    (question,) = planner.questions
    assert len(question.views[0].times_s) == 8
    assert "The clip lasts 9.00 s." in question.text
    assert "This is known" not in question.text


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("", "it is empty"),
        ("I'm sorry, I cannot see the dog.", "it refuses"),
        ("The dog sounds at 9.50 s.", "9.50 s, but the clip lasts 4.00 s"),
        ("A dog barks. " * 2 + "The dog sounds at 9.50 s.", "9.50 s"),
        (" ".join(f"Dog number {i} barks." for i in range(200)), "it has 800 words; at most 600 are allowed"),
        (" ".join(f"Dog number {i} barks." for i in range(100)) + " ```", "a code fence"),
        (Answer("A dog barks and then", 1, 4, is_complete=False), "cut off"),
    ],
)
def test_a_text_that_is_no_chain_of_thought_is_sent_back_once(wrong, told, clip, dimensions):
    planner = ScriptedPlanner(lambda question: COT if question.corrections else wrong)
    (annotation,) = planner.annotate_batch([clip], dimensions)
    assert (annotation.text, annotation.origin["asked"]) == (COT, 2)
    ((_, correction),) = planner.questions[1].corrections
    assert told in correction
    (annotation,) = ScriptedPlanner(lambda _: wrong, cache=False).annotate_batch([clip], dimensions)
    assert (annotation.text, annotation.unanswered) == ("", "")
    assert told in annotation.warnings[0]


def test_a_chain_of_thought_may_be_as_long_as_all_its_sections(clip, dimensions):
    long = " ".join(f"Dog number {i} barks." for i in range(140))
    assert ScriptedPlanner(lambda _: long).annotate_batch([clip], dimensions)[0].text == long


def test_a_clip_with_nothing_to_annotate_is_refused(dimensions):
    planner = ScriptedPlanner(lambda _: COT, hear=True)
    heard = Clip("a", 3.0, audio=torch.zeros(2, 48_000), sample_rate_hz=16_000)
    assert [one.text for one in planner.annotate_batch([heard, Clip("b", 3.0)], dimensions, ["", "a dog"])] == [COT] * 2
    assert planner.questions[0].views == ()
    with pytest.raises(PlanError, match="clip b has nothing to annotate"):
        planner.annotate_batch([Clip("b", 3.0)], dimensions)


def test_a_text_is_split_by_one_question_without_the_clip(clip, dimensions):
    planner = ScriptedPlanner(lambda _: tagged())
    (plan,) = planner.decouple_batch([COT], [clip], dimensions)
    assert dict(plan) == ANSWERS
    (question,) = planner.questions
    assert (question.views, question.audio) == ((), None)
    assert COT in question.text
    assert "<Semantic> ... <Temporal> ... <Aesthetic> ... <Spatial> ..." in question.text
    assert plan.origins["spatial"]["asked"] == 1


def test_sections_that_are_wrong_are_split_again(clip, dimensions):
    late = "The dog sounds at 8.00 s."
    planner = ScriptedPlanner(lambda question: tagged(temporal="" if not question.corrections else ANSWERS["temporal"]))
    (plan,) = planner.decouple_batch([COT], [clip], dimensions)
    assert dict(plan) == ANSWERS
    assert plan.origins["temporal"]["asked"] == 2
    (plan,) = ScriptedPlanner(lambda _: tagged(temporal=late), cache=False).decouple_batch([COT], [clip], dimensions)
    assert "temporal" not in plan
    assert "left out the temporal section" in plan.warnings[0]
    assert plan.unanswered == {}


def test_what_is_not_answered_is_told_apart_from_what_is_answered_badly(clip, dimensions):
    def script(question):
        return failing("no more requests") if "Split" in question.text or section_of(question) == "spatial" else COT

    planner = ScriptedPlanner(lambda question: failing("no more requests"))
    (annotation,) = planner.annotate_batch([clip], dimensions)
    assert (annotation.text, annotation.unanswered, annotation.warnings) == ("", "no more requests", ())
    (plan,) = planner.decouple_batch([COT], [clip], dimensions)
    assert plan.unanswered == dict.fromkeys(CORE, "no more requests")
    plan = ScriptedPlanner(script).plan(clip, dimensions)
    assert plan.unanswered == {"spatial": "no more requests"}


def test_a_description_leaves_out_what_changes_no_answer():
    one, other = ScriptedPlanner(cache=False), ScriptedPlanner()
    assert one.description() == other.description()
    assert one.description() != ScriptedPlanner(fps=3.0).description()
    json.dumps(one.description())


def test_other_prompts_are_another_description(tmp_path):
    (tmp_path / "temporal.yaml").write_text("answer: In seconds.\n")
    prompts = ScriptedPlanner(prompts=str(tmp_path)).description()["prompts"]
    assert prompts.startswith(f"{ScriptedPlanner().description()['prompts']}, temporal (")


def test_it_keeps_the_contract_of_planners(clip):
    check_planner(ScriptedPlanner(), clip=clip)
