"""From clips and their plans to sound: noise, windows, sampler, decoder, level."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from prismaudio.audio.level import limit_
from prismaudio.errors import PrismAudioError
from prismaudio.inference.segments import CHUNK_SEGMENTS, Grid, Segment, joined
from prismaudio.samplers.guidance import guided_velocity
from prismaudio.types import Clip, Conditions, Features

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from prismaudio.autoencoders.base import Autoencoder
    from prismaudio.encoders.base import Encoder
    from prismaudio.inference.settings import Guidance, Settings
    from prismaudio.models.dit import DiffusionTransformer
    from prismaudio.plan import Plan
    from prismaudio.samplers.base import Sampler, Velocity

DECODED_FRAMES = 7_500
"""Latent frames that are decoded at once by an autoencoder that does not decode any length by itself."""
PIECE_FRAMES = 2_500
"""Latent frames of each piece of a longer sound: what decoding takes beside the sound itself grows with them."""
DECODED_OVERLAP = 32
"""Latent frames in which two pieces are cross-faded; their phases have nothing to do with each other."""


@dataclass(frozen=True, eq=False)
class Renderer:
    """Renders batches of clips, each sample by itself: its sound depends on its plan, clip and seed alone.

    Args:
        transformer: The velocity network.
        autoencoder: From latents to sound.
        encoders: Encoder of each stream that the network is told.
        settings: Window, frames and guidance.
        device: Where the network runs.
    """

    transformer: DiffusionTransformer
    autoencoder: Autoencoder
    encoders: Mapping[str, Encoder]
    settings: Settings
    device: torch.device

    @property
    def rate_hz(self) -> Fraction:
        """Latent frames per second."""
        return Fraction(self.autoencoder.sample_rate_hz, self.autoencoder.hop)

    def grid(self, duration_s: float) -> Grid:
        """Where the windows of a clip lie; of a model without a window, that of the whole clip."""
        segment_s = self.settings.segment_s
        if segment_s is None:
            segment_s = float(self.autoencoder.n_frames(duration_s) / self.rate_hz)
        return Grid(self.rate_hz, Fraction(self.settings.frame_spec.fps).limit_denominator(1001), segment_s)

    @torch.inference_mode()
    def render(
        self,
        clips: Sequence[Clip],
        plans: Sequence[Plan],
        seeds: Sequence[int],
        sampler: Sampler,
        guidance: Guidance,
        negative_plans: Sequence[Plan | None] | None = None,
        on_step: Callable[[int, int], None] | None = None,
        watched: Sequence[Mapping[str, Clip]] = (),
    ) -> list[Tensor]:
        """Audio float32 ``(2, samples)`` of each clip, on the CPU, with a true peak of at most -1 dB.

        ``watched`` has each clip as the encoders of some streams see it, where they do not see the clip itself.
        """
        watched = watched or [{}] * len(clips)
        grid = self.grid(clips[0].duration_s)
        if self.settings.segment_s is None and any(self.grid(clip.duration_s) != grid for clip in clips):
            negative_plans = negative_plans or [None] * len(clips)
            rows = zip(clips, plans, seeds, negative_plans, watched, strict=True)
            return [self.render([c], [p], [s], sampler, guidance, [n], on_step, [w])[0] for c, p, s, n, w in rows]
        negatives = negative_plans if negative_plans is not None and any(negative_plans) else None
        totals = [grid.total(clip.duration_s) for clip in clips]
        noise = self.noise(seeds, totals)
        latents = torch.zeros_like(noise)
        groups = grouped(segment for row, clip in enumerate(clips) for segment in grid.segments(row, clip.duration_s))
        for index, group in enumerate(groups):
            velocity = self._joined_velocity(grid, clips, watched, plans, negatives, group, guidance)
            spans = [slice(segment.starts[0], segment.starts[-1] + grid.frames) for segment in group]
            drawn = pad_sequence([noise[s.row, :, span].T for s, span in zip(group, spans, strict=True)], True)
            moving = drawn.mT.contiguous().to(self.device)
            made = sampler.sample(velocity, moving, share_of(on_step, index, len(groups))).float().cpu()
            for segment, span, piece in zip(group, spans, made, strict=True):
                latents[segment.row, :, span] += grid.chunk_fade(segment) * piece[:, : span.stop - span.start]
        del noise
        return [
            self.finished(row[:, :total].to(self.device), clip.duration_s)
            for row, total, clip in zip(latents, totals, clips, strict=True)
        ]

    def finished(self, latents: Tensor, duration_s: float) -> Tensor:
        """Sound of latents ``(channels, frames)``, as long as it should be and not too loud.

        Raises:
            PrismAudioError: The latents are no numbers.
        """
        if not bool(latents.isfinite().all()):
            raise PrismAudioError(
                "the model made NaN or infinity in place of sound; its guidance is too high for it, its precision too "
                "low, or its training diverged"
            )
        sample_rate_hz = self.autoencoder.sample_rate_hz
        return limit_(self._decode(latents, round(duration_s * sample_rate_hz)), sample_rate_hz)

    def noise(self, seeds: Sequence[int], totals: Sequence[int]) -> Tensor:
        """Noise ``(batch, channels, frames)``, drawn for each sample from its own seed; zero beyond its end."""
        noise = torch.zeros(len(seeds), self.autoencoder.channels, max(totals))
        for row, seed, total in zip(noise, seeds, totals, strict=True):
            generator = torch.Generator().manual_seed(seed)
            row[:, :total] = torch.randn(self.autoencoder.channels, total, generator=generator)
        return noise

    def _joined_velocity(
        self,
        grid: Grid,
        clips: Sequence[Clip],
        watched: Sequence[Mapping[str, Clip]],
        plans: Sequence[Plan],
        negatives: Sequence[Plan | None] | None,
        segments: Sequence[Segment],
        guidance: Guidance,
    ) -> Velocity:
        """Guided velocity of whole segments."""
        places = [(segment.row, start) for segment in segments for start in segment.starts]
        velocities = []
        for first in range(0, len(places), self.settings.max_segments):
            some = slice(first, first + self.settings.max_segments)
            velocities.append((some, self._velocity(grid, clips, watched, plans, negatives, places[some], guidance)))
        inside = [(i, start - segment.starts[0]) for i, segment in enumerate(segments) for start in segment.starts]
        return joined(inside, grid, velocities)

    def _velocity(
        self,
        grid: Grid,
        clips: Sequence[Clip],
        watched: Sequence[Mapping[str, Clip]],
        plans: Sequence[Plan],
        negatives: Sequence[Plan | None] | None,
        places: Sequence[tuple[int, int]],
        guidance: Guidance,
    ) -> Velocity:
        """Guided velocity of some windows."""
        spans = [(float(start / grid.rate_hz), float(start / grid.rate_hz) + grid.segment_s) for _, start in places]
        wanted = [cropped(plans[row], clips[row], *span) for (row, _), span in zip(places, spans, strict=True)]
        other = None if negatives is None else [negatives[row] for row, _ in places]
        if other is not None:
            kept = zip(other, places, spans, strict=True)
            other = [None if plan is None else cropped(plan, clips[row], *span) for plan, (row, _), span in kept]
        windows = {
            stream: [grid.crop(watched[row].get(stream, clips[row]), start) for row, start in places]
            for stream in self.encoders
        }
        conditions, negative = self._conditions(windows, wanted, other)
        return guided_velocity(
            self.transformer,
            conditions,
            grid.frames,
            guidance.scale,
            guidance.rescale,
            negative,
            guidance.interval,
        )

    def _conditions(
        self, windows: Mapping[str, Sequence[Clip]], plans: Sequence[Plan], negatives: Sequence[Plan | None] | None
    ) -> tuple[Conditions, Conditions | None]:
        """Conditions to follow and, if there are negative plans, those to stay away from, of equal lengths."""
        streams = {}
        for stream, encoder in self.encoders.items():
            rows = [encoder.encode(window, plan) for window, plan in zip(windows[stream], plans, strict=True)]
            for window, plan in zip(windows[stream], negatives or [], strict=False):
                unseen = Clip(window.id, window.duration_s)
                rows.append(rows[0][:0] if plan is None else encoder.encode(unseen, plan))
            streams[stream] = Features.pad([row.to(rows[0].device) for row in rows])
        both = Conditions(streams).to(self.device, self.transformer.pre.weight.dtype)
        if negatives is None:
            return both, None
        first, second = torch.arange(2 * len(plans), device=self.device).chunk(2)
        return both.index(first), both.index(second)

    def _decode(self, latents: Tensor, n_samples: int) -> Tensor:
        """Audio ``(2, n_samples)`` of latents ``(channels, frames)``; long ones in pieces that are cross-faded."""
        if self.autoencoder.any_length:
            return self.autoencoder.decode(latents[None])[0, :, :n_samples].float().cpu()
        hop, whole = self.autoencoder.hop, latents.new_zeros(2, latents.shape[-1] * self.autoencoder.hop)
        n_frames = DECODED_FRAMES if latents.shape[-1] <= DECODED_FRAMES else min(PIECE_FRAMES, DECODED_FRAMES)
        step = n_frames - DECODED_OVERLAP
        for first in range(0, max(1, latents.shape[-1] - DECODED_OVERLAP), step):
            piece = self.autoencoder.decode(latents[None, :, first : first + n_frames])[0].float()
            if first:
                ramp = torch.linspace(0, 1, DECODED_OVERLAP * hop, device=piece.device)
                piece[:, : len(ramp)] *= ramp.sqrt()
                whole[:, first * hop : first * hop + len(ramp)] *= (1 - ramp).sqrt()
            whole[:, first * hop : first * hop + piece.shape[-1]] += piece
        return whole[:, :n_samples].cpu()


def grouped(segments: Iterable[Segment]) -> list[list[Segment]]:
    """Segments in groups that are sampled together: as many as have no more windows than one may have."""
    groups: list[list[Segment]] = []
    n_windows = 0
    for segment in segments:
        n_windows += len(segment.starts)
        if not groups or n_windows > CHUNK_SEGMENTS:
            groups.append([])
            n_windows = len(segment.starts)
        groups[-1].append(segment)
    return groups


def share_of(on_step: Callable[[int, int], None] | None, index: int, n_parts: int) -> Callable[[int, int], None] | None:
    """A callback for one of several samplings, which counts the steps of all."""
    if on_step is None or n_parts == 1:
        return on_step
    return lambda done, steps: on_step(index * steps + done, n_parts * steps)


def cropped(plan: Plan, clip: Clip, start_s: float, end_s: float) -> Plan:
    """The plan of one window, word for word where the window covers the clip."""
    return plan if start_s <= 0 and end_s >= clip.duration_s else plan.crop(start_s, end_s)
