"""Statistics of an update."""

from __future__ import annotations

import torch

from prismaudio.training.update_log import MAX_RATIO_ERROR, UpdateLog, reduce_over_processes


def test_evaluations_are_counted_in_all_and_by_phase():
    log = UpdateLog()
    with log.phase("rollout"), torch.no_grad():
        log.count(5)
    with log.phase("training"):
        log.count(2)
    with log.phase("rewards"):
        pass
    found = log.pop()
    assert (found["nfe"], found["nfe/rollout"], found["nfe/training"]) == (11, 5, 6)
    assert (found["forwards/rollout"], found["forwards/training"], log.forwards) == (1, 1, 0)
    assert "nfe/rewards" not in found
    assert found["seconds/rewards"] >= 0
    assert log.pop() == {}


def test_the_parts_of_a_phase_add_up():
    log = UpdateLog()
    for n in (3, 4):
        with log.phase("rollout"), torch.no_grad():
            log.count(n)
    found = log.pop()
    assert (found["nfe/rollout"], found["forwards/rollout"]) == (7, 2)


def test_a_ratio_that_is_not_one_is_warned_of_once_and_the_largest_is_kept(caplog):
    log = UpdateLog()
    log.add_ratio_error(MAX_RATIO_ERROR / 2, 3)
    assert not caplog.records
    for error in (0.25, 0.125):
        log.add_ratio_error(error, 4)
    assert log.pop() == {"ratio_error": 0.25}
    log.add_ratio_error(0.5, 5)
    (record,) = caplog.records
    assert "of update 4 differs from 1 by 2.5e-01" in record.getMessage()


def test_what_is_cleared_is_not_logged():
    log = UpdateLog()
    log.add("loss", 1.0)
    with log.phase("rollout"):
        log.count(5)
    log.clear()
    assert log.pop() == {}


def test_one_process_keeps_its_numbers():
    assert reduce_over_processes({"loss": 1.5, "nfe": 3.0}) == {"loss": 1.5, "nfe": 3.0}
