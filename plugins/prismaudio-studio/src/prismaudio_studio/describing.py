"""Describe what the event network detects in a clip, as text from which a language model writes a plan."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from prismaudio.checkpoints import Configured
from prismaudio.devices import find_device
from prismaudio.errors import CheckpointError, PlanError
from prismaudio.media import read_clip
from prismaudio.planners.base import Annotation, Annotator
from prismaudio.pretrained import find
from prismaudio.types import FrameSpec
from prismaudio_studio.planner.event import EventPlanner
from prismaudio_studio.planner.watching import detect_events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.components import Dimension
    from prismaudio.plan.story import Source, Story
    from prismaudio.types import Clip


class EventDescriber(Configured, Annotator):
    """Describes the detections of an :class:`EventPlanner` in short plain text, without sections.

    The text has all that the planner detects, whatever the dimensions: for each source, in order of time, its size,
    direction, onsets and end, then sound quality and room. The same frames always give the same text. It takes about
    0.02 s of a CPU core for each segment of 4 s.

    Nothing is loaded before the first clip.

    Args:
        model: Name of an installed model, a model folder, or ``owner/model`` on the Hugging Face hub; its planner is an
            :class:`EventPlanner`.
        device: Where the network runs: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` ...
    """

    not_in_folders = frozenset({"device"})

    def __init__(self, model: str = "studio", device: str = "cpu") -> None:
        self.model, self.device = model, device

    @cached_property
    def planner(self) -> EventPlanner:
        """The planner of the model.

        Raises:
            CheckpointError: There is no such model, or it has no :class:`EventPlanner`.
        """
        factories = find(self.model).factories()
        planner = factories["planner"]() if "planner" in factories else None
        if not isinstance(planner, EventPlanner):
            found = f"its planner is a {type(planner).__name__}" if planner else f"it has {', '.join(factories)}"
            raise CheckpointError(f"{self.model} has no EventPlanner: {found}; expected a model such as studio")
        return planner.to(find_device(self.device)).eval()

    def description(self) -> dict[str, Any]:
        """The class, and the description of the planner; the name of the model and the device change no text."""
        return {"class": type(self).__name__, "planner": self.planner.description()}

    @torch.no_grad()
    def annotate_batch(
        self, clips: Sequence[Clip], dimensions: Sequence[Dimension], captions: Sequence[str] | None = None
    ) -> list[Annotation]:
        """Describe each clip; its caption, if there is one, comes first.

        Args:
            clips: The clips, of any length, frame rate and frame size.
            dimensions: Not used: the text has all that is detected.
            captions: What is known about each clip; empty for nothing.

        Raises:
            PlanError: A clip has no frames.
            MediaError: The file of a clip cannot be read.
        """
        texts = [
            observation(detect_events(self.planner.detect, self._fitted(clip), self.planner.segment_s))
            for clip in clips
        ]
        known = [""] * len(clips) if captions is None else captions
        return [Annotation(f"{caption} {text}".strip()) for caption, text in zip(known, texts, strict=True)]

    def _fitted(self, clip: Clip) -> Clip:
        """The clip at the frame rate and size of the network; frames of other ones are read again from its file."""
        if clip.frames is None:
            raise PlanError(f"clip {clip.id} has no frames to describe; read it with its video")
        fps, side = self.planner.fps, self.planner.frame_size
        if clip.fps == fps and clip.frames.shape[-2:] == (side, side):
            return clip
        if clip.file is not None:
            whole = read_clip(clip.file, FrameSpec(fps, side)).frames
            first, n_frames = round(clip.start_s * fps), max(1, round(clip.duration_s * fps))
            return replace(clip, frames=None if whole is None else whole[first : first + n_frames], fps=fps)
        frames = F.interpolate(clip.frames_at(fps).float(), (side, side), mode="bilinear", antialias=True)
        return replace(clip, frames=frames.round().to(torch.uint8), fps=fps)


def observation(story: Story) -> str:
    """Describe a story in short plain text, with times to 0.01 s and directions to 1 degree.

    Example:
        >>> from prismaudio.plan.story import Source, Story
        >>> bell = Source("bell", (0.66, 1.2), azimuth_deg=(24, 24))
        >>> cart = Source("cart", (0.5,), 2.3, (-40, 20), "large")
        >>> print(observation(Story((bell, cart), "clean", "dry")))
        Large cart, 40° left to 20° right, 0.50 to 2.30 s. Bell, 24° right, 0.66, 1.20 s. Sound: clean, space: dry.
    """
    sources = sorted(story.sources, key=lambda source: source.onsets_s[:1])
    stated = [("sound", story.quality), ("space", story.room)]
    whole = ", ".join(f"{name}: {value}" for name, value in stated if value is not None)
    texts = [*(map(_seen, sources) if sources else ["no source"]), *([whole] if whole else [])]
    return " ".join(f"{text[0].upper()}{text[1:]}." for text in texts)


def _seen(source: Source) -> str:
    """A source: size and noun, direction, times."""
    parts = [f"{source.size} {source.what}" if source.size else source.what]
    if source.azimuth_deg is not None:
        first, last = map(_side, source.azimuth_deg)
        parts.append(first if first == last else f"{first} to {last}")
    times = [f"{onset_s:.2f}" for onset_s in source.onsets_s]
    if source.end_s is not None and times:
        times[-1] += f" to {source.end_s:.2f}"
    return ", ".join(parts + ([", ".join(times) + " s"] if times else []))


def _side(azimuth_deg: float) -> str:
    degrees = round(azimuth_deg)
    return f"{abs(degrees)}° {'right' if degrees > 0 else 'left'}" if degrees else "0° ahead"
