"""Descriptions of what the event network detects, from which a language model writes a plan."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from prismaudio.builtin import CORE_DIMENSIONS
from prismaudio.checkpoints import save_components
from prismaudio.cli.main import main
from prismaudio.errors import CheckpointError, PlanError
from prismaudio.media import read_clip, write_video
from prismaudio.plan.story import Source, Story
from prismaudio.planners.file import FilePlanner
from prismaudio.pretrained import load_parts
from prismaudio.types import Clip, FrameSpec
from prismaudio_studio.describing import EventDescriber, observation
from prismaudio_studio.narration import narrate
from prismaudio_studio.planner.event import EventPlanner
from prismaudio_studio.planner.watching import detect_events
from prismaudio_studio.world.clips import render_clip
from prismaudio_studio.world.sampling import sample_scene
from prismaudio_studio.world.video import render_video

SEEN = re.compile(
    r"(?P<size>small|medium|large) (?P<what>\w+), (?P<sides>[^,]+), (?P<times>[\d., to]+) s\.", re.IGNORECASE
)


@pytest.fixture(scope="module")
def describer() -> EventDescriber:
    return EventDescriber()


def read_back(text: str) -> Story:
    """The story that a description states."""
    sources = []
    for seen in SEEN.finditer(text):
        degrees = [
            int(n) * {"left": -1, "ahead": 1, "right": 1}[side]
            for n, side in re.findall(r"(\d+)° (\w+)", seen["sides"])
        ]
        times, _, end = seen["times"].partition(" to ")
        onsets_s = tuple(float(time) for time in times.split(", "))
        azimuth = (float(degrees[0]), float(degrees[-1]))
        sources.append(
            Source(seen["what"].lower(), onsets_s, float(end) if end else None, azimuth, seen["size"].lower())
        )
    (quality, room) = re.search(r"Sound: (\w+), space: (\w+)\.$", text).groups()
    return Story(tuple(sources), quality, room)


def test_all_that_a_plan_can_state_is_in_the_text() -> None:
    for index in range(60):
        story = sample_scene(index, seed=5).story
        stated = narrate(story).story  # times and directions rounded as plans state them
        ordered = sorted(stated.sources, key=lambda source: source.onsets_s[0])
        assert read_back(observation(story)) == replace(stated, sources=tuple(ordered)), observation(story)


def test_the_wording_is_none_of_a_plan() -> None:
    for index in range(20):
        story = sample_scene(index, seed=5).story
        text = observation(story)
        plan = narrate(story)
        assert not any(sentence in text for section in plan.values() for sentence in re.split(r"(?<=\.) ", section))
        assert "<" not in text


def test_facts_that_are_not_stated_are_left_out() -> None:
    assert observation(Story((Source("bell", (1.0,)),))) == "Bell, 1.00 s."
    assert observation(Story((), "noisy", "hall")) == "No source. Sound: noisy, space: hall."
    assert observation(Story()) == "No source."


def test_it_describes_what_the_planner_of_the_model_detects(describer: EventDescriber) -> None:
    clips = [render_clip(sample_scene(index, held_out=True)) for index in range(6)]
    texts = [annotation.text for annotation in describer.annotate_batch(clips, CORE_DIMENSIONS)]
    for clip, text in zip(clips, texts, strict=True):
        planned = describer.planner.plan(clip, CORE_DIMENSIONS).story
        assert {source.what: source for source in read_back(text).sources} == {s.what: s for s in planned.sources}
    whats = [{source.what for source in read_back(text).sources} for text in texts]
    true = [{thing.what for thing in sample_scene(index, held_out=True).things} for index in range(6)]
    assert sum(found == expected for found, expected in zip(whats, true, strict=True)) >= 4
    assert [one.text for one in describer.annotate_batch(clips, CORE_DIMENSIONS)] == texts


def test_a_caption_comes_first(describer: EventDescriber) -> None:
    clip = render_clip(sample_scene(1))
    plain, told = describer.annotate_batch([clip, clip], CORE_DIMENSIONS, ["", "A workshop."])
    assert told.text == f"A workshop. {plain.text}"


def test_frames_of_another_rate_and_size(describer: EventDescriber, tmp_path) -> None:
    scene = sample_scene(3, held_out=True)
    file = tmp_path / "clip.mp4"
    write_video(torch.from_numpy(render_video(scene, 128, 24.0)), 24.0, file)
    expected = describer.annotate_batch([read_clip(file, FrameSpec())], CORE_DIMENSIONS)[0].text
    coarse = read_clip(file, FrameSpec(4.0, 96, keep_aspect_ratio=True))
    assert describer.annotate_batch([coarse], CORE_DIMENSIONS)[0].text == expected  # read again from the file
    large = Clip("a", 4.0, torch.from_numpy(render_video(scene, (120, 160), 32.0)), 32.0)
    whats = {source.what for source in read_back(describer.annotate_batch([large], CORE_DIMENSIONS)[0].text).sources}
    assert whats == {thing.what for thing in scene.things}


def test_a_part_of_a_file_is_described_alone(describer: EventDescriber, tmp_path) -> None:
    first, second = (render_video(sample_scene(index, held_out=True), 64, 16.0) for index in (3, 5))
    file = tmp_path / "both.mp4"
    write_video(torch.cat([torch.from_numpy(first), torch.from_numpy(second)]), 16.0, file)
    whole = read_clip(file, FrameSpec(8.0, 64))
    half = replace(whole, duration_s=4.0, start_s=4.0, frames=whole.frames[32:])
    same = replace(half, fps=16.0, frames=read_clip(file, FrameSpec()).frames[64:])
    expected, text = (one.text for one in describer.annotate_batch([same, half], CORE_DIMENSIONS))
    assert text == expected
    assert max(source.last_s for source in read_back(text).sources) <= 4.0


def test_a_longer_clip_is_described_in_one_text(describer: EventDescriber) -> None:
    frames = torch.cat([render_clip(sample_scene(index, held_out=True)).frames for index in (3, 5)])
    clip = Clip("long", 8.0, frames, 16.0)
    text = describer.annotate_batch([clip], CORE_DIMENSIONS)[0].text
    with torch.no_grad():
        assert text == observation(detect_events(describer.planner.detect, clip, 4.0))
    assert max(source.last_s for source in read_back(text).sources) > 4.0


def test_what_cannot_be_described(tiny_model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="clip a has no frames to describe"):
        EventDescriber().annotate_batch([Clip("a", 1.0)], CORE_DIMENSIONS)
    clip = render_clip(sample_scene(1))
    with pytest.raises(CheckpointError, match="no model at nowhere"):
        EventDescriber("nowhere").annotate_batch([clip], CORE_DIMENSIONS)
    parts = load_parts(tiny_model_folder)
    others = {name: part for name, part in parts.items() if name != "planner"}
    save_components(tmp_path / "without", others)
    with pytest.raises(CheckpointError, match=r"has no EventPlanner: it has .*autoencoder.*; expected a model such as"):
        EventDescriber(str(tmp_path / "without")).annotate_batch([clip], CORE_DIMENSIONS)
    save_components(tmp_path / "other", {**others, "planner": FilePlanner("a.plan.txt")})
    with pytest.raises(CheckpointError, match="has no EventPlanner: its planner is a FilePlanner"):
        EventDescriber(str(tmp_path / "other")).annotate_batch([clip], CORE_DIMENSIONS)


def test_its_description_says_which_network_it_asks(tiny_model_folder) -> None:
    ours, other = EventDescriber(), EventDescriber(str(tiny_model_folder))
    assert ours.description()["planner"]["class"] == EventPlanner.__name__
    assert ours.description() == EventDescriber(device="auto").description() != other.description()


SPLITTER = """
from prismaudio import Component, hookimpl
from prismaudio.checkpoints import Configured
from prismaudio.plan import Plan
from prismaudio.planners.base import Decoupler


class Repeater(Configured, Decoupler):
    def decouple_batch(self, texts, clips, dimensions):
        return [Plan({dimension.name: text for dimension in dimensions}) for text in texts]


@hookimpl
def prismaudio_planners():
    return [Component("prismaudio.local.repeater:Repeater", "Repeats the text in every section.")]
"""


def test_it_is_the_annotator_of_cot_build(describer: EventDescriber, tmp_path: Path) -> None:
    clips, plugin = tmp_path / "clips", tmp_path / "repeater.py"
    assert main(["studio", "render", "--count", "2", "--size", "96", "-o", str(clips)]) == 0
    videos = sorted(path for path in clips.glob("*.mp4") if "silent" not in path.name)
    (tmp_path / "clips.csv").write_text("video\n" + "".join(f"{path}\n" for path in videos))
    plugin.write_text(SPLITTER)
    command = ["--plugin", str(plugin), "cot", "build", str(tmp_path / "clips.csv"), "-o", str(tmp_path / "cot")]
    assert main([*command, "--annotator", "EventDescriber", "--decoupler", "Repeater"]) == 0
    rows = [json.loads(line) for line in (tmp_path / "cot" / "rows.jsonl").read_text().splitlines()]
    expected = [describer.annotate_batch([read_clip(video)], CORE_DIMENSIONS)[0].text for video in videos]
    assert [row["cot"] for row in rows] == expected
    assert all(row["sections"]["temporal"] == row["cot"] for row in rows)
    assert all(row["origins"]["cot"]["planner"] == "EventDescriber" for row in rows)


def test_it_is_refused_as_a_planner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "clip.mp4"
    write_video(torch.zeros(8, 3, 48, 48, dtype=torch.uint8), 16.0, file)
    assert main(["plan", str(file), "-o", "-", "--planner", "EventDescriber"]) == 2
    assert "--planner: EventDescriber is no Planner; expected a class that implements" in capsys.readouterr().err
