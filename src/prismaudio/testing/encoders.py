"""Whether an encoder keeps its contract."""

from __future__ import annotations

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
    """See that an encoder keeps the contract of :class:`prismaudio.encoders.base.Encoder`.

    Features are float32, finite, as wide and as many a second as it says, the same every time and on a GPU, if there
    is one; the clip is left as it was.

    Args:
        encoder: The encoder.
        clip: A clip that it can encode; by default six seconds at the encoder's own rate.
        plan: The plan of that; by default one with a section for every installed dimension.
        steps_off: How many features more or less than duration times rate there may be.
        tolerance: Largest difference between what must be the same, of features up to 1; a share of larger ones.
        device: Largest difference for a clip on the GPU, in the same way.

    Raises:
        NonconformingError: It does not; the text says in one line what is wrong.
    """
    check = Check(encoder)
    check.that(isinstance(encoder, Encoder), "it is not an Encoder")
    clip, plan = clip or example_clip(fps=encoder.rate_hz or 25.0), plan or example_plan()
    before = None if clip.frames is None else clip.frames.clone()
    features = _encode(check, encoder, clip, plan)
    if before is not None and clip.frames is not None:
        check.that(torch.equal(before, clip.frames), "it changes the frames in place")
    expected = None if encoder.rate_hz is None else clip.duration_s * encoder.rate_hz
    if expected is not None:
        off = abs(len(features) - expected)
        text = f"{len(features)} features for {clip.duration_s:g} s at {encoder.rate_hz:g} a second"
        check.that(off <= steps_off, f"{text}, expected {expected:g}, give or take {steps_off}")
    torch.rand(1)  # what is drawn next is another number
    check.close(_encode(check, encoder, clip, plan), features, 1e-6, "features differ when encoded again")
    if torch.cuda.is_available():
        from prismaudio.types import ClipBatch

        moved = ClipBatch([clip], [plan]).to("cuda").clips[0]
        check.close(_encode(check, encoder, moved, plan), features, device, "features of a clip on the GPU differ")
        again = _encode(check, encoder, clip, plan)
        check.close(again, features, max(device, tolerance), "features differ after a clip on the GPU")


def _encode(check: Check, encoder: Encoder, clip: Clip, plan: Plan) -> Tensor:
    with check.doing("encoding"), torch.no_grad():
        features = encoder.encode(clip, plan)
    right = features.dtype == torch.float32 and features.ndim == 2 and features.shape[1] == encoder.dim
    found = f"{features.dtype} {tuple(features.shape)}"
    check.that(right, f"features must be float32 (time, {encoder.dim}), they are {found}")
    check.that(features.isfinite().all(), "features must be finite")
    return features
