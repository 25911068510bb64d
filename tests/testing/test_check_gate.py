from __future__ import annotations

import pytest

from prismaudio.cot.gates import AgreementGate, Gate, audio_of
from prismaudio.errors import NotApplicableError
from prismaudio.plan import Plan
from prismaudio.registry import discover
from prismaudio.testing import NonconformingError, NotTriedError, check_gate

MINE = [entry.name for entry in discover().entries if entry.kind == "gates" and entry.plugin.name == "core"]


class Good(Gate):
    """Rejects plans of quiet clips."""

    needs = frozenset({"reference"})

    def check(self, clip, plan, cot=""):
        audio, _ = audio_of(clip)
        return None if float(audio.abs().max()) > 0.01 else f"the peak is {float(audio.abs().max()):.3f}"


def bad(function, **attributes):
    return type("Bad", (Good,), {"check": function, **attributes})()


def says(*answers):
    """A gate that gives these answers in turn, and the last one from then on."""
    told = iter(answers[:-1])
    return lambda self, clip, plan, cot="": next(told, answers[-1])


def in_place(self, clip, plan, cot=""):
    audio_of(clip)
    clip.audio.mul_(0.5)


def failing_on_silence(self, clip, plan, cot=""):
    return None if 1 / float(audio_of(clip)[0].abs().max()) < 1e6 else "quiet"


def verbose(self, clip, plan, cot=""):
    return None if plan.get("semantic", "").strip() else "it is empty\nit is empty"


def without_reason(self, clip, plan, cot=""):
    if clip.audio is None:
        raise NotApplicableError("")


@pytest.mark.parametrize("name", MINE)
def test_the_gates_of_the_core_keep_the_contract(name):
    gate = discover().load("gates", name)()
    if isinstance(gate, AgreementGate):
        with pytest.raises(NotTriedError, match="it compares two plans"):
            check_gate(gate)
    else:
        check_gate(gate)


def test_all_gates_of_the_core_are_provided():
    assert len(MINE) == 6
    check_gate(Good())


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        (object(), "it is not a Gate"),
        (bad(says(None), needs=frozenset({"sound"})), "needs may contain video, plan, reference"),
        (bad(says("it is wrong")), "it rejects a true plan: it is wrong"),
        (bad(says(None, "no")), "it rejects a plan that it did not reject before"),
        (bad(says(None)), "it declares that it needs reference, but applies without it"),
        (bad(says(None, None, "a", "b", "c", "d", "e"), needs=frozenset()), "it says d first, then e"),
        (bad(in_place), "check modifies the clip in place"),
        (bad(failing_on_silence), "checking silence: ZeroDivisionError"),
        (bad(says(None, None, 3), needs=frozenset()), "it must return a reason or None, not 3"),
        (bad(verbose, needs=frozenset()), "a reason is one line of at most 300 characters"),
        (bad(without_reason), "it raises NotApplicableError without a reason"),
    ],
)
def test_what_is_wrong_with_a_gate_is_said_in_one_line(gate, said):
    with pytest.raises(NonconformingError) as error:
        check_gate(gate)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_gate_that_does_not_apply_to_the_example_is_not_tried():
    def check(self, clip, plan, cot=""):
        if "trombone" not in plan.get("semantic", ""):
            raise NotApplicableError("there is no trombone")

    gate = bad(check, needs=frozenset())
    with pytest.raises(NotTriedError, match="pass a clip and a plan that it can check: there is no trombone"):
        check_gate(gate)
    check_gate(gate, plan=Plan({"semantic": "A trombone plays."}))
