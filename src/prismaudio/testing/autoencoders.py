"""Contract check of autoencoders."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.autoencoders.base import Autoencoder
from prismaudio.checkpoints import Configured, description, fresh
from prismaudio.testing.check import Check
from prismaudio.testing.examples import example_audio

if TYPE_CHECKING:
    from collections.abc import Callable

N_FRAMES = 20
"""Frames of the example at least; there are more if those are shorter than 0.25 s."""


def check_autoencoder(autoencoder: Autoencoder, *, audio: Tensor | None = None, tolerance: float = 1e-3) -> None:
    """Check that an autoencoder fulfils the contract of :class:`prismaudio.autoencoders.base.Autoencoder`.

    Latents and audio must have the declared shapes, for lengths that are no multiple of ``hop`` as well; be float32,
    finite, silence included, and the same when computed again; each row must be that of the row alone; inputs must not
    be modified. Created again from its arguments and weights, as from a model folder, it must compute the same. How
    close decoded audio is to the original is not checked.

    Args:
        autoencoder: The autoencoder.
        audio: Audio ``(batch, 2, samples)`` at its sample rate, of at least two rows; by default a gong, noise and
            silence.
        tolerance: Allowed difference of equal results, absolute for values up to 1 and relative for larger ones.

    Raises:
        NonconformingError: It violates the contract; the message states how, in one line.
    """
    check = Check(autoencoder)
    check.require(isinstance(autoencoder, Autoencoder), "it is not an Autoencoder")
    for name in ("sample_rate_hz", "hop", "channels"):
        value = getattr(autoencoder, name, None)
        check.require(isinstance(value, int) and value > 0, f"{name} must be a number of at least 1, not {value!r}")
    was_training, tried = autoencoder.training, autoencoder.eval()
    rate_hz, hop = tried.sample_rate_hz, tried.hop
    if audio is None:
        n_frames = max(N_FRAMES, math.ceil(rate_hz / 4 / hop))
        audio = example_audio((n_frames + 1) * hop / rate_hz, rate_hz)[..., : n_frames * hop]
    latents = _encode(check, tried, audio, "encoding")
    decoded = _decode(check, tried, latents, "decoding")
    _encode(check, tried, audio[..., :-1], "encoding audio that ends within a frame")
    _encode(
        check, tried, audio[..., : audio.shape[-1] - hop + 1], "encoding audio of one sample more than whole frames"
    )
    torch.rand(1)  # advances the random state
    check.close(_encode(check, tried, audio, "encoding again"), latents, 1e-6, "latents differ when encoded again")
    check.close(_decode(check, tried, latents, "decoding again"), decoded, 1e-6, "audio differs when decoded again")
    alone = _encode(check, tried, audio[:1], "encoding one row")
    check.close(alone, latents[:1], tolerance, "latents of a row differ from those of the row alone")
    alone = _decode(check, tried, latents[:1], "decoding one row")
    check.close(alone, decoded[:1], tolerance, "audio of a row differs from that of the row alone")
    _check_created_again(check, tried, audio, tolerance)
    autoencoder.train(was_training)


def _encode(check: Check, autoencoder: Autoencoder, audio: Tensor, what: str) -> Tensor:
    shape = (len(audio), autoencoder.channels, math.ceil(audio.shape[-1] / autoencoder.hop))
    return _checked(check, autoencoder.encode, audio, shape, what)


def _decode(check: Check, autoencoder: Autoencoder, latents: Tensor, what: str) -> Tensor:
    return _checked(check, autoencoder.decode, latents, (len(latents), 2, latents.shape[-1] * autoencoder.hop), what)


def _checked(
    check: Check, network: Callable[[Tensor], Tensor], given: Tensor, shape: tuple[int, ...], what: str
) -> Tensor:
    kept = given.clone()
    with check.during(what), torch.no_grad():
        made = network(given)
    found = f"{made.dtype} {tuple(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
    right = isinstance(made, Tensor) and (made.dtype, tuple(made.shape)) == (torch.float32, shape)
    check.require(right, f"{what}: the result must be torch.float32 {shape}, not {found}")
    check.require(made.isfinite().all(), f"{what}: the result must be finite")
    check.require(torch.equal(given, kept), f"{what}: it modifies its input in place")
    return made


def _check_created_again(check: Check, autoencoder: Autoencoder, audio: Tensor, tolerance: float) -> None:
    """Check that arguments and weights, which a model folder holds, are all that the autoencoder is made of."""
    if not isinstance(autoencoder, Configured):
        return
    what = "creating it again from its arguments and weights"
    with check.during(what):
        json.dumps(description(autoencoder))
        again = type(autoencoder)(**fresh(autoencoder.config)).eval()
        again.load_state_dict(autoencoder.state_dict())
    latents = _encode(check, autoencoder, audio, what)
    check.close(_encode(check, again, audio, what), latents, tolerance, f"{what}, latents differ")
    expected, found = (_decode(check, each, latents, what) for each in (autoencoder, again))
    check.close(found, expected, tolerance, f"{what}, audio differs")
