import torch

from prismaudio.types import Conditions, Features


def stream(*lengths: int) -> Features:
    return Features.pad([torch.ones(length, 2) for length in lengths])


def test_batches_of_unequal_streams_are_joined_with_padding() -> None:
    joined = Conditions.cat(
        Conditions(text=stream(3, 1), video=stream(2, 2)), Conditions(text=stream(5, 0), plan=stream(4, 4))
    )
    assert set(joined) == {"text", "video", "plan"}
    assert joined["text"].mask.sum(1).tolist() == [3, 1, 5, 0]
    assert joined["video"].mask.sum(1).tolist() == [2, 2, 0, 0]
    assert joined["plan"].mask.sum(1).tolist() == [0, 0, 4, 4]
    for features in (joined["text"], joined["video"], joined["plan"]):
        assert torch.equal(features.values.any(-1), features.mask)


def test_padding_counts_as_real_only_where_that_is_wanted() -> None:
    told = Conditions(text=stream(3, 1))
    assert told.unmasked()["text"].mask.all()
    assert told["text"].mask.sum(1).tolist() == [3, 1]
