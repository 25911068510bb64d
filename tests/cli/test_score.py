"""``prismaudio score``: any file, every scorer, one line for whatever is wrong, and no work done twice."""

from __future__ import annotations

import csv
import json
import os
import sys
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch

from prismaudio.cli.main import main
from prismaudio.errors import MediaError, PlanError
from prismaudio.evaluation.files import installed_scorers
from prismaudio.evaluation.jobs import collect_score_jobs
from prismaudio.media import write_video, write_video_with_audio
from prismaudio.media.segments import survey
from prismaudio.registry import discover

RATE_HZ = 16_000
PLAN = "<Semantic> A bell rings. <Temporal> The bell sounds at 0.50 s and 1.20 s. <Spatial> The bell is on the left."

SCORERS = """
import pathlib
import torch
from prismaudio.errors import CheckpointError
from prismaudio.metrics.base import AudioMetric
from prismaudio.metrics.networks import AudioFrechetDistance
from prismaudio.rewards.base import Reward

class WeightlessReward(Reward):
    "Its weights are nowhere."
    def __init__(self):
        raise CheckpointError("toy.pt is not on this machine; get it from nowhere")
    def score(self, audio, sample_rate_hz, caches):
        return audio.new_zeros(len(audio))

class FallingReward(Reward):
    "It falls over loud sound."
    range = (0.0, 1.0)
    def score(self, audio, sample_rate_hz, caches):
        if audio.abs().max() > 0.9:
            raise RuntimeError("too loud for me")
        with pathlib.Path("scored.txt").open("a") as file:
            print("scored", file=file)
        return audio.abs().amax((1, 2))

class WideDistance(AudioFrechetDistance):
    "States too large to keep."
    def __init__(self):
        super().__init__(40)
        self.folder = None

    def keep_prepared(self, folder):
        self.folder = folder
    def features(self, sound, sample_rate_hz):
        return sound[:, : sound.shape[1] // 40 * 40].reshape(-1, 40)

@hookimpl
def prismaudio_rewards():
    return [Component("MODULE:WeightlessReward", "No weights."), Component("MODULE:FallingReward", "Falls.", "spatial")]

@hookimpl
def prismaudio_metrics():
    return [Component("MODULE:WideDistance", "Wide.")]
"""


def bell(level: float = 0.3, n: int = 2 * RATE_HZ, seed: int = 0) -> np.ndarray:
    """Two bursts of noise on the left, float32 ``(n, 2)``."""
    sound = 1e-3 * np.random.default_rng(seed).standard_normal((n, 2))
    for time_s in (0.5, 1.2):
        start = int(time_s * RATE_HZ)
        burst = level * np.exp(-np.arange(max(0, n - start)) / 800)
        sound[start:] += burst[:, None] * np.random.default_rng(1).uniform(-1, 1, (len(burst), 1)) * [1.0, 0.4]
    return sound.astype(np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch, install):
    """A working directory with two audio files, a plugin of scorers, and nothing of other plugins."""
    for plugin in discover().plugins:
        if plugin.name != "core":
            known = os.environ.get("PRISMAUDIO_DISABLE_PLUGINS", "")
            monkeypatch.setenv("PRISMAUDIO_DISABLE_PLUGINS", f"{known},{plugin.name}")
    install(SCORERS, name="scorers")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("PRISMAUDIO_CACHE", str(tmp_path / "cache"))
    for index, name in enumerate(("one", "two")):
        soundfile.write(f"{name}.wav", bell(seed=index), RATE_HZ)
    return work


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(["score", *arguments])
    return code, *capsys.readouterr()


def read(path="scores.jsonl") -> tuple[dict, dict]:
    """Lines of files by name, and the line of all."""
    lines = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    return {line["file"]: line for line in lines if "file" in line}, lines[-1]


def test_a_table_of_everything_with_reasons(folder, capsys):
    code, out, err = run(capsys, "one.wav", "--plan", PLAN, "--reference", "one.wav")
    assert (code, "[1/1] one.wav" in err) == (0, True)
    (row,) = (line for line in out.splitlines() if line.split("│")[0].strip() == "OnsetF1")
    assert [cell.strip() for cell in row.split("│")] == ["OnsetF1", "temporal", "1", "0 .. 1", "↑"]
    (row,) = (line for line in out.splitlines() if "GccMse" in line)
    assert [cell.strip() for cell in row.split("│")] == ["GccMse", "spatial", "0", "≥ 0", "↓"]
    assert "FallingReward " in out
    assert "WeightlessReward: toy.pt is not on this machine; get it from nowhere" in out
    for reward in ("AestheticReward", "TemporalReward"):
        assert f"{reward} " in out


def test_without_a_plan_or_a_reference_the_reason_is_printed(folder, capsys):
    _, out, _ = run(capsys, "one.wav")
    assert "OnsetF1" in out.split("skipped:")[1]
    assert "it needs a plan, but there is none" in out
    assert "GccMse, ReferenceWidth, WideDistance: it needs reference audio, but there is none" in out


def test_json_and_csv_agree_and_all_files_are_summed_up(folder, capsys):
    names = ("--rewards", "FallingReward", "--metrics", "OnsetF1,WideDistance")
    given = ("one.wav", "two.wav", "--plan", PLAN, "--reference", "one.wav")
    code, out, _ = run(capsys, *given, *names, "--json", "scores.jsonl", "--csv", "scores.csv")
    assert code == 0
    files, everything = read()
    assert set(files) == {"one.wav", "two.wav"}
    first = files["one.wav"]["scores"]["FallingReward"]["value"]
    second = files["two.wav"]["scores"]["FallingReward"]["value"]
    assert everything["all"]["FallingReward"]["value"] == pytest.approx((first + second) / 2)
    assert everything["all"]["FallingReward"]["range"] == [0, 1]
    assert everything["all"]["OnsetF1"] == {
        "kind": "metrics", "dimension": "temporal", "range": [0, 1], "higher_is_better": True,
        "source": everything["all"]["OnsetF1"]["source"], "value": 1, "sd": None, "files": 2,
    }  # fmt: skip
    assert files["one.wav"]["scores"]["WideDistance"] == {
        "value": None,
        "reason": "it is computed over all files, not for one",
    }
    assert everything["all"]["WideDistance"]["value"] > 0
    rows = list(csv.DictReader(Path("scores.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 9
    for row in rows:
        held = files[row["file"]]["scores"] if row["file"] else everything["all"]
        value = held[row["name"]]["value"]
        assert (row["value"] and float(row["value"])) == ("" if value is None else value)
    assert (rows[0]["lowest"], rows[0]["highest"], rows[0]["higher_is_better"]) == ("0.0", "1.0", "True")
    assert "two" in out
    assert " ± " in out


def test_what_is_scored_is_not_scored_again(folder, capsys):
    given = (
        "--plan",
        PLAN,
        "--reference",
        "one.wav",
        "--rewards",
        "FallingReward",
        "--metrics",
        "OnsetF1,WideDistance",
    )
    given = (*given, "--json", "scores.jsonl")
    run(capsys, "one.wav", *given)
    _, _, err = run(capsys, "one.wav", "two.wav", *given)
    assert "[1/2] one.wav: skipped, already scored" in err
    assert len((folder / "scored.txt").read_text().splitlines()) == 2
    resumed = read()[1]["all"]
    run(capsys, "one.wav", "two.wav", *given, "--force")
    assert len((folder / "scored.txt").read_text().splitlines()) == 4
    whole = read()[1]["all"]
    for name, total in whole.items():
        assert resumed[name]["value"] == pytest.approx(total["value"], rel=1e-9), name
    run(capsys, "one.wav", *given[:-2], "--json", "scores.jsonl", "--plan", PLAN.replace("1.20", "1.30"))
    assert len((folder / "scored.txt").read_text().splitlines()) == 5  # another plan
    assert set(read()[0]) == {"one.wav", "two.wav"}  # what this run does not score stays


def test_a_torn_line_is_scored_again_and_a_strange_file_is_left_alone(folder, capsys):
    given = ("--rewards", "FallingReward", "--metrics", "none")
    run(capsys, "one.wav", "two.wav", *given, "--json", "scores.jsonl")
    text = (folder / "scores.jsonl").read_text()
    (folder / "scores.jsonl").write_text(text[: text.index("two.wav") + 30])
    _, _, err = run(capsys, "one.wav", "two.wav", *given, "--json", "scores.jsonl")
    assert "one.wav: skipped, already scored" in err
    assert "two.wav: 1 scores" in err
    (folder / "notes.txt").write_text("dear diary\n")
    for option in ("--json", "--csv"):
        code, _, err = run(capsys, "one.wav", *given, option, "notes.txt")
        assert (code, "contains no scores" in err, err.count("\n")) == (2, True, 1)
    assert (folder / "notes.txt").read_text() == "dear diary\n"


def test_csv_alone_goes_on_too(folder, capsys):
    given = ("--rewards", "FallingReward", "--metrics", "WideDistance", "--reference", "one.wav", "--csv", "scores.csv")
    run(capsys, "one.wav", "two.wav", *given)
    before = (folder / "scores.csv").read_text()
    _, _, err = run(capsys, "one.wav", "two.wav", *given)
    assert err.count("already scored") == 2
    assert (folder / "scores.csv").read_text() == before


def test_standard_output_holds_nothing_else(folder, capsys):
    code, out, _ = run(capsys, "one.wav", "--rewards", "FallingReward", "--metrics", "none", "--json", "-")
    assert code == 0
    assert [next(iter(json.loads(line))) for line in out.splitlines()] == ["file", "all"]


def samples(kind: str) -> tuple[np.ndarray, int]:
    sound = bell()
    broken = sound.copy()
    broken[7] = np.nan
    return {
        "mono": (sound[:, 0], RATE_HZ),
        "5.1": (np.repeat(sound[:, :1], 6, axis=1), RATE_HZ),
        "8 kHz": (sound[::2], 8000),
        "192 kHz": (np.repeat(sound[:8000], 12, axis=0), 192_000),
        "silence": (0 * sound, RATE_HZ),
        "0.1 s": (sound[:1600], RATE_HZ),
        "NaN": (broken, RATE_HZ),
        "no samples": (sound[:0], RATE_HZ),
        "10 samples": (sound[:10], RATE_HZ),
    }[kind]


@pytest.mark.parametrize("kind", ["mono", "5.1", "8 kHz", "192 kHz", "silence", "0.1 s"])
def test_unusual_sound_is_scored(folder, capsys, kind):
    soundfile.write("odd.wav", *samples(kind), subtype="FLOAT")
    code, _, err = run(capsys, "odd.wav", "--plan", PLAN, "--reference", "odd.wav", "--json", "scores.jsonl")
    assert code == 0, err
    scores = read()[0]["odd.wav"]["scores"]
    for name in ("FallingReward", "AestheticReward", "GccMse", "OnsetF1"):
        assert scores[name]["value"] is not None, (name, scores[name])


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("NaN", "contains NaN or infinity"),
        ("no samples", "cannot be decoded, or is empty"),
        ("10 samples", "expected at least 0.02 s"),
    ],
)
def test_broken_sound_is_one_line(folder, capsys, kind, said):
    soundfile.write("odd.wav", *samples(kind), subtype="FLOAT")
    code, out, err = run(capsys, "odd.wav", "--rewards", "FallingReward", "--metrics", "none")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "odd.wav" in err
    assert said in err


def test_bad_files_do_not_stop_the_others(folder, capsys):
    soundfile.write("nan.wav", *samples("NaN"), subtype="FLOAT")
    (folder / "text.wav").write_text("no sound\n")
    soundfile.write("loud.wav", bell(level=1.0).clip(-1, 1), RATE_HZ)
    soundfile.write("loud.wav", np.ones((1600, 2)), RATE_HZ, subtype="FLOAT")
    names = ("--rewards", "FallingReward", "--metrics", "none", "--json", "scores.jsonl")
    code, out, err = run(capsys, "gone.wav", "loud.wav", "nan.wav", "text.wav", "one.wav", *names)
    assert code == 2
    listed = err.split("4 failures in 5 files:\n")[1].splitlines()
    assert len(listed) == 4
    assert "no such file: gone.wav" in listed[0]
    assert "loud.wav: FallingReward: it failed: RuntimeError: too loud for me" in listed[1]
    assert "FallingReward" in out
    files, everything = read()
    assert files["one.wav"]["scores"]["FallingReward"]["value"] > 0
    assert len(everything["failures"]) == 4
    code, _, err = run(capsys, "loud.wav", "one.wav", *names)  # what failed is tried again, what did not is not
    assert ("too loud" in err, "one.wav: skipped, already scored" in err) == (True, True)


SAMPLE = Path(__file__).parents[2] / "samples" / "bell_and_ball.mp4"


@pytest.fixture
def video(folder):
    """A folder that holds a video with sound, too."""
    write_video_with_audio(SAMPLE, torch.as_tensor(bell()).T, RATE_HZ, folder / "clip.mp4")
    return folder


def test_a_video_is_scored_with_its_frames_and_planned_on_request(video, tiny_plugin, capsys):
    names = ("--rewards", "TemporalReward", "--metrics", "OnsetF1", "--json", "scores.jsonl")
    code, _, err = run(capsys, "clip.mp4", *names)
    assert code == 0, err
    assert read()[0]["clip.mp4"]["scores"]["TemporalReward"]["value"] is not None  # the frames
    code, _, err = run(capsys, str(SAMPLE), *names)
    assert (code, "bell_and_ball.mp4 has no audio track" in err) == (2, True)
    code, _, err = run(capsys, "clip.mp4", "one.wav", "--plan", "auto", *names)
    assert code == 0, err
    files = read()[0]
    assert files["one.wav"]["scores"]["OnsetF1"]["reason"] == "it needs a plan, but there is none"


def test_files_without_a_value_of_their_own_count_in_a_resumed_run(folder, capsys):
    for name, lead in (("one.wav", 3), ("two.wav", -2), ("three.wav", 1)):  # one event each: no correlation by itself
        audio = bell()
        soundfile.write(name, np.stack([audio[:, 0], np.roll(audio[:, 0], lead)], 1), RATE_HZ)
    plans = {"one.wav": 60, "two.wav": -60, "three.wav": 10}
    rows = [
        {"audio": name, "plan": f"<Temporal> The bell sounds at 0.50 s. <Spatial> The bell is at {deg} degrees."}
        for name, deg in plans.items()
    ]
    Path("clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("clips.jsonl", "--rewards", "none", "--metrics", "ItdCorrelation", "--json", "scores.jsonl")
    assert run(capsys, *words)[0] == 0
    first = read()[1]["all"]["ItdCorrelation"]
    assert "already scored" in run(capsys, *words)[2]
    assert read()[1]["all"]["ItdCorrelation"] == first
    assert (first["files"], first["value"] is not None) == (3, True)


def test_lengths_that_differ_are_reported(folder, capsys):
    soundfile.write("long.wav", bell(n=3 * RATE_HZ), RATE_HZ)
    _, _, err = run(capsys, "one.wav", "--reference", "long.wav", "--rewards", "none", "--metrics", "GccMse")
    assert "one.wav: it lasts 2.00 s, its reference 3.00 s; only the first 2.00 s are scored" in err


def test_long_files_are_scored_in_segments(folder, capsys, monkeypatch):
    monkeypatch.setattr("prismaudio.evaluation.files.SEGMENT_S", 0.7)
    names = ("--rewards", "FallingReward", "--metrics", "OnsetF1", "--json", "scores.jsonl")
    run(capsys, "one.wav", "--plan", PLAN, *names)
    assert len((folder / "scored.txt").read_text().splitlines()) == 3
    edges = [round(i * 2 * RATE_HZ / 3) for i in range(4)]
    peaks = [abs(bell()[begin:end]).max() for begin, end in pairwise(edges)]
    scores = read()[0]["one.wav"]["scores"]
    assert scores["FallingReward"]["value"] == pytest.approx(np.mean(peaks), rel=1e-3)
    assert scores["OnsetF1"]["value"] == 1


def test_folders_of_files_plans_and_references(folder):
    (folder / "plans").mkdir()
    (folder / "plans" / "one.plan.txt").write_text(PLAN)
    (folder / "plans" / "two.json").write_text(json.dumps({"plan_text": PLAN}))
    soundfile.write("three.wav", bell(), RATE_HZ)
    jobs = collect_score_jobs([".", "one.wav"], "plans", ".")
    assert [(job.path.name, job.plan and job.plan[6:], job.reference and job.reference.name) for job in jobs] == [
        ("one.wav", "one.plan.txt", "one.wav"),
        ("three.wav", "", None),
        ("two.wav", "two.json", "two.wav"),
    ]
    assert jobs[1].error == "there is no plan for three.wav in plans; expected three.plan.txt"
    (folder / "empty").mkdir()
    for files, plan, reference, error in [
        (["empty"], "", "", MediaError),
        (["."], "nowhere", "", PlanError),
        (["."], "", "nowhere.wav", MediaError),
    ]:
        with pytest.raises(error, match=r"empty|no such"):
            collect_score_jobs(files, plan, reference)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rewards", "Nobody"], "no reward is named 'Nobody'"),
        (["--rewards", "WeightlessReward"], "toy.pt is not on this machine"),
        (["--rewards", "none", "--metrics", "none"], "there are no scorers"),
        (["--device", "cuda:77"], "device 'cuda:77' is not available"),
        (["--json", "-", "--csv", "-"], "are the same file"),
        (["--json", "."], "is not a file"),
        (["--plan", "<Nonsense> x"], "nonsense"),
    ],
)
def test_wrong_options_are_one_line(folder, capsys, arguments, said):
    code, _, err = run(capsys, "one.wav", *arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert said.lower() in err.lower()


def test_what_rewards_prepare_is_kept_unless_that_is_unwanted(folder, capsys, tmp_path):
    given = ("one.wav", "--reference", "one.wav", "--rewards", "TemporalReward", "--metrics", "none")
    run(capsys, *given, "--no-cache")
    kept = tmp_path / "cache" / "prepared"
    assert not kept.exists()
    run(capsys, *given)
    assert list(kept.rglob("*.safetensors"))
    for given_folder in (None, kept):
        (scorer,) = installed_scorers([], ["WideDistance"], folder=given_folder)
        assert scorer.metric.folder == given_folder


def test_other_weights_score_again(folder, capsys, install):
    module = install(
        """
        import torch
        from prismaudio.rewards.base import Reward

        BIAS = 0.25

        class WeighingReward(Reward):
            "Its weights say it all."
            def __init__(self):
                self.network = torch.nn.Linear(1, 1)
                for weight in self.network.parameters():
                    torch.nn.init.constant_(weight, BIAS)
            @property
            def networks(self):
                return [self.network]
            def score(self, audio, sample_rate_hz, caches):
                return self.network.bias.expand(len(audio))

        @hookimpl
        def prismaudio_rewards():
            return [Component("MODULE:WeighingReward", "Weighs.")]
        """,
        name="weighing",
    )
    given = ("one.wav", "--rewards", "WeighingReward", "--metrics", "none", "--json", "scores.jsonl")
    run(capsys, *given)
    assert "already scored" in run(capsys, *given)[2]
    sys.modules[module].BIAS = 0.5
    assert "already scored" not in run(capsys, *given)[2]
    assert read()[0]["one.wav"]["scores"]["WeighingReward"]["value"] == 0.5


def test_a_reward_that_scores_some_files_gives_a_reason_for_the_others(video, capsys):
    code, out, _ = run(capsys, "one.wav", "clip.mp4", "--rewards", "TemporalReward,FallingReward", "--metrics", "none")
    assert code == 0
    (line,) = out.split("skipped:\n")[1].splitlines()
    assert line.startswith("  TemporalReward: ")
    assert line.endswith(" (1 of 2 files)")


def test_columns_tell_files_of_one_name_apart(folder, capsys):
    names = ("--rewards", "FallingReward", "--metrics", "none")
    (folder / "more").mkdir()
    for name in ("more/one.wav", "one.flac"):
        soundfile.write(name, bell(), RATE_HZ)
    assert {"one.wav", "one.flac"} <= set(run(capsys, "one.wav", "one.flac", *names)[1].split())
    assert {"/one", "more/one"} <= set(run(capsys, "one.wav", "more/one.wav", *names)[1].split())


def test_audio_after_the_last_frame_is_reported(video, capsys):
    soundfile.write("long.wav", bell(n=9 * RATE_HZ), RATE_HZ)
    with av.open(SAMPLE) as frames, av.open("long.wav") as sound, av.open("long.mkv", "w") as out:
        tracks = [(source, out.add_stream_from_template(source.streams[0])) for source in (frames, sound)]
        for source, stream in tracks:
            for packet in source.demux(source.streams[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    out.mux(packet)
    names = ("--rewards", "FallingReward", "--metrics", "none")
    lasts_s = survey("clip.mp4").duration_s
    said = f"lasts 9.00 s, the frames {lasts_s:.2f} s; only the first {lasts_s:.2f} s are scored"
    assert f"long.mkv: its audio {said}" in run(capsys, "long.mkv", *names)[2]
    assert (
        f"clip.mp4: the audio of its reference {said}" in run(capsys, "clip.mp4", "--reference", "long.mkv", *names)[2]
    )
    assert "warning" not in run(capsys, "clip.mp4", *names)[2]


def test_a_damaged_csv_is_scored_again_and_failures_are_rows(folder, capsys):
    given = ("one.wav", "two.wav", "--rewards", "FallingReward", "--metrics", "none", "--csv", "scores.csv")
    run(capsys, *given)
    whole = (folder / "scores.csv").read_text()
    (row,) = (line for line in whole.splitlines() if line.startswith("one.wav"))
    value = row.split(",")[4]
    for damaged in (whole.replace(value, "0.2x9", 1), whole.replace(value, "nan", 1), whole.replace(row, row[:-30])):
        (folder / "scores.csv").write_text(damaged)
        code, _, err = run(capsys, *given)
        assert (code, "one.wav: 1 scores" in err, "two.wav: skipped, already scored" in err) == (0, True, True)
        assert sorted((folder / "scores.csv").read_text().splitlines()) == sorted(whole.splitlines())
    (folder / "scores.csv").write_text(whole.replace("file,name,", "file,nome,", 1))
    code, _, err = run(capsys, *given)
    assert (code, "contains no scores" in err, err.count("\n")) == (2, True, 1)
    (folder / "scores.csv").write_text(whole)
    run(capsys, "gone.wav", *given)
    rows = csv.DictReader((folder / "scores.csv").read_text().splitlines())
    (failure,) = (row for row in rows if row["kind"] == "failure")
    assert (failure["file"], failure["reason"]) == ("", "no such file: gone.wav")


def test_a_folder_of_references_is_listed_once(folder, monkeypatch):
    listed = []

    def media_files(path):
        listed.append(path)
        return sorted(path.glob("*.wav"))

    monkeypatch.setattr("prismaudio.evaluation.jobs.media_files", media_files)
    assert [job.reference.name for job in collect_score_jobs(["one.wav", "two.wav"], "", ".")] == ["one.wav", "two.wav"]
    assert len(listed) == 1


DAMAGES = {
    "a value": lambda row: row["scores"]["OnsetF1"].update(value=0.25),
    "a number of 400 digits": lambda row: row["scores"]["OnsetF1"].update(value=10**400),
    "a text for a value": lambda row: row["scores"]["OnsetF1"].update(value="much"),
    "a scorer": lambda row: row["scores"].pop("OnsetF1"),
    "its states": lambda row: row["states"].update(OnsetF1={"nonsense": [1]}),
    "all states": lambda row: row.update(states=7),
    "its file": lambda row: row.update(file=["one.wav"]),
    "the request": lambda row: row.pop("request"),
}


@pytest.mark.parametrize("damage", [*DAMAGES, "depth", "truncated"])
def test_a_damaged_line_of_scores_is_scored_again(folder, capsys, damage):
    words = (
        "one.wav",
        "two.wav",
        "--plan",
        PLAN,
        "--rewards",
        "none",
        "--metrics",
        "OnsetF1",
        "--json",
        "scores.jsonl",
    )
    assert run(capsys, *words)[0] == 0
    before = read()
    lines = Path("scores.jsonl").read_text(encoding="utf-8").splitlines()
    if damage in DAMAGES:
        row = json.loads(lines[0])
        DAMAGES[damage](row)
        lines[0] = json.dumps(row)
    else:
        lines[0] = "[" * 100_000 if damage == "depth" else lines[0][:60]
    Path("scores.jsonl").write_text("\n".join(lines), encoding="utf-8")
    code, _, err = run(capsys, *words)
    assert (code, err.count("already scored"), "two.wav: skipped, already scored" in err) == (0, 1, True)
    assert read() == before


@pytest.mark.parametrize(
    "row", ["one.wav,OnsetF1,metrics", "one.wav,OnsetF1,,,1e999,,,,,,,x", "one.wav,Onset,,,1,,,,,,,x,y", '"one.wav']
)
def test_damaged_rows_of_a_table_of_scores_are_scored_again(folder, capsys, row):
    words = ("one.wav", "--plan", PLAN, "--rewards", "none", "--metrics", "OnsetF1", "--csv", "scores.csv")
    assert run(capsys, *words)[0] == 0
    before = Path("scores.csv").read_text(encoding="utf-8")
    Path("scores.csv").write_text("\n".join([before.splitlines()[0], row, *before.splitlines()[2:]]), encoding="utf-8")
    assert run(capsys, *words)[0] == 0
    assert Path("scores.csv").read_text(encoding="utf-8") == before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("notes.jsonl", '{"file": "one.wav", "caption": "A bell."}\n{"file": "two.wav", "caption": "A drum."}\n'),
        ("note.json", '{"file": "one.wav"}'),
        ("plan.txt", ""),
        ("one.wav", None),
        ("table.csv", "file,name\none.wav,mine\n"),
    ],
)
@pytest.mark.parametrize("option", ["--json", "--csv"])
def test_scores_are_written_over_no_other_file(folder, capsys, name, text, option):
    Path("plan.txt").write_text(PLAN)
    if text:
        Path(name).write_text(text)
    before = Path(name).read_bytes()
    code, _, err = run(capsys, "one.wav", "--plan", "plan.txt", "--metrics", "none", option, name, "--force")
    assert (code, err.count("\n")) == (2, 1)
    assert Path(name).read_bytes() == before


def test_two_files_of_scores_need_two_names(folder, capsys):
    code, _, err = run(capsys, "one.wav", "--json", "s", "--csv", "s")
    assert (code, "give two names" in err) == (2, True)


def test_what_is_no_file_on_a_disk_is_refused_at_once(folder, capsys):
    os.mkfifo("pipe.wav")
    for words in (
        ["/dev/zero"],
        ["pipe.wav"],
        ["one.wav", "--reference", "/dev/zero"],
        ["one.wav", "--plan", "/dev/zero"],
    ):
        code, _, err = run(capsys, *words, "--rewards", "none", "--metrics", "OnsetF1")
        assert (code, err.count("\n")) == (2, 1)
        assert "pipe or a device" in err or "not a regular file" in err


ENDLESS = """
import torch
from prismaudio.metrics.base import AudioMetric

class EndlessMetric(AudioMetric):
    "It hears everything and says nothing."
    per_sample = False
    def __init__(self):
        super().__init__()
        self.add_state("n", torch.zeros(()), "sum")
    def observe(self, audio, sample_rate_hz, target):
        self.n += 1
    def compute(self):
        raise RuntimeError("no end")

@hookimpl
def prismaudio_metrics():
    return [Component("MODULE:EndlessMetric", "Fails at the end.")]
"""


def test_a_metric_that_fails_at_its_end_stops_nothing(folder, capsys, install):
    install(ENDLESS, name="endless")
    words = ("one.wav", "two.wav", "--plan", PLAN, "--rewards", "FallingReward", "--metrics", "EndlessMetric")
    code, out, err = run(capsys, *words)
    assert "Traceback" not in err
    assert code == 0
    assert "EndlessMetric: it failed: RuntimeError: no end" in out


def test_a_manifest_says_what_each_file_is_compared_with(folder, capsys):
    rows = [
        {"audio": "one.wav", "plan": PLAN, "reference": "two.wav", "speaker": "Kim", "name": "first"},
        {"audio": "two.wav", "semantic": "A bell rings."},
    ]
    rows[0] |= {"source": "tape", "manifest_name": "second"}
    Path("clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = ("clips.jsonl", "--rewards", "FallingReward", "--metrics", "OnsetF1,GccMse")
    results = ("--json", "scores.jsonl", "--csv", "scores.csv")
    assert run(capsys, *given, *results)[0] == 0
    files, _ = read()
    first, second = (files[name] for name in ("one.wav", "two.wav"))
    assert first["columns"] == {"speaker": "Kim", "name": "first", "source": "tape", "manifest_name": "second"}
    assert "columns" not in second
    assert first["scores"]["GccMse"]["value"] is not None
    assert second["scores"]["GccMse"]["reason"] == "it needs reference audio, but there is none"
    table = list(csv.DictReader(Path("scores.csv").read_text(encoding="utf-8").splitlines()))
    assert {(row["file"], row["speaker"], row["manifest_name"]) for row in table if row["file"]} == {
        ("one.wav", "Kim", "first"),
        ("two.wav", "", ""),
    }
    assert {row["source"] for row in table if row["file"] != "one.wav"} == {""}
    assert {row["manifest_manifest_name"] for row in table if row["file"] == "one.wav"} == {"second"}
    rows[0]["speaker"] = "Ann"
    Path("clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, _, err = run(capsys, *given, *results)
    assert (code, err.count("already scored")) == (0, 2)
    assert read()[0]["one.wav"]["columns"]["speaker"] == "Ann"
    assert "Ann" in Path("scores.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"features": "one.wav"}, "names no file to score"),
        ({"audio": "one.wav", "end_s": 0.5}, "line 1: end_s is 0.5; score takes whole files"),
        ({"audio": "one.wav", "plann": "x"}, "did you mean 'plan'?"),
        ({"audio": "gone.wav"}, "no such file"),
        ({"audio": "one.wav", "video": "two.wav"}, "has no video track; expected the video that"),
    ],
)
def test_bad_rows(folder, capsys, row, words):
    Path("clips.jsonl").write_text(json.dumps(row) + "\n")
    code, _, err = run(capsys, "clips.jsonl", "--rewards", "FallingReward", "--metrics", "none")
    assert code == 2
    assert words in err


def test_a_file_in_two_rows_is_an_error(folder, capsys):
    Path("clips.csv").write_text("audio,plan\none.wav,\n./one.wav,<Semantic> A bell.\n")
    code, _, err = run(capsys, "clips.csv")
    assert code == 2
    assert "which is scored already; expected each file once" in err


def test_the_frames_of_a_row_are_those_of_its_video(folder, capsys, monkeypatch):
    seen = []

    def frames_of(video, edges, spec):
        seen.append(video.path.name)
        return (torch.zeros(1, 3, 8, 8, dtype=torch.uint8) for _ in edges)

    monkeypatch.setattr("prismaudio.evaluation.files.frame_segments", frames_of)
    monkeypatch.setattr("prismaudio.rewards.temporal.TemporalReward.reads", frozenset({"plan", "video"}))
    write_video(torch.zeros(50, 3, 32, 32, dtype=torch.uint8), 25, "seen.mp4")
    Path("clips.jsonl").write_text(json.dumps({"audio": "one.wav", "video": "seen.mp4", "plan": PLAN}) + "\n")
    assert run(capsys, "clips.jsonl", "--rewards", "TemporalReward", "--metrics", "none")[0] == 0
    assert seen == ["seen.mp4"]


def test_what_has_no_effect_is_said(folder, capsys):
    code, _, err = run(
        capsys, "one.wav", "--plan", PLAN, "--reference", "two.wav", "--force", "--rewards", "FallingReward",
        "--metrics", "none",
    )  # fmt: skip
    assert code == 0
    assert "note: the plan has no effect, because none of FallingReward reads a plan" in err
    assert "note: the reference has no effect" in err
    assert "note: --force has no effect without --json or --csv" in err
    _, _, err = run(capsys, "one.wav", "--plan", PLAN, "--rewards", "none", "--metrics", "OnsetF1")
    assert "note:" not in err


def test_a_plan_that_the_audio_was_generated_from_is_said(folder, capsys):
    Path("one.json").write_text(json.dumps({"outputs": ["one.wav"], "plan_text": PLAN}))
    given = ("one.wav", "--plan", ".", "--rewards", "none", "--metrics", "OnsetF1", "--json", "scores.jsonl")
    for _ in range(2):  # a resumed run says it, too
        _, _, err = run(capsys, *given)
        assert "one.wav: the plan is the one that the audio was generated from, so that OnsetF1 tell" in err
        assert len(read()[1]["notes"]) == 1
    _, _, err = run(capsys, "one.wav", "--plan", "<Temporal> The bell sounds at 0.90 s.", *given[3:])
    assert "generated from" not in err


def test_a_distance_of_few_clips_says_so(folder, capsys):
    _, _, err = run(capsys, "one.wav", "--reference", "two.wav", "--rewards", "none", "--metrics", "WideDistance")
    assert "features of 40 dimensions are too few" not in err
    Path("short.wav").write_bytes(Path("one.wav").read_bytes())
    audio, rate_hz = soundfile.read("short.wav")
    soundfile.write("short.wav", audio[:600], rate_hz)
    code, _, err = run(
        capsys, "short.wav", "--reference", "two.wav", "--rewards", "none", "--metrics", "WideDistance",
        "--csv", "few.csv",
    )  # fmt: skip
    assert code == 0
    assert "note: WideDistance: 30 features of 40 dimensions are too few for their covariance" in err
    notes = [row for row in csv.DictReader(Path("few.csv").read_text().splitlines()) if row["kind"] == "note"]
    assert len(notes) == 1


def test_no_deviation_stands_beside_a_value_that_is_not_a_mean(folder, capsys):
    given = ("one.wav", "two.wav", "--plan", PLAN, "--rewards", "FallingReward", "--metrics", "OnsetF1")
    assert run(capsys, *given, "--json", "scores.jsonl")[0] == 0
    totals = read()[1]["all"]
    assert totals["FallingReward"]["sd"] is not None
    assert totals["OnsetF1"]["sd"] is None  # the same in both files: 1 ± 0 would say that it is certain
