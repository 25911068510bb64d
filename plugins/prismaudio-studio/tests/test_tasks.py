"""Train the stages on a few clips of the world, and export their components."""

from functools import partial
from pathlib import Path

import pytest
import torch
from stages import check_learning, trainer
from streams import streams
from torch.optim import AdamW

from prismaudio.metrics.onset import OnsetF1
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.pretrained import load_parts
from prismaudio.samplers.euler import EulerSampler
from prismaudio.training.callbacks.export import ExportComponents
from prismaudio.training.cot_tuning import CotTuningTask
from prismaudio.training.foundation import FoundationTask
from prismaudio.training.schedule import CosineWithWarmup
from prismaudio_studio.autoencoder import ParametricStereoAutoencoder
from prismaudio_studio.datamodule import StudioDataModule
from prismaudio_studio.fitting import AutoencoderFittingTask
from prismaudio_studio.hashed_text import HashedTextEncoder
from prismaudio_studio.motion_grid import MotionGridEncoder
from prismaudio_studio.plan_grid import PlanGridEncoder
from prismaudio_studio.planner.event import EventPlanner
from prismaudio_studio.words import CLASSES
from prismaudio_studio.world import render_audio, sample_scene


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> StudioDataModule:
    folder = tmp_path_factory.mktemp("clips")
    module = StudioDataModule(32, 0, 4, batch_size=8, cache_dir=str(folder), workers=1)
    module.prepare_data()
    return module


def foundation(**options: object) -> FoundationTask:
    torch.manual_seed(0)
    codec = ParametricStereoAutoencoder(8, iterations=2)
    codec.observe(torch.stack([torch.as_tensor(render_audio(sample_scene(i, 1, "plain"))) for i in range(4)]))
    codec.fit()
    encoders = {"video": MotionGridEncoder(2), "text": HashedTextEncoder(), "plan": PlanGridEncoder(CLASSES)}
    network = DiffusionTransformer(
        codec.channels,
        32,
        1,
        1,
        streams(32, ["text"], ["video", "plan"], **{name: part.dim for name, part in encoders.items()}),
        sigma_data=0.5,
    )
    defaults = {"lr_scheduler": partial(CosineWithWarmup, warmup_steps=2)}
    return FoundationTask(transformer=network, encoders=encoders, autoencoder=codec, **{**defaults, **options})


def test_the_codec_is_fitted_and_exported_with_other_components(data: StudioDataModule, tmp_path: Path) -> None:
    task = AutoencoderFittingTask(ParametricStereoAutoencoder(8, iterations=2))
    trainer(tmp_path, max_epochs=1, callbacks=[ExportComponents(str(tmp_path / "model"))]).fit(task, data)
    planner = CotTuningTask(EventPlanner(["bell"], width=8, time_width=8, depth=1))
    export = ExportComponents(str(tmp_path / "model"), half=["planner"])
    trainer(tmp_path, max_steps=1, callbacks=[export]).fit(planner, data)
    model = load_parts(tmp_path / "model")
    assert set(model) == {"autoencoder", "planner"}
    torch.testing.assert_close(model["autoencoder"].basis, task.autoencoder.basis)
    assert task.autoencoder.mean.std() > 0


def test_the_planner_learns(data: StudioDataModule, tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = CotTuningTask(
        EventPlanner(CLASSES, width=8, time_width=32, depth=2),
        partial(AdamW, lr=6e-3, betas=(0.9, 0.98)),
        partial(CosineWithWarmup, warmup_steps=2),
    )
    check_learning(trainer(tmp_path, max_steps=32), task, data, 0.93)


def test_the_flow_learns(data: StudioDataModule, tmp_path: Path) -> None:
    check_learning(
        trainer(tmp_path, max_epochs=6), foundation(optimizer=partial(AdamW, lr=4e-3, betas=(0.9, 0.98))), data, 0.8
    )


def test_metrics_are_logged_in_validation(data: StudioDataModule, tmp_path: Path) -> None:
    task = foundation(metrics={"onsets": OnsetF1()}, sampler=EulerSampler(2))
    assert 0 <= trainer(tmp_path).validate(task, data, verbose=False)[0]["val_onsets"] <= 1
