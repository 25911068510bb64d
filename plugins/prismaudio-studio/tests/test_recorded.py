import pytest
import torch
from recipe_runs import train
from synthetic_recordings import write_table

from prismaudio.audio.interaural import ild_db
from prismaudio.errors import DataError, TrainingError
from prismaudio.types import Clip, ClipBatch
from prismaudio_studio.autoencoder import ParametricStereoAutoencoder
from prismaudio_studio.fitting import AutoencoderFittingTask
from prismaudio_studio.recorded import RecordedClips, RecordingsDataModule
from prismaudio_studio.world.recordings import read_recordings


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("recordings"))


def test_pieces_cover_each_recording_from_directions_of_their_own(table):
    clips = RecordedClips(read_recordings(table), 0.5, 24_000)
    assert len(clips) == 4 * 4 + 2 * 3  # 1.6 s and 1.5 s; a rest of less than a tenth of a piece is left out
    found = [clips.clip(index) for index in range(len(clips))]
    assert {clip.audio.shape for clip in found} == {torch.Size([2, 12_000])}
    assert len({clip.id for clip in found}) == len(found)
    sides = torch.stack([ild_db(clip.audio) for clip in found])
    assert sides.min() < -2 < 2 < sides.max()
    assert torch.equal(clips.clip(3).audio, clips.clip(3).audio)


def test_training_and_validation_have_different_sources(table):
    data = RecordingsDataModule(str(table), piece_s=2.0, batch_size=4)
    ids = [{name for batch in load() for name in batch.ids} for load in (data.train_dataloader, data.val_dataloader)]
    assert ids == [{"bell0@0", "bell1@0", "bell2@0", "engine1@0"}, {"bell3@0", "engine5@0"}]


def test_a_table_without_a_part_says_so(table, tmp_path):
    only = tmp_path / "only.csv"
    only.write_text(f"file,class,fold,author,licence\n{table.parent / 'bell0.wav'},bell,1,Ann,CC0\n")
    with pytest.raises(DataError, match="no recordings that are held out"):
        RecordingsDataModule(str(only)).val_dataloader()


def test_clips_of_another_sample_rate_are_an_error():
    task = AutoencoderFittingTask(ParametricStereoAutoencoder(sample_rate_hz=24_000))
    clip = Clip("a", 1.0, audio=torch.zeros(2, 16_000), sample_rate_hz=16_000)
    with pytest.raises(TrainingError, match="has 16000 Hz, the autoencoder expects 24000 Hz"):
        task.training_step(ClipBatch([clip], []))


@pytest.mark.slow
def test_the_recipe_fits_a_codec(table, tmp_path):
    words = ["--data.recordings", str(table), "--data.sample_rate_hz", "16000"]
    words += [f"--model.autoencoder.{name}={value}" for name, value in (("components", 8), ("sample_rate_hz", 16_000))]
    train(tmp_path, "fit", "--config", "studio/codec_recorded", *words)
    assert (tmp_path / "runs" / "studio" / "recorded_codec" / "model.safetensors").is_file()
