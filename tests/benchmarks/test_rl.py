"""The reinforcement-learning benchmark, with budgets of seconds."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

import rl
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.rewards.spatial import SpatialReward
from prismaudio.training.fast_grpo import FastGrpoTask
from prismaudio.training.grpo.options import RolloutOptions
from rl_benchmark.learning_curve import Counter, LearningCurve, Point
from rl_benchmark.methods import GROUP, METHODS, RECIPES, Method
from rl_benchmark.plot import plot_figure
from rl_benchmark.protocol import EQUAL_RATE, QUICK, QUICK_RATES, RATES, RLBenchmark
from rl_benchmark.report import RLReport
from rl_benchmark.small import SmallEnvironment
from rl_benchmark.world import CLASSES, WEIGHTS, VelocityNetwork, World, pretrained


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRISMAUDIO_CACHE", str(tmp_path_factory.mktemp("cache")))
        environment = SmallEnvironment(pretraining=300)
        environment.prepare()
        yield environment


@pytest.fixture(scope="module")
def report(small):
    settings = {"methods": {name: METHODS[name] for name in QUICK}, "rates": dict.fromkeys(QUICK, (EQUAL_RATE,))}
    return RLBenchmark(**settings, seeds=(0, 1), updates=4, budget=0, processes=1, environment=small).run()


def test_the_optimum_has_the_highest_rewards() -> None:
    world, classes = World(), torch.arange(CLASSES)
    best = torch.zeros(CLASSES, 16)
    best[:, :6], best[:, 6:12], best[:, 12:14] = world.modes[:, 0], world.directions, world.best
    best[:, 14], best[:, 15] = world.pans, 0
    rewards = world.rewards(best[:, :, None], classes)
    expected = {"semantic": 1.0, "temporal": 1.0, "aesthetic": 10.0, "spatial": 0.0}
    for name, value in expected.items():
        torch.testing.assert_close(rewards[name], torch.full((CLASSES,), value))
    classes = torch.zeros(4000, dtype=torch.long)
    drawn = world.rewards(world.draw(classes, torch.Generator().manual_seed(0)), classes)
    assert 0.9 < sum(WEIGHTS[name] * float(reward.mean()) for name, reward in drawn.items()) < 1.2


def test_the_base_policy_is_kept(small) -> None:
    again = pretrained(300, lambda *_: pytest.fail("made again")).state_dict()
    for name, tensor in small.base.state_dict().items():
        assert torch.equal(tensor, again[name])


@pytest.mark.parametrize("name", METHODS)
def test_the_hooks_count_what_the_formula_says(small, name) -> None:
    method = METHODS[name]
    network = VelocityNetwork()
    counter = Counter(network)
    counter.counting = True
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    for update in range(3):
        before = counter.count
        small._update(network, optimizer, method, 0, update)
        expected = sum(sum(method.evaluations(window)) * GROUP for window in method.windows(0, update, CLASSES))
        assert counter.count - before == pytest.approx(expected)


def test_the_methods_are_the_recipes_and_a_changed_recipe_changes_its_method(tmp_path) -> None:
    text = (RECIPES / "recommended.yaml").read_text()
    text = text.replace("num_steps: 10", "num_steps: 12").replace("latest: 0.8", "latest: 0.5")
    (tmp_path / "recommended.yaml").write_text(text.replace("max_tail_steps: 4", "max_tail_steps: 3"))
    known, changed = METHODS["recommended"], Method.of_recipe("recommended", tmp_path)
    assert (known.num_steps, known.max_tail_steps, known.window.length, known.window.latest) == (10, 4, 1, 0.8)
    assert (changed.num_steps, changed.max_tail_steps, changed.window.length, changed.window.latest) == (12, 3, 1, 0.5)
    assert (type(changed.kernel), changed.kernel.config) == (type(known.kernel), known.kernel.config)


def test_overrides_are_those_that_are_stated() -> None:
    method = Method.of_recipe("release", num_steps=10, window={"per": "update"})
    assert method.window.config == {"length": 2, "earliest": 0.0, "latest": 0.5, "per": "update"}
    assert (method.num_steps, method.branch_size, method.share_first) == (10, 8, False)


def test_what_a_recipe_leaves_out_is_what_the_task_does() -> None:
    defaults, options = Method(), RolloutOptions(group_size=GROUP)
    for name in ("num_steps", "share_first", "max_tail_steps"):
        assert getattr(defaults, name) == getattr(options, name)
    made = FastGrpoTask(
        {"spatial": SpatialReward()}, transformer=DiffusionTransformer(2, 64, 2, 2), encoders={}, rollout=options
    )
    assert defaults.branch_size == made.branch_size
    for mine, theirs in (
        (defaults.window, made.window),
        (defaults.kernel, made.kernel),
        (defaults.advantage, made.advantage),
        (defaults.loss, made.policy_loss),
        (defaults.weighting, made.weighting),
    ):
        assert (type(mine), vars(mine)) == (type(theirs), vars(theirs))


def test_the_formula_is_that_of_the_specification() -> None:
    def cost(name: str) -> float:
        method = METHODS[name]
        costs = [sum(method.evaluations(*method.windows(0, update, 1))) for update in range(2000)]
        return sum(costs) / len(costs)

    assert cost("flow_grpo") == 93
    assert cost("flow_grpo_T10") == 37
    assert cost("mix_grpo") == 36
    assert cost("release") == pytest.approx(24.8, abs=0.3)


def test_sharing_the_first_random_step_changes_nothing_but_the_cost(small) -> None:
    curves = []
    for share in (False, True):
        method = Method(num_steps=6, window=METHODS["paper"].window, branch_size=GROUP, share_first=share)
        curves.append(small.run(method, 1e-4, 0, updates=4))
    plain, shared = (curve.points[-1] for curve in curves)
    assert plain.reward == pytest.approx(shared.reward, abs=1e-4)
    assert shared.nfe == plain.nfe - 4 * 4 * (GROUP - 1) * CLASSES  # rolled out once, trained as three


def test_a_run_depends_on_its_seed_alone(small) -> None:
    first, again, other = (small.run(METHODS["recommended"], 1e-3, seed, updates=4) for seed in (3, 3, 4))
    known = [(point.update, point.nfe, point.reward) for point in first.points]
    assert known == [(point.update, point.nfe, point.reward) for point in again.points]
    assert (first.kl, first.rewards) == (again.kl, again.rewards)
    assert first.points[-1].reward != other.points[-1].reward
    assert first.kl > 0
    assert first.points[0].reward == other.points[0].reward


def test_evaluations_are_not_counted_and_a_budget_is_spent(small) -> None:
    curve = small.run(METHODS["recommended"], 1e-3, 0, updates=4, budget=4000)
    assert curve.points[0].nfe == 0
    assert curve.points[-1].nfe >= 4000 > curve.points[-2].nfe
    assert curve.final(4) == curve.points[1].reward


def test_training_finds_what_is_rewarded(small) -> None:
    curve = small.run(METHODS["recommended"], 1e-3, 0, updates=40)
    assert curve.points[-1].reward > curve.points[0].reward + 0.2


def test_where_a_reward_was_reached() -> None:
    curve = LearningCurve([Point(0, 0, 0.0, 1.0), Point(4, 80, 1.0, 2.0), Point(8, 160, 2.0, float("nan"))])
    assert curve.first(1.25) == Point(1, 20, 0.25, 1.25)
    assert curve.first(3) is None
    assert curve.first(0.5) is None  # it never had to rise to that
    assert LearningCurve([Point(0, 0, 0.0, 1.0), Point(4, 80, 1.0, 1.0)]).first(1.0) is None
    assert curve.at(40) == 1.5
    assert curve.at(1000) is None


def test_a_missed_target_is_no_success() -> None:
    def curve(reward: float) -> LearningCurve:
        return LearningCurve([Point(0, 0, 0.0, 1.0), Point(4, 100, 1.0, reward)], dict.fromkeys(WEIGHTS, 0.0))

    runs = {
        ("flow_grpo", 1e-3): [curve(2.0), curve(2.0)],
        ("release", 1e-3): [curve(3.0), curve(1.5)],
        ("release", 3e-3): [curve(3.0), curve(3.0)],
        ("flow_grpo", 3e-3): [curve(2.0), curve(2.0)],
        ("paper", 1e-3): [curve(3.0), curve(3.0)],
    }
    told = RLReport(runs, 4, 1e-3, (50,))
    assert told.ratio("release") is None
    assert told.best_rate("release") == 3e-3
    assert told.ratio("release", best=True) == pytest.approx(2)
    assert told.best_rate("paper") is None  # of one
    figures = told.as_dict()
    assert figures["best_lr"]["paper"] is None
    assert figures["equal_lr"]["release"]["nfe_to_target"] == [40, None]
    assert figures["ratio"]["release"] is None
    assert [str(cell) for cell in told.tables()[0].columns[2].cells] == ["2/2", "1/2", "2/2"]


def test_the_report_has_the_documented_keys(report) -> None:
    figures = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert set(figures) == {"base", "target", "equal_lr", "best_lr", "all", "ratio", "meta"}
    assert set(figures["ratio"]) >= {"release", "paper", "recommended", "recommended_best_lr"}
    assert list(figures["equal_lr"]) == list(QUICK)
    final = sum(figures["equal_lr"]["flow_grpo"]["final"]) / 2
    assert figures["target"] == pytest.approx(figures["base"] + 0.8 * (final - figures["base"]), abs=1e-5)
    for row in figures["equal_lr"].values():
        assert {len(row[key]) for key in ("nfe_to_target", "cpu_s_to_target", "final", "kl", "variance_ratio")} == {2}
        assert set(row["rewards"]) == set(WEIGHTS)


def test_the_plot_has_a_line_for_each_method_and_the_target(report) -> None:
    (axes,) = plot_figure(report).axes
    *lines, target = axes.lines
    for name, line in zip(QUICK, lines, strict=True):
        points = [course.points[1] for course in report.runs[name, EQUAL_RATE]]
        assert line.get_label() == name
        assert line.get_xdata()[0] == sum(point.nfe for point in points) / 2
        assert line.get_ydata()[0] == pytest.approx(sum(point.reward for point in points) / 2)
    assert set(target.get_ydata()) == {report.target}
    assert axes.get_xscale() == "log"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("evaluations of the network", "mean reward")
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == [*QUICK, target.get_label()]


@pytest.mark.slow
def test_two_processes_give_the_results_of_one(small, report) -> None:
    names = ("flow_grpo", "recommended")
    settings = {"methods": {name: METHODS[name] for name in names}, "rates": dict.fromkeys(names, (EQUAL_RATE,))}
    other = RLBenchmark(**settings, seeds=(0, 1), updates=4, budget=0, processes=2, environment=small).run()
    assert other.target == report.target
    for name in names:
        for mine, theirs in zip(report.runs[name, EQUAL_RATE], other.runs[name, EQUAL_RATE], strict=True):
            assert [(p.nfe, p.reward) for p in mine.points] == [(p.nfe, p.reward) for p in theirs.points]


def test_finished_runs_are_kept_and_an_interrupted_benchmark_goes_on(small, report, tmp_path, monkeypatch) -> None:
    settings = {"methods": {name: METHODS[name] for name in QUICK}, "rates": dict.fromkeys(QUICK, (EQUAL_RATE,))}
    benchmark = RLBenchmark(
        **settings, seeds=(0, 1), updates=4, budget=0, processes=1, environment=small, kept=tmp_path / "runs"
    )
    begun = []
    plain = SmallEnvironment.run

    def interrupted(self, *args):
        begun.append(args)
        if len(begun) == 4:
            raise KeyboardInterrupt
        return plain(self, *args)

    monkeypatch.setattr(SmallEnvironment, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        benchmark.run()
    assert len(list((tmp_path / "runs").iterdir())) == 3
    told = benchmark.run()
    assert len(begun) == 4 + 2 * len(QUICK) - 3
    longer = benchmark.restricted(methods={"flow_grpo": METHODS["flow_grpo"]}, updates=8)
    assert [curve.points[-1].update for curve in longer.run().runs["flow_grpo", EQUAL_RATE]] == [8, 8]
    for key, curves in report.runs.items():
        assert [curve.rewards for curve in told.runs[key]] == [curve.rewards for curve in curves]
        assert [curve.points[-1].nfe for curve in told.runs[key]] == [curve.points[-1].nfe for curve in curves]


def test_what_is_run() -> None:
    quick, full = RLBenchmark.quick(), RLBenchmark.full()
    assert set(quick.methods) == set(QUICK) < set(full.methods)
    assert quick.rates == QUICK_RATES
    assert all(EQUAL_RATE in rates and set(rates) < set(RATES) for rates in QUICK_RATES.values())
    assert set(full.rates.values()) == {RATES}


def test_the_command(small, tmp_path, capsys, monkeypatch) -> None:
    quick = RLBenchmark.quick().restricted(updates=4, environment=small, rates=dict.fromkeys(QUICK, (EQUAL_RATE,)))
    monkeypatch.setattr(RLBenchmark, "quick", classmethod(lambda cls: quick))
    out, plot = tmp_path / "new" / "rl.json", tmp_path / "rl.png"
    argv = ["--quick", "--seeds", "1", "--seed", "7", "--processes", "1"]
    assert rl.main([*argv, "--json", str(out), "--plot", str(plot)]) == 0
    assert json.loads(out.read_text())["meta"]["seeds"] == [7]
    assert plot.read_bytes()[1:4] == b"PNG"
    assert "recommended: " in capsys.readouterr().out
    assert rl.main(["--seeds", "0"]) == 2
    assert rl.main([*argv, "--json", str(tmp_path)]) == 2


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_a_file_of_somebody_else_stays(option, tmp_path, capsys) -> None:
    (tmp_path / "x").write_text("theirs")
    assert rl.main([option, str(tmp_path / "x")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("prismaudio: error: ")
    assert said.count("\n") == 1
    assert [path.read_text() for path in tmp_path.iterdir()] == ["theirs"]


def test_it_runs_as_a_script_from_any_folder(tmp_path) -> None:
    told = subprocess.run([sys.executable, rl.__file__, "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 0
    for option in ("--quick", "--full", "--studio", "--seeds", "--seed", "--processes", "--runs", "--json", "--plot"):
        assert f"{option} " in told.stdout.replace("]", " ")
