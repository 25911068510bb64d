"""Adapters: what is trained, what is saved, and that merging them changes no number."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from safetensors.torch import load_file
from streams import streams
from torch.optim import AdamW

from prismaudio.checkpoints import load_components, save_components
from prismaudio.errors import CheckpointError
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.samplers.heun import HeunSampler
from prismaudio.training.callbacks.ema import ExponentialMovingAverage
from prismaudio.training.callbacks.export import ExportComponents
from prismaudio.training.foundation import FoundationTask
from prismaudio.training.lora import Lora
from prismaudio.types import Conditions, Features, LatentBatch


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    network = DiffusionTransformer(6, 64, 2, 2, streams(64, video=4, text=5))
    for weight in network.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.05)
    save_components(tmp_path / "base", {"transformer": network, "sampler": HeunSampler(3)})
    return tmp_path


def batch():
    source = torch.Generator().manual_seed(1)
    text = Features.pad([torch.randn(n, 5, generator=source) for n in (2, 4)])
    mask = torch.ones(2, 9, dtype=torch.bool)
    return LatentBatch(["a", "b"], torch.randn(2, 6, 9, generator=source), mask, Conditions(text=text))


def fine_tune(folder, name, lora, steps=3, checkpoint=None):
    task = FoundationTask(pretrained=str(folder / "base"), lora=lora, optimizer=partial(AdamW, lr=1e-2), swap_video=0.0)
    keep = ModelCheckpoint(folder / name, "{step}", every_n_train_steps=1, save_top_k=-1)
    callbacks = [ExponentialMovingAverage(0.5), keep, ExportComponents(str(folder / name))]
    run = Trainer(
        max_steps=steps, accelerator="cpu", default_root_dir=folder, logger=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=callbacks,
    )  # fmt: skip
    run.fit(task, torch.utils.data.DataLoader([batch()] * 8, batch_size=None), ckpt_path=checkpoint)
    return task


@pytest.mark.filterwarnings("ignore:The dirpath has changed", "ignore:You're resuming from a checkpoint that ended")
def test_adapters_train_alone_and_are_merged_into_the_export(folder):
    base = load_components(folder / "base")["transformer"]
    task = fine_tune(folder, "tuned", Lora(rank=2, alpha=4.0))
    weights = task.transformer.state_dict()
    for key, before in base.state_dict().items():
        now = weights.get(key, weights.get(f"{key.removesuffix('.weight')}.base_layer.weight"))
        if now is None:
            now = weights[f"{key.removesuffix('.bias')}.base_layer.bias"]
        assert torch.equal(now, before), key
    exported = load_components(folder / "tuned")
    assert isinstance(exported["sampler"], HeunSampler)  # what it was given is passed on
    told = batch()
    with torch.no_grad():
        arguments = (told.latents, torch.tensor([0.3, 0.8]), told.conditions)
        merged = exported["transformer"](*arguments)
        assert not torch.allclose(merged, base(*arguments), atol=1e-3)
        for key, average in task.average.items():  # the export has the averages
            task.transformer.get_parameter(key.removeprefix("transformer/").replace("/", ".")).copy_(average)
        torch.testing.assert_close(merged, task.transformer(*arguments), rtol=1e-4, atol=1e-5)

    adapters = load_file(folder / "tuned" / "adapter.safetensors")
    assert set(adapters) == {key for key in weights if ".lora_" in key}
    assert len(adapters) == 2 * 2 * 7  # of both blocks' seven layers
    stored = torch.load(folder / "tuned" / "step=2.ckpt", weights_only=True)["state_dict"]
    assert all(".lora_" in key or "/lora_" in key for key in stored)

    again = fine_tune(folder, "again", Lora(rank=2, alpha=4.0), checkpoint=folder / "tuned" / "step=2.ckpt")
    assert {key: value.shape for key, value in again.transformer.state_dict().items()} == {
        key: value.shape for key, value in weights.items()
    }


def test_conditioners_may_be_trained_too(folder):
    task = FoundationTask(pretrained=str(folder / "base"), lora=Lora(conditioners=True))
    trained = {name for name, weight in task.transformer.named_parameters() if weight.requires_grad}
    parts = {name.partition(".")[0] for name in trained}
    assert parts == {"blocks", "conditioners", "to_context", "to_added", "gates"}
    assert all(".lora_" in name for name in trained if name.startswith("blocks."))


def test_a_checkpoint_without_the_adapters_is_refused(folder):
    fine_tune(folder, "whole", None, steps=1)
    with pytest.raises(CheckpointError, match=r"trained weights of the recipe: missing transformer\.blocks\.0"):
        fine_tune(folder, "tuned", Lora(rank=2), checkpoint=str(folder / "whole" / "step=1.ckpt"))


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_a_run_keeps_what_another_wrote_and_leaves_no_old_adapter_beside_its_weights(folder, caplog):
    fine_tune(folder, "tuned", Lora(rank=2))
    first = {path.name: path.read_bytes() for path in (folder / "tuned").iterdir() if path.suffix != ".ckpt"}
    assert {"adapter.safetensors", "adapter.json", "config.json", "model.safetensors"} == first.keys()
    assert not (folder / "tuned.1").exists()
    fine_tune(folder, "tuned", None, steps=1)
    assert not list((folder / "tuned").glob("adapter*"))
    assert {path.name: path.read_bytes() for path in (folder / "tuned.1").iterdir()} == first
    assert "has another transformer; that model is kept as" in caplog.text
    fine_tune(folder, "tuned", None, steps=2)
    assert sorted(path.name for path in folder.glob("tuned*")) == ["tuned", "tuned.1", "tuned.2"]
    assert not list((folder / "tuned.2").glob("adapter*"))


def test_the_export_is_in_the_folder_of_the_run(folder):
    task = FoundationTask(pretrained=str(folder / "base"), lr_scheduler=None)
    run = Trainer(
        max_steps=1, accelerator="cpu", default_root_dir=folder, logger=CSVLogger(folder, "mine"),
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        callbacks=[ExportComponents()],
    )  # fmt: skip
    run.fit(task, torch.utils.data.DataLoader([batch()], batch_size=None))
    assert set(load_components(folder / "mine" / "version_0" / "model")) == {"transformer", "sampler"}
