from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from prismaudio.cli.main import main
from prismaudio.data.manifest import read_manifest
from prismaudio.evaluation.comparison import _cell, _Scored, _Seed
from prismaudio.media import write_video
from prismaudio.metrics.base import AudioMetric
from prismaudio.metrics.onset import OnsetF1
from prismaudio.scorers import MetricScorer

RATE_HZ = 16_000
IDS = [f"clip{index}" for index in range(6)]
SCORERS = ("--rewards", "AestheticReward,TemporalReward", "--metrics", "OnsetF1,GccMse,StereoWidth,ReferenceWidth")


class RowsMetric(AudioMetric):
    def __init__(self):
        super().__init__()
        self.add_state("rows", [], dist_reduce_fx="cat")

    def observe(self, audio, sample_rate_hz, target):
        self.rows.append(audio.mean(1))

    def compute(self):
        return torch.stack(self.rows).mean()


def sound(index, noise=0.0, *, mono=False):
    """A click at the time of the clip, from the left or the right, and noise."""
    rng = np.random.default_rng(index)
    audio = 0.001 * rng.standard_normal((RATE_HZ, 2))
    begin = round((0.3 + 0.05 * index) * RATE_HZ)
    burst = 0.5 * rng.standard_normal(800) * np.exp(-np.arange(800) / 200)
    late = 0 if mono else (-1) ** index * 6
    audio[begin : begin + 800, 0] += burst
    audio[begin + late : begin + late + 800, 1] += burst
    return audio + noise * rng.standard_normal((RATE_HZ, 2))


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A manifest of six clips, half of whose references are mono, and the audio of two systems."""
    monkeypatch.chdir(tmp_path)
    rows = []
    for index, name in enumerate(IDS):
        write_video(torch.zeros(16, 3, 32, 32, dtype=torch.uint8), 16, tmp_path / f"{name}.mp4")
        for folder, audio in (
            ("true", sound(index, mono=index % 2 == 0)),
            ("good", sound(index)),
            ("bad", sound(index + 3, 0.1)),
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            soundfile.write(tmp_path / folder / f"{name}.wav", audio, RATE_HZ)
        plan = f"<Semantic> A click. <Temporal> The click sounds at {0.3 + 0.05 * index:.2f} s."
        rows.append({"id": name, "video": f"{name}.mp4", "audio": f"true/{name}.wav", "plan": plan})
        rows[-1] |= {"events": "single" if index < 5 else "multi", "half": "first" if index < 3 else "second"}
    (tmp_path / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def evaluate(*words):
    return main(["evaluate", "--suite", "clips.jsonl", "-o", "out", *SCORERS, *words])


def results():
    return json.loads(Path("out/results.json").read_text(encoding="utf-8"))


def test_systems_are_compared_with_intervals_and_paired_differences(work, capsys):
    assert evaluate("--audio", "good", "--audio", "worse=bad", "--suite.group", "events, Half") == 0
    found = results()
    assert (found["baseline"], list(found["systems"])) == ("good", ["good", "worse"])
    every = found["groups"]["all clips"]
    good, worse = every["TemporalReward"]["good"], every["TemporalReward"]["worse"]
    assert good["n"] == 6
    assert good["low"] <= good["value"] <= good["high"]
    assert worse["difference"] == pytest.approx(worse["value"] - good["value"])
    assert worse["difference_high"] < 0
    assert "difference" not in good
    assert every["OnsetF1"]["good"]["value"] == 1
    of_columns = {"events: single", "events: multi", "half: first", "half: second"}
    assert set(found["groups"]) == {"all clips", *of_columns, "stereo references"}
    counts = [every["OnsetF1"][name]["n"] for name in ("good", "worse")]
    assert (counts, found["groups"]["half: first"]["OnsetF1"]["good"]["n"]) == ([6, 6], 3)
    assert "low" not in found["groups"]["events: multi"]["TemporalReward"]["good"]  # one clip
    stereo = found["groups"]["stereo references"]
    assert (stereo["GccMse"]["good"]["n"], "TemporalReward" in stereo) == (3, False)
    printed = capsys.readouterr().out
    assert "TemporalReward ↑" in printed
    text = (work / "out/results.md").read_text(encoding="utf-8")
    assert "| worse | " in text
    assert "*" in text.partition("| worse |")[2].partition("\n")[0]
    assert (work / "out/results.png").read_bytes().startswith(b"\x89PNG")


def test_systems_are_in_the_columns_of_the_paper(work, capsys):
    assert evaluate("--audio", "good", "--audio", "worse=bad", "--audio", "true", "--table", "paper") == 0
    printed = capsys.readouterr().out
    assert "TemporalReward" not in printed
    assert "– MOS-Q, MOS-C: " in printed
    found = results()["paper"]
    assert (found["truth"], list(found["systems"])) == ("true", ["true", "good", "worse"])
    gcc = found["systems"]["worse"]["GCC"]
    assert gcc["value"] == results()["groups"]["stereo references"]["GccMse"]["worse"]["value"]
    text = (work / "out/results.md").read_text(encoding="utf-8").partition("## In the columns of the paper")[2]
    assert text.index("| true |") < text.index("| good |")
    assert evaluate("--audio", "good", "--table", "both") == 0
    printed = capsys.readouterr().out
    assert "TemporalReward ↑" in printed
    assert "--audio truth=DIR" in printed


def test_a_second_run_scores_only_what_is_new(work, capsys):
    assert evaluate("--audio", "good") == 0
    before = results()
    capsys.readouterr()
    assert evaluate("--audio", "good", "--audio", "bad") == 0
    assert capsys.readouterr().err.count("already scored") == 6
    after = results()
    assert after["groups"]["all clips"]["OnsetF1"]["good"] == before["groups"]["all clips"]["OnsetF1"]["good"]


def test_a_model_generates_what_is_missing(work, tiny_model_folder, capsys):
    words = ("--model", f"tiny={tiny_model_folder}", "--steps", "1", "--given", "plan", "--audio", "good")
    assert evaluate(*words) == 0
    assert sorted(path.stem for path in (work / "out/systems/tiny/audio").glob("*.wav")) == IDS
    assert results()["systems"]["tiny"]["seconds_per_clip"] > 0
    (work / "out/systems/tiny/audio/clip3.wav").unlink()
    capsys.readouterr()
    assert evaluate(*words) == 0
    assert capsys.readouterr().err.count("already done") == 5
    assert [entry.id for entry in read_manifest("out/clips.jsonl", ("semantic", "temporal"))] == IDS


def test_audio_that_is_missing_is_counted_and_named(work, capsys):
    for name in IDS[:2]:
        (work / "good" / f"{name}.wav").unlink()
    assert evaluate("--audio", "good", "--audio", "bad") == 0
    assert "good: the audio of 2 of 6 clips is missing: clip0, clip1" in capsys.readouterr().out
    cells = results()["groups"]["all clips"]["TemporalReward"]
    assert (cells["good"]["n"], cells["bad"]["n"]) == (4, 6)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ((), "there is no system to evaluate"),
        (("--audio", "gone"), "there is no folder gone"),
        (("--audio", "empty"), "has the audio of no clip"),
        (("--audio", "good", "--audio", "good"), "two systems are named 'good'"),
        (("--audio", "a/b=good"), "is not of letters, digits"),
        (("--audio", "..=good"), "is not of letters, digits"),
        (("--audio", "good", "--rewards", "NoReward"), "no reward is named 'NoReward'"),
        (("--audio", "good", "--baseline", "mine"), "--baseline mine is no system"),
        (("--audio", "good", "--suite.split", "test"), "has no clips of the split test"),
    ],
)
def test_bad_input_is_one_line(work, capsys, words, error):
    (work / "empty").mkdir()
    assert evaluate(*words) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert error in line


def test_a_misspelt_command_is_not_a_system(capsys):
    assert main(["evaluate", "strategy", "--suite", "clips.jsonl"]) == 2
    assert "evaluate has no command 'strategy'; did you mean 'strategies'?" in capsys.readouterr().err


def test_a_folder_keeps_to_its_clips(work, capsys):
    assert evaluate("--audio", "good") == 0
    before = (work / "out/results.json").read_bytes()
    assert evaluate("--audio", "good", "--limit", "3") == 2
    assert "out holds the evaluation of 6 clips of ManifestSuite, and this one is of 3" in capsys.readouterr().err
    assert (work / "out/results.json").read_bytes() == before


def test_a_sound_that_cannot_be_read_is_a_failure_of_its_clip(work, capsys):
    (work / "good/clip1.wav").write_bytes(b"RIFF")
    assert evaluate("--audio", "good") == 2
    assert "clip1.wav" in capsys.readouterr().err
    assert results()["groups"]["all clips"]["TemporalReward"]["good"]["n"] == 5


def test_files_of_the_user_are_not_replaced(work, capsys):
    before = (work / "clips.jsonl").read_bytes()
    assert main(["evaluate", "--suite", "clips.jsonl", "-o", ".", "--audio", "good", *SCORERS]) == 2
    assert "clips.jsonl exists and is not that of an evaluation" in capsys.readouterr().err
    assert (work / "clips.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([{"id": "a.mp4"}], "the id 'a.mp4' is no name for the files of a clip"),
        ([{"id": "x/../../a"}], "is no name for the files"),
        ([{"id": "Dog"}, {"id": "dog"}], "several clips with the id 'Dog', apart from case"),
        ([{"id": "x" * 300}], "is no name for the files"),
        ([{"id": "a", "start_s": 1.5}], "clip a: start_s is 1.5; evaluate takes whole files"),
    ],
)
def test_clips_that_cannot_be_evaluated(work, capsys, rows, error):
    (work / "clips.jsonl").write_text("".join(json.dumps({"video": "clip0.mp4", **row}) + "\n" for row in rows))
    assert evaluate("--audio", "good") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert error in line
    assert not (work / "out").exists()


def test_a_group_may_have_any_name(work):
    lines = [json.loads(line) | {"Kind": "[/x]"} for line in (work / "clips.jsonl").read_text().splitlines()]
    (work / "clips.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert evaluate("--audio", "good", "--suite.group", "Kind") == 0
    assert "kind: [/x]" in results()["groups"]


def test_another_request_is_generated_anew_and_only_what_belongs_to_it_is_scored(work, tiny_model_folder, capsys):
    words = ("--model", f"tiny={tiny_model_folder}", "--steps", "1", "--given", "plan")
    assert evaluate(*words) == 0
    (work / "out/systems/tiny/generation.json").write_text('{"seconds_per_clip": 1000.0, "clips": 6}\n')
    (work / "clip4.mp4").write_bytes(b"broken")
    assert evaluate(*words, "--seed", "5") == 2
    found = results()
    assert found["systems"]["tiny"]["seconds_per_clip"] < 1000
    assert found["groups"]["all clips"]["AestheticReward"]["tiny"]["n"] == 5
    assert "the audio of 1 of 6 clips is missing: clip4" in capsys.readouterr().out


def scored(values, total, *, is_mean=False):
    """What a scorer says of a system with one seed."""
    return _Scored([_Seed(values, {}, {"value": total, "files": len(values)})], None, is_mean)


def test_a_value_that_no_sums_of_clips_give_has_neither_interval_nor_difference():
    values, lower = dict.fromkeys("abcdef", 0.7), dict.fromkeys("abcdef", 0.1)
    cell = _cell(scored(values, 0.5), scored(lower, 0.1), 0)
    assert cell.as_dict() == {"value": 0.5, "n": 6}
    cell = _cell(scored(values, 0.7, is_mean=True), scored(lower, 0.1, is_mean=True), 0)
    assert cell.as_dict()["difference"] == pytest.approx(0.6)


def counts(most, rng):
    """Matched, found and true onsets of forty clips."""
    matched = rng.integers(0, most, 40)
    return np.stack([matched, matched + rng.integers(1, 4, 40), matched + rng.integers(1, 4, 40)], 1)


def f1(rows):
    matched, found, true = rows.sum(0)
    return 2 * matched / (found + true)


def seed_of(rows):
    return _Seed(
        {str(i): 0.0 for i in range(len(rows))}, {str(i): torch.tensor(row).double() for i, row in enumerate(rows)}
    )


def test_the_interval_of_an_f1_is_that_of_resampled_clips():
    rng = np.random.default_rng(0)
    numbers = {system: counts(most, rng) for system, most in (("one", 5), ("other", 3))}
    scorer = MetricScorer(OnsetF1(), "OnsetF1")
    assert scorer.sums == ("matched", "found", "true")
    made = {system: _Scored([seed_of(rows)], scorer.value_of, is_mean=False) for system, rows in numbers.items()}
    cell = _cell(made["one"], made["other"], 0)
    drawn = [rng.integers(0, 40, 40) for _ in range(4000)]
    own = np.quantile([f1(numbers["one"][clips]) for clips in drawn], (0.025, 0.975))
    apart = np.quantile([f1(numbers["one"][clips]) - f1(numbers["other"][clips]) for clips in drawn], (0.025, 0.975))
    assert cell.value == pytest.approx(f1(numbers["one"]))
    assert (cell.low, cell.high) == pytest.approx(own, abs=0.01)
    assert cell.difference.mean == pytest.approx(f1(numbers["one"]) - f1(numbers["other"]))
    assert (cell.difference.low, cell.difference.high) == pytest.approx(apart, abs=0.015)


def test_of_several_seeds_value_interval_and_difference_are_means_over_the_seeds():
    rng = np.random.default_rng(1)
    seeds, others = [counts(9, rng), counts(2, rng) * [1, 9, 1]], [counts(4, rng)] * 2  # one seed has many false onsets
    scorer = MetricScorer(OnsetF1(), "OnsetF1")
    one, other = (_Scored([seed_of(rows) for rows in some], scorer.value_of, is_mean=False) for some in (seeds, others))
    cell = _cell(one, other, 0)
    mean = np.mean([f1(rows) for rows in seeds])
    assert cell.value == pytest.approx(mean)
    assert cell.low < mean < cell.high
    assert cell.difference.mean == pytest.approx(mean - f1(others[0]))
    drawn = [rng.integers(0, 40, 40) for _ in range(2000)]
    own = np.quantile([np.mean([f1(rows[clips]) for rows in seeds]) for clips in drawn], (0.025, 0.975))
    assert (cell.low, cell.high) == pytest.approx(own, abs=0.015)
    same = _cell(one.of({str(i) for i in range(40)}), None, 0)
    assert same.value == pytest.approx(cell.value)


def test_a_clip_that_lacks_a_value_with_one_seed_counts_with_the_others():
    full, part = {str(i): float(i) for i in range(10)}, {str(i): float(i) for i in range(9)}
    seeds = [_Seed(values, {}, {"value": sum(values.values()) / len(values), "files": 10}) for values in (full, part)]
    assert all(seed.is_mean for seed in seeds)
    cell = _cell(_Scored(seeds), None, 0)
    assert (cell.value, cell.n) == (4.5, 10)
    assert cell.low < 4.5 < cell.high


def test_a_metric_whose_rows_are_kept_has_no_sums():
    assert MetricScorer(RowsMetric(), "Rows").sums == ()


def test_several_seeds_are_one_system(work, tiny_model_folder):
    words = ("--model", f"tiny={tiny_model_folder}", "--steps", "1", "--seed", "4", "--audio", "good")
    assert evaluate(*words, "--seeds", "2") == 0
    both = results()
    assert both["systems"]["tiny"]["seeds"] == 2
    assert sorted(path.name for path in Path("out/systems/tiny").iterdir() if path.is_dir()) == ["audio", "seed-5"]
    first, second = (
        [json.loads(line) for line in Path("out/systems/tiny", part, "scores.jsonl").read_text().splitlines()]
        for part in ("", "seed-5")
    )
    values = [
        [row["scores"]["AestheticReward"]["value"] for row in rows if "scores" in row] for rows in (first, second)
    ]
    assert len(values[0]) == len(values[1]) == len(IDS)
    assert values[0] != values[1]
    cell = both["groups"]["all clips"]["AestheticReward"]["tiny"]
    assert cell["value"] == pytest.approx(np.mean(values))
    assert cell["seed_sd"] == pytest.approx(np.std(np.mean(values, 1), ddof=1))
    assert (cell["n"], "seed_sd" in both["groups"]["all clips"]["AestheticReward"]["good"]) == (6, False)
    assert "standard deviation over the seeds" in Path("out/results.md").read_text(encoding="utf-8")
