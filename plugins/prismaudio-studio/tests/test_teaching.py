"""A new sound: one more class of a model, from a folder of recordings."""

from __future__ import annotations

import logging
import shutil
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from synthetic_recordings import bursts, hum, write

from prismaudio.checkpoints import save_components
from prismaudio.cli.main import main
from prismaudio.errors import DataError
from prismaudio.inference import PrismAudio, Settings
from prismaudio.plan import Plan
from prismaudio.plan.story import Source, Story
from prismaudio.pretrained import load_parts
from prismaudio.training.foundation import FoundationTask
from prismaudio.types import Clip, Conditions, Features
from prismaudio_studio import teaching
from prismaudio_studio.narration import narrate
from prismaudio_studio.planner.studio import StudioPlanner
from prismaudio_studio.teaching import TeachingOptions, save_model, teach
from prismaudio_studio.widening import usable_noun, widened
from prismaudio_studio.words import CLASSES, Vocabulary
from prismaudio_studio.world.folder import FolderBank, find_recordings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OPTIONS = TeachingOptions(steps=16, clips=4, batch_size=4, learning_rate=5e-3)
"""Enough steps for a tiny network to learn something."""


@pytest.fixture(scope="module", autouse=True)
def _few_scenes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teaching, "CHECKED", 2)
        yield


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten short rattles of different pitch."""
    folder: Path = tmp_path_factory.mktemp("vuvuzela")
    for number in range(10):
        write(folder / f"{number}.wav", bursts([0.1, 0.15, 0.2], 0.5, 400 + 40 * number))
    return folder


@pytest.fixture(scope="module")
def taught(tiny_model_folder: Path, recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model that was taught a vuvuzela, by the command."""
    source, out = (tmp_path_factory.mktemp(name) / "model" for name in ("source", "taught"))
    shutil.copytree(tiny_model_folder, source)
    (source / "NOTICE.txt").write_text("Ann made it.\n")
    options = ["--steps", "2", "--clips", "4", "--batch-size", "4", "--model", str(source)]
    assert main(["studio", "teach", str(recordings), "Vuvuzela", "bells", *options, "-o", str(out)]) == 0
    return out


def velocity(parts: dict[str, Any], plan: Plan, *, text: Plan | None = None) -> torch.Tensor:
    """What a model computes for a plan, with the words of another one."""
    video, words, grid = (parts[f"{name}_encoder"] for name in ("video", "text", "plan"))
    clip = Clip("c", 2.0, torch.zeros(32, 3, 48, 48, dtype=torch.uint8), 16.0)
    streams = {"video": video.encode(clip, plan), "text": words.encode(clip, text or plan)}
    streams["plan"] = grid.encode(clip, plan)
    conditions = Conditions({name: Features.pad([rows]) for name, rows in streams.items()})
    noise = torch.randn(1, parts["transformer"].latent_channels, 125, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        result: torch.Tensor = parts["transformer"](noise, torch.tensor([0.5]), conditions)
    return result


def told(what: str) -> Plan:
    return narrate(Story((Source(what, (0.3, 1.1), None, (24, 24)),), "clean", "dry"))


def test_the_new_class_begins_as_the_one_that_it_is_like(tiny_model_folder: Path) -> None:
    old = load_parts(tiny_model_folder)
    new = widened(old, "vuvuzela", "glass")
    before = velocity(old, told("glass"))
    torch.testing.assert_close(velocity(new, told("vuvuzela"), text=told("glass")), before, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(velocity(old, told("vuvuzela"), text=told("glass")), before, atol=1e-3)


@pytest.mark.parametrize("what", ["bell", "glass", "buzzer", "tuba"])
def test_all_other_plans_stay_as_they_were(tiny_model_folder: Path, what: str) -> None:
    old = load_parts(tiny_model_folder)
    new = widened(old, "vuvuzela", "glass")
    torch.testing.assert_close(velocity(new, told(what)), velocity(old, told(what)), atol=1e-5, rtol=1e-5)
    assert list(old["plan_encoder"].classes) == list(CLASSES)


def test_training_teaches_the_sound_and_depends_on_the_seed_alone(tiny_model_folder: Path, recordings: Path) -> None:
    files = find_recordings(recordings, 16_000).files
    made = [teach(load_parts(tiny_model_folder), "vuvuzela", "drum", files, OPTIONS) for _ in range(2)]
    before, after = made[0].loss
    assert after < 0.95 * before
    assert made[1].loss == made[0].loss
    assert (made[1].alike, made[1].others) == (made[0].alike, made[0].others)


def test_the_model_is_written_and_prompts_name_the_sound(taught: Path) -> None:
    model = PrismAudio.from_pretrained(taught)
    for prompt in ("A vuvuzela blares twice", "vuvuzelas in a hall"):
        generated = model.generate(prompt=prompt, duration_s=2.0, steps=1)
        assert not any("understood" in warning or "known sound" in warning for warning in generated.warnings)
        assert [source.what for source in generated.plan.read(Vocabulary(["vuvuzela"]).nouns).sources] == ["vuvuzela"]
        assert generated.audio.shape == (2, 32_000)
    assert (taught / "NOTICE.txt").read_text() == "Ann made it.\n"
    assert [path.name for path in taught.parent.iterdir()] == ["model"]


def test_a_second_sound_is_taught_while_the_model_rehearses_the_first(
    taught: Path, tmp_path: Path, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearsed: list[Story] = []
    remembered = teaching.Stage.remembered

    def seen(*arguments: Any) -> list[teaching.Lesson]:
        lessons = remembered(*arguments)
        assert all(clip.audio is not None and clip.audio.abs().max() > 0 for clip, _ in lessons)
        rehearsed.extend(story for _, story in lessons)
        return lessons

    monkeypatch.setattr(teaching.Stage, "remembered", seen)
    options = ["--steps", "1", "--clips", "6", "--batch-size", "2", "--model", str(taught), "-o", str(tmp_path / "m")]
    assert main(["studio", "teach", str(recordings), "dog", "vuvuzela", *options]) == 0
    assert {source.what for story in rehearsed for source in story.sources} == {"vuvuzela", "rustle"}
    assert sum([source.what for source in story.sources] == ["vuvuzela"] for story in rehearsed) >= 3
    parts = load_parts(tmp_path / "m")
    assert parts["plan_encoder"].classes == [*CLASSES, "vuvuzela", "dog"]
    assert parts["planner"].taught == {"vuvuzela": "bell", "dog": "bell"}
    assert parts["planner"].classes == list(CLASSES)


def test_what_is_like_a_lasting_class_lasts(tiny_model_folder: Path) -> None:
    model = load_parts(tiny_model_folder)
    planner = widened(model, "vuvuzela", "engine")["planner"]
    dimensions = PrismAudio.from_pretrained(tiny_model_folder).dimensions
    plan = planner.plan(Clip("c", 4.0), dimensions, "A vuvuzela")
    assert plan.read(Vocabulary(["vuvuzela"]).nouns).sources[0].end_s == 3.5
    decaying = widened(model, "vuvuzela", "bell")["planner"].plan(Clip("c", 4.0), dimensions, "A vuvuzela")
    assert decaying.read(Vocabulary(["vuvuzela"]).nouns).sources[0].end_s is None


def test_the_planner_of_footage_is_told_too() -> None:
    assert StudioPlanner(CLASSES, width=8, time_width=8, depth=1, taught={"vuvuzela": "bell"}).taught


def test_the_class_that_it_is_like_is_rehearsed_in_the_same_scenes(tiny_model_folder: Path, recordings: Path) -> None:
    files = find_recordings(recordings, 16_000).files
    lessons, checked = teaching._lessons(
        load_parts(tiny_model_folder), "vuvuzela", "whistle", files, TeachingOptions(clips=2)
    )
    (new, _, like, *others), held_out = lessons.lessons, checked[0].lessons[0][0]
    assert len(others) == 2
    assert torch.equal(new[0].frames, like[0].frames)
    assert new[1].sources[0].onsets_s == like[1].sources[0].onsets_s
    assert like[1].sources[0].what == "whistle"
    assert not torch.equal(new[0].audio, like[0].audio)
    assert not torch.equal(held_out.frames, new[0].frames)


def test_recordings_are_the_sound_of_the_scenes(recordings: Path) -> None:
    files = find_recordings(recordings, 16_000).files
    stage = teaching.Stage(0, Settings(), 16_000)
    lessons = stage.taught(4, "vuvuzela", "whistle", FolderBank(files))
    assert [story.sources[0].size is None for _, story in lessons] == [True, True, False, False]
    alike = stage.synthetic("alike", 4, ("whistle",))
    assert [story.sources[0].size for _, story in alike] == [story.sources[0].size for _, story in lessons]
    for clip, story in lessons:
        assert [source.what for source in story.sources] == ["vuvuzela"]
        assert story.sources[0].end_s is not None
        spectrum = np.abs(np.fft.rfft(clip.audio.mean(0).numpy()))
        assert 350 < np.fft.rfftfreq(clip.audio.shape[1], 1 / 16_000)[spectrum.argmax()] < 850
    for clip, _ in stage.taught(2, "vuvuzela", "bell", FolderBank(files)):
        assert clip.audio.abs().max() > 0.05


@pytest.mark.parametrize(
    ("noun", "text"),
    [
        ("", "cannot name a sound"),
        ("drone 2", "cannot name a sound"),
        ("Bells", "names a sound that the model has, bell"),
        ("puppy", "names a sound that the model has, dog"),
        ("sound", "plans use for any sound"),
        ("rustle", "plans use for any sound"),
        ("ring", "plans say .*rings' of other sounds"),
        ("hall", "of other sounds"),
    ],
)
def test_a_word_that_plans_would_misread_is_refused(noun: str, text: str) -> None:
    with pytest.raises(DataError, match=text):
        usable_noun(noun, [*CLASSES, "dog"])


@pytest.mark.parametrize("noun", ["vuvuzela", "Fog  Horn", "bell tower", "church bus", "dog", "wind-up toy", "Tröte"])
def test_other_words_name_a_class(noun: str) -> None:
    assert usable_noun(noun, CLASSES) == " ".join(noun.lower().split())


def test_a_folder_says_what_is_left_out(
    tmp_path: Path, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "in/good.wav", hum(1.0))
    write(tmp_path / "in/silent.wav", np.zeros(8000))
    write(tmp_path / "in/clipped.wav", np.clip(8 * hum(0.5), -0.5, 0.5))
    write(tmp_path / "in/short.wav", hum(0.01))
    write(tmp_path / "in/stereo.wav", np.stack([hum(0.5), -hum(0.5)], 1))
    (tmp_path / "in/list.txt").write_text("good.wav\n")
    options = ["--steps", "1", "--clips", "2", "--batch-size", "2", "--model", str(tiny_model_folder)]
    level = logging.getLogger("lightning.pytorch").level
    assert (
        main(["studio", "teach", str(tmp_path / "in"), "vuvuzela", "engine", *options, "-o", str(tmp_path / "m")]) == 0
    )
    assert logging.getLogger("lightning.pytorch").level == level
    said = capsys.readouterr()
    for name, text in (
        ("silent", "is silent"),
        ("clipped", "is clipped"),
        ("short", "lasts 10 ms"),
        ("list", "not audio"),
    ):
        assert sum(name in line and text in line for line in said.err.splitlines()) == 1, name
    assert "stereo.wav, first channel" in said.err
    assert "only 2 can be used" in said.err
    assert "has vuvuzela, of 2 recordings" in said.out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["none", "vuvuzela", "bell"], "cannot read the folder of recordings none"),
        (["empty", "vuvuzela", "bell"], "no recording in empty can be used: it has no files"),
        (["bad", "vuvuzela", "bell"], "no recording in bad can be used: a.wav is silent"),
        (["bad", "ring", "bell"], "of other sounds"),
        (["bad", "vuvuzela", "tuba"], "'tuba' is no class of the model; expected one of bell, woodblock"),
        (["bad", "vuvuzela", "bell", "-o", "."], ". exists and is no model folder"),
        (["bad", "vuvuzela", "bell", "-o", "{model}", "--force"], "is never overwritten"),
        (["bad", "vuvuzela", "bell", "-o", "{other}"], "has a model; choose another folder with -o, or add --force"),
        (["bad", "vuvuzela", "bell", "--model", "nowhere"], "no model at nowhere"),
        (["bad", "vuvuzela", "bell", "--learning-rate", "2"], "is not a learning rate"),
        (["bad", "vuvuzela"], "LIKE"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    text: str,
    tiny_model_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write(tmp_path / "bad/a.wav", np.zeros(8000))
    shutil.copytree(tiny_model_folder, tmp_path / "other")
    places = {"model": str(tiny_model_folder), "other": "other"}
    given = ["--model", str(tiny_model_folder), "-o", "m", *(argument.format(**places) for argument in arguments)]
    assert main(["studio", "teach", *given]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "empty", "other"]


def test_a_model_without_a_plan_grid_is_refused(
    tiny_model_folder: Path, tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = {name: part for name, part in load_parts(tiny_model_folder).items() if name != "plan_encoder"}
    save_components(tmp_path / "model", parts)
    given = [
        "teach",
        str(recordings),
        "vuvuzela",
        "bell",
        "--model",
        str(tmp_path / "model"),
        "-o",
        str(tmp_path / "m"),
    ]
    assert main(["studio", *given]) == 2
    assert "this model has no PlanGridEncoder" in capsys.readouterr().err


def test_an_interruption_leaves_a_model_and_a_new_one_replaces_it(
    taught: Path, tiny_model_folder: Path, tmp_path: Path, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "m"
    shutil.copytree(tiny_model_folder, out)
    options = ["--steps", "1", "--clips", "2", "--batch-size", "2", "--model", str(taught), "--force", "-o", str(out)]
    given = ["studio", "teach", str(recordings), "tuba", "bell", *options]

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(FoundationTask, "training_step", interrupted)
        assert main(given) == 130
    signal.signal(signal.SIGINT, handler)
    assert load_parts(out)["plan_encoder"].classes == list(CLASSES)
    save_model(out, load_parts(taught), taught)
    assert load_parts(out)["plan_encoder"].classes[-1] == "vuvuzela"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
