"""A listening test: its design, its blindness, and what is made of the answers."""

from __future__ import annotations

import itertools
import json
import math
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from evaluations import clip, make_evaluation

from prismaudio.audio.loudness import loudness_lufs
from prismaudio.cli.main import main
from prismaudio.errors import DataError
from prismaudio.evaluation.listening import NOISE, TRUTH, Answers, Design, Key, plan_test
from prismaudio.evaluation.listening_page import at_loudness
from prismaudio.evaluation.opinions import Preference, collect, krippendorff_alpha
from prismaudio.media import probe, read_audio_track, write_video

CLIPS = [f"clip{index}" for index in range(7)]
SYSTEMS = {"one": CLIPS, "two": CLIPS, "three": CLIPS}
NAMES = ("one", "two")


def answered(key, rater, form, rate, choose, n=None):
    """The file that the page saves for a listener who rates and chooses by functions of systems."""
    answers = []
    for trial in key.forms[form][:n]:
        if "stimulus" in trial:
            quality, consistency = rate(*key.stimuli[trial["stimulus"]])
            answers.append({**trial, "quality": quality, "consistency": consistency})
        else:
            answers.append({**trial, "choice": choose(*(key.stimuli[trial[side]] for side in ("left", "right")))})
    return {
        "kind": "listening test answers", "format": 1, "test": key.test, "rater": rater, "form": form,
        "saved": "2026-11-28T00:00:00Z", "answers": answers,
    }  # fmt: skip


def listener(seed, best=("three", "two", "one")):
    """Functions that rate at random around the place of a system, and prefer the better one."""
    rng = random.Random(seed)
    order = [TRUTH, *best, NOISE]

    def rate(_, system):
        if system == NOISE:
            return 1, 1
        return tuple(min(5, max(1, 5 - order.index(system) + rng.randint(-1, 1))) for _ in range(2))

    def choose(left, right):
        places = [order.index(system) for _, system in (left, right)]
        if rng.random() < 0.2 and NOISE not in (left[1], right[1]):
            return "none"
        return "left" if places[0] < places[1] else "right"

    return rate, choose


# Design --------------------------------------------------------------------------------------------------------------
def test_forms_have_all_systems_of_their_clips_and_every_clip_and_pair_as_often():
    key = plan_test(SYSTEMS, CLIPS[:5], Design(forms=14, clips=3, pairs=6, checks=2))
    rated, pairs = Counter(), Counter()
    for form in key.forms:
        stimuli = [key.stimuli[trial["stimulus"]] for trial in form if "stimulus" in trial]
        clips = {clip for clip, system in stimuli if system != NOISE}
        assert len(clips) == 3
        assert sum(system == NOISE for _, system in stimuli) == 2
        expected = {(clip, system) for clip in clips for system in SYSTEMS}
        expected |= {(clip, TRUTH) for clip in clips & set(CLIPS[:5])}
        assert {one for one in stimuli if one[1] != NOISE} == expected
        rated.update(clips)
        compared = [tuple(key.stimuli[trial[side]] for side in ("left", "right")) for trial in form if "left" in trial]
        assert all(left[0] == right[0] and left[1] != right[1] for left, right in compared)
        checks = [pair for pair in compared if NOISE in (pair[0][1], pair[1][1])]
        assert (len(compared), len(checks)) == (7, 1)
        pairs.update(tuple(sorted((left[1], right[1]))) for left, right in compared if (left, right) not in checks)
    assert set(rated) == set(CLIPS)
    assert max(rated.values()) - min(rated.values()) <= 1
    assert set(pairs) == {tuple(sorted(pair)) for pair in itertools.combinations(SYSTEMS, 2)}
    assert max(pairs.values()) - min(pairs.values()) <= 1


def test_a_clip_does_not_follow_itself_and_sides_are_drawn():
    key = plan_test(SYSTEMS, CLIPS, Design(forms=20, clips=4, pairs=8))
    sides = Counter()
    for form in key.forms:
        clips = [key.stimuli[trial["stimulus"]][0] for trial in form if "stimulus" in trial]
        assert all(clip != following for clip, following in itertools.pairwise(clips))
        for trial in form:
            if "left" in trial and key.stimuli[trial["left"]][1] != NOISE:
                sides[key.stimuli[trial["left"]][1]] += 1
    assert all(0.6 < sides[system] / (20 * 8 / 3) < 1.5 for system in SYSTEMS)


def test_names_of_stimuli_tell_nothing_and_the_same_secret_makes_the_same_test():
    design = Design(forms=3)
    key, again = plan_test(SYSTEMS, CLIPS, design, seed=3), plan_test(SYSTEMS, CLIPS, design, seed=3)
    assert not set(key.stimuli) & set(again.stimuli)
    same = plan_test(SYSTEMS, CLIPS, design, seed=3, secret=key.secret)
    assert same == key
    assert plan_test(SYSTEMS, CLIPS, design, seed=4, secret=key.secret).test != key.test
    assert plan_test(SYSTEMS, CLIPS[:3], design, seed=3, secret=key.secret).test != key.test
    assert list(key.stimuli) == sorted(key.stimuli)
    assert Key.from_dict(json.loads(json.dumps(key.as_dict())), "key") == key


def test_one_system_is_compared_with_the_truth_and_nothing_with_nothing():
    key = plan_test({"one": CLIPS}, CLIPS, Design(forms=2, clips=2, pairs=3))
    pairs = [
        {key.stimuli[name][1] for name in trial.values()} for form in key.forms for trial in form if "left" in trial
    ]
    assert pairs.count({"one", TRUTH}) == 6
    with pytest.raises(DataError, match="there is one system alone"):
        plan_test({"one": CLIPS}, (), Design())
    with pytest.raises(DataError, match="no clip has the audio of every system"):
        plan_test({"one": CLIPS[:2], "two": CLIPS[2:]}, CLIPS, Design())


# Answers -------------------------------------------------------------------------------------------------------------
def test_opinions_and_preferences_are_those_of_independent_formulas():
    key = plan_test(SYSTEMS, CLIPS, Design(forms=6, clips=4, pairs=9, checks=1))
    files = [answered(key, f"rater {form}", form, *listener(form)) for form in range(6)]
    found = collect(key, [Answers.from_dict(file, key, "a") for file in files])
    assert (found.raters, found.notes) == (6, [])
    for question, title in (("quality", "MOS-Q"), ("consistency", "MOS-C")):
        for system in (*SYSTEMS, TRUTH):
            ratings = np.array([
                answer[question] for file in files for answer in file["answers"]
                if "stimulus" in answer and key.stimuli[answer["stimulus"]][1] == system
            ])  # fmt: skip
            assert len(ratings) == 24
            said = found.as_dict()["scores"][system][title]
            assert said["mean"] == pytest.approx(ratings.mean())
            assert said["plus_minus"] == pytest.approx(1.959964 * np.sqrt(ratings.var(ddof=1) / 24), rel=1e-6)
            assert (said["ratings"], said["listeners"]) == (24, 6)
            assert said["low_over_listeners"] < said["mean"] < said["high_over_listeners"]
    wins, ties, n = Counter(), Counter(), Counter()
    for file in files:
        for answer in file["answers"]:
            if "choice" in answer:
                left, right = (key.stimuli[answer[side]][1] for side in ("left", "right"))
                if NOISE not in (left, right):
                    pair = tuple(sorted((left, right)))
                    n[pair] += 1
                    ties[pair] += answer["choice"] == "none"
                    if answer["choice"] != "none":
                        wins[pair, left if answer["choice"] == "left" else right] += 1
    assert sum(n.values()) == 54
    for (first, second), one in found.preferences.items():
        pair = tuple(sorted((first, second)))
        assert (one.wins, one.losses, one.ties) == (wins[pair, first], wins[pair, second], ties[pair])
    assert found.preferences["one", "three"].rate == 0


def test_the_interval_of_a_preference_is_that_of_wilson():
    for wins, losses in ((8, 2), (0, 12), (30, 30), (1, 0)):
        low, high = Preference(wins, losses, 3).interval
        n, rate = wins + losses, wins / (wins + losses)
        for bound in (low, high):  # where the rate is 1.96 standard errors of the bound away from it
            if 0 < bound < 1:
                assert abs(rate - bound) == pytest.approx(1.959964 * math.sqrt(bound * (1 - bound) / n), rel=1e-5)
    assert Preference(0, 0, 4).interval is None


def test_agreement_is_that_of_the_published_example():
    # Krippendorff 2011, example C: four observers, twelve units, some missing
    table = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    units = [[value for value in unit if value is not None] for unit in zip(*table, strict=True)]
    assert krippendorff_alpha(units, is_nominal=True) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(units) == pytest.approx(0.849, abs=5e-4)
    assert krippendorff_alpha([[1, 1], [1, 1]]) is None
    assert krippendorff_alpha([[1], [2]]) is None


def test_who_fails_an_attention_check_is_left_out_unless_kept():
    key = plan_test(SYSTEMS, CLIPS, Design(forms=2, clips=2, pairs=2, checks=2))
    good = answered(key, "good", 0, *listener(0))
    bad = answered(key, "bad", 1, lambda *_: (5, 5), lambda left, right: "left" if left[1] == NOISE else "right")
    given = [Answers.from_dict(file, key, "a") for file in (good, bad)]
    found = collect(key, given)
    assert (found.raters, found.notes) == (1, ["bad failed 3 attention checks and is left out"])
    kept = collect(key, given, keep_failed=True)
    assert (kept.raters, kept.notes) == (2, ["bad failed 3 attention checks and counts"])


def test_of_several_files_of_a_listener_the_fullest_counts():
    key = plan_test(SYSTEMS, CLIPS, Design(forms=1, clips=2, pairs=2, checks=1))
    early = answered(key, "ann", 0, *listener(0), n=4)
    late = answered(key, "ann", 0, *listener(0))
    both = collect(key, [Answers.from_dict(file, key, "a") for file in (late, early)])
    assert both.scores == collect(key, [Answers.from_dict(late, key, "a")]).scores
    assert both.notes == ["ann has several files; the one with most answers counts"]
    assert collect(key, [Answers.from_dict(early, key, "a")]).notes == [
        f"ann left {len(key.forms[0]) - 4} of {len(key.forms[0])} trials unanswered"
    ]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"kind": "shopping list"}, "not the answers of a listening test"),
        ({"test": "another"}, "the answers of the test 'another'; the key is of"),
        ({"format": 2}, "has the answers of the test"),
        ({"form": 7}, "names no listener or no form"),
        ({"rater": ""}, "names no listener or no form"),
        ({"answers": [{"stimulus": "none", "quality": 1, "consistency": 1}]}, "is damaged"),
        ({"answers": [{"left": "a", "right": "b", "choice": "left"}]}, "is damaged"),
        ({"answers": {}}, None),
        ({"answers": 3}, "is damaged"),
    ],
)
def test_answers_of_another_kind_are_one_line(change, error):
    key = plan_test(SYSTEMS, CLIPS, Design(forms=2))
    file = answered(key, "ann", 0, *listener(0)) | change
    if error is None:
        assert Answers.from_dict(file, key, "a.json").n == 0
        return
    with pytest.raises(DataError, match=error):
        Answers.from_dict(file, key, "a.json")


@pytest.mark.parametrize("rating", [0, 6, 2.5, True, "3", None])
def test_a_rating_is_a_number_from_1_to_5(rating):
    key = plan_test(SYSTEMS, CLIPS, Design(forms=1))
    file = answered(key, "ann", 0, lambda *_: (rating, 3), listener(0)[1])
    with pytest.raises(DataError, match=r"a\.json is damaged"):
        Answers.from_dict(file, key, "a.json")


# The command ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def work(tmp_path, monkeypatch):
    """The evaluation ``out`` of two systems on three clips of one second."""
    monkeypatch.chdir(tmp_path)
    clips = [clip(index, Path("out")) for index in range(3)]
    for folder in ("out/media", "out/audio/one", "out/audio/two"):
        Path(folder).mkdir(parents=True)
    for number, one in enumerate(clips):
        write_video(torch.full((10, 3, 32, 32), 40 * number, dtype=torch.uint8), 10, one.video)
        rng = np.random.default_rng(number)
        paths = (one.audio, *(f"out/audio/{name}/{one.id}.wav" for name in NAMES))
        for path, level in zip(paths, (0.3, 0.1, 0.01), strict=True):
            soundfile.write(path, level * rng.uniform(-1, 1, (16_000, 2)), 16_000)
    make_evaluation(Path("out"), clips=clips)
    return tmp_path


def listen(*words):
    return main(["listen", "out", *words])


def test_the_page_and_its_media_are_blind_and_equally_loud(work, capsys):
    assert listen("--forms", "3", "--clips", "2", "--pairs", "2", "--checks", "1") == 0
    key = Key.from_dict(json.loads(Path("out/listening-key.json").read_text()), "key")
    page = Path("out/listening/index.html").read_text(encoding="utf-8")
    shown = page.partition('<script type="application/json"')[2]
    for name in ("one", "two", *CLIPS, "clip0000", "bell", key.secret):
        assert not re.search(rf'"{name}"', shown)
    assert "clip00" not in page
    media = sorted(Path("out/listening/media").iterdir())
    assert [path.stem for path in media] == list(key.stimuli)
    for path in media:
        assert probe(path).duration_s == pytest.approx(1, abs=0.01)
        audio = read_audio_track(path, 48_000)
        softer = 2.0 if key.stimuli[path.stem][1] == NOISE else 0.7  # AAC takes the highest frequencies of noise
        assert float(loudness_lufs(audio[None], 48_000)) == pytest.approx(-23, abs=softer)
    before = {path: path.stat().st_mtime_ns for path in media}
    capsys.readouterr()
    assert listen("--forms", "3", "--clips", "2", "--pairs", "2", "--checks", "1") == 0
    assert {path: path.stat().st_mtime_ns for path in media} == before
    assert listen("--forms", "4") == 2
    assert "that of another test" in capsys.readouterr().err
    assert listen("--forms", "3", "--clips", "2", "--pairs", "2", "--checks", "1", "--loudness", "-16", "--force") == 0
    again = Key.from_dict(json.loads(Path("out/listening-key.json").read_text()), "key")
    media = sorted(Path("out/listening/media").iterdir())
    assert [path.stem for path in media] == list(again.stimuli)
    assert not set(again.stimuli) & set(key.stimuli)
    soundfile.write("out/audio/one/clip0001.wav", np.full((16_000, 2), 0.1), 16_000)
    capsys.readouterr()
    words = ("--forms", "3", "--clips", "2", "--pairs", "2", "--checks", "1", "--loudness", "-16")
    assert listen(*words) == 2
    assert "is that of other audio of these systems" in capsys.readouterr().err


def test_a_system_may_have_any_name(work):
    for name, renamed in zip(NAMES, ("truth", "noise"), strict=True):
        Path(f"out/audio/{name}").rename(f"out/audio/{renamed}")
    make_evaluation(Path("out"), clips=[clip(index, Path("out")) for index in range(3)], systems=("truth", "noise"))
    assert listen("--forms", "1", "--clips", "3", "--ask", "both") == 0
    key = Key.from_dict(json.loads(Path("out/listening-key.json").read_text()), "key")
    assert {system for _, system in key.stimuli.values()} == {"truth", "noise", TRUTH, NOISE}


def test_a_test_that_a_script_answers_is_collected(work, capsys):
    assert listen("--forms", "2", "--clips", "3", "--pairs", "3") == 0
    key = Key.from_dict(json.loads(Path("out/listening-key.json").read_text()), "key")
    Path("answers").mkdir()
    files = []
    for form, rater in enumerate(("ann", "bob")):
        files.append(answered(key, rater, form, *listener(form, best=("two", "one"))))
        Path(f"answers/{rater}.json").write_text(json.dumps(files[-1]))
    capsys.readouterr()
    assert listen("--collect", "answers") == 0
    out = capsys.readouterr().out
    found = json.loads(Path("out/listening.json").read_text())
    ratings = [
        answer["quality"] for file in files for answer in file["answers"]
        if "stimulus" in answer and key.stimuli[answer["stimulus"]][1] == "two"
    ]  # fmt: skip
    assert found["scores"]["two"]["MOS-Q"]["mean"] == pytest.approx(sum(ratings) / len(ratings))
    assert f"{np.mean(ratings):.2f} ± {1.959964 * np.std(ratings, ddof=1) / math.sqrt(len(ratings)):.2f}" in out
    assert "true audio (hidden)" in Path("out/listening.md").read_text(encoding="utf-8")
    Path("answers/other.json").write_text(json.dumps({**files[0], "test": "other"}))
    Path("answers/text.json").write_text("no answers")
    assert listen("--collect", "answers") == 2
    err = capsys.readouterr().err
    assert "left out: answers/other.json has the answers of the test 'other'" in err
    assert "left out: cannot read answers/text.json" in err
    assert json.loads(Path("out/listening.json").read_text()) == found


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--collect", "gone.json"), "there is no out/listening-key.json; make a test with prismaudio listen out"),
        (("--systems", "three"), "no system of out is named 'three'; expected one, two"),
        (("--loudness", "loud"), "expected a loudness from -60 to -5 LUFS, or keep"),
        (("--ask", "beauty"), "expected quality, consistency or both"),
        (("--post", "javascript:alert(1)"), "expected an address such as https://"),
        (("--post", "https://a.org/x; script-src *"), "expected an address such as https://"),
    ],
)
def test_bad_input_is_one_line(work, capsys, words, error):
    assert listen(*words) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert error in line


def test_what_is_missing_is_said_and_the_rest_is_tested(work, capsys):
    Path("out/audio/two/clip0001.wav").unlink()
    assert listen("--forms", "1") == 0
    assert "two: 1 of 3 clips have no audio or no video, and are not in the test: clip0001" in capsys.readouterr().err
    key = Key.from_dict(json.loads(Path("out/listening-key.json").read_text()), "key")
    assert {clip for clip, _ in key.stimuli.values()} == {"clip0000", "clip0002"}


def test_a_folder_of_something_else_is_kept(work, capsys):
    Path("out/listening").mkdir()
    Path("out/listening/index.html").write_text("<p>mine</p>")
    assert listen() == 2
    assert "out/listening exists and is no listening test" in capsys.readouterr().err
    assert Path("out/listening/index.html").read_text() == "<p>mine</p>"
    assert not Path("out/listening-key.json").exists()


def test_the_page_may_send_answers_to_one_address_only(work):
    assert listen("--forms", "1", "--post", "https://lab.example/answers") == 0
    page = Path("out/listening/index.html").read_text(encoding="utf-8")
    assert "connect-src https://lab.example/answers;" in page
    assert "default-src 'none'" in page


def test_silence_stays_silent_and_faint_sound_stays_faint():
    assert float(at_loudness(torch.zeros(2, 48_000), -23.0).abs().max()) == 0
    noise = torch.randn(2, 48_000, generator=torch.Generator().manual_seed(0))
    faint = at_loudness(5e-4 * noise, -10.0)
    assert float(faint.square().mean().sqrt()) == pytest.approx(5e-2, rel=0.05)
    assert torch.equal(at_loudness(0.1 * noise, None), 0.1 * noise)
