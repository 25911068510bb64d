import pytest
import torch

from prismaudio.audio.covering import cover, cut, repeated


@pytest.mark.parametrize("length", [0, 1, 99, 100, 101, 200, 350, 1234])
def test_segments_cover_the_length_and_end_with_it(length):
    starts = cover(length, 100)
    covered = {place for start in starts for place in range(start, start + 100)}
    assert covered >= set(range(length))
    assert starts[0] == 0
    assert starts[-1] == max(0, length - 100)
    assert (len(starts) - 1) * 100 < max(1, length)


def test_short_audio_is_repeated_and_long_audio_is_unchanged():
    assert repeated(torch.tensor([[1, 2], [3, 4]]), 5).tolist() == [[1, 2, 1, 2, 1], [3, 4, 3, 4, 3]]
    assert repeated(torch.arange(3), 2).tolist() == [0, 1, 2]


def test_cut_stays_within_the_audio() -> None:
    audio = torch.arange(20.0).reshape(2, 10)
    assert cut(audio, 10, -0.2, 0.5).shape == (2, 3)
    assert cut(audio, 10, 0.5, 9.0).shape == (2, 5)
    assert cut(audio, 10, 3.0, 1.0).shape == (2, 0)
