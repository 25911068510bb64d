"""Somebody generates from a table, scores the results, and is told what the numbers do not say."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(shell, folder):
    """Two takes of the sample video, generated from a table with a column of its own."""
    (folder / "clips.csv").write_text(
        "video,id,seed,scene\nsamples/bell_and_ball.mp4,one,1,12\nsamples/bell_and_ball.mp4,two,2,13\n"
    )
    shell("prismaudio generate clips.csv -o out --steps 2 --manifest made.jsonl")


@pytest.mark.usefixtures("made")
def test_a_table_goes_through_generate_and_score_with_its_columns(shell, folder):
    said = shell(
        "prismaudio score made.jsonl --rewards TemporalReward,SpatialReward --metrics OnsetF1 --json scores.jsonl"
    )
    *files, everything = map(json.loads, (folder / "scores.jsonl").read_text().splitlines())
    assert [(line["columns"]["id"], line["columns"]["scene"]) for line in files] == [("one", "12"), ("two", "13")]
    assert "2 files: the plan is the one that the audio was generated from" in said
    assert len(everything["notes"]) == 1
    shell("prismaudio extract made.jsonl -o features --model studio --workers 0")


@pytest.mark.usefixtures("made")
def test_nothing_is_ignored_in_silence(shell):
    said = shell(
        "prismaudio score out/one.wav --reference out/two.wav --rewards AestheticReward --metrics none --force",
        PRISMAUDIO_CACHEDIR="/tmp",
    )
    assert "the environment variable PRISMAUDIO_CACHEDIR is not read; did you mean PRISMAUDIO_CACHE?" in said
    assert "the reference has no effect" in said
    assert "--force has no effect" in said


def test_a_sampler_with_its_arguments(shell, folder):
    shell("prismaudio generate samples/bell_and_ball.mp4 -o sampled --sampler HeunSampler --sampler.steps 2")
    assert json.loads((folder / "sampled/bell_and_ball.json").read_text())["sampler"]["name"] == "HeunSampler"


def test_from_python(shell):
    said = shell(
        "python -W error -c 'from prismaudio import PrismAudio; "
        'made = PrismAudio.from_pretrained("studio").generate(["samples/bell_and_ball.mp4"] * 2, steps=1); '
        "print(len(made), made[0].audio.shape)'"
    )
    assert "2 torch.Size([2," in said
