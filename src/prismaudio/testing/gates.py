"""Contract check of gates."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from prismaudio.cot.gates import Gate
from prismaudio.errors import NotApplicableError
from prismaudio.plan import Plan
from prismaudio.testing.check import Check, NotTriedError
from prismaudio.testing.examples import NEEDS, example_clip, example_plan, without

if TYPE_CHECKING:
    from prismaudio.types import Clip

MAX_REASON = 300
"""Maximum number of characters of a reason; it is shown in one line of a summary."""


def check_gate(gate: Gate, *, clip: Clip | None = None, plan: Plan | None = None, cot: str = "") -> None:
    """Check that a gate fulfils the contract of :class:`prismaudio.cot.gates.Gate`.

    A true plan must pass, with the same answer every time. Without an input that the gate needs it must not apply.
    Clips without video or audio, silent and short ones, audio that is not finite, and plans without sections, with
    empty ones or with other ones must give None, a reason in one line, or a NotApplicableError. The clip must not be
    modified.

    Args:
        gate: The gate.
        clip: A clip that it can check, with frames and audio; by default six seconds of a gong.
        plan: A true plan of the clip; by default one with a section for every installed dimension.
        cot: The undivided chain of thought of the plan; by default the text of the plan.

    Raises:
        NonconformingError: It violates the contract; the message states how, in one line.
    """
    check = Check(gate)
    check.require(isinstance(gate, Gate), "it is not a Gate")
    check.require(gate.needs <= set(NEEDS), f"needs may contain {', '.join(NEEDS)}, not {sorted(gate.needs)}")
    clip, plan = clip or example_clip(), plan or example_plan()
    cot = cot or " ".join(plan.values())
    before = [None if tensor is None else tensor.clone() for tensor in (clip.frames, clip.audio)]
    with check.during("checking a true plan"):
        try:
            reason = gate.check(clip, plan, cot)
        except NotApplicableError as error:
            raise NotTriedError(f"{check.name}: pass a clip and a plan that it can check: {error}") from error
    check.require(reason is None, f"it rejects a true plan: {reason}")
    torch.rand(1)  # advances the random state
    check.require(gate.check(clip, plan, cot) is None, "it rejects a plan that it did not reject before")
    for need in NEEDS:
        verdict = _verdict(check, gate, *without(clip, plan, need), cot, f"checking a clip without {need}")
        missing = isinstance(verdict, NotApplicableError)
        check.require(missing or need not in gate.needs, f"it declares that it needs {need}, but applies without it")
    for what, (odd_clip, odd_plan) in _odd_cases(clip, plan).items():
        found = _verdict(check, gate, odd_clip, odd_plan, cot, f"checking {what}")
        again = _verdict(check, gate, odd_clip, odd_plan, cot, f"checking {what}")
        check.require(str(found) == str(again), f"checking {what}: it says {found!s} first, then {again!s}")
    for old, new in zip(before, (clip.frames, clip.audio), strict=True):
        check.require(old is None or torch.equal(old, new), "check modifies the clip in place")  # type: ignore[arg-type]


def _odd_cases(clip: Clip, plan: Plan) -> dict[str, tuple[Clip, Plan]]:
    """Degenerate clips and plans, by what is odd."""
    short = replace(clip, duration_s=0.1, frames=None if clip.frames is None else clip.frames[:2])
    cases = {"empty sections": (clip, Plan(dict.fromkeys(plan, "")))}
    cases["a plan that says nothing"] = (clip, Plan(dict.fromkeys(plan, "Nothing sounds.")))
    cases["a section of another dimension"] = (clip, Plan({"other": "It has 3."}))
    if clip.audio is not None and clip.sample_rate_hz is not None:
        short = replace(short, audio=clip.audio[:, : clip.sample_rate_hz // 10])
        cases["silence"] = (replace(clip, audio=torch.zeros_like(clip.audio)), plan)
        cases["audio of no samples"] = (replace(clip, audio=clip.audio[:, :0]), plan)
        cases["audio that is not finite"] = (replace(clip, audio=torch.full_like(clip.audio, torch.nan)), plan)
    return cases | {"0.1 s": (short, plan)}


def _verdict(check: Check, gate: Gate, clip: Clip, plan: Plan, cot: str, what: str) -> str | NotApplicableError | None:
    """What the gate says, or why it does not apply."""
    with check.during(what):
        try:
            reason = gate.check(clip, plan, cot)
        except NotApplicableError as error:
            check.require(bool(str(error).strip()), f"{what}: it raises NotApplicableError without a reason")
            return error
    check.require(reason is None or isinstance(reason, str), f"{what}: it must return a reason or None, not {reason!r}")
    if reason is not None:
        one_line = 0 < len(reason.strip()) <= MAX_REASON and len(reason.splitlines()) == 1
        check.require(one_line, f"{what}: a reason is one line of at most {MAX_REASON} characters, not {reason!r}")
    return reason
