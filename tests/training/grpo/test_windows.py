"""Test T11 of the specification of the reinforcement learning: which steps are random."""

from collections import Counter

import pytest

from prismaudio.errors import PrismAudioError
from prismaudio.training.grpo.windows import AllSteps, RandomWindow, SlidingWindow, Window, WindowSchedule


def starts(schedule: WindowSchedule, steps: int = 24, updates: int = 2000, seed: int = 0) -> Counter[int]:
    return Counter(schedule.window(steps, seed, update).start for update in range(updates))


def test_the_random_window_of_the_paper_covers_every_start_but_not_the_last_step() -> None:
    found = starts(RandomWindow(2))
    assert set(found) == set(range(22))
    assert max(found.values()) < 2 * min(found.values())


def test_the_released_window_begins_in_the_first_half() -> None:
    assert set(starts(RandomWindow(2, latest=0.5))) == set(range(13))


def test_a_window_can_be_early_or_at_one_place() -> None:
    assert set(starts(RandomWindow(3, latest=0.4), steps=10)) == {0, 1, 2, 3, 4}
    assert set(starts(RandomWindow(2, earliest=0.25, latest=0.25))) == {6}
    assert set(starts(RandomWindow(2, earliest=1.0))) == {21}  # as late as there is room


def test_a_schedule_remembers_nothing() -> None:
    forwards = [RandomWindow(2).window(24, 3, update) for update in range(50)]
    schedule = RandomWindow(2)
    backwards = [schedule.window(24, 3, update) for update in reversed(range(50))]
    assert forwards == backwards[::-1]
    assert forwards != [schedule.window(24, 4, update) for update in range(50)]


def test_every_process_draws_these() -> None:
    assert [RandomWindow(2).window(24, 7, update, "clip").start for update in range(9)] == [
        0,
        6,
        15,
        15,
        6,
        21,
        14,
        17,
        9,
    ]


def test_groups_have_windows_of_their_own_unless_the_update_has_one() -> None:
    def found(schedule: WindowSchedule) -> set[Window]:
        return {schedule.window(24, 0, 5, group) for group in ("a", "b", "c", "d", 1, 2)}

    assert len(found(RandomWindow(2))) > 1
    assert len(found(RandomWindow(2, per="update"))) == 1
    assert len(starts(RandomWindow(2, per="update"))) == 22


def test_the_sliding_window_goes_over_all_steps_and_begins_again() -> None:
    schedule = SlidingWindow(4, every=2, stride=3)
    assert [schedule.window(12, 0, update).start for update in range(0, 12, 2)] == [0, 3, 6, 1, 4, 7]
    assert [SlidingWindow(4).window(25, 0, update).start for update in (0, 24, 25, 25 * 20, 25 * 21)] == [
        0,
        0,
        1,
        20,
        0,
    ]


def test_all_steps_but_the_last() -> None:
    assert list(AllSteps().window(5, 0, 9)) == [0, 1, 2, 3]


@pytest.mark.parametrize("schedule", [RandomWindow(4), SlidingWindow(4), AllSteps()])
def test_a_window_fits_or_is_refused(schedule: WindowSchedule) -> None:
    for steps in range(5, 30):
        for update in range(0, 200, 7):
            window = schedule.window(steps, 0, update)
            assert 0 <= window.start < window.stop <= steps - 1
    with pytest.raises(PrismAudioError, match="too few"):
        schedule.window(1, 0, 0)


def test_nonsense_is_refused() -> None:
    with pytest.raises(PrismAudioError, match="1 or more"):
        RandomWindow(0)
    with pytest.raises(PrismAudioError, match="1 or more"):
        SlidingWindow(2, every=0)
    with pytest.raises(PrismAudioError, match="earliest <= latest"):
        RandomWindow(2, earliest=0.6, latest=0.5)
