"""Contract check of encoders."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.encoders.base import Encoder
from prismaudio.testing.check import Check
from prismaudio.testing.examples import example_clip, example_plan

if TYPE_CHECKING:
    from prismaudio.plan import Plan
    from prismaudio.types import Clip


def check_encoder(
    encoder: Encoder,
    *,
    clip: Clip | None = None,
    plan: Plan | None = None,
    steps_off: int = 2,
    tolerance: float = 1e-4,
    device: float = 0.02,
) -> None:
    """Check that an encoder fulfils the contract of :class:`prismaudio.encoders.base.Encoder`.

    Features must be float32, finite, of the declared dim and rate, deterministic, equal in a batch, and equal on a GPU,
    if available; the clip must not be modified.

    Args:
        encoder: The encoder.
        clip: A clip that it can encode; by default six seconds at the rate of the encoder.
        plan: The plan of the clip; by default one with a section for every installed dimension.
        steps_off: Allowed deviation of the number of features from duration times rate.
        tolerance: Allowed difference of equal results, absolute for values up to 1 and relative for larger ones.
        device: Allowed difference of features of a clip on the GPU, in the same way.

    Raises:
        NonconformingError: It violates the contract; the message states how, in one line.
    """
    check = Check(encoder)
    check.require(isinstance(encoder, Encoder), "it is not an Encoder")
    clip, plan = clip or example_clip(fps=encoder.rate_hz or 25.0), plan or example_plan()
    before = None if clip.frames is None else clip.frames.clone()
    features = _encode(check, encoder, clip, plan)
    if before is not None and clip.frames is not None:
        check.require(torch.equal(before, clip.frames), "it modifies the frames in place")
    expected = None if encoder.rate_hz is None else clip.duration_s * encoder.rate_hz
    if expected is not None:
        off = abs(len(features) - expected)
        text = f"{len(features)} features for {clip.duration_s:g} s at {encoder.rate_hz:g} per second"
        check.require(off <= steps_off, f"{text}, expected {expected:g} ± {steps_off}")
    torch.rand(1)  # advances the random state
    check.close(_encode(check, encoder, clip, plan), features, 1e-6, "features differ when encoded again")
    batched = _encode_two(check, encoder, clip, plan)
    check.close(batched, features, tolerance, "features differ when two clips are encoded together")
    if torch.cuda.is_available():
        from prismaudio.types import ClipBatch

        moved = ClipBatch([clip], [plan]).to("cuda").clips[0]
        check.close(_encode(check, encoder, moved, plan), features, device, "features of a clip on the GPU differ")
        again = _encode(check, encoder, clip, plan)
        check.close(again, features, max(device, tolerance), "features differ after a clip on the GPU")


def _encode(check: Check, encoder: Encoder, clip: Clip, plan: Plan) -> Tensor:
    with check.during("encoding"), torch.no_grad():
        features = encoder.encode(clip, plan)
    return _checked(check, encoder, features)


def _encode_two(check: Check, encoder: Encoder, clip: Clip, plan: Plan) -> Tensor:
    """Features of a clip that is encoded together with its first half."""
    frames = None if clip.frames is None else clip.frames[: (len(clip.frames) + 1) // 2]
    half = replace(clip, id=f"{clip.id} half", duration_s=clip.duration_s / 2, frames=frames, audio=None)
    with check.during("encoding a batch"), torch.no_grad():
        batch = encoder.encode_batch([half, clip], [plan, plan])
    check.require(len(batch) == 2, f"a batch of two clips has {len(batch)} features")
    return _checked(check, encoder, batch[1])


def _checked(check: Check, encoder: Encoder, features: Tensor) -> Tensor:
    right = features.dtype == torch.float32 and features.ndim == 2 and features.shape[1] == encoder.dim
    found = f"{features.dtype} {tuple(features.shape)}"
    check.require(right, f"features must be float32 (time, {encoder.dim}), not {found}")
    check.require(features.isfinite().all(), "features must be finite")
    return features
