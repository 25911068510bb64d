"""A training step does not wait for its device: nothing is read back, and noise and batches arrive without the host."""

from __future__ import annotations

import weakref
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule
from stages import trainer
from streams import streams
from torch._dynamo.testing import CompileCounter
from torch.optim import SGD, Adam, AdamW
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.data import Dataset

from prismaudio.data.buckets import Draw, batch_loader
from prismaudio.devices import HostCopy
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.training.callbacks.ema import ExponentialMovingAverage
from prismaudio.training.draws import draw
from prismaudio.training.foundation import FoundationTask
from prismaudio.training.schedule import fuse
from prismaudio.training.sharding import compile_forwards
from prismaudio.types import Clip, ClipBatch, Conditions, Features, LatentBatch

READS = {
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
    torch.ops.aten.equal.default,
    torch.ops.aten.is_nonzero.default,
}
"""Operators whose result the host needs, so that it waits for a GPU."""
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


class Batches(Dataset):
    """Latents of 20 frames, in every second batch of 13 to 20."""

    def __getitem__(self, draws):
        lengths = [20 - (draw.clip % 8 if draws[0].clip % 2 else 0) for draw in draws]
        source = torch.Generator().manual_seed(draws[0].clip)
        latents = Features.pad([torch.randn(length, 6, generator=source) for length in lengths])
        text = Features.pad([torch.randn(3 + draw.clip % 2, 5, generator=source) for draw in draws])
        ids = [f"clip {draw.clip}" for draw in draws]
        return LatentBatch(ids, latents.values.mT.contiguous(), latents.mask, Conditions(text=text))


class Data(LightningDataModule):
    def train_dataloader(self):
        return batch_loader(Batches(), [1] * 16, 4, shuffle=True, trainer=self.trainer)


def task(**options: object) -> FoundationTask:
    torch.manual_seed(0)
    network = DiffusionTransformer(6, 64, 2, 2, streams(64, video=4, text=5))
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return FoundationTask(transformer=network, swap_video=0.5, optimizer=partial(AdamW, lr=1e-3, **options))


class Reads(TorchDispatchMode):
    """Refuses to read tensors that depend on a batch or on the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[int, weakref.ref] = {}

    def watch(self, *values: object) -> None:
        for value in tree_leaves(values):
            if isinstance(value, torch.Tensor):
                self.seen[id(value)] = weakref.ref(value)

    def watched(self, value: object) -> bool:
        found = self.seen.get(id(value))
        return found is not None and found() is value

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        watched = any(self.watched(value) for value in tree_leaves((args, kwargs)))
        assert not (watched and func in READS), f"{func} reads what a GPU would have to finish"
        made = func(*args, **(kwargs or {}))
        if watched:
            self.watch(made)
        return made


class Watch(Callback):
    """Watches each step, from its batch to the moving average."""

    def __init__(self) -> None:
        self.mode, self.steps = Reads(), 0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.mode.watch(batch.latents, batch.mask, [[s.values, s.mask] for s in batch.conditions.values()])
        self.mode.watch(list(pl_module.parameters()))
        self.mode.__enter__()

    def on_train_batch_end(self, *_):
        self.mode.__exit__(None, None, None)
        self.steps += 1

    def on_exception(self, *_):
        self.mode.__exit__(None, None, None)


def test_a_step_reads_nothing_of_its_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch, copies = Watch(), []
    arrived = HostCopy.get

    def get(copy: HostCopy) -> torch.Tensor:
        """The copy of an earlier step, which may be read."""
        copies.append(copy)
        watch.mode.seen.pop(id(arrived(copy)), None)
        return arrived(copy)

    monkeypatch.setattr(HostCopy, "get", get)
    run = trainer(tmp_path, max_steps=4, gradient_clip_val=1.0, callbacks=[ExponentialMovingAverage(), watch])
    run.fit(task(fused=True), Data())  # as on a GPU
    assert (watch.steps, len(copies)) == (4, 4)


def test_reading_is_noticed() -> None:
    mode = Reads()
    value = torch.ones(3)
    mode.watch(value)
    with mode, pytest.raises(AssertionError, match="_local_scalar_dense"):
        float((2 * value).sum())


class Strict(Callback):
    """Makes every synchronisation of a GPU an error once kernels are loaded, between steps too."""

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == 2:
            torch.cuda.set_sync_debug_mode("error")

    def on_train_end(self, *_):
        torch.cuda.set_sync_debug_mode("default")

    on_exception = on_train_end


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_training_does_not_synchronise_a_gpu(tmp_path: Path, precision: str) -> None:
    options = {"max_steps": 8, "precision": precision, "gradient_clip_val": 1.0, "accelerator": "cuda", "devices": 1}
    run = trainer(tmp_path, callbacks=[ExponentialMovingAverage(), Strict()], **options)
    run.fit(task(), Data())
    assert all(group["fused"] for group in run.optimizers[0].param_groups)
    assert "loss" in run.progress_bar_metrics
    assert run.train_dataloader.pin_memory


@pytest.mark.gpu
def test_a_run_that_resumes_on_a_gpu_draws_the_same(tmp_path: Path) -> None:
    def run(steps, checkpoint=None):
        options = {"max_steps": steps, "accelerator": "cuda", "devices": 1, "deterministic": True}
        made, fitted = task(), trainer(tmp_path, callbacks=[ExponentialMovingAverage(0.5)], **options)
        fitted.fit(made, Data(), ckpt_path=checkpoint)
        fitted.save_checkpoint(tmp_path / f"{steps}.ckpt")
        return {name: value.cpu() for name, value in made.state_dict().items()}

    whole = run(6)
    run(3)
    torch.testing.assert_close(run(6, tmp_path / "3.ckpt"), whole, rtol=0, atol=0)


@pytest.mark.parametrize("device", DEVICES)
def test_noise_depends_on_seed_step_and_name_alone(device: str) -> None:
    times = task()._times
    both = draw(["a", "b"], 0, 5, torch.zeros(2, 3, 9, device=device), [7, 9], times, ["text"])
    alone = draw(["a"], 0, 5, torch.zeros(1, 3, 7, device=device), [7], times)
    assert both.noise.device.type == device
    assert torch.equal(both.noise[:1, :, :7], alone.noise)
    assert not both.noise[0, :, 7:].any()
    assert not torch.equal(both.noise[1], draw(["b"], 0, 6, torch.zeros(1, 3, 9, device=device), [9], times).noise[0])
    on_cpu = draw(["a", "b"], 0, 5, torch.zeros(2, 3, 9), [7, 9], times, ["text"])
    for name in ("times", "swap", "drop_all"):
        assert torch.equal(getattr(both, name).cpu(), getattr(on_cpu, name)), name
    assert abs(float(both.noise[1].std()) - 1) < 0.5


@pytest.mark.gpu
def test_batches_are_pinned_and_moved() -> None:
    batch = Batches()[[Draw(1)]].pin_memory()
    clip = Clip("a", 1.0, torch.zeros(2, 3, 4, 4, dtype=torch.uint8), 2.0, torch.zeros(2, 8), 8)
    clips = ClipBatch([clip], [], batch).pin_memory()
    assert batch.latents.is_pinned()
    assert batch.conditions["text"].mask.is_pinned()
    assert clips.clips[0].audio.is_pinned()
    assert clips.features is not None
    moved = clips.to("cuda")
    assert moved.features.latents.is_cuda
    assert torch.equal(moved.features.latents.cpu(), batch.latents)
    assert moved.features.lengths == batch.lengths


@pytest.mark.parametrize("device", DEVICES)
def test_a_copy_on_the_host_is_of_its_time(device: str) -> None:
    value = torch.ones(3, device=device)
    copy = HostCopy(value)
    value += 1
    assert copy.get().tolist() == [1.0, 1.0, 1.0]


def test_only_padded_batches_have_a_mask() -> None:
    whole, padded = Batches()[[Draw(0), Draw(2)]], Batches()[[Draw(1), Draw(3)]]
    assert whole.padded_mask is None
    assert whole.lengths == (20, 20)
    assert padded.padded_mask is padded.mask
    assert padded.to("cpu").lengths == (19, 17)


def test_the_optimizer_is_fused_unless_something_else_was_chosen() -> None:
    weights = [torch.nn.Parameter(torch.ones(2))]
    chosen = {AdamW: [{"fused": False}, {"foreach": True}, {"capturable": True}], Adam: [{"fused": False}]}
    for kind, options in chosen.items():
        for option in options:
            optimizer = kind(weights, **option)
            before = optimizer.param_groups[0]["fused"]
            fuse(optimizer)
            assert optimizer.param_groups[0]["fused"] is before
        optimizer = kind(weights)
        fuse(optimizer)
        assert optimizer.param_groups[0]["fused"] is True
    optimizer = SGD(weights)
    fuse(optimizer)
    assert not optimizer.param_groups[0]["fused"]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch reads it itself
def test_blocks_are_compiled_once_for_all_numbers_of_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    made = task()
    plain = task().transformer
    compile_forwards(made.transformer.blocks)
    frames_of = []

    def step(n_frames, n_tokens, *, padded=False, inference=False):
        source = torch.Generator().manual_seed(n_tokens)
        text = Features.pad([torch.randn(n_tokens, 5, generator=source), torch.randn(2, 5, generator=source)])
        mask = torch.arange(n_frames) < torch.tensor([[n_frames], [n_frames - 2]]) if padded else None
        latents, times = torch.randn(2, 6, n_frames, generator=source), torch.tensor([0.2, 0.7])
        with torch.inference_mode(inference):
            found = made.transformer(latents, times, Conditions(text=text), mask)
            torch.testing.assert_close(found, plain(latents, times, Conditions(text=text), mask))
        frames_of.append(counter.frame_count)

    for n_tokens in (9, 4, 7):
        step(20, n_tokens)
    for n_frames in (18, 15):
        step(n_frames, 5, padded=True)
    step(20, 6, inference=True)
    step(16, 6)
    assert frames_of == [1, 1, 1, 2, 2, 2, 3]
