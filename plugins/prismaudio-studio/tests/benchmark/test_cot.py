"""``prismaudio bench cot``: models of plans of different forms, trained by the recipe, measured with these plans."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from recipe_runs import train

from prismaudio.cli.main import main
from prismaudio.cot.strategies import STRATEGIES
from prismaudio.plan import Plan
from prismaudio_studio.benchmark.cot import ClipStates, command, resampled
from prismaudio_studio.benchmark.rows import GivenPlanRow
from prismaudio_studio.benchmark.stage import RATE_HZ, take
from prismaudio_studio.benchmark.studio import StudioBenchmark
from prismaudio_studio.datamodule import StudioClips
from prismaudio_studio.hashed_text import HashedTextEncoder
from prismaudio_studio.metrics import edit_metrics, studio_metrics
from prismaudio_studio.narration import narrate, written
from prismaudio_studio.world.cache import ClipCache
from prismaudio_studio.world.sampling import sample_scene

STEPS = 3
FEW = ["--trainer.max_steps", str(STEPS), "--data.plain", "8", "--data.validation", "4", "--data.batch_size", "4"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models of two forms, trained for a few steps by the commands that the benchmark names."""
    folder = tmp_path_factory.mktemp("cot")
    for name in ("monolithic", "decomposed"):
        words = command(folder / "models", name).split()
        train(folder, *words[1:], *FEW, "--data.workers", "1", "--trainer.val_check_interval=null")
    return folder / "models"


def measure(folder: Path, *words: str) -> int:
    return main(["bench", "cot", "--models", str(folder), "--limit", "3", "--edit-limit", "1", *words])


@pytest.mark.slow
def test_trained_models_are_compared(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    assert measure(trained, "--strategies", "monolithic,decomposed", "--json", str(out)) == 0
    report = json.loads(out.read_text())
    assert list(report["rows"]) == ["truth", "monolithic", "decomposed", "shuffled"]
    truth, model = report["rows"]["truth"], report["rows"]["decomposed"]
    assert truth["onset_f1_mixed"]["mean"] > model["onset_f1_mixed"]["mean"]
    meta = report["meta"]
    assert meta["reference"] == "decomposed"
    low, high = meta["intervals"]["truth"]["onset_f1_mixed"]
    assert 0 <= low <= truth["onset_f1_mixed"]["mean"] <= high <= 1
    assert meta["differences"]["truth"]["onset_f1_mixed"][0] == pytest.approx(
        truth["onset_f1_mixed"]["mean"] - model["onset_f1_mixed"]["mean"], abs=1e-5
    )
    shown = capsys.readouterr()
    assert "onset f1 mixed" in shown.out
    assert "forms of plans" in shown.err


@pytest.mark.slow
def test_the_form_decides_the_weights_and_nothing_else_does(trained: Path, tmp_path: Path) -> None:
    """Were the strategy without effect on the text, both trainings would be the same."""
    from prismaudio.pretrained import load_parts

    one, two = (load_parts(trained / name)["transformer"].state_dict() for name in ("monolithic", "decomposed"))
    assert any(not torch.equal(weight, two[name]) for name, weight in one.items())
    words = command(tmp_path / "models", "decomposed").split()[1:]
    train(trained.parent, *words, *FEW, "--data.workers", "1", "--trainer.val_check_interval=null")
    three = load_parts(tmp_path / "models" / "decomposed")["transformer"].state_dict()
    assert all(torch.equal(weight, three[name]) for name, weight in two.items())


@pytest.mark.slow
def test_a_model_that_is_not_there_is_one_line_with_the_command(trained: Path, capsys) -> None:
    assert measure(trained) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no model trained on plans of the form none" in error
    assert command(trained, "none") in error


@pytest.mark.slow
def test_models_that_do_not_compare_plans_are_refused(trained: Path, tiny_model_folder: Path, tmp_path, capsys) -> None:
    two = ("--strategies", "monolithic,decomposed")
    shutil.copytree(trained / "decomposed", tmp_path / "decomposed")
    shutil.copytree(trained / "decomposed", tmp_path / "monolithic")
    assert measure(tmp_path, *two) == 2
    assert "monolithic and decomposed" in (error := capsys.readouterr().err)
    assert "have the same weights" in error
    shutil.rmtree(tmp_path / "monolithic")
    shutil.copytree(tiny_model_folder, tmp_path / "monolithic")
    assert measure(tmp_path, *two) == 2
    assert "differ in network or encoders" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--strategies", "decomposed,rhymed"], ["--limit", "0"], ["--seeds", "-1"], ["--guidance", "nan"]]
)
def test_bad_options_are_refused(words, capsys) -> None:
    assert main(["bench", "cot", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("prismaudio: error: argument ")
    assert error.count("\n") == 1


def test_a_folder_that_is_not_a_model_is_one_line(tmp_path, capsys) -> None:
    for name in STRATEGIES:
        (tmp_path / name).mkdir()
    assert measure(tmp_path) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / "none") in error
    assert error.count("\n") == 1


def words_of(plan: Plan) -> list[str]:
    return " ".join(plan.values()).split()


def test_the_forms_say_the_same_in_another_structure() -> None:
    story = sample_scene(3, 0, "plain").story
    plans = {name: written(story, name, "a seed") for name in STRATEGIES}
    assert dict(plans["decomposed"]) == dict(narrate(story, random.Random("a seed")))
    assert [list(plan) for plan in plans.values()][:3] == [[], ["semantic"], ["semantic"]]
    assert words_of(plans["monolithic"]) == words_of(plans["decomposed"])
    assert words_of(plans["random"]) != words_of(plans["monolithic"])
    assert Counter(words_of(plans["random"])) == Counter(words_of(plans["monolithic"]))


def test_training_reads_plans_of_the_form(tmp_path: Path) -> None:
    cache = ClipCache(tmp_path, "plain", 1, 2, held_out=False)
    cache.prepare()
    encoder = HashedTextEncoder(numbers=True, limit=400)
    features = {}
    for name in STRATEGIES:
        plan = StudioClips([cache], 1, name)[0].plans[0]
        features[name] = encoder.encode_plan(plan)
    assert len(features["none"]) == 0
    assert len(features["random"]) == len(features["monolithic"]) == len(features["decomposed"]) > 20
    assert not torch.equal(features["random"], features["monolithic"])
    assert not torch.equal(features["monolithic"], features["decomposed"])


class Recorder:
    """A model that generates silence, and keeps the plans that it is given."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self.autoencoder = type("Codec", (), {"sample_rate_hz": RATE_HZ})

    def render(self, clips, plans, seeds, **options):
        self.plans += plans
        return [torch.zeros(2, RATE_HZ) for _ in clips]


@pytest.mark.parametrize("name", STRATEGIES)
def test_edits_are_put_into_the_form_of_the_training(name) -> None:
    model = Recorder()
    row = GivenPlanRow(model, strategy=name)
    scene, other = (sample_scene(index, 0, "plain") for index in (3, 4))
    item = take(7, scene, lambda scene: object())
    row.audio([item], 0)
    row.edited_audio([item], [other.story], 0)
    assert [dict(plan) for plan in model.plans] == [dict(written(s.story, name, 7)) for s in (scene, other)]


def test_clip_states_add_up_to_the_metric() -> None:
    scenes = [sample_scene(index, 0, "plain") for index in range(6)]
    takes = [take(index, scene, None) for index, scene in enumerate(scenes)]
    audio, targets = torch.stack([item.audio for item in takes]), [item.target for item in takes]
    noise = torch.randn(audio.shape, generator=torch.Generator().manual_seed(0))
    audio = torch.where(torch.arange(6)[:, None, None] < 3, audio, 0.1 * noise)  # so that the first two differ from all
    for column, plain in (studio_metrics() | edit_metrics()).items():
        kept = ClipStates((studio_metrics() | edit_metrics())[column])
        plain.update(audio, RATE_HZ, targets)
        kept.update(audio, RATE_HZ, targets)
        assert len(kept.states) == len(takes)
        whole = float(plain.compute())
        assert float(kept.compute()) == pytest.approx(whole, nan_ok=True), column
        assert kept.value(torch.stack(kept.states).sum(0)) == pytest.approx(whole, nan_ok=True), column
        first = (studio_metrics() | edit_metrics())[column]
        first.update(audio[:2], RATE_HZ, targets[:2])
        if first.update_called and kept.states[0].any():
            expected = float(first.compute())
            assert kept.value(torch.stack(kept.states[:2]).sum(0)) == pytest.approx(expected, nan_ok=True), column


@pytest.mark.filterwarnings("ignore:The ``compute`` method")  # the states are set by hand
def test_intervals_cover_what_is_certain_and_what_is_not() -> None:
    def row(rights: list[float]) -> dict[str, ClipStates]:
        columns = {name: ClipStates(metric) for name, metric in (studio_metrics() | edit_metrics()).items()}
        columns["class_accuracy"].states = [torch.tensor([right, 1.0]).double() for right in rights]
        columns["edit_side"].states = [torch.tensor([0.0, 0.0]).double() for _ in rights]  # no clip is measured
        return columns

    half = [1.0, 0.0] * 50
    metrics = {("decomposed", 0): row(half), ("random", 0): row(half), ("none", 0): row([0.0] * 100)}
    intervals, differences = resampled(metrics, "decomposed", 0)
    low, high = intervals["decomposed"]["class_accuracy"]
    assert low == pytest.approx(0.4, abs=0.03)  # 0.5 ∓ 1.96 * sqrt(0.25 / 100)
    assert high == pytest.approx(0.6, abs=0.03)
    assert differences["random"]["class_accuracy"] == [0, 0, 0]  # the same clips are drawn for both
    assert differences["none"]["class_accuracy"][0] == -0.5
    assert differences["none"]["class_accuracy"][2] < 0
    assert "edit_side" not in intervals["none"]
    assert "onset_f1_single" not in intervals["none"]


def test_sampling_seeds_of_a_clip_are_one_clip() -> None:
    benchmark = StudioBenchmark(seed=5, limit=4, seeds=2, edit_limit=0)
    model = Recorder()
    rows = {"decomposed": GivenPlanRow(model)}
    metrics = benchmark.measured(rows, lambda scene: object(), lambda *_: None, ClipStates)
    assert [len(metrics["decomposed", seed]["class_accuracy"].states) for seed in (0, 1)] == [4, 4]
    intervals, _ = resampled(metrics, "decomposed", 0)
    assert intervals["decomposed"]["onset_f1_mixed"] == (0, 0)
