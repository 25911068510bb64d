"""The second environment of the reinforcement-learning benchmark, which trains the studio model."""

from __future__ import annotations

import pytest

from rl_benchmark.methods import GROUP
from rl_benchmark.protocol import RLBenchmark
from rl_benchmark.studio import StudioEnvironment


@pytest.mark.slow
def test_the_second_environment_trains_the_studio_model_and_counts_what_it_costs(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PRISMAUDIO_CACHE", str(tmp_path))
    monkeypatch.setattr(StudioEnvironment, "every", 1)
    environment = StudioEnvironment(training=2, validation=2, clips=1)
    benchmark = RLBenchmark.studio()
    assert isinstance(benchmark.environment, StudioEnvironment)
    names = ("flow_grpo", "recommended")
    methods = {name: benchmark.methods[name] for name in names}
    settings = {"methods": methods, "rates": dict.fromkeys(names, (benchmark.equal_rate,)), "kept": tmp_path / "runs"}
    settings |= {"seeds": (0,), "updates": 1, "budget": 0, "processes": 1, "environment": environment}
    report = benchmark.restricted(**settings).run()
    assert report.dimensions == list(environment.weights)
    for name in names:
        (curve,) = report.runs[name, benchmark.equal_rate]
        assert [point.update for point in curve.points] == [0, 1]
        assert curve.points[0].reward == report.base
        assert curve.points[1].reward == pytest.approx(sum(curve.rewards.values()))
        assert curve.points[1].reward != report.base
        assert 0 < curve.kl < float("inf")
        assert 0 < curve.variance_ratio < 2
    flow, recommended = (report.runs[name, benchmark.equal_rate][0].points[1].nfe for name in names)
    assert flow == GROUP * (8 + 3 * 7)
    assert recommended < flow / 4
    assert len(list((tmp_path / "runs").glob("studio-*.json"))) == 2
