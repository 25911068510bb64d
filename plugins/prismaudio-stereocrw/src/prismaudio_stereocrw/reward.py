"""The spatial reward of the paper: time differences between the channels as in the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from prismaudio.audio.covering import repeated
from prismaudio.audio.interaural import PUBLISHED_MAX_ITD_S
from prismaudio.audio.resample import fourier_resample, resample
from prismaudio.errors import NotApplicableError, PrismAudioError
from prismaudio.rewards.base import Cache, Reward
from prismaudio_stereocrw.listening import CrwListener, cut_windows
from prismaudio_stereocrw.network import RATE_HZ, CrwNetwork

if TYPE_CHECKING:
    from prismaudio.plan import Plan
    from prismaudio.types import Clip, Need

HEARD = 1.2
"""How much of a sound the published reward resamples, in lengths of a patch.

Of 6 s that is a little less than 7.2 s, so that a sample is lost in rounding; it hears the first 6.03 s of that.
"""


class StereoCrwReward(Reward):
    """Minus the squared error of the time difference between the channels, against the reference.

    For a window with time differences d, by StereoCRW and by GCC-PHAT and in ms, it is ``-(2.5 * (d_crw - r_crw)² +
    5 * (d_gcc - r_gcc)²) / 2``, r being those of the reference in the same window; windows are averaged. 0 is best; an
    error of 0.5 ms in both is worth -0.94.

    Args:
        weights: The published ``FreeMusic-StereoCRW-1024.pth.tar``, or its tensors as ``.safetensors``; None to look
            where they are kept.
        patch_s: Length in s of the patches whose sounds are compared, nearly that of a window.
        n_patches: Patches of a window, each a sample after the other, and frames of GCC-PHAT in it. Windows lie
            evenly over the whole sound, and a shorter sound is repeated. The first window is compared with the first
            of the reference, and so on; further ones do not count.
        release: Hear what the published reward hears: one window of 512 patches, 6.03 s from the beginning, resampled
            as if the first 7.2 s went round in a circle.
        precision: ``"fp32"``, or ``"bf16"`` for a network of half the cost.
        network: A network in place of published weights.

    Source:
        ``reward_itd.py`` of PrismAudio. It never loads the weights of StereoCRW and normalises by the statistics of
        the batch, so that half of it is noise; here the weights are loaded, and the statistics are theirs.
    """

    dimension = "spatial"
    needs: frozenset[Need] = frozenset({"reference"})
    range = (-3.75 * (2000 * PUBLISHED_MAX_ITD_S) ** 2, 0.0)

    def __init__(
        self,
        weights: str | None = None,
        patch_s: float = 6.0,
        n_patches: int = 128,
        release: bool = False,  # noqa: FBT001, FBT002  (an option of a recipe)
        precision: Literal["fp32", "bf16"] = "fp32",
        network: CrwNetwork | None = None,
    ) -> None:
        self.release = release
        patch_s, n_patches = (6.0, 512) if release else (patch_s, n_patches)
        self.listener = CrwListener(weights, network, patch_s, n_patches, precision)

    @property
    def identity(self) -> str:
        """What the prepared time differences depend on: their sign, the options, and the weights."""
        return f"{type(self).__qualname__} positive is right {self.release} {self.listener.identity}"

    @property
    def networks(self) -> Sequence[nn.Module]:
        """The network that it scores with."""
        return (self.listener.network,)

    def prepare(self, clip: Clip, plan: Plan) -> Cache:
        """The time differences of the reference, ``(windows, 2)`` in ms."""
        if clip.audio is None or clip.sample_rate_hz is None:
            raise NotApplicableError("it needs a reference sound, and there is none")
        if clip.audio.shape[-1] == 0:
            raise NotApplicableError("the reference sound has no samples")
        return {"itds_ms": self.itds_ms(clip.audio[None], clip.sample_rate_hz)[0].cpu()}

    def itds_ms(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """Time differences ``(batch, windows, 2)`` in ms, by StereoCRW and by GCC-PHAT.

        Args:
            audio: Audio ``(batch, 2, samples)``.
            sample_rate_hz: Its sample rate.
        """
        if audio.ndim != 3 or audio.shape[1] != 2:
            raise PrismAudioError(f"sound of shape {tuple(audio.shape)} has no two sides; expected (batch, 2, samples)")
        windows = self.windows(audio.float(), sample_rate_hz)
        return self.listener.itds_ms(windows.flatten(0, 1)).unflatten(0, windows.shape[:2])

    def windows(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """What is heard of audio ``(batch, 2, samples)``: windows ``(batch, windows, 2, samples)`` at 16 kHz."""
        length = self.listener.window_samples
        if not self.release:
            return cut_windows(resample(audio, sample_rate_hz, RATE_HZ), length)
        heard_s = HEARD * (self.listener.patch_samples / RATE_HZ)
        heard = repeated(audio, int(heard_s * sample_rate_hz))[..., : int(heard_s * sample_rate_hz)]
        return fourier_resample(heard, int(heard_s * RATE_HZ))[:, None, :, :length]

    def score(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Cache]) -> Tensor:
        """Scores ``(batch,)`` from -33.75 to 0; windows that only one of sound and reference has do not count."""
        found = self.itds_ms(audio, sample_rate_hz)
        n = found.shape[1]
        wanted = torch.nn.utils.rnn.pad_sequence(
            [cache["itds_ms"][:n] for cache in caches], batch_first=True, padding_value=torch.nan
        ).to(found.device, non_blocking=True)
        counts = ~wanted.isnan()
        squares = torch.where(counts, found[:, : wanted.shape[1]] - wanted, 0.0).square()
        return -(2.5 * squares[..., 0] + 5 * squares[..., 1]).sum(1) / 2 / counts[..., 0].sum(1)
