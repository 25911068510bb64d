"""The studio benchmark gives a perfect model the metrics of the ground truth, and shuffled audio those of chance."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from prismaudio.cli.main import main
from prismaudio.inference.settings import Settings
from prismaudio_studio.benchmark.rows import ShuffledRow
from prismaudio_studio.benchmark.stage import RATE_HZ, Camera, restage, take
from prismaudio_studio.benchmark.studio import COLUMNS, StudioBenchmark
from prismaudio_studio.narration import narrate
from prismaudio_studio.world.audio import render_audio
from prismaudio_studio.world.sampling import sample_scene

LIMIT = 6


class IdentityAutoencoder(nn.Module):
    """Returns audio at 16 kHz unchanged."""

    sample_rate_hz = RATE_HZ

    def encode(self, audio):
        return audio

    def decode(self, latents):
        return latents


class OracleModel:
    """Renders the plan exactly, with the scene of each clip found by its id."""

    def __init__(self, scenes) -> None:
        self.scenes = {scene.id: scene for scene in scenes}
        self.autoencoder = IdentityAutoencoder()
        self.settings = Settings()
        self.name = "oracle"
        self.seeds: list[int] = []

    def plan(self, clip):
        return narrate(self.scenes[clip.id].story, None)

    def render(self, clips, plans, seeds, **options):
        self.seeds += seeds
        audio = []
        for clip, plan in zip(clips, plans, strict=True):
            scene, story = self.scenes[clip.id], plan.story
            scene = restage(scene, story) if len(scene.things) == 1 else scene
            audio.append(torch.as_tensor(render_audio(scene, RATE_HZ)).float()[:, :-100])
        return audio


@pytest.fixture(scope="module")
def report():
    benchmark = StudioBenchmark(seed=5, limit=LIMIT, seeds=2, edit_limit=2, batch_size=4)
    steps = []
    model = OracleModel(scene for _, scene in benchmark.scenes())
    report = benchmark.run(model, lambda done, total: steps.append((done, total)))
    return report, steps, model


def test_every_row_has_every_column(report) -> None:
    rows = report[0].as_dict()["rows"]
    assert list(rows) == ["truth", "codec", "given_plan", "end_to_end", "shuffled"]
    assert all(tuple(columns) == COLUMNS for columns in rows.values())


def test_a_perfect_model_equals_the_truth(report) -> None:
    rows = report[0].as_dict()["rows"]
    assert rows["codec"] == rows["truth"]
    for column in ("onset_f1_single", "onset_f1_mixed", "class_accuracy", "edit_class", "edit_time", "edit_side"):
        assert rows["given_plan"][column]["mean"] == pytest.approx(rows["truth"][column]["mean"], abs=0.02), column
        assert rows["given_plan"][column]["sd"] == 0


def test_chance_is_far_below(report) -> None:
    rows = report[0].as_dict()["rows"]
    assert rows["truth"]["onset_f1_mixed"]["mean"] > 0.85
    assert rows["shuffled"]["onset_f1_mixed"]["mean"] < 0.4


def test_progress_reaches_its_end(report) -> None:
    assert report[1][-1][0] == report[1][-1][1]


def test_sampling_seeds_differ_by_clip_and_by_run(report) -> None:
    assert {0, 1, 1000, 1001, 1000 * (LIMIT - 1) + 1} <= set(report[2].seeds)


def test_without_a_model_only_the_other_rows_are_measured() -> None:
    benchmark = StudioBenchmark(seed=5, limit=2, edit_limit=0)
    first, second = benchmark.run(None).as_dict()["rows"], benchmark.run(None).as_dict()["rows"]
    assert list(first) == ["truth", "shuffled"]
    assert first == second


def test_the_command_samples_as_it_is_told(tmp_path) -> None:
    words = ["--limit", "1", "--seeds", "1", "--edit-limit", "0", "--rows", "given_plan", "--json"]
    told = {}
    for name, more in (("own", []), ("few", ["--sampler", "AdamsBashforthSampler", "--steps", "1"])):
        assert main(["bench", "studio", *words, str(tmp_path / name), *more]) == 0
        told[name] = json.loads((tmp_path / name).read_text())
    assert told["few"]["meta"]["sampler"] == "AdamsBashforthSampler"
    assert told["few"]["rows"] != told["own"]["rows"]


def test_a_take_has_a_silent_clip_and_its_audio() -> None:
    scene = sample_scene(0, 1, held_out=True)
    taken = take(0, scene, Camera())
    assert taken.clip.audio is None
    assert taken.clip.frames.shape[1] == 3
    assert taken.audio.shape == (2, 64_000)
    assert taken.target.noise_floor_db is not None


def test_restaging_an_unchanged_story_changes_nothing() -> None:
    scene = next(s for s in (sample_scene(i, 2) for i in range(50)) if len(s.things) == 1)
    same = restage(scene, scene.story)
    assert same.story == scene.story
    before, after = render_audio(scene, RATE_HZ), render_audio(same, RATE_HZ)
    assert abs(before - after).max() < 0.01  # a story rounds directions


def test_frames_are_of_training_size_or_as_they_were_filmed() -> None:
    scene = sample_scene(3, 1, "randomised", held_out=True)
    drawn, filmed = Camera()(scene), Camera(filmed=True)(scene)
    assert drawn.frames.shape == filmed.frames.shape == (64, 3, 48, 48)
    assert drawn.audio is None
    assert filmed.audio is None
    assert filmed.id == drawn.id == scene.id
    assert 0 < float((drawn.frames.float() - filmed.frames.float()).abs().mean()) < 40


@pytest.mark.parametrize(("n_clips", "batch_size"), [(1, 16), (100, 16), (100, 90)])
def test_the_shuffled_row_has_audio_for_revisited_clips(n_clips, batch_size):
    """Plan edits revisit the first clips, which are no longer among the most recent ones."""
    row = ShuffledRow()
    takes = [SimpleNamespace(index=index, audio=torch.full((2, 1), float(index))) for index in range(n_clips)]
    for start in range(0, n_clips, batch_size):
        row.audio(takes[start : start + batch_size], 0)
    for start in (36, 0, 3, 60):
        again = takes[start : start + batch_size : 3] or takes
        for seed in range(3):
            shuffled = [int(audio[0, 0]) for audio in row.edited_audio(again, [None] * len(again), seed)]
            assert len(shuffled) == len(again)
            assert n_clips == 1 or all(one != take.index for one, take in zip(shuffled, again, strict=True))
