from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from prismaudio.media.continuity import placed

FRAME_S = 1024 / 48_000


def frames(stamps_s):
    return [SimpleNamespace(time=time_s, samples=1024, sample_rate=48_000) for time_s in stamps_s]


def places(stamps_s):
    return np.array([frame.time_s for frame in placed(frames(stamps_s))])


def regular(n_frames, start_s=0.0):
    return start_s + np.arange(n_frames) * FRAME_S


def test_audio_without_gaps_is_placed_by_sample_count():
    stamps_s = np.round(regular(200, 0.5), 3)
    assert np.allclose(places(stamps_s), stamps_s[0] + regular(200), rtol=0, atol=1e-9)
    assert all(frame.follows for frame in list(placed(frames(stamps_s)))[1:])


def test_jitter_is_not_a_gap():
    noise_s = np.random.default_rng(0).uniform(-0.04, 0.04, 300)
    noise_s[0] = 0
    assert np.allclose(places(regular(300) + noise_s), regular(300), rtol=0, atol=1e-9)


def test_gap_moves_the_following_audio():
    stamps_s = np.concatenate([regular(50), regular(50, 3.0), regular(50, 9.0)])
    assert np.allclose(places(stamps_s), stamps_s, rtol=0, atol=1e-9)
    assert [index for index, frame in enumerate(placed(frames(stamps_s))) if not frame.follows] == [50, 100]


def test_lost_packet_is_a_gap():
    stamps_s = np.delete(regular(100), 40)
    assert np.allclose(places(stamps_s), stamps_s, rtol=0, atol=1e-9)


def test_overlap_moves_audio_back():
    stamps_s = np.concatenate([regular(50), regular(50, 50 * FRAME_S - 0.1)])
    assert np.allclose(places(stamps_s), stamps_s, rtol=0, atol=1e-9)


@pytest.mark.parametrize("wrong_s", [-1e6, -0.5, 0.5, 1e6])
def test_single_wrong_stamp_has_no_effect(wrong_s):
    stamps_s = regular(100)
    stamps_s[60] += wrong_s
    assert np.allclose(places(stamps_s), regular(100), rtol=0, atol=1e-9)


@pytest.mark.parametrize("jump_s", [86_400.0, -20.0])
def test_implausible_jumps_are_ignored(jump_s):
    stamps_s = np.concatenate([regular(100), jump_s + regular(100, 100 * FRAME_S)])
    assert np.allclose(places(stamps_s), regular(200), rtol=0, atol=1e-9)


def test_audio_without_stamps_is_placed_by_sample_count():
    assert np.allclose(places([None] * 30), regular(30), rtol=0, atol=1e-9)


def test_gap_at_the_end_counts():
    assert places([*regular(30), 5.0])[-1] == pytest.approx(5.0)
