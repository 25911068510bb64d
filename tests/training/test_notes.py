"""Numbers of an update."""

from __future__ import annotations

import torch

from prismaudio.training.notes import MAX_RATIO_ERROR, Notes, of_all_processes


def test_evaluations_are_counted_in_all_and_by_phase():
    notes = Notes()
    with notes.phase("rollout"), torch.no_grad():
        notes.count(None, (), torch.zeros(5))
    with notes.phase("training"):
        notes.count(None, (), torch.zeros(2))
    with notes.phase("rewards"):
        pass
    found = notes.taken()
    assert (found["nfe"], found["nfe/rollout"], found["nfe/training"]) == (11, 5, 6)
    assert "nfe/rewards" not in found
    assert found["seconds/rewards"] >= 0
    assert notes.taken() == {}


def test_a_ratio_that_is_not_one_is_said_once_and_the_largest_counts(caplog):
    notes = Notes()
    notes.add_ratio_error(MAX_RATIO_ERROR / 2, 3)
    assert not caplog.records
    for error in (0.25, 0.125):
        notes.add_ratio_error(error, 4)
    assert notes.taken() == {"ratio_error": 0.25}
    notes.add_ratio_error(0.5, 5)
    (record,) = caplog.records
    assert "of update 4 is off by 2.5e-01, it should be 1" in record.getMessage()


def test_what_is_cleared_is_forgotten():
    notes = Notes()
    notes.add("loss", 1.0)
    notes.count(None, (), torch.zeros(5))
    notes.clear()
    assert notes.taken() == {}


def test_one_process_keeps_its_numbers():
    assert of_all_processes({"loss": 1.5, "nfe": 3.0}) == {"loss": 1.5, "nfe": 3.0}
