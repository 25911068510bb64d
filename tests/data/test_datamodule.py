from __future__ import annotations

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from prismaudio.autoencoders.oobleck import OobleckAutoencoder
from prismaudio.data.datamodule import ManifestDataModule
from prismaudio.data.description import describe_features
from prismaudio.errors import DataError
from prismaudio.media import write_video, write_video_with_audio, write_wav

from .conftest import tensors


class Listener(LightningModule):
    """Remembers the ids that it is given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.batches = []

    def training_step(self, batch, batch_idx):
        self.batches.append((self.current_epoch, tuple(batch.ids), float(batch.latents.sum())))
        return self.weight * batch.latents.mean()

    def validation_step(self, batch, batch_idx):
        self.batches.append(("val", *batch.ids))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def train(data, folder, steps, *, ckpt_path=None, every=4, **options):
    task = Listener()
    saving = ModelCheckpoint(folder, "{step}", every_n_train_steps=every, save_top_k=-1)
    trainer = Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        callbacks=[saving],
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        **options,
    )
    trainer.fit(task, data, ckpt_path=ckpt_path)
    return task


@pytest.fixture
def folder(write, tmp_path):
    write({f"clip{i:02}": 8 + i % 7 for i in range(24)})
    return tmp_path / "features"


def module(folder, **kwargs):
    return ManifestDataModule(str(folder), **({"workers": 0, "batch_size": 3, "max_s": 0.7} | kwargs))


@pytest.mark.parametrize(("stop", "workers"), [(4, 0), (4, 2), (7, 0), (10, 0)])
def test_a_run_that_is_resumed_sees_what_it_would_have_seen(folder, tmp_path, workers, stop):
    n_batches = len(_ready(module(folder)).train_dataloader())
    assert n_batches == 7  # so that the checkpoints are within, at the end of, and in the second epoch
    whole = train(module(folder, workers=workers), tmp_path / "a", 14, every=stop)
    resumed = train(
        module(folder, workers=workers), tmp_path / "a", 14, every=stop, ckpt_path=tmp_path / "a" / f"step={stop}.ckpt"
    )
    assert len(whole.batches) == 14
    assert resumed.batches == whole.batches[stop:]
    assert {epoch for epoch, _, _ in whole.batches} == {0, 1}


def test_with_another_batch_size_the_epoch_begins_anew(folder, tmp_path):
    train(module(folder), tmp_path / "a", 4)
    resumed = train(module(folder, batch_size=2), tmp_path / "a", 6, ckpt_path=tmp_path / "a" / "step=4.ckpt")
    fresh = train(module(folder, batch_size=2), tmp_path / "c", 2)
    assert resumed.batches == fresh.batches


@pytest.mark.filterwarnings("ignore:You requested to overfit")
def test_a_few_batches_may_be_overfitted(folder, tmp_path):
    task = train(module(folder), tmp_path / "a", 4, overfit_batches=2)
    assert len({batch[1] for batch in task.batches if batch[0] != "val"}) == 2


def test_held_out_clips_are_those_of_the_ids(folder):
    first, second = _ready(module(folder, validation=0.25)), _ready(module(folder, validation=0.25, seed=9))
    held = [record.id for record in first.sets["val"].found.records]
    assert len(held) == 6
    assert held == [record.id for record in second.sets["val"].found.records]
    assert len(first.sets["train"]) == 18


def test_the_column_split_decides(folder, tmp_path):
    lines = ["id,features,split", *(f"clip{i:02},features/shard-00000.safetensors,train" for i in range(4))]
    lines += ["clip10,features/shard-00000.safetensors,validation", "clip11,features/shard-00000.safetensors,test"]
    (tmp_path / "clips.csv").write_text("\n".join(lines))
    data = _ready(module(tmp_path / "clips.csv"))
    assert {name: len(clips) for name, clips in data.sets.items()} == {"train": 4, "val": 1, "test": 1}
    assert [batch.ids for batch in data.val_dataloader()] == [["clip10"]]
    tested = _ready(module(tmp_path / "clips.csv", validation_split="test"))
    assert [batch.ids for batch in tested.val_dataloader()] == [["clip11"]]


def test_a_test_split_that_is_not_there_is_one_line(folder):
    data = _ready(module(folder, validation_split="test"))
    with pytest.raises(DataError, match="has no clips of the split 'test'"):
        data.val_dataloader()


def test_a_manifest_picks_clips_of_a_folder_by_id(folder, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"0")
    (tmp_path / "clips.csv").write_text("id,video\nclip03,a.mp4\nclip05,a.mp4\n")
    data = _ready(module(tmp_path / "clips.csv", features=str(folder), validation=0))
    assert sorted(record.id for record in data.sets["train"].found.records) == ["clip03", "clip05"]


def test_validation_gives_every_clip_once(folder):
    data = _ready(module(folder, validation=0.5))
    assert sorted(len(batch.ids) for batch in data.val_dataloader()) == [3] * 4


def test_broken_clips_are_left_out_and_reported(write, tmp_path, caplog):
    write({"a": 10, "b": tensors(10) | {"latents": torch.full((4, 50), float("nan"))}, "c": 10, "d": 10})
    data = _ready(module(tmp_path / "features"))
    assert list(data.failures) == ["b"]
    assert "skipped: 1 of 4 clips of" in caplog.text
    with pytest.raises(DataError, match=r"1 of 4 clips of .* cannot be used: b: its latents .* \(max_broken is 0.1\)"):
        _ready(module(tmp_path / "features", max_broken=0.1))


def test_a_set_without_a_good_clip_is_an_error(write, tmp_path):
    write({"a": tensors(10) | {"latents": torch.full((4, 50), float("nan"))}})
    with pytest.raises(DataError, match="1 of 1 clips of"):
        _ready(module(tmp_path / "features", max_broken=1.0))


def test_clips_without_features_are_reported(folder, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"0")
    (tmp_path / "clips.csv").write_text("id,video\nclip03,a.mp4\nother,a.mp4\n")
    with pytest.raises(DataError, match=r"1 of 2 clips .* other: it has no features"):
        _ready(module(tmp_path / "clips.csv", features=str(folder)))


class Task(Listener):
    """Says what it trains on, as :class:`prismaudio.data.matching.TrainsOnFeatures` wants it."""

    def __init__(self, autoencoder=None, stream_dims=None):
        super().__init__()
        self.autoencoder, self.encoders = autoencoder, {}
        self.latent_channels, self.stream_dims = 4, stream_dims or {}


def made_codec(seed=0):
    torch.manual_seed(seed)
    return OobleckAutoencoder(4, (1, 2, 4), (4, 8, 8), latent_channels=4, sample_rate_hz=16_000)


def test_latents_of_another_autoencoder_are_refused(write, tmp_path):
    write({"a": 10, "b": 11}, description=describe_features(made_codec(), {}))
    data = module(tmp_path / "features", validation=0)
    with pytest.raises(DataError, match="latents of the manifest were computed by another autoencoder: weights"):
        Trainer(accelerator="cpu", max_steps=1, logger=False, enable_checkpointing=False).fit(
            Task(autoencoder=made_codec(1)), data
        )


def test_features_of_the_wrong_width_are_refused(folder):
    with pytest.raises(DataError, match="the manifest's width of its video features is 3, the transformer's 7"):
        Trainer(accelerator="cpu", max_steps=1, logger=False, enable_checkpointing=False).fit(
            Task(stream_dims={"video": 7}), module(folder)
        )


def test_streams_that_only_one_side_has_are_a_line_each(folder, tmp_path, caplog):
    task = Task(stream_dims={"depth": 7, "flow": 2})
    Trainer(accelerator="cpu", max_steps=1, logger=False, enable_checkpointing=False, default_root_dir=tmp_path).fit(
        task, module(folder)
    )
    said = [record.message for record in caplog.records if record.name == "prismaudio.data"]
    assert said == [
        "the data have no features of depth, flow: the transformer is trained without",
        "the transformer has no stream for the text, video features of the data",
    ]


def test_max_s_needs_a_latent_rate(write, tmp_path):
    write({"a": 10}, description={})
    with pytest.raises(DataError, match="do not state the duration of a latent frame"):
        _ready(module(tmp_path / "features"))


def test_media_files_need_a_length(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"0")
    (tmp_path / "clips.csv").write_text("video\na.mp4\n")
    with pytest.raises(DataError, match=r"need a length: set max_s, or run prismaudio extract"):
        _ready(module(tmp_path / "clips.csv", max_s=None))


def test_a_task_that_takes_whole_clips_gets_them_at_their_own_length_and_without_audio(tmp_path):
    for name, n_frames in (("long", 32), ("short", 16)):
        write_video(torch.zeros(n_frames, 3, 16, 16, dtype=torch.uint8), 16.0, tmp_path / f"{name}.mp4")
    (tmp_path / "clips.csv").write_text("video,semantic\nlong.mp4,A bell.\nshort.mp4,A drum.\n")

    seen = []

    class WholeClips(Task):
        takes_whole_clips = True

        def training_step(self, batch):
            seen.extend([(clip.id, clip.duration_s, clip.audio, clip.file.name) for clip in batch.clips])
            return torch.zeros((), requires_grad=True)

    data = ManifestDataModule(str(tmp_path / "clips.csv"), batch_size=2, workers=0, validation=0.0)
    run = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, default_root_dir=tmp_path,
        limit_val_batches=0,
    )  # fmt: skip
    run.fit(WholeClips(), data)
    assert sorted(seen) == [("long", 2.0, None, "long.mp4"), ("short", 1.0, None, "short.mp4")]


def test_frames_are_squashed_or_keep_their_shape(tmp_path):
    write_video(torch.zeros(16, 3, 60, 120, dtype=torch.uint8), 16.0, tmp_path / "mute.mp4")
    write_video_with_audio(tmp_path / "mute.mp4", torch.zeros(2, 16_000), 16_000, tmp_path / "wide.mp4")
    (tmp_path / "clips.csv").write_text("video,caption\nwide.mp4,A bell.\n")
    for keep_aspect_ratio, shape in ((False, (30, 30)), (True, (30, 60))):
        options = {"frame_size": 30, "keep_aspect_ratio": keep_aspect_ratio, "validation": 0, "workers": 0}
        data = ManifestDataModule(str(tmp_path / "clips.csv"), max_s=1.0, batch_size=1, **options)
        data.setup("fit")
        (batch,) = data.train_dataloader()
        assert batch.clips[0].frames.shape[-2:] == shape


def test_prompts_are_clips_and_plans_with_the_first_of_their_texts(write, tmp_path):
    write({"a": tensors(10, n_texts=2), "b": tensors(12, n_texts=2)})
    for name in "ab":
        write_wav(0.1 * torch.ones(2, 16_000), 16_000, tmp_path / f"{name}.wav")
    lines = [f"{name},{name}.wav,<Semantic> A bell rings in {name}." for name in "ab"]
    (tmp_path / "clips.csv").write_text("\n".join(["id,audio,plan", *lines]) + "\n")
    data = _ready(module(tmp_path / "clips.csv", features=str(tmp_path / "features"), prompts=True, validation=0))
    for batch in data.train_dataloader():
        assert [clip.id for clip in batch.clips] == batch.features.ids
        assert [plan["semantic"] for plan in batch.plans] == [f"A bell rings in {name}." for name in batch.features.ids]
        assert {clip.audio.shape[1] for clip in batch.clips} == {round(0.7 * 16_000)}
        assert not batch.features.conditions["text"].values.any()  # the first text is zeros
        assert not batch.features.latents[:, :, 0].any()  # and the piece begins at the beginning
    with pytest.raises(DataError, match=r"prompts need media files, and .*features names none"):
        _ready(module(tmp_path / "features", prompts=True))


def test_an_empty_split_is_reported(folder):
    data = _ready(module(folder, validation=0.0))
    assert data.val_dataloader() == []


def test_an_error_of_a_worker_process_is_one_line(write, tmp_path):
    write({"a": tensors(10) | {"video": torch.full((10, 3), float("nan"))}})
    data = _ready(module(tmp_path / "features", validation=0, verify=False, workers=1))
    with pytest.raises(DataError) as error:
        list(data.train_dataloader())
    assert str(error.value) == "the video of clip a contain NaN or infinity; set verify to skip it"


def _ready(data):
    data.setup("fit")
    return data
