"""Scoring files of audio and video with the rewards and metrics that are installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prismaudio import __version__
from prismaudio.components import Component
from prismaudio.devices import find_device
from prismaudio.downloads import cache_home
from prismaudio.errors import MediaError, PrismAudioError
from prismaudio.media.segments import Survey, audio_segments, frame_segments, segment_edges, survey
from prismaudio.plan import Plan
from prismaudio.registry import Registry, discover
from prismaudio.scorers import MetricScorer, RewardScorer, Score, Scorer, Segment, Unavailable, evaluate
from prismaudio.types import Clip, FrameSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

    from prismaudio.media.segments import Edges
    from prismaudio.types import Need

WINDOW_S = 30.0
"""Files that last longer are scored in equal pieces that do not."""
FRAMES = FrameSpec(25.0, 256, keep_aspect_ratio=True)
"""The frames that scorers look at."""
KINDS = ("rewards", "metrics")
SHORTEST_S = 0.02


def installed_scorers(
    rewards: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    device: str = "cpu",
    folder: Path | None = None,
) -> list[Scorer]:
    """Scorers of rewards and metrics by name, each made with its defaults.

    Args:
        rewards: Names of rewards; None for all that are installed, of which some may not work here.
        metrics: Names of metrics, likewise.
        device: Where they run, see :func:`prismaudio.devices.find_device`.
        folder: Where what rewards and metrics prepare of a clip is kept; None to keep nothing.

    Raises:
        PrismAudioError: One that is named is not there, or cannot be made.
    """
    registry = discover()
    find_device(device)
    scorers: list[Scorer] = []
    for kind, named in zip(KINDS, (rewards, metrics), strict=True):
        for name in registry.names(kind) if named is None else named:
            try:
                scorers.append(_scorer(registry, kind, name, device, folder))
            except PrismAudioError as error:
                if named is not None:
                    raise
                scorers.append(Unavailable(name, kind, *_described(registry, kind, name), str(error)))
    return scorers


def score_file(
    path: str | Path, scorers: Sequence[Scorer], plan: Plan | None = None, reference: str | Path | None = None
) -> tuple[dict[str, Score], list[str]]:
    """Score a file.

    Args:
        path: A file of audio, or a video, whose audio is scored against its own frames.
        scorers: What it is scored with.
        plan: Its plan.
        reference: The true audio, in a file of audio or video; for a file without frames, its frames too.

    Returns:
        Scores by name, and what else is to be said, a line each.

    Raises:
        MediaError: It cannot be read.
    """
    file = survey(path)
    true = None if reference is None else survey(reference)
    warnings = _check(file, true)
    duration_s = min(file.duration_s, true.duration_s) if true is not None else file.duration_s
    reads = frozenset[Any]().union(*(scorer.reads for scorer in scorers))
    segments = _segments(file, true, plan, segment_edges(duration_s, WINDOW_S), reads)
    (scores,) = evaluate([segments], scorers)
    return scores, warnings


def _segments(
    file: Survey, true: Survey | None, plan: Plan | None, edges: Edges, reads: frozenset[Need]
) -> Iterator[Segment]:
    """The pieces of a file; frames are read when a scorer looks at them."""
    video = file.video or (true.video if true is not None else None)
    rate_hz = file.sample_rate_hz or 0
    nothing: Iterator[Tensor | None] = iter([None] * len(edges))
    sounds = audio_segments(file, edges, rate_hz)
    references = nothing if true is None else audio_segments(true, edges, rate_hz)
    nothing = iter([None] * len(edges))
    frames = nothing if video is None or "video" not in reads else frame_segments(video, edges, FRAMES)
    pieces = zip(edges, sounds, references, frames, strict=True)
    for index, ((begin_s, end_s), sound, reference, frames) in enumerate(pieces):
        clip = Clip(
            id=f"{file.path.stem}-{index}" if len(edges) > 1 else file.path.stem,
            duration_s=end_s - begin_s,
            frames=frames,
            fps=None if frames is None else FRAMES.fps,
            audio=reference,
            sample_rate_hz=None if reference is None else rate_hz,
        )
        yield Segment(sound, rate_hz, clip, plan if plan is None or len(edges) == 1 else plan.crop(begin_s, end_s))


def score(
    path: str | Path,
    plan: Plan | str | Path | None = None,
    reference: str | Path | None = None,
    *,
    rewards: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    device: str = "cpu",
) -> dict[str, Score]:
    """Score a file of sound or video by the rewards and metrics that are installed.

    Args:
        path: The file; a video's sound is scored against its own frames.
        plan: Its plan, or the plan's text or file; what needs a plan is left out without one.
        reference: A file with the true sound; what needs a reference is left out without one.
        rewards: Names of rewards; None for all.
        metrics: Names of metrics; None for all.
        device: Where they run: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto``.

    Returns:
        Score of each by name; one without a value says why.

    Raises:
        PrismAudioError: The file, the plan or the reference cannot be read, or a name is not known.

    ```python
    import prismaudio

    scores = prismaudio.score("clip.mp4", plan="<Semantic> A dog barks.", rewards=["AestheticReward"])
    print(scores["AestheticReward"].value)
    ```
    """
    scorers = installed_scorers(rewards, metrics, device, cache_home() / "prepared")
    return score_file(path, scorers, read_plan(plan), reference)[0]


def read_plan(plan: Plan | str | Path | None) -> Plan | None:
    """A plan from its text or its file, with a section for any dimension that is installed."""
    if plan is None or isinstance(plan, Plan):
        return plan
    dimensions = discover().dimensions()
    return Plan.parse(plan, dimensions) if isinstance(plan, str) and "<" in plan else Plan.load(plan, dimensions)


def _scorer(registry: Registry, kind: str, name: str, device: str, folder: Path | None) -> Scorer:
    """A reward or a metric, made with its defaults.

    Raises:
        PrismAudioError: It cannot be made.
    """
    dimension, source = _described(registry, kind, name)
    made_of = registry.load(kind, name)
    try:
        made: Any = made_of()
        if kind == "rewards":
            return RewardScorer(made, name, dimension, source, find_device(device), folder)
        made.keep_prepared(folder)
        return MetricScorer(made, name, dimension, source, find_device(device))
    except PrismAudioError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise PrismAudioError(f"{name} cannot be made: {type(error).__name__}: {text}") from error


def _described(registry: Registry, kind: str, name: str) -> tuple[str | None, str]:
    """Dimension and origin of something; the first, if several have the name."""
    entry = next((entry for entry in registry.entries if (entry.kind, entry.name) == (kind, name)), None)
    if entry is None or not isinstance(entry.item, Component):
        return None, ""
    plugin = entry.plugin
    return entry.item.dimension, f"{plugin.distribution or plugin.module} {plugin.version or __version__}"


def _check(file: Survey, true: Survey | None) -> list[str]:
    """What is to be said of a file and its reference.

    Raises:
        MediaError: They cannot be scored.
    """
    if file.sample_rate_hz is None:
        raise MediaError(f"{file.path} has no audio track; expected a file with the sound to score")
    if file.duration_s < SHORTEST_S:
        raise MediaError(f"{file.path} lasts {file.duration_s:.3f} s; expected at least {SHORTEST_S} s")
    warnings = _unheard("its sound", file)
    if true is None:
        return warnings
    if true.sample_rate_hz is None:
        raise MediaError(f"the reference {true.path} has no audio track; expected a file with the true sound")
    warnings += _unheard("the sound of its reference", true)
    shorter = min(file.duration_s, true.duration_s)
    if _longer(file.duration_s, shorter) or _longer(true.duration_s, shorter):
        lasting = f"it lasts {file.duration_s:.2f} s, its reference {true.duration_s:.2f} s"
        warnings.append(f"{lasting}; the first {shorter:.2f} s count")
    return warnings


def _unheard(sound: str, file: Survey) -> list[str]:
    """That the sound of a video goes on after its frames, if it does."""
    if not _longer(file.audio_s, file.duration_s):
        return []
    lasting = f"{sound} lasts {file.audio_s:.2f} s, the frames {file.duration_s:.2f} s"
    return [f"{lasting}; the first {file.duration_s:.2f} s count"]


def _longer(one_s: float, other_s: float) -> bool:
    """Whether the difference is more than what files of the same length have."""
    return one_s - other_s > max(0.1, 0.01 * one_s)
