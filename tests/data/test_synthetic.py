"""Clips of clicks and flashes: their plan states what is seen and heard."""

from __future__ import annotations

import pytest
import torch

from prismaudio.data.synthetic import SyntheticClips, SyntheticDataModule
from prismaudio.encoders.brightness import brightness

CLIPS = SyntheticClips(0, 12, 2.0, 8.0, 16, 16_000)


@pytest.mark.parametrize("index", range(12))
def test_the_plan_states_what_is_seen_and_heard(index):
    clip, plan = CLIPS.clip(index)
    (click,) = plan.story.sources
    seen = brightness(clip.frames, 2)
    assert [i / 8 for i in torch.nonzero(seen.amax(1) > 0.5).flatten().tolist()] == pytest.approx(
        list(click.onsets_s), abs=0.006
    )
    on_the_right = bool(seen[:, 1].sum() > seen[:, 0].sum())
    left, right = clip.audio.square().sum(1)
    assert on_the_right == bool(right > left) == (click.azimuth_deg[0] > 0)
    level = clip.audio.abs().amax(0)
    for onset_s in click.onsets_s:
        at = round(onset_s * 16_000)
        assert level[at - 200 : at - 100].max() < 0.05 < level[at : at + 300].max()
    assert (plan.story.quality, plan.story.room) == ("clean", "dry")
    plan.check(clip.duration_s)


def test_a_clip_is_always_the_same_and_no_other():
    again, same = SyntheticClips(4, 2, 2.0, 8.0, 16, 16_000).clip(0), CLIPS.clip(4)
    assert again[0].id == same[0].id
    assert again[1] == same[1]
    assert torch.equal(again[0].audio, same[0].audio)
    assert torch.equal(again[0].frames, same[0].frames)
    other = SyntheticClips(0, 12, 2.0, 8.0, 16, 16_000, seed=1).clip(4)[0]
    assert not torch.equal(other.audio, same[0].audio)
    assert len({CLIPS.clip(i)[0].id for i in range(12)}) == 12


def test_training_is_shuffled_and_validation_has_other_clips():
    data = SyntheticDataModule(8, 3, batch_size=2)
    trained = [clip.id for batch in data.train_dataloader() for clip in batch.clips]
    validated = [clip.id for batch in data.val_dataloader() for clip in batch.clips]
    assert sorted(trained) == [f"click-0-{i}" for i in range(8)] != trained
    assert validated == [f"click-0-{i}" for i in range(8, 11)]


def test_training_goes_on_where_it_stopped():
    data = SyntheticDataModule(8, 0, batch_size=2)
    whole = [[clip.id for clip in batch.clips] for batch in data.train_dataloader()]
    loader, rest = data.train_dataloader(), data.train_dataloader()
    given = iter(loader)
    next(given)
    rest.load_state_dict(loader.state_dict())
    assert [[clip.id for clip in batch.clips] for batch in rest] == whole[1:]


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match="batch_size"):
        SyntheticDataModule(batch_size=0)
