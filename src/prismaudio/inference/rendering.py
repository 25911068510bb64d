"""Rendering of audio from clips and plans: noise, segments, sampler, decoder, limiter."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from prismaudio.audio.level import limit_
from prismaudio.errors import PrismAudioError
from prismaudio.inference.segments import CHUNK_SEGMENTS, Chunk, Grid, joined
from prismaudio.profiling import phase
from prismaudio.samplers.guidance import guided_velocity
from prismaudio.types import Clip, Conditions, Features

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from prismaudio.autoencoders.base import Autoencoder
    from prismaudio.encoders.base import Encoder
    from prismaudio.inference.settings import Guidance, Settings
    from prismaudio.models.dit import DiffusionTransformer
    from prismaudio.plan import Plan
    from prismaudio.samplers.base import Sampler, Velocity

DECODED_FRAMES = 7_500
"""Latent frames that are decoded in one pass if the autoencoder does not support any length."""
PIECE_FRAMES = 2_500
"""Latent frames per pass for longer audio; the memory of decoding grows with them."""
DECODED_OVERLAP = 32
"""Latent frames in which two pieces are cross-faded with equal power, because their phases are unrelated."""


@dataclass(frozen=True, eq=False)
class SegmentBatch:
    """Segments whose velocities are computed in one pass.

    Args:
        clips: The segments for the encoder of each stream.
        plans: Their plans.
        negatives: Their negative plans; None if no clip has one.
    """

    clips: Mapping[str, Sequence[Clip]]
    plans: Sequence[Plan]
    negatives: Sequence[Plan | None] | None

    def features(self, stream: str, encoder: Encoder) -> Features:
        """Features of a stream: a row for each plan, then, if there are negative plans, one for each of them."""
        rows = encoder.encode_batch(self.clips[stream], self.plans)
        for clip, plan in zip(self.clips[stream], self.negatives or [], strict=False):
            without_frames = Clip(clip.id, clip.duration_s)
            rows.append(rows[0][:0] if plan is None else encoder.encode(without_frames, plan))
        return Features.pad([row.to(rows[0].device) for row in rows])

    def split(self, conditions: Conditions) -> tuple[Conditions, Conditions | None]:
        """Split the conditions of all rows into those of the plans and those of the negative plans."""
        if self.negatives is None:
            return conditions, None
        first, second = torch.arange(2 * len(self.plans)).chunk(2)
        return conditions.index(first), conditions.index(second)


@dataclass(frozen=True, eq=False)
class Renderer:
    """Renders batches of clips; the audio of a sample depends only on its own plan, clip and seed.

    Args:
        transformer: The velocity network.
        autoencoder: Decodes latents to audio.
        encoders: Encoders by stream of the network.
        settings: Segments, frames and guidance.
        device: Device of the network.
        ready: Returns a context with a component that can compute; the one of :class:`PrismAudio` loads it on demand.
    """

    transformer: DiffusionTransformer
    autoencoder: Autoencoder
    encoders: Mapping[str, Encoder]
    settings: Settings
    device: torch.device
    ready: Callable[[Any], AbstractContextManager[Any]] = nullcontext

    @property
    def rate_hz(self) -> Fraction:
        """Latent frames per second."""
        return Fraction(self.autoencoder.sample_rate_hz, self.autoencoder.hop)

    def grid(self, duration_s: float) -> Grid:
        """Positions of the segments of a clip; a model without segments renders the whole clip as one."""
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
        encoder_clips: Sequence[Mapping[str, Clip]] = (),
    ) -> list[Tensor]:
        """Audio float32 ``(2, samples)`` of each clip, on the CPU, with a true peak of at most -1 dB.

        ``encoder_clips`` maps streams of each clip to clips for encoders with another frame specification.
        """
        encoder_clips = encoder_clips or [{}] * len(clips)
        negatives = negative_plans if negative_plans is not None and any(negative_plans) else None
        grids = [self.grid(clip.duration_s) for clip in clips]
        work: list[tuple[Grid, list[Chunk], list[SegmentBatch]]] = []
        for grid in dict.fromkeys(grids):  # clips of a model without segments differ in length
            rows = [row for row, other in enumerate(grids) if other == grid]
            for group in group_chunks(chunk for row in rows for chunk in grid.chunks(row, clips[row].duration_s)):
                places, size = [(c.row, start) for c in group for start in c.starts], self.settings.max_segments
                pieces = [places[first : first + size] for first in range(0, len(places), size)]
                batches = [self._batch(grid, clips, encoder_clips, plans, negatives, piece) for piece in pieces]
                work.append((grid, group, batches))
        encoded = iter(self._encode([batch for *_, batches in work for batch in batches]))
        totals = [grid.total(clip.duration_s) for grid, clip in zip(grids, clips, strict=True)]
        noise = self.noise(seeds, totals)
        latents = torch.zeros_like(noise)
        with phase("sampling"), self.ready(self.transformer) as transformer:
            for index, (grid, group, batches) in enumerate(work):
                conditions = [next(encoded) for _ in batches]
                velocity = self._joined_velocity(transformer, grid, group, conditions, guidance)
                spans = [slice(chunk.starts[0], chunk.starts[-1] + grid.frames) for chunk in group]
                drawn = pad_sequence([noise[s.row, :, span].T for s, span in zip(group, spans, strict=True)], True)
                moving = drawn.mT.contiguous().to(self.device)
                made = sampler.sample(velocity, moving, partial_progress(on_step, index, len(work))).float().cpu()
                for chunk, span, piece in zip(group, spans, made, strict=True):
                    latents[chunk.row, :, span] += grid.chunk_fade(chunk) * piece[:, : span.stop - span.start]
        del noise
        real = [row[:, :total] for row, total in zip(latents, totals, strict=True)]
        return self.decode(real, [clip.duration_s for clip in clips])

    def decode(self, latents: Sequence[Tensor], durations_s: Sequence[float]) -> list[Tensor]:
        """Decode latents ``(channels, frames)`` of each clip to audio of its duration with a limited true peak.

        Raises:
            PrismAudioError: The latents are not finite.
        """
        if not all(bool(row.isfinite().all()) for row in latents):
            raise PrismAudioError(
                "the model generated NaN or infinity; lower the guidance, use --precision fp32, or check whether its "
                "training diverged"
            )
        rate_hz = self.autoencoder.sample_rate_hz
        with phase("decoding"), self.ready(self.autoencoder) as autoencoder:
            return [
                limit_(decode(autoencoder, row.to(self.device), round(duration_s * rate_hz)), rate_hz)
                for row, duration_s in zip(latents, durations_s, strict=True)
            ]

    def noise(self, seeds: Sequence[int], totals: Sequence[int]) -> Tensor:
        """Noise ``(batch, channels, frames)``, drawn for each sample from its own seed; zero beyond its end."""
        noise = torch.zeros(len(seeds), self.autoencoder.channels, max(totals))
        for row, seed, total in zip(noise, seeds, totals, strict=True):
            generator = torch.Generator().manual_seed(seed)
            row[:, :total] = torch.randn(self.autoencoder.channels, total, generator=generator)
        return noise

    def _joined_velocity(
        self,
        transformer: DiffusionTransformer,
        grid: Grid,
        chunks: Sequence[Chunk],
        conditions: Sequence[tuple[Conditions, Conditions | None]],
        guidance: Guidance,
    ) -> Velocity:
        """Guided velocity of chunks, whose segments have conditions and negative conditions batch by batch."""
        velocities, first = [], 0
        for wanted, negative in conditions:
            batch = slice(first, first := first + self.settings.max_segments)
            options = guidance.scale, guidance.rescale, negative, guidance.interval
            velocities.append((batch, guided_velocity(transformer, wanted, grid.frames, *options)))
        inside = [(i, start - chunk.starts[0]) for i, chunk in enumerate(chunks) for start in chunk.starts]
        return joined(inside, grid, velocities)

    def _batch(
        self,
        grid: Grid,
        clips: Sequence[Clip],
        encoder_clips: Sequence[Mapping[str, Clip]],
        plans: Sequence[Plan],
        negatives: Sequence[Plan | None] | None,
        places: Sequence[tuple[int, int]],
    ) -> SegmentBatch:
        """The clips and plans of segments, which are given by row and first latent frame."""
        spans = [(float(start / grid.rate_hz), float(start / grid.rate_hz) + grid.segment_s) for _, start in places]
        wanted = [crop_plan(plans[row], clips[row], *span) for (row, _), span in zip(places, spans, strict=True)]
        other = None if negatives is None else [negatives[row] for row, _ in places]
        if other is not None:
            kept = zip(other, places, spans, strict=True)
            other = [None if plan is None else crop_plan(plan, clips[row], *span) for plan, (row, _), span in kept]
        segments = {
            stream: [grid.crop(encoder_clips[row].get(stream, clips[row]), start) for row, start in places]
            for stream in self.encoders
        }
        return SegmentBatch(segments, wanted, other)

    def _encode(self, batches: Sequence[SegmentBatch]) -> list[tuple[Conditions, Conditions | None]]:
        """Conditions and, if there are negative plans, negative conditions of equal lengths, of each batch."""
        streams: list[dict[str, Features]] = [{} for _ in batches]
        for stream, encoder in self.encoders.items():
            with phase(type(encoder).__name__), self.ready(encoder) as loaded:
                for found, batch in zip(streams, batches, strict=True):
                    found[stream] = batch.features(stream, loaded)
        both = [Conditions(found).to(self.device, self.transformer.pre.weight.dtype) for found in streams]
        return [batch.split(conditions) for batch, conditions in zip(batches, both, strict=True)]


def decode(autoencoder: Autoencoder, latents: Tensor, n_samples: int) -> Tensor:
    """Audio ``(2, n_samples)`` of latents ``(channels, frames)``; long latents in cross-faded pieces."""
    if autoencoder.any_length:
        return autoencoder.decode(latents[None])[0, :, :n_samples].float().cpu()
    hop, whole = autoencoder.hop, latents.new_zeros(2, latents.shape[-1] * autoencoder.hop)
    n_frames = DECODED_FRAMES if latents.shape[-1] <= DECODED_FRAMES else min(PIECE_FRAMES, DECODED_FRAMES)
    step = n_frames - DECODED_OVERLAP
    for first in range(0, max(1, latents.shape[-1] - DECODED_OVERLAP), step):
        piece = autoencoder.decode(latents[None, :, first : first + n_frames])[0].float()
        if first:
            ramp = torch.linspace(0, 1, DECODED_OVERLAP * hop, device=piece.device)
            piece[:, : len(ramp)] *= ramp.sqrt()
            whole[:, first * hop : first * hop + len(ramp)] *= (1 - ramp).sqrt()
        whole[:, first * hop : first * hop + piece.shape[-1]] += piece
    return whole[:, :n_samples].cpu()


def group_chunks(chunks: Iterable[Chunk]) -> list[list[Chunk]]:
    """Group chunks that are sampled together, with at most :data:`CHUNK_SEGMENTS` segments per group."""
    groups: list[list[Chunk]] = []
    n_segments = 0
    for chunk in chunks:
        n_segments += len(chunk.starts)
        if not groups or n_segments > CHUNK_SEGMENTS:
            groups.append([])
            n_segments = len(chunk.starts)
        groups[-1].append(chunk)
    return groups


def partial_progress(
    on_step: Callable[[int, int], None] | None, index: int, n_parts: int
) -> Callable[[int, int], None] | None:
    """A callback for one of several sampler runs that reports the steps of all runs."""
    if on_step is None or n_parts == 1:
        return on_step
    return lambda done, steps: on_step(index * steps + done, n_parts * steps)


def crop_plan(plan: Plan, clip: Clip, start_s: float, end_s: float) -> Plan:
    """The plan of one segment, unchanged if the segment covers the clip."""
    return plan if start_s <= 0 and end_s >= clip.duration_s else plan.crop(start_s, end_s)
