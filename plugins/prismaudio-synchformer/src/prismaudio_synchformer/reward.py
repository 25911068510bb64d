"""A reward for audio-visual synchronization."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn

from prismaudio.audio.covering import cover
from prismaudio.audio.resample import sinc_resample
from prismaudio.errors import NotApplicableError
from prismaudio.rewards.base import Reward
from prismaudio.weight_files import fingerprint
from prismaudio_synchformer.network import Synchformer
from prismaudio_synchformer.offsets import Offset, distance_s
from prismaudio_synchformer.segments import FPS, RATE_HZ, SHORTEST, SIZE, WINDOW, at_25_fps, cut_audio
from prismaudio_synchformer.visual import encode_frames
from prismaudio_synchformer.weights import load_network

if TYPE_CHECKING:
    from prismaudio.plan import Plan
    from prismaudio.rewards.base import Cache
    from prismaudio.types import Clip

Precision = Literal["fp32", "bf16"]
RELEASE_FRAMES, RELEASE_SAMPLE, RELEASE_SIDE = slice(2, 122), 1_280, 256
"""Input of the published reward: frames 2 to 121 at 25 per second, audio from 0.08 s, a narrower crop."""
RELEASE_S, RELEASE_BETA = 5.0, 14.769656459379492


class SynchformerReward(Reward):
    """Audio-visual synchronization: 1 for an offset of 0, 0 for one of 2 s.

    The score is the mean over segments of 4.8 s that cover the frames, the last of which ends with them. Audio shorter
    than the frames is padded with silence; longer audio is trimmed.

    Args:
        weights: A file, a folder that has it, or ``owner/name`` on the Hugging Face hub; None for the published one.
        offset: ``"soft"`` for the expected absolute offset, ``"argmax"`` for the most likely offset, whose steps of
            0.2 s give most candidates of a clip equal scores.
        release: Score as the published code: 4.8 s from 0.08 s on, the most likely offset, half the range.
        precision: ``"fp32"``, or ``"bf16"`` for the two towers and the head in mixed precision.
        network: A network to use instead of ``weights``.
    """

    dimension: ClassVar[str | None] = "temporal"
    needs = frozenset({"video"})

    def __init__(
        self,
        weights: str | None = None,
        offset: Offset = "soft",
        release: bool = False,  # noqa: FBT001, FBT002  (a recipe's key)
        precision: Precision = "fp32",
        network: Synchformer | None = None,
    ) -> None:
        self.network = (load_network(weights) if network is None else network).eval()
        self.offset: Offset = "argmax" if release else offset
        self.release, self.precision = release, precision
        self.range = (0.0, 0.5 if release else 1.0)
        self._placed = False

    @cached_property
    def identity(self) -> str:
        """What ``prepare`` depends on: the weights of the visual tower, not their path."""
        weights = fingerprint(self.network.vfeat_extractor)
        return f"{type(self).__module__}:{type(self).__qualname__} {self.release} {self.precision} {weights}"

    @property
    def networks(self) -> Sequence[nn.Module]:
        """The synchronization network."""
        return (self.network,)

    @torch.no_grad()
    def prepare(self, clip: Clip, plan: Plan) -> Cache:
        """The visual features of every segment: ``{"seen": (segments, 8, 768)}``.

        Raises:
            NotApplicableError: There are no frames, or too few.
        """
        if clip.frames is None or clip.fps is None:
            raise NotApplicableError("it needs frames, but there are none")
        needed_s = RELEASE_S if self.release else SHORTEST / FPS
        frames = at_25_fps(clip.frames, clip.fps)
        if len(frames) < round(needed_s * FPS):
            lasts_s = len(clip.frames) / clip.fps
            raise NotApplicableError(f"its frames last {lasts_s:.2f} s; Synchformer needs at least {needed_s:g} s")
        if not self._placed:  # not yet moved by a call of score
            self._move(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        with self._autocast():
            if self.release:
                seen = encode_frames(self.network.vfeat_extractor, frames[RELEASE_FRAMES], RELEASE_SIDE, torch.float16)
            else:
                seen = encode_frames(self.network.vfeat_extractor, frames, SIZE)
        return {"seen": seen.cpu()}

    def score(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Cache]) -> Tensor:
        """Scores ``(batch,)``; see :meth:`prismaudio.rewards.base.Reward.score`."""
        distances = [distance_s(logits, self.offset).mean() for logits in self.logits(audio, sample_rate_hz, caches)]
        return offset_score(torch.stack(distances), release=self.release)

    @torch.no_grad()
    def logits(
        self,
        audio: Tensor,
        sample_rate_hz: int,
        caches: Sequence[Cache],
        starts: Callable[[int, int], list[int]] = cover,
    ) -> list[Tensor]:
        """Logits of 21 offsets ``(sequences, 21)`` for each sequence of segments of each row.

        Args:
            audio: Audio ``(batch, 2, samples)``.
            sample_rate_hz: Its sample rate.
            caches: Results of ``prepare``, one per row.
            starts: Returns the first segments of the sequences, given the number of segments and the length of a
                sequence.
        """
        self._move(audio.device)
        self._placed = True
        counts = [len(cache["seen"]) for cache in caches]
        first = RELEASE_SAMPLE if self.release else 0
        sounds = mono(audio.float(), sample_rate_hz, release=self.release)
        segments = torch.cat([cut_audio(*row, first) for row in zip(sounds, counts, strict=True)])
        there = {id(cache): cache["seen"].to(audio.device, non_blocking=True) for cache in caches}
        places = [starts(count, WINDOW) for count in counts]
        with self._autocast():
            encoded = self.network.encode_audio(segments).split(counts)
            pairs = [
                (there[id(cache)][start : start + WINDOW], rows[start : start + WINDOW])
                for cache, rows, some in zip(caches, encoded, places, strict=True)
                for start in some
            ]
            visual, audible = (torch.stack(parts) for parts in zip(*pairs, strict=True))
            found = self.network.compare(visual, audible)
        return list(found.split([len(some) for some in places]))

    def compare(self, visual: Tensor, audio: Tensor) -> Tensor:
        """Logits ``(batch, 21)`` of features ``(batch, 14, 8, dim)`` and ``(batch, 14, 6, dim)``, on their device."""
        self._move(audio.device)
        with self._autocast():
            return self.network.compare(visual, audio)

    def _autocast(self) -> torch.autocast:
        device = self.network.vproj.weight.device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.precision == "bf16")

    def _move(self, device: torch.device) -> None:
        if self.network.vproj.weight.device != device:
            self.network.to(device)


def offset_score(offset_s: Tensor, *, release: bool = False) -> Tensor:
    """The score of an absolute offset in seconds: 1 for 0 s and 0 for 2 s, or half of it as published.

    Example:
        >>> offset_score(torch.tensor([0.0, 2.0])).tolist(), offset_score(torch.tensor([0.4]), release=True).tolist()
        ([1.0, 0.0], [0.4000000059604645])
    """
    return (2 - offset_s) / (4 if release else 2)


def mono(audio: Tensor, sample_rate_hz: int, *, release: bool = False) -> Tensor:
    """Audio ``(batch, samples)`` at 16 kHz of audio ``(batch, 2, samples)``.

    Source:
        Torchaudio's ``Resample`` after the mean of the channels, as in av-benchmark; the published reward uses
        a longer filter with a Kaiser window, and takes the mean after it.
    """
    if release:
        return sinc_resample(audio, sample_rate_hz, RATE_HZ, 64, kaiser_beta=RELEASE_BETA).mean(1)
    return sinc_resample(audio.mean(1), sample_rate_hz, RATE_HZ)
