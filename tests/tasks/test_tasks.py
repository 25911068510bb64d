"""The stages on a handful of clips: what they learn and what they leave behind."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer

from prismaudio.autoencoders.parametric_stereo import ParametricStereoAutoencoder
from prismaudio.callbacks.export import ExportComponents
from prismaudio.checkpoints import load_components
from prismaudio.cot.words import CLASSES
from prismaudio.encoders.hashed_text import HashedTextEncoder
from prismaudio.encoders.motion_grid import MotionGridEncoder
from prismaudio.encoders.plan_grid import PlanGridEncoder
from prismaudio.errors import CheckpointError
from prismaudio.metrics.onset import OnsetF1
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.planners.event import EventPlanner
from prismaudio.samplers.euler import EulerSampler
from prismaudio.studio import render_audio, sample_scene
from prismaudio.studio.datamodule import StudioDataModule
from prismaudio.tasks.autoencoder_fitting import AutoencoderFittingTask
from prismaudio.tasks.cot_tuning import CotTuningTask
from prismaudio.tasks.foundation import FoundationTask
from prismaudio.types import ClipBatch


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> StudioDataModule:
    folder = tmp_path_factory.mktemp("clips")
    module = StudioDataModule(32, 0, 4, batch_size=8, cache_dir=str(folder), workers=1)
    module.prepare_data()
    return module


def trainer(folder: Path, **options: object) -> Trainer:
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(**{**quiet, "default_root_dir": folder, "enable_checkpointing": False, **options})  # type: ignore[arg-type]


def foundation(**options: object) -> FoundationTask:
    torch.manual_seed(0)
    codec = ParametricStereoAutoencoder(8, iterations=2)
    codec.observe(torch.stack([torch.as_tensor(render_audio(sample_scene(i, 1, "plain"))) for i in range(4)]))
    codec.fit()
    encoders = {"video": MotionGridEncoder(2), "text": HashedTextEncoder(), "plan": PlanGridEncoder(CLASSES)}
    network = DiffusionTransformer(
        codec.channels, 32, 1, 1, 16, None, HashedTextEncoder.width, encoders["plan"].width, ["text"], data_spread=0.5
    )
    return FoundationTask(network, encoders, codec, warmup_steps=2, **options)  # type: ignore[arg-type]


def first_batch(data: StudioDataModule) -> ClipBatch:
    return next(iter(data.val_dataloader()))  # type: ignore[return-value]


def test_the_codec_is_fitted_and_exported_beside_what_is_there(data: StudioDataModule, tmp_path: Path) -> None:
    task = AutoencoderFittingTask(ParametricStereoAutoencoder(8, iterations=2))
    trainer(tmp_path, max_epochs=1, callbacks=[ExportComponents(str(tmp_path / "model"))]).fit(task, data)
    planner = CotTuningTask(EventPlanner(["bell"], width=8, time_width=8, depth=1))
    export = ExportComponents(str(tmp_path / "model"), half=["planner"])
    trainer(tmp_path, max_steps=1, callbacks=[export]).fit(planner, data)
    model = load_components(tmp_path / "model")
    assert set(model) == {"autoencoder", "planner"}
    torch.testing.assert_close(model["autoencoder"].basis, task.autoencoder.basis)
    assert task.autoencoder.mean.std() > 0


def test_the_planner_learns(data: StudioDataModule, tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = CotTuningTask(EventPlanner(CLASSES, width=8, time_width=32, depth=2), learning_rate=6e-3, warmup_steps=2)
    run = trainer(tmp_path, max_steps=32)
    before = run.validate(task, data, verbose=False)[0]["val_loss"]
    run.fit(task, data)
    assert run.callback_metrics["val_loss"] < 0.93 * before


def test_the_flow_learns(data: StudioDataModule, tmp_path: Path) -> None:
    run, task = trainer(tmp_path, max_epochs=6), foundation(learning_rate=4e-3)
    before = run.validate(task, data, verbose=False)[0]["val_loss"]
    run.fit(task, data)
    assert run.callback_metrics["val_loss"] < 0.8 * before


def test_a_stopped_run_goes_on_where_it_was(data: StudioDataModule, tmp_path: Path) -> None:
    trainer(tmp_path, max_epochs=1, enable_checkpointing=True).fit(foundation(), data)
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    run, task = trainer(tmp_path, max_epochs=2, enable_checkpointing=True), foundation()
    run.fit(task, data, ckpt_path=checkpoint)
    assert run.global_step == 8
    state = torch.load(checkpoint, weights_only=False)  # our own file, written above
    assert state["global_step"] == 4
    assert run.optimizers[0].state_dict()["state"][0]["step"] == 8


def test_metrics_hear_the_plans(data: StudioDataModule, tmp_path: Path) -> None:
    task = foundation(metrics={"onsets": OnsetF1()}, sampler=EulerSampler(2))
    assert 0 <= trainer(tmp_path).validate(task, data, verbose=False)[0]["val_onsets"] <= 1


def test_streams_are_dropped_alone_and_together_and_video_is_swapped(data: StudioDataModule) -> None:
    batch = first_batch(data)
    task = foundation(drop_all=0.0, drop_each=0.0, swap_video=0.0)
    told = task.conditions(batch.clips, batch.plans)
    for name, stream in vars(task._perturbed(told)).items():
        if stream is not None:
            torch.testing.assert_close(stream.values, getattr(told, name).values)
    everything = foundation(drop_all=1.0)._perturbed(told)
    assert not any(stream.mask.any() for stream in vars(everything).values() if stream is not None)
    swapped = foundation(drop_all=0.0, drop_each=0.0, swap_video=1.0)._perturbed(told)
    assert told.video is not None
    assert swapped.video is not None
    torch.testing.assert_close(swapped.video.values, told.video.values.roll(-1, 0))
    torch.testing.assert_close(swapped.plan.values, told.plan.values)  # type: ignore[union-attr]


def test_clips_are_encoded_once(data: StudioDataModule, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, task = first_batch(data), foundation()
    first = task.latents(batch.clips)
    monkeypatch.setattr(task.autoencoder, "encode", None)
    torch.testing.assert_close(task.latents(batch.clips), first)


def test_a_task_without_a_network_says_what_to_give() -> None:
    with pytest.raises(CheckpointError, match="no transformer"):
        FoundationTask()
