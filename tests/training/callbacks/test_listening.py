"""Listening samples: the same noise each time, the truth once, in the logger or in files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

from prismaudio.errors import RecipeError
from prismaudio.training.callbacks.listening import ListeningSamples, Sample, log_sample
from prismaudio.types import Conditions, LatentBatch


class Hummer(LightningModule):
    """Renders the same hum for every clip."""

    def training_step(self, batch, index):
        return None

    def validation_step(self, batch, index):
        pass

    def configure_optimizers(self):
        return []

    can_render = True

    def listening_samples(self, batch, count):
        self.precise = not torch.is_autocast_enabled("cpu")
        hum = 0.1 * torch.sin(torch.arange(4000) / 5).repeat(2, 1)
        return [(name, hum, hum / 2, 8000) for name in batch.ids[:count]]

    def caption(self, batch, row, sound):
        return batch.ids[row]


def validate(folder, times, **options):
    batches = [
        LatentBatch([f"{n}{i}" for i in range(2)], torch.zeros(2, 1, 3), torch.ones(2, 3).bool(), Conditions())
        for n in "abc"
    ]
    loader = torch.utils.data.DataLoader(batches, batch_size=None)
    callback = ListeningSamples(3, every=2)
    run = Trainer(
        accelerator="cpu", default_root_dir=folder, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[callback], **{"logger": False, **options},
    )  # fmt: skip
    hummer = Hummer()
    for _ in range(times):
        run.validate(hummer, loader, verbose=False)
    return hummer


def test_without_a_logger_there_are_files(tmp_path):
    validate(tmp_path, 3)
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.wav"))
    rendered = [f"listening/{clip}/rendered-step0000000.wav" for clip in ("a0", "a1", "b0")]
    assert names == sorted([*rendered, *(name.replace("rendered", "true") for name in rendered)])
    assert (tmp_path / "listening" / "a0" / "true-step0000000.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "listening" / "a0" / "true-step0000000.txt").read_text() == "a0\n"


def test_samples_are_rendered_as_precisely_as_validation_is(tmp_path):
    assert validate(tmp_path / "whole", 1).precise
    assert not validate(tmp_path / "half", 1, precision="bf16-mixed").precise


def test_a_task_without_an_autoencoder_is_refused_before_training(tmp_path):
    task = Hummer()
    task.can_render = False
    with pytest.raises(RecipeError, match="ListeningSamples needs an autoencoder"):
        ListeningSamples().setup(Trainer(accelerator="cpu", default_root_dir=tmp_path, logger=False), task, "fit")


class Writer:
    def __init__(self):
        self.calls = {}

    def __getattr__(self, name):
        return lambda tag, *values, **options: self.calls.setdefault(tag, (name, values, options))


@pytest.mark.parametrize("kind", [TensorBoardLogger, WandbLogger])
def test_loggers_get_sound_spectrogram_and_plan(kind, monkeypatch):
    writer = Writer()
    logger = object.__new__(kind)
    monkeypatch.setattr(kind, "experiment", writer, raising=False)
    monkeypatch.setattr(WandbLogger, "log_audio", lambda self, *v, **o: writer.log_audio(*v, **o))
    monkeypatch.setattr(WandbLogger, "log_image", lambda self, *v, **o: writer.log_image(*v, **o))
    log_sample(logger, Sample("listening/a", torch.zeros(2, 4000), 8000, "a bell"), 7)
    name = writer.calls["listening/a"][0]
    assert name in ("add_audio", "log_audio")
    assert "a bell" in str(writer.calls)
    image = writer.calls["listening/a/spectrogram"][1][0]
    height, width, colours = (image[0] if isinstance(image, list) else image).shape
    assert (width, colours) == (1000, 3)
    assert 300 < height < 800


def test_tensorboard_can_write_them(tmp_path):
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    validate(tmp_path, 1, logger=TensorBoardLogger(tmp_path))
    assert list(Path(tmp_path).rglob("events.out*"))
