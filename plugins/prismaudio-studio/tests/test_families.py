"""The families that sound like recordings: their table, words, motions and scenes."""

import hashlib
import json
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from prismaudio.cli.main import main
from prismaudio.errors import DataError
from prismaudio.media import write_wav
from prismaudio.plan import Plan
from prismaudio.plan.story import Source, Story
from prismaudio_footage.families import UNKNOWN, families, sounding
from prismaudio_studio.datamodule import StudioDataModule
from prismaudio_studio.families import lasts, voice_names, voices
from prismaudio_studio.narration import narrate, renamed
from prismaudio_studio.plan_grid import PlanGridEncoder
from prismaudio_studio.suite import StudioSuite
from prismaudio_studio.words import (
    CLASSES,
    FAMILIES,
    MOTIONS,
    NOUNS,
    VOCABULARY,
    VOICELESS,
    Vocabulary,
    class_of,
    motion_of,
)
from prismaudio_studio.world.audio import render_audio
from prismaudio_studio.world.bank import SoundBank
from prismaudio_studio.world.combinations import is_held_out
from prismaudio_studio.world.recordings import read_recordings
from prismaudio_studio.world.sampling import SPLITS, sample_scene
from prismaudio_studio.world.scene import Thing
from prismaudio_studio.world.video import render_video

RATE_HZ = 16_000


def tone(hz: float, seconds: float = 0.3, *, sustained: bool = False) -> np.ndarray:
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return (0.6 * np.sin(2 * np.pi * hz * time_s) * (1 if sustained else np.exp(-12 * time_s))).astype(np.float32)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources of dogs, one of them held out, footsteps of two grounds, one cat, and rain."""
    folder = tmp_path_factory.mktemp("recordings")
    rows = ["file,class,source,fold,author,licence"]
    sounds = {
        "dog_bark": [("a", 1), ("b", 5)],
        "footstep_sand": [("c", 1), ("d", 1)],
        "footstep_grass": [("e", 1)],
        "cat": [("f", 5)],
        "rain": [("g", 1), ("h", 5)],
    }
    for index, (what, files) in enumerate(sounds.items()):
        for number, (name, fold) in enumerate(files):
            audio = tone(300 + 150 * index + 40 * number, 2.0 if what == "rain" else 0.3, sustained=what == "rain")
            write_wav(torch.from_numpy(np.stack([audio, audio])), RATE_HZ, folder / f"{name}.wav")
            rows.append(f"{name}.wav,{what},{name},{fold},Ann,CC0")
    (folder / "recordings.csv").write_text("\n".join(rows) + "\n")
    return folder / "recordings.csv"


def test_the_table_names_families_and_motions():
    known = {family.name for family in sounding()}
    assert len(voices()) >= 30
    for voice in voices().values():
        assert {voice.name, *voice.also} <= known
        assert voice.motion in MOTIONS
        assert (voice.motion in ("sustained", "spinning", "flowing", "rolling")) == lasts(voice.name)
        assert voice.is_of(voice.name)
    assert not set(FAMILIES) & set(CLASSES)


def test_every_recording_gives_one_family_a_voice():
    patterns = [name for voice in voices().values() for name in voice.recordings]
    assert len(patterns) == len(set(patterns))


@pytest.mark.parametrize(
    ("noun", "expected"),
    [("dog", "dog"), ("Dogs", "dog"), ("puppy", "dog"), ("lorries", None), ("lorry", "car"), ("church bell", "bell"),
     ("drum", "drum"), ("percussion", "drum kit"), ("violin", None), (UNKNOWN, None), ("axe", "hammer")],
)  # fmt: skip
def test_a_noun_names_a_class(noun, expected):
    assert class_of(noun) == expected


def test_a_vocabulary_is_no_larger_than_the_model():
    assert class_of("dog", CLASSES) is None
    assert Vocabulary(["bell"]).nouns.named("A bell, a dog and a puppy.") == ["bell"]
    assert Vocabulary(["bell", "dog"]).nouns.named("A bell, a dog and a puppy.") == ["bell", "dog", "puppy"]
    assert Vocabulary(VOCABULARY).nouns.named("A gun fires at 1 s.") == ["gun"]
    assert Vocabulary(["fire"]).known.named("A gun.") == []


def test_a_plan_of_another_word_has_the_rows_of_its_family():
    encoder, clip = PlanGridEncoder(["bell", "dog"]), type("Clip", (), {"duration_s": 1.0})()
    dog, puppy, violin = (
        encoder.encode(clip, Plan({"semantic": f"A {noun} is heard.", "temporal": f"The {noun} sounds at 0.50 s."}))
        for noun in ("dog", "puppy", "violin")
    )
    assert torch.equal(dog, puppy)
    assert dog[:, 5:10].any()
    assert not violin[:, :10].any()
    assert violin[:, 10:15].any()


def test_names_of_families_vary_and_those_of_synthetic_classes_do_not():
    story = Story((Source("dog", (0.5,)), Source("bell", (1.0,)), Source(UNKNOWN, (1.5,))))
    named = [[source.what for source in renamed(story, random.Random(seed)).sources] for seed in range(40)]
    dogs, bells, rustles = (set(names) for names in zip(*named, strict=True))
    assert bells == {"bell"}
    assert {class_of(name) for name in dogs} == {"dog"}
    assert len(dogs) > 2
    assert rustles <= set(VOICELESS)
    assert len(rustles) > 3
    for seed in range(40):
        changed = renamed(story, random.Random(seed))
        assert narrate(changed).read(NOUNS) == changed


def test_the_cast_are_the_families_of_the_table(table):
    bank = SoundBank(table)
    assert bank.cast == ("dog", "footstep", "rain", UNKNOWN)  # the only cat is held out
    assert bank.held_out == ("dog", "rain")
    assert bank.classes == {"cat": (0, 1), "dog": (1, 1), "footstep": (3, 0), "rain": (1, 1)}


def test_a_family_is_trained_on_what_chance_would_hold_out(table):
    rows = [",".join([*row.split(",")[:3], "", *row.split(",")[4:]]) for row in table.read_text().splitlines()[1:]]
    (table.parent / "chance.csv").write_text("\n".join([table.read_text().splitlines()[0], *rows]) + "\n")
    for seed in range(6):
        assert {"dog", "cat", "footstep", "rain"} <= {*SoundBank(table.parent / "chance.csv", seed).cast}


def test_a_table_of_synthetic_classes_has_no_families(table, capsys):
    (table.parent / "bells.csv").write_text("file,class,author,licence\na.wav,bell,Ann,CC0\n")
    words = ["studio", "render", "--recordings", str(table.parent / "bells.csv"), "-o", str(table.parent / "x")]
    assert main([*words, "--families", "--no-held-out"]) == 2
    assert "has recordings of no family to train on" in capsys.readouterr().err


def test_held_out_scenes_use_held_out_recordings(table):
    bank = SoundBank(table)
    scene = next(s for s in (sample_scene(i, cast=bank.cast) for i in range(50)) if s.things[0].what == "dog")
    dog = scene.things[0]
    assert [bank.recording(dog, held_out=part).file.stem for part in (False, True)] == ["a", "b"]


def test_steps_are_of_one_ground_and_not_all_alike(table):
    bank = SoundBank(table)
    found = set()
    for index in range(60):
        for thing in sample_scene(index, cast=("footstep", "dog")).things:
            if thing.what == "footstep" and len(thing.onsets_s) > 3:
                ground = bank.recording(thing, held_out=False).what
                sounds = bank.one_shots(thing, RATE_HZ, held_out=False)
                found.add((ground, len({sound.tobytes() for sound in sounds}) > 1))
    assert ("footstep_sand", True) in found
    assert ("footstep_grass", False) in found


@pytest.mark.parametrize("split", ["plain", "randomised"])
def test_scenes_of_families_are_deterministic_and_complete(table, split):
    bank = SoundBank(table)
    for index in range(12):
        scene = sample_scene(index, 3, split, cast=bank.cast)
        assert scene == sample_scene(index, 3, split, cast=bank.cast)
        assert not is_held_out(tuple(thing.what for thing in scene.things), scene.room, scene.quality)
        audio = render_audio(scene, RATE_HZ, bank)
        assert np.isfinite(audio).all()
        assert 0.01 < np.abs(audio).max() <= 0.91
        assert all(source.size is None for source in scene.story.sources)
        assert all(0 <= t < scene.duration_s for thing in scene.things for t in thing.onsets_s)


def test_scenes_of_synthetic_classes_are_those_of_before(table):
    scenes = [sample_scene(i, 3, split, held_out=h) for i in range(20) for split in SPLITS for h in (False, True)]
    assert hashlib.sha256(repr(scenes).encode()).hexdigest()[:16] == "bdd7eac14eb2047b"
    assert sample_scene(5, cast=SoundBank(table).cast) != sample_scene(5)


def test_half_of_the_dry_scenes_do_not_state_their_room():
    scenes = [sample_scene(index, cast=("dog", "rain", "cat")) for index in range(80)]
    dry = [scene.story.room for scene in scenes if scene.room == "dry"]
    assert 0.25 < dry.count(None) / len(dry) < 0.75
    assert all(scene.story.room == scene.room for scene in scenes if scene.room != "dry")
    assert all(sample_scene(index).story.room for index in range(20))


@pytest.mark.parametrize("what", ["dog", "footstep", "knife", "fan", "car", "fire", "violin"])
def test_what_sounds_is_seen_to_move(what):
    for seed in range(30):
        scene = sample_scene(0, seed, cast=(what,))
        if scene.quality == "clean" and (scene.things[0].onsets_s[0] > 0.6):
            break
    thing = scene.things[0]
    frames = render_video(scene, 48, 16.0).astype(float)
    change = np.abs(np.diff(frames, axis=0)).mean((1, 2, 3))
    first = round(thing.onsets_s[0] * 16)
    before, during = change[: max(1, first - 5)], change[first - 4 : first + 12]
    assert during.max() > 4 * before.mean() + 0.05
    assert motion_of("violin") == "rustling"


def test_a_cast_without_combinations_says_so(monkeypatch):
    monkeypatch.setattr("prismaudio_studio.world.sampling.is_held_out", lambda *_: True)
    with pytest.raises(DataError, match="no combination of dog is to train on"):
        sample_scene(0, cast=("dog",))


def test_training_clips_of_families_have_the_rate_and_words_of_the_recipe(table, tmp_path, monkeypatch):
    monkeypatch.setattr("prismaudio_studio.world.cache.CHUNK", 4)
    module = StudioDataModule(
        0, 0, 2, 4, cache_dir=str(tmp_path), workers=1, recordings=str(table), recorded=16, sample_rate_hz=32_000
    )
    module.prepare_data()
    batch = next(iter(module._loader(held_out=False)))
    assert {clip.sample_rate_hz for clip in batch.clips} == {32_000}
    assert all(clip.audio.shape == (2, 128_000) for clip in batch.clips)
    nouns = {source.what for plan in batch.plans for source in plan.read(NOUNS).sources}
    assert nouns
    assert nouns <= {*voice_names(), *VOICELESS}
    assert len(list(tmp_path.iterdir())) == 4  # plain and randomised, to train on and held out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"recorded": 8}, "recordings is not set"),
        ({"recorded": 3}, "expected an even number"),
        ({"recordings": "recordings.csv", "best": 8}, "best is 8 and recorded is 0"),
    ],
)
def test_what_families_need(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        StudioDataModule(**arguments)


def test_the_vocabulary_is_what_weights_depend_on():
    assert VOCABULARY[:14] == (*CLASSES, "dog", "cat")
    assert hashlib.sha256(",".join(VOCABULARY).encode()).hexdigest()[:16] == "adc0afedfe0f7ffb"
    assert len(VOCABULARY) == len(CLASSES) + len(FAMILIES)
    assert set(voice_names().values()) == set(FAMILIES)
    assert {families()[name].name for name in FAMILIES} == set(FAMILIES)


def test_render_and_the_suite_show_families(table, tmp_path, capsys):
    words = [
        "studio",
        "render",
        "--families",
        "--count",
        "1",
        "--size",
        "32",
        "--fps",
        "8",
        "-o",
        str(tmp_path / "out"),
    ]
    assert main(words) == 2
    assert "--families needs the recordings" in capsys.readouterr().err
    assert main([*words, "--recordings", str(table)]) == 0
    (truth,) = (tmp_path / "out").glob("*.json")
    told = json.loads(truth.read_text())
    assert {source["class"] for source in told["sources"]} <= {"dog", "rain"}
    assert all(item["author"] == "Ann" for item in told["recordings"])
    suite = StudioSuite(1, recordings=str(table), families=True)
    (entry,) = suite.clips(tmp_path / "suite", ["semantic"])
    assert {source.what for source in entry.plans[0].read(NOUNS).sources} <= {"dog", "rain"}
    with pytest.raises(ValueError, match="recordings is not set"):
        StudioSuite(1, families=True)


def test_the_benchmark_measures_families_by_what_is_heard(table, capsys):
    pytest.importorskip("prismaudio_yamnet")
    words = ["bench", "studio", "--recordings", str(table), "--limit", "2", "--rows", "truth,shuffled", "--seeds", "1"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "family_heard" in shown
    assert "class_accuracy" not in shown
    assert "edit_time" not in shown


def test_a_table_of_one_part_cannot_be_measured(table, tmp_path, capsys):
    rows = [row for row in table.read_text().splitlines() if ",5," not in row]
    (table.parent / "trained.csv").write_text("\n".join(rows) + "\n")
    assert main(["bench", "studio", "--recordings", str(table.parent / "trained.csv"), "--rows", "truth"]) == 2
    assert "of no family both to train on and held out" in capsys.readouterr().err


def test_only_the_recordings_of_families_are_listed(table, tmp_path):
    rows = table.read_text().splitlines()
    (table.parent / "more.csv").write_text("\n".join([*rows, "a.wav,zither,a,1,Ann,CC0"]) + "\n")
    words = ["studio", "recordings", str(table.parent / "more.csv"), "-o", str(table.parent / "kept.csv"), "--force"]
    assert main([*words, "--families"]) == 0
    assert len((table.parent / "kept.csv").read_text().splitlines()) == len(rows)


def test_training_takes_the_recordings_in_which_a_family_is_heard_best(table, tmp_path, capsys, monkeypatch):
    heard = {"a": 0.2, "b": 0.1, "c": 0.5, "d": 0.9, "e": 0.7, "f": 0.3, "g": 0.4, "h": 0.6}
    rate = SimpleNamespace(probability=lambda audio, rate_hz, names: heard.pop(min(heard)))
    monkeypatch.setattr("prismaudio_footage.listening.listener", lambda: rate)
    out = tmp_path / "heard.csv"
    assert main(["studio", "recordings", str(table), "--heard", "-o", str(out)]) == 0
    assert [recording.heard for recording in read_recordings(out)] == [0.2, 0.1, 0.5, 0.9, 0.7, 0.3, 0.4, 0.6]
    every, best = SoundBank(out), SoundBank(out, best=2)
    assert (every.classes["footstep"], best.classes["footstep"]) == ((3, 0), (2, 0))
    assert (every.classes["dog"], best.classes["dog"]) == ((1, 1), (1, 1))
    things = [Thing("footstep", "medium", 0.12, (0.5, 0.5), (0.5,), (-10.0,), None, 0.0, 0.5, key) for key in range(20)]
    files = {best.recording(thing, held_out=False).file.name for thing in things}
    assert files == {"d.wav", "e.wav"}
    assert best.hash != every.hash
    with pytest.raises(DataError, match="does not say in which of its 3 recordings footstep is heard most clearly"):
        SoundBank(table, best=2)
    with pytest.raises(ValueError, match="best is 0; expected 1 to"):
        SoundBank(out, best=0)
    text = out.read_text()
    out.write_text(text.replace("0.900", "loud"))
    with pytest.raises(DataError, match="heard is 'loud'; expected a number from 0 to 1, or nothing"):
        read_recordings(out)
    capsys.readouterr()


def test_a_recording_of_its_family_is_heard_more_clearly_than_noise():
    pytest.importorskip("prismaudio_yamnet")
    from prismaudio_footage.listening import listener

    time_s = torch.arange(2 * RATE_HZ) / RATE_HZ
    clock = (torch.sin(2 * torch.pi * 2500 * time_s) * torch.exp(-80 * (time_s % 0.5))).expand(2, -1)
    noise = 0.3 * torch.randn(2, 2 * RATE_HZ, generator=torch.Generator().manual_seed(1))
    names = families()["clock"].heard_as
    assert listener().probability(clock, RATE_HZ, names) > 5 * listener().probability(noise, RATE_HZ, names)
    assert listener().probability(clock, RATE_HZ, []) == 0
