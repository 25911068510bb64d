"""Listening to windows of a sound: what StereoCRW and GCC-PHAT say of the time difference in each."""

from __future__ import annotations

import functools
import hashlib
import math

import torch
from torch import Tensor

from prismaudio.audio.covering import repeated
from prismaudio.audio.interaural import gcc_phat_itds_s
from prismaudio.errors import PrismAudioError
from prismaudio_stereocrw.delays import affinity, delays_s
from prismaudio_stereocrw.network import RATE_HZ, CrwNetwork, load_network


class CrwListener:
    """Time differences between the channels of windows of one length.

    It is no module, so that whoever has one does not store the network with its own weights.

    Args:
        weights: The published weights; see :func:`prismaudio_stereocrw.network.load_network`.
        network: The network, in place of published weights.
        patch_s: Length of a patch in s.
        n_patches: Patches of a window, each a sample after the other.
        precision: ``"fp32"`` or ``"bf16"``, of the network.
    """

    def __init__(
        self, weights: str | None, network: CrwNetwork | None, patch_s: float, n_patches: int, precision: str
    ) -> None:
        if not patch_s >= 0.064 or n_patches < 49:
            raise PrismAudioError(
                f"patches of {patch_s:g} s, {n_patches} of them, cannot be compared; give 0.064 s and 49 or more"
            )
        self.network = (load_network(weights) if network is None else network).eval()
        self.patch_samples, self.n_patches = int(patch_s * RATE_HZ), n_patches
        self.precision = precision

    @property
    def window_samples(self) -> int:
        """Length of a window at 16 kHz."""
        return self.patch_samples + self.n_patches - 1

    @functools.cached_property
    def identity(self) -> str:
        """What time differences depend on beside the sound: the options, and a hash of the weights."""
        digest = hashlib.blake2b(digest_size=16)
        for key, value in sorted(self.network.state_dict().items()):
            digest.update(key.encode())
            digest.update(value.cpu().numpy())
        return f"{self.patch_samples} {self.n_patches} {self.precision} {digest.hexdigest()}"

    @torch.no_grad()
    def delays_s(self, windows: Tensor) -> Tensor:
        """Time differences by StereoCRW ``(batch, patches that have all neighbours)`` in s.

        Args:
            windows: Audio ``(batch, 2, window_samples)`` at 16 kHz; the network moves to its device.
        """
        self.network.to(windows.device)
        with torch.autocast(windows.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            left, right = (self.network.embed(windows[:, side], self.patch_samples, self.n_patches) for side in (0, 1))
        return delays_s(affinity(left.float(), right.float()))

    @torch.no_grad()
    def itds_ms(self, windows: Tensor) -> Tensor:
        """Time differences ``(batch, 2)`` in ms, by StereoCRW and by GCC-PHAT; positive is right."""
        crw_s = self.delays_s(windows).mean(-1)
        gcc_s = gcc_phat_itds_s(windows, RATE_HZ, n_frames=self.n_patches).mean(-1)
        return 1000 * torch.stack([crw_s, gcc_s], dim=-1)


def cut_windows(sound: Tensor, length: int) -> Tensor:
    """Windows ``(batch, n, 2, length)`` that lie evenly over the whole of a sound, as few as that takes.

    Args:
        sound: Audio ``(batch, 2, samples)``; one that is shorter than a window is repeated.
        length: Length of a window in samples.

    Example:
        >>> cut_windows(torch.arange(20).expand(1, 2, 20), 8)[0, :, 0, 0]
        tensor([ 0,  6, 12])
    """
    sound = repeated(sound, length)
    last = sound.shape[-1] - length
    n = math.ceil(last / length) + 1
    starts = [last * i // max(1, n - 1) for i in range(n)]
    return torch.stack([sound[..., start : start + length] for start in starts], dim=1)
