from __future__ import annotations

import itertools
import random

import pytest

from prismaudio.data.buckets import BucketSampler, fill_buckets

RNG = random.Random(0)
LENGTHS = [RNG.randint(20, 400) for _ in range(203)]


def given(sampler, epoch=0):
    sampler.set_epoch(epoch)
    return [[draw.clip for draw in batch] for batch in sampler]


def joined(lists):
    return list(itertools.chain.from_iterable(lists))


def test_a_batch_is_of_one_bucket():
    sampler = BucketSampler(LENGTHS, 8)
    bucket_of = {clip: i for i, bucket in enumerate(sampler.buckets) for clip in bucket}
    assert len(sampler.buckets) > 5
    for batch in given(sampler):
        assert len(batch) == 8
        assert len({bucket_of[clip] for clip in batch}) == 1


def test_nothing_comes_twice_and_what_is_left_out_comes_later():
    sampler = BucketSampler(LENGTHS, 8)
    for epoch in range(3):
        flat = joined(given(sampler, epoch))
        assert len(flat) == len(set(flat)) == 8 * len(sampler)
    assert {clip for epoch in range(20) for batch in given(sampler, epoch) for clip in batch} == set(range(203))


def test_the_order_depends_on_seed_and_epoch_alone():
    first, second = BucketSampler(LENGTHS, 8, seed=5), BucketSampler(LENGTHS, 8, seed=5)
    given(second, 1)
    assert given(first, 3) == given(second, 3) != given(first, 4)
    assert given(first, 3) != given(BucketSampler(LENGTHS, 8, seed=6), 3)


@pytest.mark.parametrize("shuffle", [True, False])
def test_processes_share_the_batches_that_one_would_have(shuffle):
    one = given(BucketSampler(LENGTHS, 8, shuffle=shuffle), 2)
    four = [given(BucketSampler(LENGTHS, 2, rank=r, n_ranks=4, shuffle=shuffle), 2) for r in range(4)]
    assert {len(batches) for batches in four} == {len(one)}
    together = [joined(shares) for shares in zip(*four, strict=True)]
    assert together[:-1] == one[:-1]
    assert set(together[-1]) == set(one[-1])


def test_every_clip_is_validated_once():
    sampler = BucketSampler(LENGTHS, 8, shuffle=False)
    flat = joined(given(sampler))
    assert sorted(flat) == list(range(203))
    assert len(sampler) == len(given(sampler)) == 26
    assert [LENGTHS[clip] for clip in flat] == sorted(LENGTHS)


def test_a_last_batch_is_shared_and_repeated_only_where_a_process_would_have_nothing():
    shares = [given(BucketSampler([5, 6, 7], 4, rank=r, n_ranks=2, shuffle=False)) for r in range(2)]
    assert shares == [[[0]], [[1, 2]]]
    shares = [given(BucketSampler([5, 6, 7], 1, rank=r, n_ranks=2, shuffle=False)) for r in range(2)]
    assert shares == [[[0], [2]], [[1], [2]]]


def test_a_set_smaller_than_a_batch_is_repeated():
    sampler = BucketSampler([10, 30, 20], 8)
    (batch,) = given(sampler)
    assert len(batch) == 8
    assert set(batch) == {0, 1, 2}
    assert len(sampler) == 1


def test_bounds_of_buckets_can_be_given():
    assert fill_buckets([10, 50, 60, 100, 101, 400], 1, [60, 100]) == [[0, 1, 2], [3], [4, 5]]
    assert fill_buckets([10, 50, 60, 100, 101, 400], 2, [60, 100]) == [[0, 1, 2], [3, 4, 5]]


def test_cropped_clips_share_batches_without_padding():
    lengths = [194] * 100 + [RNG.randint(160, 193) for _ in range(20)]
    sampler = BucketSampler(lengths, 8)
    for batch in given(sampler):
        assert len({lengths[clip] == 194 for clip in batch}) == 1
    assert len(fill_buckets([194] * 100 + [190] * 3, 8)) == 1  # too few to fill a batch


def test_padding_is_that_of_the_batches():
    sampler = BucketSampler(LENGTHS, 8, rank=1, n_ranks=2)
    batches = [[LENGTHS[clip] for clip in batch] for batch in given(sampler, 3)]
    longest = sum(len(batch) * max(batch) for batch in batches)
    frames, padded = sampler.padding(3)
    assert frames == pytest.approx(1 - sum(map(sum, batches)) / longest)
    assert padded == pytest.approx(sum(len(set(batch)) > 1 for batch in batches) / len(batches))
    assert BucketSampler([5] * 20, 4).padding() == (0, 0)
