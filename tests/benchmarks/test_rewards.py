from __future__ import annotations

import json
import sys

import pytest
import torch

from prismaudio.benchmarks.rewards import COLUMNS, RewardCosts, in_half, untrained
from prismaudio.cli.main import main
from prismaudio.errors import NotApplicableError
from prismaudio.rewards.base import Reward
from prismaudio.testing.examples import example_clip, example_plan


class Slow(Reward):
    """Prepares much, and counts how often."""

    needs = frozenset({"video"})

    def __init__(self, precision: str = "fp32", network: torch.nn.Linear | None = None):
        self.network, self.precision, self.prepared, self.rows = network or torch.nn.Linear(2, 1), precision, 0, []

    @property
    def networks(self):
        return (self.network,)

    def prepare(self, clip, plan):
        self.prepared += 1
        return {"brightness": clip.frames.float().mean()}

    def score(self, audio, sample_rate_hz, caches):
        self.rows.append(len(audio))
        scores = audio.abs().mean((1, 2))
        return scores.bfloat16().float() if self.precision == "bf16" else scores


class Picky(Slow):
    def prepare(self, clip, plan):
        raise NotApplicableError("no dog barks")


def test_what_is_timed():
    slow = Slow()
    benchmark = RewardCosts(group=4, looped=2, side=32, rounds=2)
    report = benchmark.run([("slow", slow), ("picky", Picky())], example_clip(1.0, 32), example_plan())
    assert slow.prepared == 2 * (1 + 2)  # once, and once for each candidate of the loop
    assert slow.rows == 2 * [1, 1, 4, 1, 1]
    assert set(report.values) == {"slow", "all"}
    assert set(report.values["slow"]) == set(COLUMNS) - {"gpu_gib"}
    rate, each_s = (report.values["slow"][name] for name in ("candidates_per_s", "group_each_s"))
    assert rate == pytest.approx([1 / seconds for seconds in each_s])
    assert all(len(values) == 2 for values in report.values["slow"].values())
    assert report.values["all"]["faster"] == report.values["slow"]["faster"]
    assert 0 < report.cell("slow", "bf16_moves")["mean"] < 0.01
    assert report.meta["skipped"] == {"picky": "no dog barks"}


class Network(torch.nn.Module):
    def __init__(self, width: int = 3):
        super().__init__()
        self.layer = torch.nn.Linear(width, 1)


class Trained(Reward):
    def __init__(self, weights: str | None = None, network: Network | None = None, tokenizer: str | None = None):
        self.network, self.tokenizer = network, tokenizer

    def score(self, audio, sample_rate_hz, caches):
        return audio.mean((1, 2))


def test_random_weights_and_half_precision():
    made = untrained(Trained, "words.json")
    assert isinstance(made.network, Network)
    assert made.tokenizer == "words.json"
    assert in_half(made) is None
    slow = Slow()
    assert in_half(slow).network is slow.network
    assert untrained(type("Plain", (Trained,), {"__init__": lambda self: None})) is None


@pytest.mark.slow
def test_the_command(install, tmp_path, capsys):
    module = install("""
        import torch
        from prismaudio.errors import CheckpointError
        from prismaudio.rewards.base import Reward

        @hookimpl
        def prismaudio_rewards():
            return [Component(f"MODULE:{name}", name) for name in ("Level", "Weighty", "Lost")]

        class Level(Reward):
            "How loud."
            def score(self, audio, sample_rate_hz, caches):
                return audio.abs().mean((1, 2))

        class Network(torch.nn.Module):
            "Small."

        class Weighty(Level):
            "Needs weights."
            def __init__(self, weights: str | None = None, network: Network | None = None) -> None:
                if network is None:
                    raise CheckpointError("x.pt is not on this machine")

        class Lost(Level):
            "Needs weights, too."
            def __init__(self, weights: str | None = None) -> None:
                raise CheckpointError("y.pt is not on this machine")
        """)
    out = tmp_path / "costs.json"
    words = ["--rewards", "Level,Weighty,Lost", "--duration", "0.5", "--group", "2", "--device", "cpu"]
    assert main(["bench", "rewards", *words, "--json", str(out)]) == 0
    text = capsys.readouterr().out
    assert "* random weights of the published size" in text
    assert "Lost was not timed: y.pt is not on this machine" in text
    figures = json.loads(out.read_text())
    assert list(figures["rows"]) == ["Level", "Weighty *", "all"]
    assert figures["meta"]["random_weights"] == ["Weighty *"]
    assert main(["bench", "rewards", "--rewards", "Levl"]) == 2
    assert "did you mean 'Level'" in capsys.readouterr().err
    sys.modules.pop(module, None)
