from __future__ import annotations

import pytest
import torch

from prismaudio.data.buckets import Draw
from prismaudio.data.features import find_files, gather, look_over
from prismaudio.data.latents import LatentClips
from prismaudio.errors import DataError

from .conftest import DESCRIPTION, tensors


def clips(folder, *, verify=False, **kwargs):
    return LatentClips(look_over(*gather(find_files(folder)), verify=verify), **kwargs)


def test_a_batch_is_padded_and_masked(write, tmp_path):
    write({"a": 10, "b": tensors(4) | {"text": torch.ones(1, 5)}})
    batch = clips(tmp_path / "features")[[Draw(0), Draw(1)]]
    assert batch.ids == ["a", "b"]
    assert batch.latents.shape == (2, 4, 50)
    assert batch.mask.sum(1).tolist() == [50, 20]
    assert not batch.latents[1, :, 20:].any()
    assert batch.conditions["video"].mask.sum(1).tolist() == [10, 4]
    assert batch.conditions["text"].mask.sum(1).tolist() == [2, 1]
    assert "sync" not in batch.conditions
    assert batch.latents.is_contiguous()


def test_a_clip_without_a_stream_has_nothing_in_it(write, tmp_path):
    silent_movie = tensors(10)
    del silent_movie["video"]
    write({"a": 10, "b": silent_movie})
    batch = clips(tmp_path / "features")[[Draw(0), Draw(1)]]
    assert batch.conditions["video"].mask.sum(1).tolist() == [10, 0]
    alone = clips(tmp_path / "features")[[Draw(1)]]
    assert alone.conditions["video"].values.shape == (1, 0, 3)


def test_a_crop_keeps_frames_and_audio_aligned(write, tmp_path):
    write({"a": 40})
    cut = clips(tmp_path / "features", max_frames=50)
    starts = set()
    for epoch in range(30):
        batch = cut[[Draw(0, epoch)]]
        assert batch.latents.shape[-1] == 50
        assert batch.conditions["text"].values.shape[1] == 2  # text is not cut
        assert torch.equal(batch.conditions["video"].values[0, :, 0].repeat_interleave(5), batch.latents[0, 0])
        starts.add(int(batch.latents[0, 0, 0]))
    assert len(starts) > 10
    assert cut.lengths == [50]


def test_pieces_of_validation_are_always_the_beginning(write, tmp_path):
    write({"a": 40})
    assert int(clips(tmp_path / "features", max_frames=50)[[Draw(0)]].latents[0, 0, 0]) == 0


def test_pieces_are_whole_groups_of_features(write, tmp_path):
    grouped = DESCRIPTION | {"streams": DESCRIPTION["streams"] | {"sync": {"rate_hz": 25.0, "group": 8}}}
    write({"a": tensors(40) | {"sync": torch.arange(80.0)[:, None].expand(-1, 3)}}, description=grouped)
    cut = clips(tmp_path / "features", max_frames=60)
    for epoch in range(20):
        sync = cut[[Draw(0, epoch)]].conditions["sync"].values[0, :, 0]
        assert len(sync) == 24
        assert sync[0] % 8 == 0


def test_draws_depend_on_seed_epoch_and_clip_alone(write, tmp_path):
    write({"a": 40, "b": 40})
    one, other = (clips(tmp_path / "features", max_frames=50, seed=3) for _ in range(2))
    _ = other[[Draw(1, 9)]]
    assert torch.equal(one[[Draw(0, 4), Draw(1, 4)]].latents[0], other[[Draw(0, 4)]].latents[0])
    reseeded = clips(tmp_path / "features", max_frames=50, seed=4)
    pieces = [[int(set_[[Draw(0, epoch)]].latents[0, 0, 0]) for epoch in range(8)] for set_ in (one, reseeded)]
    assert pieces[0] != pieces[1]


def test_one_of_several_texts_is_taken(write, tmp_path):
    write({"a": tensors(10, n_texts=3)})
    found = clips(tmp_path / "features")
    taken = {int(found[[Draw(0, epoch)]].conditions["text"].values[0, 0, 0]) for epoch in range(30)}
    assert taken == {0, 1, 2}
    assert int(found[[Draw(0)]].conditions["text"].values[0, 0, 0]) == 0


def test_half_precision_on_disk_is_float32_in_a_batch(write, tmp_path):
    write({"a": {name: value.half() for name, value in tensors(10).items()}})
    batch = clips(tmp_path / "features")[[Draw(0)]]
    assert batch.latents.dtype == batch.conditions["video"].values.dtype == torch.float32


def test_what_was_not_verified_is_an_error_when_it_is_met(write, tmp_path):
    write({"a": tensors(10) | {"video": torch.full((10, 3), float("nan"))}})
    with pytest.raises(DataError, match="the video of clip a contain NaN or infinity; set verify"):
        clips(tmp_path / "features")[[Draw(0)]]
