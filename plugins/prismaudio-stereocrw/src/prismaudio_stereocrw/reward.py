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
from prismaudio_stereocrw.estimator import CrwEstimator, cut_windows
from prismaudio_stereocrw.network import RATE_HZ, CrwNetwork

if TYPE_CHECKING:
    from prismaudio.plan import Plan
    from prismaudio.types import Clip, Need

RESAMPLED_PATCHES = 1.2
"""Length of audio that the published reward resamples, in patches.

For 6 s that is slightly less than 7.2 s, so that a sample is lost in rounding; it uses the first 6.03 s of the result.
"""


class StereoCrwReward(Reward):
    """Negative squared error of the time difference between the channels, against the reference.

    For a segment with time differences d in ms, by StereoCRW and by GCC-PHAT, it is ``-(2.5 * (d_crw - r_crw)² +
    5 * (d_gcc - r_gcc)²) / 2``, where r are those of the reference in the same segment; the reward is the mean over
    segments. 0 is best; an error of 0.5 ms in both scores -0.94.

    Args:
        weights: The published ``FreeMusic-StereoCRW-1024.pth.tar``, or its tensors as ``.safetensors``; None for the
            default locations.
        patch_s: Length in s of the compared patches, nearly that of a segment.
        n_patches: Patches per segment, one sample apart, and its frames of GCC-PHAT. Segments are evenly spaced over
            the audio, and shorter audio is repeated. Segments are compared with those of the reference in order;
            surplus ones are ignored.
        release: Use the audio of the published reward: one segment of 512 patches, 6.03 s from the start, resampled
            as if the first 7.2 s were periodic.
        precision: ``"fp32"``, or ``"bf16"`` at half the cost.
        network: A network to use instead of published weights.

    Source:
        ``reward_itd.py`` of PrismAudio. It never loads the weights of StereoCRW and normalizes by the statistics of
        the batch, so that half of it is noise; here the weights and their statistics are loaded.
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
        self.estimator = CrwEstimator(weights, network, patch_s, n_patches, precision)

    @property
    def identity(self) -> str:
        """What the prepared time differences depend on: their sign, the options, and the weights."""
        return f"{type(self).__qualname__} positive is right {self.release} {self.estimator.identity}"

    @property
    def networks(self) -> Sequence[nn.Module]:
        """The embedding network."""
        return (self.estimator.network,)

    def prepare(self, clip: Clip, plan: Plan) -> Cache:
        """The time differences of the reference, ``(segments, 2)`` in ms."""
        if clip.audio is None or clip.sample_rate_hz is None:
            raise NotApplicableError("it needs reference audio, but there is none")
        if clip.audio.shape[-1] == 0:
            raise NotApplicableError("the reference audio has no samples")
        return {"itds_ms": self.itds_ms(clip.audio[None], clip.sample_rate_hz)[0].cpu()}

    def itds_ms(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """Time differences ``(batch, segments, 2)`` in ms, by StereoCRW and by GCC-PHAT.

        Args:
            audio: Audio ``(batch, 2, samples)``.
            sample_rate_hz: Its sample rate.
        """
        if audio.ndim != 3 or audio.shape[1] != 2:
            raise PrismAudioError(f"the audio has shape {tuple(audio.shape)}; expected (batch, 2, samples)")
        windows = self.windows(audio.float(), sample_rate_hz)
        return self.estimator.itds_ms(windows.flatten(0, 1)).unflatten(0, windows.shape[:2])

    def windows(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """The segments ``(batch, segments, 2, samples)`` at 16 kHz that represent audio ``(batch, 2, samples)``."""
        length = self.estimator.window_samples
        if not self.release:
            return cut_windows(resample(audio, sample_rate_hz, RATE_HZ), length)
        used_s = RESAMPLED_PATCHES * (self.estimator.patch_samples / RATE_HZ)
        used = repeated(audio, int(used_s * sample_rate_hz))[..., : int(used_s * sample_rate_hz)]
        return fourier_resample(used, int(used_s * RATE_HZ))[:, None, :, :length]

    def score(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Cache]) -> Tensor:
        """Scores ``(batch,)`` from -33.75 to 0; surplus segments of audio or reference are ignored."""
        found = self.itds_ms(audio, sample_rate_hz)
        n = found.shape[1]
        wanted = torch.nn.utils.rnn.pad_sequence(
            [cache["itds_ms"][:n] for cache in caches], batch_first=True, padding_value=torch.nan
        ).to(found.device, non_blocking=True)
        counts = ~wanted.isnan()
        squares = torch.where(counts, found[:, : wanted.shape[1]] - wanted, 0.0).square()
        return -(2.5 * squares[..., 0] + 5 * squares[..., 1]).sum(1) / 2 / counts[..., 0].sum(1)
