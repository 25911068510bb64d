import json
import math
import re

import pytest
import torch

from prismaudio.cli.main import main
from prismaudio.media import write_video
from prismaudio.plan import Plan
from prismaudio_footage import benchmark
from prismaudio_footage.benchmark import Heard, Stated, compare

RATE_HZ = 44_100


def test_plans_are_compared_with_the_sound_and_with_other_plans():
    heard = {
        "dog": Heard((1, 2, 3, 4, 5), (1.0, 2.0), -20.0),
        "car": Heard((9, 8, 7, 6, 10), (), None),
        "bell": Heard((20, 21, 22, 23, 24), (0.5,), 30.0),
    }
    stated = {
        "dog": Stated(((5, 11), (40,)), (1.05, 2.5), -10.0),
        "car": Stated(((1,),), (1.0,), None),
        "bell": None,
    }
    found = {name: interval.mean for name, interval in compare(heard, stated).items()}
    assert found["family"] == pytest.approx(1 / 3)
    assert found["family_shuffled"] == pytest.approx((0.5 + 0 + 0) / 3)
    assert found["onset_f1"] == pytest.approx((0.5 + 0) / 2)
    assert found["onset_f1_shuffled"] == pytest.approx(((2 / 3 + 0) / 2 + 0) / 2)
    assert found["side"] == pytest.approx(0.5)
    assert found["side_shuffled"] == pytest.approx(0)
    assert found["family_gain"] == pytest.approx(found["family"] - found["family_shuffled"])


def test_one_video_has_no_shuffled_plans():
    found = compare({"a": Heard((1,), (1.0,), None)}, {"a": Stated(((1,),), (1.0,), None)})
    assert (found["family"].mean, found["family_shuffled"].mean, found["side"].mean) == (1.0, None, None)


def test_other_planners_are_measured_by_the_words_of_audioset():
    _, classes_of = benchmark._yamnet()
    from prismaudio_yamnet.labels import read_labels

    labels = read_labels()
    assert {labels[i] for i in classes_of("A puppy barks.")[0]} >= {"Dog", "Bark"}
    assert {labels[i] for i in classes_of("A zither is heard.")[0]} == {"Zither"}
    assert classes_of("A rustle of an unknown thing follows the motion twice.") == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two videos with clicks, one with silence and one without sound."""
    folder = tmp_path_factory.mktemp("videos")
    for name, onsets_s in (("a", (0.5, 1.5)), ("b", (1.0,)), ("silent", ()), ("mute", None)):
        frames = torch.full((32, 3, 64, 64), 40, dtype=torch.uint8)
        audio = torch.zeros(2, 2 * RATE_HZ)
        for onset_s in onsets_s or ():
            frames[round(16 * onset_s) : round(16 * onset_s) + 3, :, 8:40, 40:60] = 250
            audio[1, round(onset_s * RATE_HZ) :][:400] = 0.5
        write_video(frames, 16.0, folder / f"{name}.mp4", None if onsets_s is None else audio, RATE_HZ)
    return folder


def test_the_command_measures_a_folder(folder, tmp_path, capsys):
    out = tmp_path / "footage.json"
    arguments = ["--planner", "FootagePlanner", "--planner.frames", "1", "--audio", str(folder), "--json", str(out)]
    assert main(["bench", "footage", "--videos", str(folder), *arguments]) == 0
    printed = capsys.readouterr().out
    assert "plans of 2 real videos" in printed
    assert printed.count("has no sound to compare a plan with") == 2
    report = json.loads(out.read_text())
    rows, meta = report["rows"], report["meta"]
    assert rows["FootagePlanner"]["onset_f1"]["mean"] > 0.5
    assert rows["audio"]["onset_f1"]["mean"] == rows["audio"]["family"]["mean"] == rows["audio"]["side"]["mean"] == 1.0
    assert rows["audio"]["onset_f1_shuffled"]["mean"] == 0.0
    assert meta["intervals"]["FootagePlanner"]["family"]["clips"] == 2
    assert not math.isnan(rows["FootagePlanner"]["side"]["mean"])
    assert Plan.parse(meta["plans"]["FootagePlanner"]["a"]).story.sources


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--videos", "mute.mp4"], "none of the 1 videos can be measured"),
        (["--videos", "none.mp4"], "no such file"),
        (["--videos", "empty"], "no files in .*empty that can be read"),
        (["--videos", "a.mp4", "--audio", "empty"], "no files in .*empty"),
    ],
)
def test_what_cannot_be_measured_is_one_line(options, message, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "empty").mkdir(exist_ok=True)
    words = [*options, "--planner", "FootagePlanner", "--planner.frames", "1"]
    assert main(["bench", "footage", *words]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("prismaudio: error: ")
    assert re.search(message, error)
