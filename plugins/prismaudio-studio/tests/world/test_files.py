import json

import pytest
import torch

from prismaudio.media import read_clip
from prismaudio.plan import Plan
from prismaudio.types import FrameSpec
from prismaudio_studio.world import render_audio, sample_scene
from prismaudio_studio.world.files import write_scene


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studio")
    scene = sample_scene(2, 4, held_out=True)
    assert write_scene(scene, folder, (48, 48), 12.0)
    return folder, scene


def test_the_ground_truth_has_events_and_sections(written):
    folder, scene = written
    truth = json.loads((folder / f"{scene.id}.json").read_text())
    assert [event["time_s"] for event in truth["events"]] == [event.time_s for event in scene.events]
    assert set(truth["events"][0]) == {"time_s", "class", "azimuth_deg", "level_db"}
    assert (truth["quality"], truth["room"], truth["fps"]) == (scene.quality, scene.room, 12.0)
    assert len(Plan(truth["sections"]).story.sources) == len(scene.things)


def test_videos_differ_in_audio_only(written):
    folder, scene = written
    loud = read_clip(folder / f"{scene.id}.mp4", FrameSpec(12.0), with_audio=True)
    silent = read_clip(folder / f"{scene.id}.silent.mp4", FrameSpec(12.0), with_audio=True)
    assert torch.equal(loud.frames, silent.frames)
    assert silent.audio is None
    both = torch.stack([loud.audio[0, :64000], torch.from_numpy(render_audio(scene))[0]])
    assert float(torch.corrcoef(both)[0, 1]) > 0.9


def test_existing_clips_are_not_written_again(written):
    folder, scene = written
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(before) == 4
    assert not write_scene(scene, folder, (48, 48), 12.0)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    (folder / f"{scene.id}.wav").unlink()
    assert write_scene(scene, folder, (48, 48), 12.0)
    assert not list(folder.glob("*.part*"))
