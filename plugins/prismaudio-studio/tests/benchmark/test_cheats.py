"""The cheats are what they say, and the report names the metrics that catch them."""

import json

import pytest
import torch

from prismaudio.audio.interaural import ild_db, itd_s
from prismaudio.audio.loudness import loudness_lufs
from prismaudio.audio.recording import flat_tops, highs_db, noise_floor_db
from prismaudio.cli.main import main
from prismaudio.media import write_video
from prismaudio.metrics.onset import OnsetF1
from prismaudio.rewards.base import Reward
from prismaudio.rewards.temporal import TemporalReward
from prismaudio.scorers import MetricScorer, RewardScorer
from prismaudio.types import Clip
from prismaudio_studio.benchmark.cheat_sounds import LOUDNESS_LUFS, scene_cheats
from prismaudio_studio.benchmark.cheats import CONTROLS, Case, run
from prismaudio_studio.classifier import ClassAccuracy, studio_classifier
from prismaudio_studio.narration import narrate
from prismaudio_studio.world import sample_scene
from prismaudio_studio.world.audio import placement, render_audio

RATE_HZ = 16_000


def rendered(scene):
    audio = torch.as_tensor(render_audio(scene, RATE_HZ)).float()
    return audio, scene_cheats(scene, audio, RATE_HZ)


@pytest.fixture(scope="module")
def scenes():
    return [sample_scene(index, 0, held_out=True) for index in range(24)]


@pytest.fixture(scope="module")
def single(scenes):
    """Scenes with one thing that stays on one side."""
    return [
        s for s in scenes if len(s.things) == 1 and s.things[0].x[0] == s.things[0].x[1] and abs(s.things[0].x[0]) > 0.3
    ]


@pytest.fixture(scope="module")
def cases(scenes):
    """Clips with one thing, of six classes."""
    made = []
    of_class = {scene.things[0].what: scene for scene in scenes if len(scene.things) == 1}
    for scene in list(of_class.values())[:6]:
        audio, sounds = rendered(scene)
        clip = Clip(scene.id, scene.duration_s, audio=audio, sample_rate_hz=RATE_HZ)
        made.append(Case(clip, narrate(scene.story), sounds))
    return made


def test_clicks_are_at_the_true_onsets_in_both_channels(scenes) -> None:
    for scene in scenes[:6]:
        clicks = rendered(scene)[1]["clicks_at_onsets"]()
        at = clicks[0].nonzero()[:, 0] / RATE_HZ
        onsets_s = torch.tensor(sorted({event.time_s for event in scene.events}))
        assert torch.equal(clicks[0], clicks[1])
        assert (at - onsets_s).abs().max() <= 1 / RATE_HZ


def test_noise_and_clicks_with_delay_come_from_the_planned_direction(single) -> None:
    assert len(single) >= 3
    for scene in single[:3]:
        true_itd_s, true_ild_db = placement(scene.things[0].azimuth_deg(0))
        sounds = rendered(scene)[1]
        noise, clicks = sounds["noise_with_delay"](), sounds["clicks_with_delay"]()
        for sound in (noise, clicks):
            assert float(itd_s(sound, RATE_HZ)) == pytest.approx(float(true_itd_s), abs=2e-5)
        assert float(ild_db(noise)) == pytest.approx(float(true_ild_db), abs=0.2)
        assert noise_floor_db(noise[None], RATE_HZ) > -30
        middle = [sound.abs().argmax() for sound in clicks[:, : round(scene.things[0].onsets_s[0] * RATE_HZ) + 99]]
        assert abs(sum(middle) / 2 - scene.things[0].onsets_s[0] * RATE_HZ) <= 1.5


def test_noise_with_delay_moves_to_the_thing_that_sounds_next(scenes) -> None:
    scene = next(s for s in scenes if len(s.things) == 2 and s.things[0].x[0] * s.things[1].x[0] < -0.1)
    noise = rendered(scene)[1]["noise_with_delay"]()
    events = scene.events
    for event, stop_s in zip(events, [*(e.time_s for e in events[1:]), scene.duration_s], strict=True):
        part = noise[:, round((event.time_s + 0.01) * RATE_HZ) : round((stop_s - 0.01) * RATE_HZ)]
        if part.shape[1] > 500:
            assert float(ild_db(part)) * event.azimuth_deg > 0


def test_the_looped_second_is_of_the_right_class_and_repeats(single) -> None:
    looped = [rendered(scene)[1]["looped_class"]() for scene in single]
    for sound in looped:
        assert torch.equal(sound[:, :RATE_HZ], sound[:, RATE_HZ : 2 * RATE_HZ])
        assert torch.equal(sound[0], sound[1])
    classes = [studio_classifier().classify(sound, RATE_HZ) for sound in looped]
    right = sum(noun == scene.things[0].what for noun, scene in zip(classes, single, strict=True))
    assert right >= 0.7 * len(single)


def test_bursts_of_planned_quality_have_it_and_ignore_the_times(scenes) -> None:
    for quality, is_so in {
        "clipped": lambda sound: flat_tops(sound, RATE_HZ) > 0.2,
        "muffled": lambda sound: highs_db(sound, RATE_HZ) < -30,
        "noisy": lambda sound: abs(noise_floor_db(sound, RATE_HZ) + 42) < 1,
        "clean": lambda sound: noise_floor_db(sound, RATE_HZ) < -70 and highs_db(sound, RATE_HZ) > -10,
    }.items():
        scene = next(scene for scene in scenes if scene.quality == quality)
        sound = rendered(scene)[1]["planned_quality"]()[None]
        assert is_so(sound), quality
        assert float(loudness_lufs(sound, RATE_HZ)) == pytest.approx(LOUDNESS_LUFS, abs=1.0)


def test_the_report_names_what_catches_the_best_cheat(cases) -> None:
    scorers = [
        RewardScorer(TemporalReward(), "temporal"),
        MetricScorer(OnsetF1(), "onsets"),
        MetricScorer(ClassAccuracy(), "classes"),
    ]
    steps = []
    report = run(cases, scorers, lambda *step: steps.append(step))
    found = report.meta["rewards"]["temporal"]
    assert found["best_cheat"].startswith("clicks")
    assert found["share"] > 0.95
    assert list(found["caught_by"]) == ["classes"]  # and not OnsetF1, which clicks please too
    assert report.meta["falls"][found["best_cheat"]]["onsets"] < 0.1
    assert report.meta["falls"]["silence"]["onsets"] > 0.9
    assert steps[-1] == (len(cases) * len(report.values), len(cases) * len(report.values))
    assert tuple(report.values)[:3] == CONTROLS


def test_a_metric_that_does_not_tell_the_truth_from_another_clip_catches_nothing(cases) -> None:
    class Backwards(OnsetF1):
        higher_is_better = False

    scorers = [RewardScorer(TemporalReward(), "temporal"), MetricScorer(Backwards(), "backwards")]
    report = run(cases, scorers)
    assert report.meta["rewards"]["temporal"]["caught_by"] == {}
    assert set(report.meta["falls"]["silence"].values()) == {None}


def test_the_share_counts_from_the_lowest_score(cases) -> None:
    class Quiet(Reward):
        """Lower is better: the peak, 0 .. 2."""

        range, higher_is_better = (0.0, 2.0), False

        def prepare(self, clip, plan):
            return {}

        def score(self, audio, sample_rate_hz, caches):
            return audio.abs().amax((1, 2))

    report = run(cases, [RewardScorer(Quiet(), "quiet")])
    found = report.meta["rewards"]["quiet"]
    assert (found["best_cheat"], found["score"]) == ("silence", 0.0)
    assert found["share"] == pytest.approx(2 / (2 - found["truth"]), abs=1e-3)


def test_the_command_prints_both_tables_and_writes_the_report(tmp_path, capsys) -> None:
    out = tmp_path / "out.json"
    options = [
        "--limit",
        "6",
        "--seed",
        "3",
        "--rewards",
        "SpatialReward,AestheticReward",
        "--metrics",
        "ClassAccuracy",
    ]
    assert main(["bench", "cheats", *options, "--json", str(out)]) == 0
    read = json.loads(out.read_text())
    assert list(read["meta"]["rewards"]) == ["SpatialReward", "AestheticReward"]
    assert read["meta"]["rewards"]["SpatialReward"]["best_cheat"].endswith("with_delay")
    assert set(read["rows"]["silence"]) == {"SpatialReward", "AestheticReward", "ClassAccuracy"}
    printed = capsys.readouterr().out
    assert "caught by" in printed
    assert "6 true sounds" in printed


def test_videos_have_the_cheats_that_need_no_plan(tmp_path, capsys) -> None:
    for index in range(6):
        scene = sample_scene(index, 0, held_out=True)
        audio = torch.as_tensor(render_audio(scene, 44_100)).float()
        write_video(torch.zeros(8, 3, 16, 16, dtype=torch.uint8), 2.0, tmp_path / f"{index}.mp4", audio, 44_100)
    (tmp_path / "broken.mp4").write_text("no video")
    out = tmp_path / "out.json"
    options = ["--videos", str(tmp_path), "--rewards", "TemporalReward", "--metrics", "OnsetF1", "--json", str(out)]
    assert main(["bench", "cheats", *options]) == 0
    read = json.loads(out.read_text())
    assert read["meta"]["rewards"]["TemporalReward"]["best_cheat"] == "clicks_at_onsets"
    assert "OnsetF1" in read["meta"]["without_score"]
    assert len(read["meta"]["side_db"]) == 6
    printed = capsys.readouterr()
    assert "broken.mp4" in printed.err
    assert "OnsetF1 has no value" in printed.out


def test_bad_input_is_one_line(tmp_path, capsys) -> None:
    named = ["--rewards", "TemporalReward", "--metrics", "OnsetF1"]
    assert main(["bench", "cheats", "--rewards", "SpacialReward"]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert main(["bench", "cheats", "--videos", str(tmp_path), *named]) == 2
    assert "0 videos" in capsys.readouterr().err
    assert main(["bench", "cheats", "--videos", str(tmp_path / "none"), *named]) == 2
    assert main(["bench", "cheats", "--limit", "2"]) == 2
