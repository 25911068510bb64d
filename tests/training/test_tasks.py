"""The stages on a handful of clips: what they learn and what they leave behind."""

from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from stages import check_learning, trainer
from streams import streams
from torch.optim import AdamW

from prismaudio.autoencoders.oobleck import OobleckAutoencoder
from prismaudio.builtin import CORE_DIMENSIONS
from prismaudio.checkpoints import load_components
from prismaudio.data.synthetic import SyntheticClips, SyntheticDataModule
from prismaudio.encoders.base import Encoder
from prismaudio.encoders.brightness import BrightnessEncoder
from prismaudio.errors import CheckpointError, DataError, NotApplicableError, RecipeError
from prismaudio.metrics.onset import OnsetF1
from prismaudio.metrics.plans import PlanReference, PlanScore
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.plan import Plan
from prismaudio.planners.flash import FlashPlanner
from prismaudio.samplers.euler import EulerSampler
from prismaudio.training.callbacks.ema import ExponentialMovingAverage
from prismaudio.training.callbacks.export import ExportComponents
from prismaudio.training.cot_tuning import CotTuningTask
from prismaudio.training.draws import draw
from prismaudio.training.foundation import FoundationTask
from prismaudio.training.schedule import CosineWithWarmup
from prismaudio.types import Clip, ClipBatch, Conditions, Features, LatentBatch


@pytest.fixture(scope="module")
def data() -> SyntheticDataModule:
    return SyntheticDataModule(32, 4, batch_size=8)


class Words(Encoder):
    """Each word of a plan as its length."""

    dim, rate_hz = 5, None

    def encode(self, clip: Clip, plan: Plan) -> torch.Tensor:
        lengths = [len(word) for text in plan.values() for word in text.split()]
        return torch.tensor(lengths, dtype=torch.float32)[:, None].expand(-1, self.dim) / 10


def foundation(**options: object) -> FoundationTask:
    torch.manual_seed(0)
    codec = OobleckAutoencoder(4, (1, 2, 4), (4, 8, 8), latent_channels=8, sample_rate_hz=16_000)
    encoders = options.pop("encoders", {"video": BrightnessEncoder(), "text": Words()})
    network = DiffusionTransformer(8, 32, 1, 1, streams(32, ["text"], video=4, text=Words.dim), sigma_data=0.5)
    defaults = {"lr_scheduler": partial(CosineWithWarmup, warmup_steps=2)}
    return FoundationTask(transformer=network, encoders=encoders, autoencoder=codec, **{**defaults, **options})


def first_batch(data: SyntheticDataModule) -> ClipBatch:
    return next(iter(data.val_dataloader()))  # type: ignore[return-value]


def test_what_is_trained_is_exported_beside_what_is_there(data: SyntheticDataModule, tmp_path: Path) -> None:
    task = foundation(encoders={"video": BrightnessEncoder()})
    trainer(tmp_path, max_steps=1, callbacks=[ExportComponents(str(tmp_path / "model"))]).fit(task, data)
    before = set(load_components(tmp_path / "model"))
    planner = CotTuningTask(FlashPlanner())
    export = ExportComponents(str(tmp_path / "model"), half=["planner"])
    trainer(tmp_path, max_steps=1, callbacks=[export]).fit(planner, data)
    model = load_components(tmp_path / "model")
    assert set(model) == {*before, "planner"}
    for name, weight in model["transformer"].state_dict().items():
        torch.testing.assert_close(weight, task.transformer.state_dict()[name])


def test_an_export_that_cannot_be_written_is_refused_before_training(data: SyntheticDataModule, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    task = CotTuningTask(FlashPlanner())
    run = trainer(tmp_path, max_steps=1, callbacks=[ExportComponents(str(tmp_path / "model"))])
    with pytest.raises(CheckpointError, match="damaged or not a PrismAudio checkpoint"):
        run.fit(task, data)
    assert run.global_step == 0


def test_the_planner_learns(data: SyntheticDataModule, tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = CotTuningTask(
        FlashPlanner(), partial(AdamW, lr=0.1, betas=(0.9, 0.98)), partial(CosineWithWarmup, warmup_steps=2)
    )
    check_learning(trainer(tmp_path, max_steps=32), task, data, 0.93)


def test_validation_writes_the_plans_of_the_first_clips(data: SyntheticDataModule, tmp_path: Path) -> None:
    task = CotTuningTask(FlashPlanner(), num_written=3)
    run = trainer(tmp_path, max_steps=2, val_check_interval=1, num_sanity_val_steps=1)
    run.fit(task, data)
    text = (tmp_path / "plans" / "step0000002.md").read_text()
    assert [line for line in text.splitlines() if line.startswith("**")] == [f"**click-0-{n}**" for n in (32, 33, 34)]
    assert text.count("- `<Temporal>` ") == text.count("    - reference: The click sounds at ") == 3
    assert 0 <= run.callback_metrics["val_plan/validity_rate"] <= 1
    assert run.callback_metrics["val_event_f1"] == run.callback_metrics["val_plan/event_f1_50ms"]
    clips, plans = zip(*(SyntheticClips(32, 4, 2.0, 8.0, 16, 16_000).clip(n) for n in range(3)), strict=True)
    score = PlanScore()
    written = [task.planner.plan(clip, CORE_DIMENSIONS) for clip in clips]
    score.update(written, [PlanReference.from_story(plan.story, 2.0) for plan in plans])
    assert run.callback_metrics["val_event_f1"] == pytest.approx(score.as_dict()["event_f1_50ms"])


def test_the_flow_learns(data: SyntheticDataModule, tmp_path: Path) -> None:
    check_learning(
        trainer(tmp_path, max_epochs=6), foundation(optimizer=partial(AdamW, lr=4e-3, betas=(0.9, 0.98))), data, 0.8
    )


def state_at_the_end(data: SyntheticDataModule, folder: Path, steps: int, checkpoint: Path | None = None) -> dict:
    keep = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
    options = {"max_steps": steps, "callbacks": [ExponentialMovingAverage(0.5), keep], "enable_checkpointing": True}
    torch.rand(7 if checkpoint else 1)  # what happened before must not matter
    trainer(folder, **options).fit(
        foundation(optimizer=partial(AdamW, lr=4e-3, betas=(0.9, 0.98))), data, ckpt_path=checkpoint
    )
    return torch.load(folder / f"step={steps}.ckpt", weights_only=True)


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_a_resumed_run_gives_the_numbers_of_one_that_was_not_stopped(data: SyntheticDataModule, tmp_path: Path) -> None:
    whole = state_at_the_end(data, tmp_path / "whole", 9)  # of 4 steps an epoch
    assert any(key.startswith("average.") for key in whole["state_dict"])
    for stop in (1, 4, 6):
        resumed = state_at_the_end(data, tmp_path / f"from{stop}", 9, tmp_path / "whole" / f"step={stop}.ckpt")
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step"):
            torch.testing.assert_close(resumed[part], whole[part], rtol=0, atol=0, msg=f"{part} from step {stop}")


def test_metrics_receive_the_plans(data: SyntheticDataModule, tmp_path: Path) -> None:
    task = foundation(metrics={"onsets": OnsetF1()}, sampler=EulerSampler(2))
    assert 0 <= trainer(tmp_path).validate(task, data, verbose=False)[0]["val_onsets"] <= 1


def perturbed(task: FoundationTask, told: Conditions, ids: list[str], step: int = 0) -> Conditions:
    latents, mask = torch.zeros(len(ids), 2, 3), torch.ones(len(ids), 3, dtype=torch.bool)
    return task._perturbed(told, draw(ids, task.seed, step, latents, mask.sum(1).tolist(), task._times, told))


def test_streams_are_dropped_alone_and_together_and_video_is_swapped(data: SyntheticDataModule) -> None:
    batch = first_batch(data)
    ids = [clip.id for clip in batch.clips]
    task = foundation(drop_all=0.0, drop_each=0.0, swap_video=0.0)
    told = task.clips.conditions(batch.clips, batch.plans)
    for name, stream in perturbed(task, told, ids).items():
        torch.testing.assert_close(stream.values, told[name].values)
    everything = perturbed(foundation(drop_all=1.0), told, ids)
    assert not any(stream.mask.any() for stream in everything.values())
    swapped = perturbed(foundation(drop_all=0.0, drop_each=0.0, swap_video=1.0), told, ids)
    torch.testing.assert_close(swapped["video"].values, told["video"].values.roll(-1, 0))
    torch.testing.assert_close(swapped["text"].values, told["text"].values)  # type: ignore[union-attr]
    silent = Conditions({**told, "text": Features(told["text"].values, torch.zeros_like(told["text"].mask))})  # type: ignore[union-attr]
    silent["text"].mask[0] = True  # type: ignore[union-attr]
    kept = perturbed(foundation(drop_all=0.0, drop_each=0.0, swap_video=1.0), silent, ids)["video"].values
    torch.testing.assert_close(kept[0], told["video"].values[1])
    torch.testing.assert_close(kept[1:], told["video"].values[1:])


def test_as_many_samples_lose_everything_as_should() -> None:
    count = 4000
    ids = [str(i) for i in range(count)]
    told = Conditions(video=Features(torch.ones(count, 1, 1), torch.ones(count, 1, dtype=torch.bool)))
    told = Conditions(video=told["video"], text=told["video"], sync=told["video"])
    lost = perturbed(foundation(drop_all=0.1, drop_each=0.2, swap_video=0.0), told, ids)
    gone = torch.stack([~stream.mask[:, 0] for stream in (lost["video"], lost["sync"], lost["text"])])  # type: ignore[union-attr]
    assert gone.all(0).float().mean() == pytest.approx(0.1 + 0.9 * 0.2**3, abs=0.02)  # the unconditional branch
    assert gone[0].float().mean() == pytest.approx(0.1 + 0.9 * 0.2, abs=0.02)
    alone = gone[0] & ~gone[1] & ~gone[2]
    assert alone.float().mean() == pytest.approx(0.9 * 0.2 * 0.8**2, abs=0.02)


def test_what_is_drawn_for_a_sample_depends_on_its_name_and_the_step_alone() -> None:
    task = foundation(time_sampler="truncated_logit_normal")
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]).bool()
    both = draw(["a", "b"], 0, 5, torch.zeros(2, 3, 4), mask.sum(1).tolist(), task._times, ["text"])
    alone = draw(["a"], 0, 5, torch.zeros(1, 3, 3), [3], task._times, ["text"])
    assert torch.equal(both.noise[0, :, :3], alone.noise[0])
    assert not both.noise[0, :, 3].any()
    assert torch.equal(both.times[:1], alone.times)
    assert torch.equal(both.drop_each["text"][:1], alone.drop_each["text"])
    assert not torch.equal(
        both.times, draw(["a", "b"], 0, 6, torch.zeros(2, 3, 4), mask.sum(1).tolist(), task._times).times
    )


def test_another_stream_changes_no_other_draw() -> None:
    task, mask = foundation(), torch.ones(2, 4, dtype=torch.bool)
    one, two = (
        draw(["a", "b"], 0, 5, torch.zeros(2, 3, 4), mask.sum(1).tolist(), task._times, names)
        for names in (["text"], ["flow", "text"])
    )
    for name in ("noise", "times", "swap", "drop_all"):
        assert torch.equal(getattr(one, name), getattr(two, name)), name
    assert torch.equal(one.drop_each["text"], two.drop_each["text"])
    assert not torch.equal(two.drop_each["flow"], two.drop_each["text"])


def precomputed(lengths: list[int], frames: int, channels: int, *, text: bool = True) -> LatentBatch:
    mask = torch.arange(frames)[None] < torch.tensor(lengths)[:, None]
    source = torch.Generator().manual_seed(0)
    latents = torch.randn(len(lengths), channels, 64, generator=source)[..., :frames] * mask[:, None]
    words = Features.pad([torch.randn(3 + i, Words.dim, generator=source) for i in range(len(lengths))])
    return LatentBatch([f"clip {i}" for i in lengths], latents, mask, Conditions(text=words if text else None))


class Precomputed(torch.utils.data.IterableDataset):
    def __init__(self, batch: LatentBatch) -> None:
        self.batch = batch

    def __iter__(self):
        return iter([self.batch] * 2)


def test_precomputed_latents_train_and_padding_changes_nothing(tmp_path: Path) -> None:
    losses = []
    for frames in (12, 20):
        task = foundation()
        batch = precomputed([12, 7], frames, task.transformer.latent_channels)
        loader = torch.utils.data.DataLoader(Precomputed(batch), batch_size=None)
        run = trainer(tmp_path, max_steps=2)
        run.fit(task, loader, loader)
        losses.append((run.callback_metrics["train_loss"], run.callback_metrics["val_loss"]))
    torch.testing.assert_close(losses[0], losses[1], rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("text", [True, False])
def test_every_parameter_has_a_gradient_whatever_is_missing(text) -> None:
    task = foundation(drop_all=1.0)
    ready = task._prepared(precomputed([12], 12, task.transformer.latent_channels, text=text))
    draws = draw(ready.ids, 0, 0, ready.latents, ready.mask.sum(1).tolist(), task._times)
    task._loss(ready, draws.noise, draws.times, task._perturbed(ready.conditions, draws))[0].backward()
    assert all(weight.grad is not None for weight in task.transformer.parameters())  # so that processes can average


def test_the_loss_is_the_mean_over_real_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    task = foundation()
    batch = precomputed([8, 2], 8, task.transformer.latent_channels)
    monkeypatch.setattr(task.transformer, "forward", lambda latents, *_: torch.zeros_like(latents))
    noise = batch.latents + 2.0 * torch.tensor([1.0, 0.0])[:, None, None] + 100.0 * ~batch.mask[:, None]
    error, real = task._loss(task._prepared(batch), noise, torch.zeros(2), batch.conditions)
    assert float(error / real) == pytest.approx(4.0 * 8 / 10)


def test_clips_are_encoded_once(data: SyntheticDataModule, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, task = first_batch(data), foundation()
    first = task.clips.latents(batch.clips)
    monkeypatch.setattr(task.autoencoder, "encode", None)
    torch.testing.assert_close(task.clips.latents(batch.clips), first)


def test_weights_are_not_trained_in_half_precision(tmp_path: Path) -> None:
    task = foundation()
    task.trainer = trainer(tmp_path, precision="bf16-true")
    with pytest.raises(RecipeError, match="bf16-true is not for training"):
        task.setup("fit")


def test_a_clip_without_sound_is_not_left_out_of_its_batch() -> None:
    with pytest.raises(DataError, match="clip mute has no audio"):
        foundation().clips.latents([Clip("mute", 1.0)])


def test_gradient_checkpointing_changes_nothing(tmp_path: Path) -> None:
    made = []
    for checkpointing in (False, True):
        task = foundation(gradient_checkpointing=checkpointing)
        batch = precomputed([12], 12, task.transformer.latent_channels)
        trainer(tmp_path, max_steps=2).fit(task, torch.utils.data.DataLoader(Precomputed(batch), batch_size=None))
        made.append(list(task.transformer.parameters()))
    torch.testing.assert_close(made[0], made[1])


def test_a_task_without_a_network_reports_what_to_set() -> None:
    with pytest.raises(CheckpointError, match="no transformer"):
        FoundationTask()


class Unstated(OnsetF1):
    """Needs times that no plan states."""

    def observe(self, audio, sample_rate_hz, target):
        raise NotApplicableError("the plan states no times")


def test_a_metric_that_is_nan_says_why_once(data: SyntheticDataModule, tmp_path: Path, caplog) -> None:
    task = foundation(metrics={"told": OnsetF1(), "untold": Unstated()}, sampler=EulerSampler(2))
    run = trainer(tmp_path, max_steps=2, val_check_interval=1, num_sanity_val_steps=0)
    run.fit(task, data)
    assert run.callback_metrics["val_untold"].isnan()
    assert not run.callback_metrics["val_told"].isnan()
    messages = [message for message in caplog.messages if "is NaN" in message]
    assert messages == ["val_untold is NaN, because no clip was measured (clip click-0-35: the plan states no times)"]


def test_metrics_without_clips_are_answered_once(tmp_path: Path, caplog) -> None:
    task = foundation(metrics={"onset": OnsetF1()}, encoders={"text": Words()})
    source = torch.Generator().manual_seed(0)
    mask = torch.ones(2, 4, dtype=torch.bool)
    text = Features.pad([torch.randn(3, Words.dim, generator=source) for _ in range(2)])
    batch = LatentBatch(["a", "b"], torch.randn(2, 8, 4, generator=source), mask, Conditions(text=text))
    loader = torch.utils.data.DataLoader([batch] * 2, batch_size=None)
    trainer(tmp_path, max_steps=2, val_check_interval=1).fit(task, loader, loader)
    assert [message[:36] for message in caplog.messages if "not computed" in message] == [
        "metrics (onset) are not computed, be"
    ]


class Terse(FlashPlanner):
    """Writes what it is asked, without times."""

    def plan_batch(self, clips, dimensions):
        return [Plan({dimension.name: "Rain." for dimension in dimensions}) for _ in clips]


def test_plans_without_times_are_answered_once(data: SyntheticDataModule, tmp_path: Path, caplog) -> None:
    batch = next(iter(data.val_dataloader()))
    timeless = ClipBatch(batch.clips, [Plan({"semantic": "Rain."})] * len(batch.clips))
    task = CotTuningTask(Terse(), num_written=3)
    loader = torch.utils.data.DataLoader([timeless], batch_size=None)
    run = trainer(tmp_path, logger=False)
    for _ in range(2):
        run.validate(task, loader, verbose=False)
    told = [message for message in caplog.messages if "val_event_f1" in message]
    assert len(told) == 1
    assert "the written ones of 3 clips state times" in told[0]
    assert run.callback_metrics["val_event_f1"] == 0
