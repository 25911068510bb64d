"""Scoring of audio and video files with the installed rewards and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prismaudio import __version__
from prismaudio.components import Component
from prismaudio.devices import find_device
from prismaudio.downloads import cache_home
from prismaudio.errors import MediaError, PrismAudioError
from prismaudio.media import probe
from prismaudio.media.segments import Survey, audio_segments, frame_segments, has_video, segment_edges, survey
from prismaudio.plan import Plan
from prismaudio.registry import Registry, discover
from prismaudio.scorers import MetricScorer, RewardScorer, Score, Scorer, Segment, Unavailable, evaluate
from prismaudio.types import Clip, FrameSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

    from prismaudio.media.segments import Edges
    from prismaudio.rewards import Reward
    from prismaudio.types import Need

SEGMENT_S = 30.0
"""Maximum length of a segment in seconds; longer files are scored in equal segments."""
FRAME_SPEC = FrameSpec(25.0, 256, keep_aspect_ratio=True)
"""Frames for scorers."""
SCORER_KINDS = ("rewards", "metrics")
MIN_DURATION_S = 0.02


def installed_scorers(
    rewards: Sequence[str] | Mapping[str, Reward] | None = None,
    metrics: Sequence[str] | None = None,
    device: str = "cpu",
    folder: Path | None = None,
) -> list[Scorer]:
    """Create scorers of rewards and metrics with default arguments, or of given rewards.

    Args:
        rewards: Names of rewards, or rewards by any name; None for all that are installed, including unavailable ones.
        metrics: Names of metrics; None for all that are installed, including unavailable ones.
        device: The device, see :func:`prismaudio.devices.find_device`.
        folder: Cache folder for the prepared inputs of rewards and metrics; None for no cache.

    Raises:
        PrismAudioError: A given name is unknown, or its class cannot be created.
    """
    registry = discover()
    on = find_device(device)
    scorers: list[Scorer] = []
    if isinstance(rewards, Mapping):
        scorers += [RewardScorer(reward, name, device=on, folder=folder) for name, reward in rewards.items()]
        rewards = []
    for kind, named in zip(SCORER_KINDS, (rewards, metrics), strict=True):
        for name in registry.names(kind) if named is None else named:
            try:
                scorers.append(_scorer(registry, kind, name, device, folder))
            except PrismAudioError as error:
                if named is not None:
                    raise
                scorers.append(Unavailable(name, kind, *_dimension_and_source(registry, kind, name), str(error)))
    return scorers


def score_file(
    path: str | Path,
    scorers: Sequence[Scorer],
    plan: Plan | None = None,
    reference: str | Path | None = None,
    video: str | Path | None = None,
) -> tuple[dict[str, Score], list[str]]:
    """Score a file.

    Args:
        path: An audio file, or a video, whose audio is scored with its own frames.
        scorers: The scorers.
        plan: The plan of the file.
        reference: Audio or video file with the reference audio; its frames are used if there are no others.
        video: The video whose frames are used; by default that of the file.

    Returns:
        Scores by name, and warnings, one line each.

    Raises:
        MediaError: A file cannot be read.
    """
    file = survey(path)
    if video is not None:
        if not has_video(video):
            raise MediaError(f"{video} has no video track; expected the video that {file.path} belongs to")
        frames = probe(video)
        file = replace(file, video=frames, duration_s=min(file.audio_s, frames.duration_s))
    true = None if reference is None else survey(reference)
    warnings = _check_media(file, true)
    duration_s = min(file.duration_s, true.duration_s) if true is not None else file.duration_s
    reads = frozenset[Any]().union(*(scorer.reads for scorer in scorers))
    segments = _segments(file, true, plan, segment_edges(duration_s, SEGMENT_S), reads)
    (scores,) = evaluate([segments], scorers)
    return scores, warnings


def _segments(
    file: Survey, true: Survey | None, plan: Plan | None, edges: Edges, reads: frozenset[Need]
) -> Iterator[Segment]:
    """The segments of a file; frames are read only if a scorer needs them."""
    video = file.video or (true.video if true is not None else None)
    rate_hz = file.sample_rate_hz or 0
    empty: Iterator[Tensor | None] = iter([None] * len(edges))
    audios = audio_segments(file, edges, rate_hz)
    references = empty if true is None else audio_segments(true, edges, rate_hz)
    empty = iter([None] * len(edges))
    videos = empty if video is None or "video" not in reads else frame_segments(video, edges, FRAME_SPEC)
    pieces = zip(edges, audios, references, videos, strict=True)
    for index, ((begin_s, end_s), audio, reference, frames) in enumerate(pieces):
        clip = Clip(
            id=f"{file.path.stem}-{index}" if len(edges) > 1 else file.path.stem,
            duration_s=end_s - begin_s,
            frames=frames,
            fps=None if frames is None else FRAME_SPEC.fps,
            audio=reference,
            sample_rate_hz=None if reference is None else rate_hz,
        )
        yield Segment(audio, rate_hz, clip, plan if plan is None or len(edges) == 1 else plan.crop(begin_s, end_s))


def score(
    path: str | Path,
    plan: Plan | str | Path | None = None,
    reference: str | Path | None = None,
    *,
    rewards: Sequence[str] | Mapping[str, Reward] | None = None,
    metrics: Sequence[str] | None = None,
    device: str = "cpu",
) -> dict[str, Score]:
    """Score an audio or video file with the installed rewards and metrics, or with rewards of your own.

    Args:
        path: The file; the audio of a video is scored with its own frames.
        plan: A plan, its text or its file; scorers that need a plan are skipped without one.
        reference: A file with the reference audio; scorers that need a reference are skipped without one.
        rewards: Names of rewards, or rewards by any name, such as
            ``{"peak": FunctionReward(function)}``; None for all that are installed.
        metrics: Names of metrics; None for all that are installed.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto``.

    Returns:
        Scores by name; a score without a value has a reason.

    Raises:
        PrismAudioError: The file, the plan or the reference cannot be read, or a name is unknown.

    ```python
    import prismaudio

    scores = prismaudio.score("clip.mp4", plan="<Semantic> A dog barks.", rewards=["AestheticReward"])
    print(scores["AestheticReward"].value)
    ```
    """
    scorers = installed_scorers(rewards, metrics, device, cache_home() / "prepared")
    return score_file(path, scorers, read_plan(plan), reference)[0]


def read_plan(plan: Plan | str | Path | None) -> Plan | None:
    """Parse a plan from its text or its file, with the sections of all installed dimensions."""
    if plan is None or isinstance(plan, Plan):
        return plan
    dimensions = discover().dimensions()
    return Plan.parse(plan, dimensions) if isinstance(plan, str) and "<" in plan else Plan.load(plan, dimensions)


def _scorer(registry: Registry, kind: str, name: str, device: str, folder: Path | None) -> Scorer:
    """Create the scorer of a reward or a metric with default arguments.

    Raises:
        PrismAudioError: The constructor fails.
    """
    dimension, source = _dimension_and_source(registry, kind, name)
    scorer_class = registry.load(kind, name)
    try:
        scorer: Any = scorer_class()
        if kind == "rewards":
            return RewardScorer(scorer, name, dimension, source, find_device(device), folder)
        scorer.keep_prepared(folder)
        return MetricScorer(scorer, name, dimension, source, find_device(device))
    except PrismAudioError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise PrismAudioError(f"{name} cannot be created: {type(error).__name__}: {text}") from error


def _dimension_and_source(registry: Registry, kind: str, name: str) -> tuple[str | None, str]:
    """Dimension and source of a component; of the first, if several have the name."""
    entry = next((entry for entry in registry.entries if (entry.kind, entry.name) == (kind, name)), None)
    if entry is None or not isinstance(entry.item, Component):
        return None, ""
    plugin = entry.plugin
    return entry.item.dimension, f"{plugin.distribution or plugin.module} {plugin.version or __version__}"


def _check_media(file: Survey, true: Survey | None) -> list[str]:
    """Check a file and its reference, and return warnings about their lengths.

    Raises:
        MediaError: One of them cannot be scored.
    """
    if file.sample_rate_hz is None:
        raise MediaError(f"{file.path} has no audio track; expected a file with the audio to score")
    if file.duration_s < MIN_DURATION_S:
        raise MediaError(f"{file.path} lasts {file.duration_s:.3f} s; expected at least {MIN_DURATION_S} s")
    warnings = _excess_audio("its audio", file)
    if true is None:
        return warnings
    if true.sample_rate_hz is None:
        raise MediaError(f"the reference {true.path} has no audio track; expected a file with the reference audio")
    warnings += _excess_audio("the audio of its reference", true)
    shorter = min(file.duration_s, true.duration_s)
    if _exceeds(file.duration_s, shorter) or _exceeds(true.duration_s, shorter):
        durations = f"it lasts {file.duration_s:.2f} s, its reference {true.duration_s:.2f} s"
        warnings.append(f"{durations}; only the first {shorter:.2f} s are scored")
    return warnings


def _excess_audio(subject: str, file: Survey) -> list[str]:
    """A warning if the audio of a video is longer than its frames."""
    if not _exceeds(file.audio_s, file.duration_s):
        return []
    durations = f"{subject} lasts {file.audio_s:.2f} s, the frames {file.duration_s:.2f} s"
    return [f"{durations}; only the first {file.duration_s:.2f} s are scored"]


def _exceeds(one_s: float, other_s: float) -> bool:
    """Whether one duration exceeds the other by more than the tolerance for files of equal length."""
    return one_s - other_s > max(0.1, 0.01 * one_s)
