"""Fast-GRPO on a handful of clips: what it learns, what it refuses, and that it goes on where it stopped."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import fields
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import soundfile
import torch
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from streams import streams
from torch.optim import AdamW

import prismaudio
from prismaudio.audio.level import PEAK
from prismaudio.autoencoders.base import Autoencoder
from prismaudio.data.buckets import batch_loader
from prismaudio.encoders.base import Encoder
from prismaudio.errors import DataError, NotApplicableError, PrismAudioError, RecipeError
from prismaudio.flow.kernels import RhoKernel
from prismaudio.flow.times import uniform_grid
from prismaudio.inference.settings import Guidance, Settings
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.plan import Plan
from prismaudio.rewards.base import Reward
from prismaudio.rewards.function import FunctionReward
from prismaudio.samplers.euler import EulerSampler
from prismaudio.training.callbacks.ema import ExponentialMovingAverage, PolicyAverage
from prismaudio.training.callbacks.held_out import HeldOutGuard
from prismaudio.training.callbacks.listening import CandidateSamples, ListeningSamples
from prismaudio.training.candidates import Prompts
from prismaudio.training.fast_grpo import FastGrpoTask
from prismaudio.training.grpo.advantages import DecoupledAdvantage, WeightedSumAdvantage
from prismaudio.training.grpo.losses import MaskedLoss
from prismaudio.training.grpo.options import PolicyOptions, RewardOptions, RolloutOptions
from prismaudio.training.grpo.reward_weights import LinearWeight
from prismaudio.training.grpo.weighting import RectifiedWeighting
from prismaudio.training.grpo.windows import AllSteps, RandomWindow, Window
from prismaudio.training.lora import Lora
from prismaudio.types import Clip, ClipBatch, Conditions, Features, LatentBatch

FRAMES = 20


class Held(Autoencoder):
    """Two channels, each held for a few samples."""

    sample_rate_hz, hop, channels = 800, 16, 2

    def encode(self, audio):
        return audio[..., :: self.hop]

    def decode(self, latents):
        return 0.3 * latents.repeat_interleave(self.hop, -1)


class Words(Encoder):
    """Text of a clip: its number."""

    dim, rate_hz = 4, None

    def encode(self, clip, plan):
        return torch.full((2, 4), float(len(plan["semantic"])) / 10)


class Right(Reward):
    """Right louder than left, by the mean."""

    dimension = "spatial"

    def __init__(self, broken: str = "", inapplicable: str = "") -> None:
        self.broken, self.inapplicable = broken, inapplicable
        self.threads: set[str] = set()
        self.rows: list[int] = []

    def prepare(self, clip, plan):
        if clip.id == self.inapplicable:
            raise NotApplicableError("it has a bad day")
        return {"bad": torch.tensor(clip.id == self.broken)}

    def score(self, audio, sample_rate_hz, caches):
        self.threads.add(threading.current_thread().name)
        self.rows.append(len(audio))
        made = audio[:, 1].mean(1) - audio[:, 0].mean(1)
        return torch.where(torch.stack([cache["bad"] for cache in caches]), torch.nan, made)


class Unsteady(Reward):
    """Steadier is better, said the other way round."""

    dimension, higher_is_better = "aesthetic", False

    def score(self, audio, sample_rate_hz, caches):
        return (audio - audio.mean(2, keepdim=True)).square().mean((1, 2))


class Clips(torch.utils.data.Dataset):
    def __init__(self, batch_size=2, durations=(0.4,) * 6):
        self.batch_size, self.durations = batch_size, durations

    def item(self, index):
        return Clip(f"clip {index}", self.durations[index]), Plan({"semantic": "a" * (1 + index)})

    def __getitem__(self, draws):
        return ClipBatch(*zip(*[self.item(draw.clip) for draw in draws], strict=True))

    def loader(self):
        return batch_loader(self, [1] * len(self.durations), self.batch_size, seed=1, shuffle=True)


def network():
    torch.manual_seed(0)
    made = DiffusionTransformer(2, 64, 2, 2, streams(64, text=4), expansion=1)
    for weight in made.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.05)
    return made


def task(rewards=None, **options):
    rewards = {"spatial": Right(), "aesthetic": Unsteady()} if rewards is None else rewards
    defaults = {
        "transformer": network(), "encoders": {"text": Words()}, "autoencoder": Held(), "group_size": 6, "num_steps": 6,
        "optimizer": partial(AdamW, lr=3e-3, weight_decay=1e-4), "sampler": EulerSampler(4), "seed": 3, "cache": None,
    }  # fmt: skip
    return FastGrpoTask(rewards, **grouped({**defaults, **options}))


def grouped(options):
    """Options by the names of their fields, put into the groups that they belong to."""
    groups = {"rollout": RolloutOptions, "policy": PolicyOptions, "scoring": RewardOptions}
    names = {name: {field.name for field in fields(kind)} for name, kind in groups.items()}
    made = {name: kind(**{k: v for k, v in options.items() if k in names[name]}) for name, kind in groups.items()}
    return {k: v for k, v in options.items() if not any(k in known for known in names.values())} | made


def trainer(folder, steps, *callbacks, keep=None, **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    keep = keep or ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
    return Trainer(
        max_steps=steps, default_root_dir=folder, callbacks=[keep, *callbacks], num_sanity_val_steps=0,
        **{**quiet, **options},
    )  # fmt: skip


def fit(folder, steps, made=None, checkpoint=None, callbacks=(), data=None, **options):
    made = made or task()
    run = trainer(folder, steps, *callbacks, **options)
    run.fit(made, (data or Clips()).loader(), ckpt_path=checkpoint)
    return made, run


def logged(folder, steps, made, **options):
    """What every update logs."""
    rows = []

    class Keep(ModelCheckpoint):
        def on_train_batch_end(self, trainer, *_):
            rows.append({name: float(value) for name, value in trainer.callback_metrics.items()})

    fit(folder, steps, made, callbacks=[Keep()], **options)
    return rows


def validated(made, folder):
    loader = torch.utils.data.DataLoader(
        [ClipBatch(*zip(*[Clips().item(i) for i in range(6)], strict=True))], batch_size=None
    )
    return trainer(folder, 1).validate(made, loader, verbose=False)[0]


def test_every_reward_rises_and_the_reference_holds_back(tmp_path):
    free, held = task(kl_coef=1e-9), task(kl_coef=50.0, kl_form="velocity")
    before = validated(free, tmp_path)
    rows = logged(tmp_path / "free", 30, free)
    after = validated(free, tmp_path)
    assert after["val_reward/spatial"] > before["val_reward/spatial"] + 0.05
    assert after["val_reward/aesthetic"] > before["val_reward/aesthetic"]  # turned: higher is better
    held_rows = logged(tmp_path / "held", 30, held)
    assert held_rows[-1]["kl"] < 0.3 * rows[-1]["kl"]


def test_the_first_ratio_is_one_and_every_number_of_an_update_is_logged(tmp_path):
    made = task(kl_coef=0.1, group_size=4)
    (row,) = logged(tmp_path, 1, made)
    assert row["ratio_error"] == 0.0
    assert row["ratio"] == 1.0
    assert row["kl"] == 0.0
    assert row["share/spatial"] + row["share/aesthetic"] == pytest.approx(1)
    assert {"reward", "reward/spatial", "flat_groups/aesthetic", "shift", "above_one", "clip_fraction"} <= row.keys()
    assert {"seconds/rollout", "seconds/rewards", "seconds/training"} <= row.keys()
    assert any(name.startswith("clipped/step_") for name in row)


def test_an_update_logs_what_one_looks_for_in_grpo(tmp_path):
    made = task(kernel=RhoKernel(0.7), window=RandomWindow(2, 0.5, 0.5), max_grad_norm=1e-3)
    kept = {}
    advantages = made._advantages

    def kept_as_well(found, groups, weights):
        kept.update(found, groups=groups)
        return advantages(found, groups, weights)

    made._advantages = kept_as_well
    (row,) = logged(tmp_path, 1, made)
    in_groups = [kept["spatial"][kept["groups"] == group] for group in kept["groups"].unique()]
    assert len(in_groups) == 2
    assert row["reward_std/spatial"] == pytest.approx(
        sum(float(some.std(correction=0)) for some in in_groups) / 2, rel=1e-4
    )
    assert row["reward_std"] > 0
    assert row["grad_norm"] > 1e-3  # before clipping
    clipped = torch.stack([weight.grad.norm() for weight in made.transformer.parameters()]).norm()
    assert float(clipped) == pytest.approx(1e-3, rel=1e-3)
    assert row["learning_rate"] == pytest.approx(3e-3)
    grid = uniform_grid(6)
    stds = RhoKernel(0.7).step(grid[3:5].double(), grid[4:6].double()).std
    expected = torch.distributions.Normal(0.0, stds).entropy().mean()
    assert row["entropy"] == pytest.approx(float(expected), rel=1e-5)


def test_the_weighted_reward_of_validation_can_be_monitored(tmp_path):
    made = task(weights={"spatial": 0.5, "aesthetic": LinearWeight(2.0, 4.0, updates=2)})
    best = ModelCheckpoint(tmp_path, "best", monitor="val_reward", mode="max")
    loader = torch.utils.data.DataLoader([ClipBatch(*zip(Clips().item(0), strict=True))], batch_size=None)
    run = trainer(tmp_path, 1, keep=best, val_check_interval=1)
    run.fit(made, Clips().loader(), loader)
    found = {name: float(value) for name, value in run.callback_metrics.items()}
    assert found["val_reward"] == pytest.approx(0.5 * found["val_reward/spatial"] + 3.0 * found["val_reward/aesthetic"])
    assert float(best.best_model_score) == pytest.approx(found["val_reward"])


def test_options_of_the_trainer_that_the_task_has_itself_are_answered(tmp_path):
    with pytest.raises(RecipeError, match=r"accumulate_grad_batches is 4.*multiply batch_size of the data by 4"):
        fit(tmp_path, 1, accumulate_grad_batches=4)
    with pytest.raises(RecipeError, match=r"gradient_clip_val is 0\.5.*policy.max_grad_norm"):
        fit(tmp_path, 1, gradient_clip_val=0.5)


def test_candidates_are_logged_from_best_to_worst(tmp_path):
    made = task({"spatial": Right()}, group_size=6)
    fit(tmp_path, 3, made, callbacks=[CandidateSamples(every=2, count=3)])
    names = sorted(path.name for path in (tmp_path / "candidates").glob("*.wav"))
    assert names == [f"{rank}-step000000{step}.wav" for rank in (0, 2, 5) for step in (1, 3)]
    texts = [(tmp_path / "candidates" / f"{rank}-step0000003.txt").read_text().splitlines() for rank in (0, 2, 5)]
    assert len({text[0] for text in texts}) == 1  # candidates of one clip
    assert "<Semantic>" in texts[0][1]
    scores = [float(text[-1].removeprefix("rewards: spatial ")) for text in texts]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[2]
    audio, _ = soundfile.read(tmp_path / "candidates" / "0-step0000003.wav")
    assert audio[:, 1].mean() - audio[:, 0].mean() == pytest.approx(scores[0], abs=1e-3)


@pytest.mark.parametrize(("guidance", "each"), [(1.0, 1), (3.0, 2)])
def test_evaluations_are_those_of_the_formula(tmp_path, guidance, each):
    window = RandomWindow(2, earliest=0.5, latest=0.5)
    options = {"window": window, "guidance": guidance, "group_size": 6, "branch_size": 3, "num_steps": 8}
    (row,) = logged(tmp_path / "apart", 1, task(share_first=False, **options))
    assert row["nfe"] == 2 * each * (4 * 2 + 4 * 6 + 2 * 6 * 3)  # before the window, from there on, trained
    (row,) = logged(tmp_path / "shared", 1, task(**options))
    assert row["nfe"] == 2 * each * (5 * 2 + 3 * 6 + (6 + 2) * 3)
    (row,) = logged(tmp_path / "coarse", 1, task(max_tail_steps=1, **options))
    assert row["nfe"] == 2 * each * (5 * 2 + 2 * 6 + (6 + 2) * 3)


def test_several_inner_epochs_move_the_ratio_and_the_masked_loss_holds(tmp_path):
    rows = logged(
        tmp_path,
        4,
        task(num_inner_epochs=2, loss=MaskedLoss(1e-7), kernel=RhoKernel(1.0), advantage=DecoupledAdvantage()),
    )
    assert [row["ratio_error"] for row in rows[:2]] == [0.0, 0.0]  # of the first pass
    assert len(rows) == 2
    assert all(row["shift"] > 0 for row in rows)  # of all passes


def test_in_half_precision_the_second_pass_sees_what_the_first_one_learnt(tmp_path):
    (row,) = logged(tmp_path, 1, task(num_inner_epochs=2), precision="bf16-mixed")
    assert row["ratio_error"] == 0.0
    assert row["shift"] > 0


class Exact(Right):
    """Fails under autocast."""

    def prepare(self, clip, plan):
        assert not torch.is_autocast_enabled("cpu")
        return super().prepare(clip, plan)

    def score(self, audio, sample_rate_hz, caches):
        assert not torch.is_autocast_enabled("cpu")
        return super().score(audio, sample_rate_hz, caches)


def test_a_plain_function_is_a_reward(tmp_path):
    seen = set()

    def right(audio, sample_rate_hz, clip, plan):
        seen.add((clip.id, plan["semantic"]))
        return audio[1].square().mean() - audio[0].square().mean()

    rewards = {"right": FunctionReward(right, {"plan"}), "level": FunctionReward(lambda a, _: a.abs().mean())}
    (row,) = logged(tmp_path, 1, task(rewards))
    assert {"reward/right", "reward/level"} <= row.keys()
    assert seen
    assert seen <= {(f"clip {index}", "a" * (1 + index)) for index in range(6)}


def test_rewards_score_in_full_precision(tmp_path):
    made = task({"spatial": Exact()}, held_out={"other": Exact()})
    one = torch.utils.data.DataLoader([ClipBatch(*zip(Clips().item(0), strict=True))], batch_size=None)
    trainer(tmp_path, 1, precision="bf16-mixed", val_check_interval=1).fit(made, Clips().loader(), one)


def test_steps_weigh_what_they_do_in_the_whole_trajectory(tmp_path):
    grids = []

    class Asked(RectifiedWeighting):
        def weights(self, kernel, grid, window):
            grids.append(grid)
            return super().weights(kernel, grid, window)

    fit(tmp_path, 1, task(max_tail_steps=1, weighting=Asked(), window=RandomWindow(2, latest=0.0)))
    assert all(torch.equal(grid, uniform_grid(6)) for grid in grids)


def test_how_clips_are_put_together():
    prompts = Prompts(list("abcd"), [20, 10, 16, 20], [0.4, 0.2, 0.3, 0.4], Conditions(), [{}] * 4)
    windows = [Window(0, 2)] * 4
    assert prompts.batches(windows, None, 1.0) == [[0, 3, 2, 1]]
    assert prompts.batches(windows, None, 0.0) == [[0, 3], [2], [1]]
    assert prompts.batches(windows, None, 0.25) == [[0, 3, 2], [1]]
    assert prompts.batches(windows, 2, 1.0) == [[0, 3], [2, 1]]
    assert prompts.batches([*windows[:3], Window(1, 2)], None, 1.0) == [[3], [0, 2, 1]]


def test_what_was_not_scored_leaves_the_spread_of_the_others_alone():
    made = task({"spatial": Right()}, advantage=WeightedSumAdvantage("batch"))
    made._trainer = SimpleNamespace(world_size=1, global_rank=0)
    rewards = {"spatial": torch.tensor([50.0, 52.0, torch.nan, torch.nan])}
    found = made._advantages(rewards, torch.tensor([0, 0, 1, 1]), {"spatial": 1.0})
    torch.testing.assert_close(found, torch.tensor([-1.0, 1.0, 0.0, 0.0]) * 2**0.5, atol=1e-3, rtol=0)


def test_only_the_best_and_the_worst_are_replayed(tmp_path):
    whole, some = (logged(tmp_path / str(n), 1, task(group_size=8, train_top_k=n))[0] for n in (8, 2))
    assert some["nfe"] == whole["nfe"] - 2 * 1 * 3 * 6  # two clips, one step that is not shared, three each, six fewer
    assert some["reward/spatial"] == whole["reward/spatial"]


def test_chunks_of_rows_give_the_same_update(tmp_path):
    whole, _ = fit(tmp_path / "whole", 2)
    chunked, _ = fit(tmp_path / "chunked", 2, task(train_micro_batch_size=4))
    together, _ = fit(tmp_path / "together", 2, task(rollout_batch_size=2))
    apart, _ = fit(tmp_path / "apart", 2, task(share_first=False))
    for name, weight in whole.transformer.state_dict().items():
        for other in (chunked, together, apart):  # AdamW makes a whole step of rounding in a gradient near zero
            difference = (other.transformer.state_dict()[name] - weight).abs().max()
            assert difference < 2e-5 + 1e-3 * weight.abs().max(), name


def sampled_by(made, monkeypatch):
    """What the task samples, decodes and scores: latents and audio by clip and number, and the calls of its network."""
    found, calls = {}, []
    submit, forward = made.candidate_scorer.submit, made.transformer.forward

    def submitted(audio, rate_hz, ids, caches):
        found[ids[0], len([name for name, *_ in found if name == ids[0]])] = audio
        return submit(audio, rate_hz, ids, caches)

    def called(latents, times, conditions, mask=None):
        calls.append((len(latents), mask is not None))
        return forward(latents, times, conditions, mask)

    monkeypatch.setattr(made.candidate_scorer, "submit", submitted)
    monkeypatch.setattr(made.transformer, "forward", called)
    return found, calls


@pytest.mark.parametrize(
    ("guidance", "interval", "tail"), [(1.0, (0.0, 1.0), None), (3.0, (0.0, 1.0), 1), (3.0, (0.3, 0.8), 1)]
)
def test_all_clips_together_give_what_each_gives_alone(tmp_path, monkeypatch, guidance, interval, tail):
    data = Clips(durations=(0.4, 0.2, 0.4, 0.3, 0.2, 0.4), batch_size=6)
    options = {
        "guidance": guidance, "guidance_interval": interval, "max_tail_steps": tail, "branch_size": 3,
        "num_steps": 8, "kl_coef": 0.1, "lora": Lora(rank=2), "train_micro_batch_size": 100,
    }  # fmt: skip
    rows, audio, calls, weights = {}, {}, {}, {}
    for name, size, padding in (("alone", 1, 0.0), ("equal", 6, 0.0), ("padded", 6, 1.0), ("two", 2, 0.5)):
        made = task({"spatial": Right()}, rollout_batch_size=size, **options)
        monkeypatch.setattr(FastGrpoTask, "_max_padding", padding)
        audio[name], calls[name] = sampled_by(made, monkeypatch)
        (rows[name],) = logged(tmp_path / name, 1, made, data=data)
        weights[name] = [weight.detach() for weight in made.transformer.parameters() if weight.requires_grad]
    assert len(audio["alone"]) == 6
    for name in ("equal", "padded", "two"):
        assert audio[name].keys() == audio["alone"].keys()
        for key, expected in audio["alone"].items():  # as long as its clip, without padding
            torch.testing.assert_close(audio[name][key], expected, rtol=0, atol=1e-6)
        assert rows[name]["nfe"] >= rows["alone"]["nfe"]  # rows outside of the interval are guided beside those inside
        counts = ["nfe", "nfe/rollout", "nfe/training"] if interval == (0.0, 1.0) else []
        for key in (*counts, "reward/spatial", "shift", "ratio"):
            assert rows[name][key] == pytest.approx(rows["alone"][key], abs=1e-5), key
        for mine, theirs in zip(weights[name], weights["alone"], strict=True):
            assert (mine - theirs).abs().max() < 2e-5 + 1e-3 * theirs.abs().max()
    assert len(calls["padded"]) < len(calls["equal"]) < len(calls["alone"])
    assert {masked for _, masked in calls["equal"]} == {False}
    assert {masked for _, masked in calls["padded"]} == {True}
    assert rows["padded"]["forwards/rollout"] + rows["padded"]["forwards/training"] == len(calls["padded"])
    assert rows["padded"]["forwards/training"] == 2 * 2  # two steps, each with and without adapters
    assert max(n for n, _ in calls["padded"]) == 36 * (1 if guidance == 1 else 2)


def test_on_a_cpu_clips_of_several_lengths_are_not_padded(tmp_path, monkeypatch):
    data = Clips(durations=(0.4, 0.2, 0.4, 0.3, 0.2, 0.4), batch_size=3)
    reward = Right()
    made = task({"spatial": reward}, window=AllSteps(), branch_size=1, rollout_batch_size=3)
    _, calls = sampled_by(made, monkeypatch)
    fit(tmp_path, 2, made, data=data)
    assert sum(reward.rows) == 2 * 3 * 6
    assert not any(masked for _, masked in calls)


@pytest.mark.parametrize("size", [None, 4])
def test_the_first_replay_is_exact_in_micro_batches(tmp_path, size):
    options = {"train_micro_batch_size": size, "group_size": 8, "branch_size": 4, "rollout_batch_size": 2}
    (row,) = logged(tmp_path, 1, task(window=AllSteps(), **options))
    assert row["ratio_error"] == 0.0


def state(path):
    return torch.load(path, weights_only=True)


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_a_resumed_run_gives_the_numbers_of_one_that_was_not_stopped(tmp_path):
    def make():
        return task(kl_coef=0.01, weights={"spatial": LinearWeight(0.0, 1.0, updates=5)})

    average = {"callbacks": [ExponentialMovingAverage(0.5)]}
    fit(tmp_path / "whole", 7, make(), **average)
    whole = state(tmp_path / "whole" / "step=7.ckpt")
    for stop in (1, 3, 5):  # of three batches an epoch
        torch.rand(stop)
        fit(tmp_path / f"from {stop}", 7, make(), tmp_path / "whole" / f"step={stop}.ckpt", **average)
        resumed = state(tmp_path / f"from {stop}" / "step=7.ckpt")
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step"):
            torch.testing.assert_close(resumed[part], whole[part], rtol=0, atol=0, msg=f"{part} from step {stop}")


class Drifting(Reward):
    """So much more with every update."""

    def __init__(self, slope):
        self.slope = slope

    def score(self, audio, sample_rate_hz, caches):
        return torch.full((len(audio),), self.slope * self.followed.global_step)


RECIPES = Path(prismaudio.__file__).parent / "recipes" / "fast_grpo"


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_checkpoints_of_the_recipes_know_what_the_validation_of_their_step_changed(tmp_path):
    names = ("paper", "release", "recommended", "flow_grpo", "mix_grpo")
    recipes = [yaml.safe_load((RECIPES / f"{name}.yaml").read_text())["trainer"] for name in names]
    kept = [c["init_args"] for r in recipes for c in r["callbacks"] if c["class_path"].endswith("ModelCheckpoint")]
    assert kept == kept[:1] * len(names)
    one = torch.utils.data.DataLoader([ClipBatch(*zip(Clips().item(0), strict=True))], batch_size=None)

    def trained(folder, checkpoint=None):
        up, down = Drifting(1.0), Drifting(-1.0)
        made = task({"spatial": Right(), "up": up}, held_out={"down": down}, kl_coef=0.5)
        up.followed = down.followed = made
        callbacks = PolicyAverage(0.9, 1), HeldOutGuard(0.1, 1, raise_kl=5.0)
        keep = ModelCheckpoint(folder, **kept[0])
        run = trainer(folder, 12, *callbacks, keep=keep, val_check_interval=5, check_val_every_n_epoch=None)
        run.fit(made, Clips().loader(), one, ckpt_path=checkpoint)
        assert made.kl_coef == 2.5
        return made.state_dict()

    whole = trained(tmp_path / "whole")
    for path in sorted((tmp_path / "whole").glob("step*.ckpt")):
        torch.testing.assert_close(trained(tmp_path / path.stem, path), whole, rtol=0, atol=0, msg=path.name)
    assert (tmp_path / "step=10").is_dir()


KILLED = """
import sys, torch
torch.set_num_threads(1)
sys.path[:0] = [{folder!r}, {support!r}]
import test_fast_grpo as t
from pathlib import Path
t.fit(Path({out!r}), 200)
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path):
    folder, out = str(Path(__file__).parent), tmp_path / "killed"
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            KILLED.format(folder=folder, support=str(Path(folder).parent / "support"), out=str(out)),
        ],
        env=os.environ,
    )
    try:
        deadline = time.monotonic() + 120
        while len(list(out.glob("step=*.ckpt"))) < 4:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    complete = sorted((int(path.stem[5:]), path) for path in out.glob("step=*.ckpt"))[:-1]  # the last may be torn
    stop, path = complete[-1]
    fit(tmp_path / "again", stop + 2, checkpoint=path)
    fit(tmp_path / "whole", stop + 2)
    again, whole = (state(tmp_path / name / f"step={stop + 2}.ckpt") for name in ("again", "whole"))
    for part in ("state_dict", "optimizer_states"):
        torch.testing.assert_close(again[part], whole[part], rtol=0, atol=0)


def test_rewards_score_in_their_worker(tmp_path):
    reward = Right()
    fit(tmp_path, 1, task({"spatial": reward}))
    assert all(name.startswith("rewards") for name in reward.threads)


def test_a_score_that_is_not_finite_stops_the_run_with_the_clip(tmp_path):
    with pytest.raises(PrismAudioError, match=r"spatial is nan for a candidate of clip clip 4 \(row"):
        fit(tmp_path, 3, task({"spatial": Right(broken="clip 4")}))


def test_a_clip_that_a_reward_cannot_score_is_logged_and_has_no_gradient(tmp_path, caplog):
    data = Clips(durations=(0.4,), batch_size=1)
    made = task({"spatial": Right(inapplicable="clip 0")})
    before = copy.deepcopy(made.transformer.state_dict())
    fit(tmp_path, 2, made, data=data)
    assert "spatial cannot score clip clip 0: it has a bad day" in caplog.text
    assert all(
        torch.equal(weight, before[name]) for name, weight in made.transformer.state_dict().items() if weight.ndim < 2
    )


def test_adapters_learn_and_their_reference_is_the_model_without_them(tmp_path):
    made, run = fit(tmp_path, 3, task(lora=Lora(rank=4), kl_coef=0.1))
    assert made.reference is not None
    assert made.reference._copy is None
    assert float(run.callback_metrics["kl"]) > 0
    assert all("lora" in name for name, weight in made.transformer.named_parameters() if weight.requires_grad)
    more = task(lora=Lora(rank=4, conditioners=True), kl_coef=0.1)
    assert more.reference is not None
    assert more.reference._copy is not None  # without adapters it would still have other conditioners


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weights": {"loudness": 1.0}}, "weights name loudness, but rewards are aesthetic, spatial"),
        ({"rewards": {}}, "at least one reward"),
        ({"group_size": 1}, "group_size is 1; expected 2 or more"),
        ({"group_size": 6, "branch_size": 4}, "branch_size 4 does not divide group_size 6"),
        ({"train_top_k": 9}, "train_top_k is 9; expected group_size 6 or less"),
        ({"num_inner_epochs": 0}, "num_inner_epochs is 0; expected 1 or more"),
        ({"kl_coef": -1.0}, "kl_coef is -1.0; expected 0 or more"),
        ({"num_steps": 2}, "too few for a window of 2"),
        ({"lora": Lora(dropout=0.1)}, "dropout must be 0"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(options, said):
    with pytest.raises((RecipeError, PrismAudioError), match=said):
        task(**options)


def test_every_kind_of_dropout_is_refused():
    unsteady = network()
    unsteady.blocks.append(torch.nn.AlphaDropout(0.1))
    with pytest.raises(RecipeError, match=r"dropout must be 0.* blocks\.2 has dropout"):
        task(transformer=unsteady)


def test_a_network_that_is_not_deterministic_is_reported(tmp_path, caplog):
    unsteady = network()
    unsteady.project_in.register_forward_hook(lambda layer, given, made: torch.dropout(made, 0.1, True))
    fit(tmp_path, 2, task(transformer=unsteady))
    assert caplog.text.count("of update 0 differs from 1 by") == 1
    assert "of update 1" not in caplog.text


def test_features_alone_are_refused(tmp_path):
    text = Features(torch.zeros(1, 2, 4), torch.ones(1, 2, dtype=torch.bool))
    batch = LatentBatch(["a"], torch.zeros(1, 2, 5), torch.ones(1, 5, dtype=torch.bool), Conditions(text=text))
    with pytest.raises(DataError, match="set prompts of ManifestDataModule"):
        trainer(tmp_path, 1).fit(task(), torch.utils.data.DataLoader([batch], batch_size=None))
    with pytest.raises(DataError, match="set prompts of ManifestDataModule"):
        trainer(tmp_path, 1).validate(task(), torch.utils.data.DataLoader([batch], batch_size=None))


@pytest.mark.parametrize(
    ("options", "precision", "said"),
    [
        ({}, "16-mixed", "expected bf16-mixed"),
        ({"split_groups": True, "branch_size": 3, "train_top_k": 3}, "32-true", "train_top_k 3 cannot be split"),
        ({"split_groups": True, "branch_size": 2}, "32-true", "branches of 2 cannot be split over 2"),
    ],
)
def test_a_trainer_that_does_not_suit_is_refused(options, precision, said):
    made = task(**options)
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    made._trainer = SimpleNamespace(precision=precision, world_size=2, strategy=strategy)
    with pytest.raises(RecipeError, match=said):
        made.setup("fit")


class Falling(Reward):
    """Its value falls with each call."""

    def __init__(self) -> None:
        self.value = 0.0

    def score(self, audio, sample_rate_hz, caches):
        self.value -= 1
        return torch.full((len(audio),), self.value)


class Rising(Falling):
    def score(self, audio, sample_rate_hz, caches):
        return -super().score(audio, sample_rate_hz, caches) + 0 * audio[:, 0, 0]


def guarded(folder, guard, **options):
    never = Right(inapplicable="clip 0")  # which must not be in the way
    made = task({"spatial": Rising(), "never": never}, held_out={"quality": Falling()}, **options)
    run = trainer(folder, 6, guard, val_check_interval=1, check_val_every_n_epoch=None)
    one = torch.utils.data.DataLoader([ClipBatch(*zip(Clips().item(0), strict=True))], batch_size=None)
    run.fit(made, Clips().loader(), one)
    return made, run


def test_the_guard_stops_when_what_is_held_out_falls(tmp_path):
    _, run = guarded(tmp_path, HeldOutGuard(0.1, patience=2))
    assert run.global_step == 3  # the first validation has nothing to fall from


def test_the_guard_holds_on_to_the_beginning_instead(tmp_path):
    made, run = guarded(tmp_path, HeldOutGuard(0.1, patience=2, raise_kl=3.0), kl_coef=0.01)
    assert run.global_step == 6
    assert made.kl_coef == pytest.approx(0.09)


def test_the_guard_needs_something_to_watch(tmp_path):
    with pytest.raises(RecipeError, match="nothing to watch"):
        fit(tmp_path, 1, callbacks=[HeldOutGuard()])
    with pytest.raises(RecipeError, match="raise_kl needs a kl_coef above 0"):
        fit(tmp_path, 1, callbacks=[HeldOutGuard(watch=["x"], raise_kl=2.0)])


def test_captions_of_listening_samples_state_the_rewards(tmp_path):
    run = trainer(tmp_path, 1, ListeningSamples(1), val_check_interval=1, check_val_every_n_epoch=None)
    one = torch.utils.data.DataLoader([ClipBatch(*zip(Clips().item(0), strict=True))], batch_size=None)
    made = task()
    before = validated(made, tmp_path)  # which must not be in the way of what fit validates
    run.fit(made, Clips().loader(), one)
    assert run.callback_metrics["val_reward/spatial"] != before["val_reward/spatial"]
    (text,) = tmp_path.rglob("rendered*.txt")
    assert "rewards: spatial " in text.read_text()


class Loud(Held):
    def decode(self, latents):
        return 100 * super().decode(latents)


def test_what_would_be_too_loud_to_play_is_lowered_for_listening():
    batch = ClipBatch(*zip(Clips().item(0), strict=True))
    ((_, _, made, _),) = task(autoencoder=Loud()).listening_samples(batch, 1)
    assert float(made.abs().max()) == pytest.approx(PEAK)


def test_what_is_exported_samples_with_the_guidance_of_training():
    made = task(guidance=2.0, guidance_interval=(0.2, 0.9))
    assert "settings" not in made.components()
    made._given["settings"] = Settings(segment_s=2.0, guidance=4.0, rescale=0.3, guidance_interval=(0.4, 1.0))
    settings = made.components()["settings"]
    assert settings.guidance == Guidance(2.0, 0.0, (0.2, 0.9))
    assert settings.segment_s == 2.0
