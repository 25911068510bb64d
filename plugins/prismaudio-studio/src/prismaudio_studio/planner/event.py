"""A planner that detects sound events in video and writes them as a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from prismaudio.audio.interaural import azimuths_deg
from prismaudio.checkpoints import Configured, within
from prismaudio.errors import MediaError
from prismaudio.plan import CORE, Plan, words
from prismaudio.plan.story import SIDE_DEG, Source, Story
from prismaudio.planners.base import TrainablePlanner
from prismaudio_studio.narration import narrate
from prismaudio_studio.planner.network import SPAN, EventNetwork, EventPredictions
from prismaudio_studio.planner.track import resolve_overlaps, straight_track
from prismaudio_studio.planner.watching import detect_events
from prismaudio_studio.prompting import add_times, complete_plan, plan_from_prompt
from prismaudio_studio.words import Vocabulary, class_of

if TYPE_CHECKING:
    from prismaudio.components import Dimension
    from prismaudio.types import Clip

SIZES, QUALITIES, ROOMS = tuple(words.SIZES), tuple(words.QUALITIES), tuple(words.ROOMS)
"""The classes of the network's heads, in this order, on which trained weights depend."""
STILL_DEG = 1.5
"""Sources that move less than this between their first and last sound are treated as static."""
UNSTATED = -100
"""Class index of attributes that the plan does not state; cross-entropy ignores it."""


@dataclass(frozen=True, eq=False)
class Targets:
    """Training targets of a batch of plans, as in :class:`EventPredictions`; unstated ``azimuth`` is NaN."""

    onsets: Tensor
    sounding: Tensor
    azimuth: Tensor
    present: Tensor
    lasting: Tensor
    size: Tensor
    quality: Tensor
    room: Tensor


class EventPlanner(Configured, TrainablePlanner):
    """Detects sound events, their directions, the sound quality and the room in video; writes the four core sections.

    Args:
        classes: Nouns of the classes to detect.
        fps: Frames per second of the input.
        frame_size: Height and width of the input frames.
        width: Channels of the spatial convolutions.
        time_width: Channels of the temporal convolutions.
        depth: Number of temporal convolutions.
        onset_chance: Probability above which an onset is detected.
        class_chance: Threshold for a class on the mean of its presence and maximum onset probability.
        segment_s: Length in seconds of a segment, the input of the network: that of its training clips.
        taught: Nouns that the model was taught, see ``prismaudio studio teach``, with the class that each is like:
            prompts and plans may name them, and they are not detected.
    """

    def __init__(
        self,
        classes: Sequence[str],
        fps: float = 16.0,
        frame_size: int = 48,
        width: int = 40,
        time_width: int = 192,
        depth: int = 7,
        onset_chance: float = 0.4,
        class_chance: float = 0.3,
        segment_s: float = 4.0,
        taught: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        within(0.1, 1000, fps=fps)
        within(1, 4096, frame_size=frame_size, width=width, time_width=time_width, depth=depth, classes=len(classes))
        within(0, 1, onset_chance=onset_chance, class_chance=class_chance)
        within(0.1, 3600, segment_s=segment_s)
        self.classes, self.fps, self.frame_size = list(classes), fps, frame_size
        self.onset_chance, self.class_chance, self.segment_s = onset_chance, class_chance, segment_s
        self.taught = dict(taught or {})
        self.vocabulary = Vocabulary(self.classes, self.taught)
        self.network = EventNetwork(
            len(self.classes), len(QUALITIES), len(ROOMS), frame_size, width=width, time_width=time_width, depth=depth
        )
        self.steps_per_s = fps * self.network.sub_steps

    # Planning ----------------------------------------------------------------------------------------------------
    @torch.no_grad()
    def plan(self, clip: Clip, dimensions: Sequence[Dimension], given: str | Plan | None = None) -> Plan:
        """Write the core sections among ``dimensions``.

        What a prompt or a partial plan states is kept; the sources that it names get the onsets and directions of the
        detected ones. If no source has a time, default onset times are added.
        """
        is_complete = isinstance(given, Plan) and all(given.get(name) for name in CORE)
        detected = None
        if clip.frames is not None and not is_complete:
            story = narrate(detect_events(self.detect, clip, self.segment_s))
            names = [dimension.name for dimension in dimensions if dimension.name in story]
            detected = Plan({name: story[name] for name in names})
        return self.completed(given, detected, clip.duration_s)

    def completed(self, given: str | Plan | None, detected: Plan | None, duration_s: float) -> Plan:
        """A prompt or a partial plan, completed with the plan that is detected in the video, with times."""
        if isinstance(given, str):
            plan = plan_from_prompt(given, detected, self.vocabulary)
        else:
            plan = detected or Plan({}) if given is None else complete_plan(given, detected, self.vocabulary)
        return add_times(plan, duration_s, self.vocabulary)

    @torch.no_grad()
    def detect(self, clip: Clip) -> Story:
        """Detect the events of a clip of one segment in its frames."""
        output = self.network(self._frames([clip]))
        predicted = EventPredictions(**{name: value.cpu() for name, value in vars(output).items()})
        classes = self._detected_classes(predicted)
        places = resolve_overlaps(predicted.columns[0, :, classes].exp()).unbind(1)
        found = [
            self._source(predicted, index, place, clip.duration_s) for index, place in zip(classes, places, strict=True)
        ]
        sources = tuple(source for source in found if source is not None)
        return Story(sources, QUALITIES[int(predicted.quality[0].argmax())], ROOMS[int(predicted.room[0].argmax())])

    def _detected_classes(self, predicted: EventPredictions) -> list[int]:
        """Indices of the classes above the threshold, or else of the most likely one."""
        probability = (predicted.present[0].sigmoid() + predicted.onsets[0].sigmoid().amax(0)) / 2
        return [int(i) for i in torch.nonzero(probability > self.class_chance)] or [int(probability.argmax())]

    def _source(self, predicted: EventPredictions, index: int, place: Tensor, duration_s: float) -> Source | None:
        curve = predicted.onsets[0, :, index].sigmoid()
        onsets = self._peaks(curve, min(self.onset_chance, 0.6 * float(curve.max())))
        onsets = [t for t in onsets if t < duration_s]
        if not onsets:
            return None
        end = None
        if bool(predicted.lasting[0, index] > 0):
            onsets = onsets[:1]
            end = self._end(predicted.sounding[0, :, index], onsets[0], duration_s)
        azimuth = self._azimuth(place, onsets[0], onsets[-1] if end is None else end)
        return Source(self.classes[index], tuple(onsets), end, azimuth, SIZES[int(predicted.size[0, index].argmax())])

    def _end(self, sounding: Tensor, onset_s: float, duration_s: float) -> float:
        """End of a sustained sound that begins at ``onset_s``: the first of two consecutive inactive frames."""
        first = min(int(onset_s * self.fps) + 2, len(sounding) - 1)
        off = (F.pad(sounding[first:], (0, 1), value=-1.0) <= 0).tolist()
        silent = next((i for i in range(len(off) - 1) if off[i] and off[i + 1]), len(off) - 1)
        return round(min(max((first + silent) / self.fps, onset_s + 0.1), duration_s), 2)

    def _peaks(self, curve: Tensor, chance: float, gap_s: float = 0.1) -> list[float]:
        """Times of the peaks above ``chance`` that are highest within ``gap_s``, refined to the local centroid."""
        gap = round(gap_s * self.steps_per_s)
        highest = F.max_pool1d(curve[None, None], 2 * gap + 1, 1, gap)[0, 0]
        times: list[float] = []
        previous = -gap - 1
        for step in torch.nonzero((curve == highest) & (curve >= chance)).flatten().tolist():
            if step - previous <= gap:  # two equal steps are one peak
                continue
            previous = step
            lo, hi = max(step - 3, 0), min(step + 4, len(curve))
            around = curve[lo:hi]
            centre = float((around * (torch.arange(lo, hi) + 0.5)).sum() / around.sum())
            times.append(round(centre / self.steps_per_s, 2))
        return times

    def _azimuth(self, place: Tensor, first_s: float, last_s: float) -> tuple[float, float]:
        """Directions at the first and the last time, from probabilities of columns ``(frames, columns)``."""
        first = min(max(int(first_s * self.fps) - 1, 0), len(place) - 1)
        last = min(max(int(last_s * self.fps) + 1, first), len(place) - 1)
        start_deg, stop_deg = straight_track(place, SIDE_DEG * self.network.across.cpu(), first, last)
        return round(start_deg), round(stop_deg)

    def _frames(self, clips: Sequence[Clip]) -> Tensor:
        for clip in clips:
            if clip.frames is None:
                raise MediaError(f"clip {clip.id} has no frames to plan from; provide a plan or a prompt")
            if clip.fps != self.fps or clip.frames.shape[-2:] != (self.frame_size, self.frame_size):
                raise MediaError(
                    f"clip {clip.id} is {tuple(clip.frames.shape[-2:])} at {clip.fps} frames per second, "
                    f"expected {(self.frame_size, self.frame_size)} at {self.fps}; read it at that size and rate"
                )
        frames = torch.stack([clip.frames for clip in clips if clip.frames is not None])
        return frames.to(self.network.across.device)

    # Training ----------------------------------------------------------------------------------------------------
    def loss(self, clips: Sequence[Clip], plans: Sequence[Plan]) -> dict[str, Tensor]:
        """Cross-entropies of the attributes that the plans state, and the absolute error of directions."""
        frames = self._frames(clips)
        target = self.targets([plan.read(self.vocabulary.nouns) for plan in plans], frames.shape[1], frames.device)
        predicted = self.network(frames)
        here = target.present[:, None]
        weight = 1 + 6 * target.onsets
        onset = F.binary_cross_entropy_with_logits(predicted.onsets, target.onsets, weight, reduction="sum")
        stated = ~target.azimuth.isnan()
        direction = (predicted.azimuth - target.azimuth.nan_to_num()).abs()[stated]
        column = self._column(predicted.columns[stated], target.azimuth[stated])
        sounding = F.binary_cross_entropy_with_logits(predicted.sounding, target.sounding, reduction="none")
        lasting = F.binary_cross_entropy_with_logits(predicted.lasting, target.lasting, reduction="none")
        return {
            "onset": onset / (20 * len(frames)),
            "sounding": 2 * (sounding * (0.2 + here)).mean(),
            "azimuth": 3 * (direction.mean() if stated.any() else direction.sum()),
            "column": 0.5 * (column.mean() if stated.any() else column.sum()),
            "present": 2 * F.binary_cross_entropy_with_logits(predicted.present, target.present),
            "lasting": (lasting * target.present).sum() / target.present.sum().clamp_min(1) / 2,
            "size": 0.3 * _cross_entropy(predicted.size.flatten(0, 1), target.size.flatten()),
            "quality": 0.6 * _cross_entropy(predicted.quality, target.quality),
            "room": 0.3 * _cross_entropy(predicted.room, target.room),
        }

    def _column(self, columns: Tensor, azimuth: Tensor) -> Tensor:
        """Cross-entropy of log probabilities ``(cases, columns)`` and the columns of azimuths / 60 deg ``(cases,)``."""
        distance = (self.network.across - azimuth[:, None]) * columns.shape[-1] * SPAN / 2
        wanted = torch.exp(-0.5 * (distance / 0.6).square())
        return -(wanted / wanted.sum(-1, keepdim=True).clamp_min(1e-9) * columns).sum(-1)

    def targets(self, stories: Sequence[Story], n_frames: int, device: torch.device | None = None) -> Targets:
        """The training targets of stories, for clips of ``n_frames`` frames."""
        n, k = len(stories), len(self.classes)
        out = Targets(
            onsets=torch.zeros(n, n_frames * self.network.sub_steps, k),
            sounding=torch.zeros(n, n_frames, k),
            azimuth=torch.full((n, n_frames, k), torch.nan),
            present=torch.zeros(n, k),
            lasting=torch.zeros(n, k),
            size=torch.full((n, k), UNSTATED),
            quality=torch.tensor([_index(QUALITIES, story.quality) for story in stories]),
            room=torch.tensor([_index(ROOMS, story.room) for story in stories]),
        )
        for row, story in enumerate(stories):
            for source in story.sources:
                name = class_of(source.what, self.classes)
                if name is not None and source.onsets_s:
                    self._mark(out, row, self.classes.index(name), source)
        return Targets(**{name: value.to(device) for name, value in vars(out).items()})

    def _mark(self, out: Targets, row: int, column: int, source: Source) -> None:
        steps = (torch.arange(out.onsets.shape[1]) + 0.5) / self.steps_per_s
        bumps = torch.exp(-0.5 * ((steps[:, None] - torch.tensor(source.onsets_s)) * self.steps_per_s / 0.8).square())
        out.onsets[row, :, column] = bumps.amax(1)
        first, last = source.onsets_s[0], source.last_s
        times_s = (torch.arange(out.sounding.shape[1]) + 0.5) / self.fps
        out.present[row, column] = 1
        out.size[row, column] = _index(SIZES, source.size)
        if source.end_s is not None:
            out.lasting[row, column] = 1
            out.sounding[row, :, column] = ((times_s >= first) & (times_s < last)).float()
        if source.azimuth_deg is not None:
            start, stop = source.azimuth_deg
            still = abs(stop - start) < STILL_DEG and source.end_s is None
            during = ((times_s > first - 0.1) & (times_s < last + 0.1)) | torch.tensor(still)
            out.azimuth[row, during, column] = azimuths_deg(source, times_s)[during] / SIDE_DEG


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy over the attributes that are stated, 0 if there are none."""
    stated = target != UNSTATED
    return F.cross_entropy(logits[stated], target[stated]) if stated.any() else logits.sum() * 0


def _index(names: Sequence[str], name: str | None) -> int:
    return names.index(name) if name in names else UNSTATED
