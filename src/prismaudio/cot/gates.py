"""Quality gates: they reject plans that a clip, or another plan of it, shows to be wrong, and say why."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch

from prismaudio.audio.covering import cut
from prismaudio.audio.interaural import WINDOW_S, directions
from prismaudio.audio.onsets import onset_peaks
from prismaudio.checkpoints import Configured, within
from prismaudio.errors import NotApplicableError, truncated
from prismaudio.metrics.onset import onset_pairs
from prismaudio.metrics.plans import LEAD_S, TOLERANCES_S, frame_azimuths_deg, match_events, sound_events
from prismaudio.plan import CORE, Plan
from prismaudio.plan.checking import MAX_QUOTED, TIME_TOLERANCE_S, contradictions, form_problems, leaks, stems
from prismaudio.plan.reading import UNNAMED
from prismaudio.rewards.moments import latest_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from prismaudio.metrics.plans import SoundEvent
    from prismaudio.plan.story import Source
    from prismaudio.types import Clip, Need

TOLERANCE_S = TOLERANCES_S[-1]
"""Maximum difference between a planned and a detected onset: 0.25 s."""
FIRST_S = 0.1
"""Up to this time an onset is not detected, since sounds that are present from the first sample on have none."""
MERGED_S = 0.06
"""Planned onsets that follow each other within this time are detected as one."""
MIN_RISE_DB = 0.2
"""Rise in level, averaged over the bands, of the weakest onset that counts."""
MIN_POWER = 1e-6
"""Mean power, -60 dB, below which a moment has no direction."""


class Gate(Configured, ABC):
    """Rejects plans that are wrong for one reason; a plan that no gate rejects becomes training data.

    A gate needs the clip and the texts only, and gives the same answer every time. Thresholds are arguments of the
    constructor. The clip holds the real sound as ``clip.audio``.

    Attributes:
        needs: Inputs without which the gate does not apply to any clip.

    Example:
        >>> from prismaudio.types import Clip
        >>> class ShoutingGate(Gate):
        ...     "Rejects sections in capital letters."
        ...     def check(self, clip, plan, cot=""):
        ...         shouted = [name for name, text in plan.items() if text.isupper()]
        ...         return f"the {shouted[0]} section is in capital letters" if shouted else None
        >>> ShoutingGate().check(Clip("a", 1.0), Plan({"semantic": "A DOG BARKS."}))
        'the semantic section is in capital letters'
    """

    needs: frozenset[Need] = frozenset()

    @abstractmethod
    def check(self, clip: Clip, plan: Plan, cot: str = "") -> str | None:
        """Check the plan of a clip.

        Args:
            clip: The clip; its sound if there is any.
            plan: The plan, in sections.
            cot: The undivided chain of thought that the sections are taken from; empty if there is none.

        Returns:
            Why the plan is rejected, one clause with the numbers that decided; None if it is not.

        Raises:
            NotApplicableError: The gate cannot check this clip or this plan; the message states the reason.
        """


class SectionGate(Gate):
    """Rejects plans with a section that is missing, of an odd length, or not plain English sentences.

    Length, markup, language, times outside the clip and directions are those of
    :func:`prismaudio.plan.checking.form_problems`.

    Args:
        dimensions: Dimensions that must have a section; sections of other dimensions are checked if they are there.
        min_words: Minimum number of words of a section.
    """

    def __init__(self, dimensions: Sequence[str] = CORE, min_words: int = 2) -> None:
        within(0, 1000, min_words=min_words)
        self.dimensions, self.min_words = tuple(dimensions), min_words

    def check(self, clip: Clip, plan: Plan, cot: str = "") -> str | None:
        """The first problem of the first section that has one."""
        for name in dict.fromkeys([*self.dimensions, *plan]):
            if name not in plan:
                return f"the plan has no {name} section"
            n_words = len(plan[name].split())
            problems = form_problems(name, plan[name], clip.duration_s)
            if not problems and n_words < self.min_words:
                problems = [f"it has {n_words} word{'s' * (n_words != 1)}, at least {self.min_words} are expected"]
            if problems:
                return f"the {name} section: {problems[0]}"
        return None


class LeakGate(Gate):
    """Rejects texts of a chat about a file: refusals, "in this video", file names, and the name of the clip.

    The name of the clip is its id, and the name and path of its file. One that a description may contain as well, such
    as ``dog``, is not searched: only names with a digit, an underscore, a slash, inner capitals, or three joined words.
    """

    def check(self, clip: Clip, plan: Plan, cot: str = "") -> str | None:
        """The first leak of the first text that has one."""
        names = [clip.id] if clip.file is None else [clip.id, str(clip.file), clip.file.name, clip.file.stem]
        names = [name for name in names if _is_distinctive(name)]
        for where, text in [*((f"the {name} section", text) for name, text in plan.items()), ("the text", cot)]:
            for name in names:
                if re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", text, re.IGNORECASE):
                    return f"{where}: it has the name of the clip ({truncated(name, MAX_QUOTED)!r})"
            if problems := leaks(text):
                return f"{where}: {problems[0]}"
        return None


_DISTINCTIVE = re.compile(r"[A-Za-z_/\\]\W*\d|\d\W*[A-Za-z_/\\]|_|[/\\]|[a-z][A-Z]|\d{6}|\w-\w+-\w")


def _is_distinctive(name: str) -> bool:
    return len(name) >= 4 and _DISTINCTIVE.search(name) is not None


class ContradictionGate(Gate):
    """Rejects plans whose sections contradict each other, see :func:`prismaudio.plan.checking.contradictions`."""

    def check(self, clip: Clip, plan: Plan, cot: str = "") -> str | None:
        """The first contradiction."""
        return next(iter(contradictions(plan)), None)


class OnsetGate(Gate):
    """Rejects plans whose times are not those at which the sound begins.

    Two shares decide: of the planned onsets, those near a detected onset of their own; of the strong detected onsets,
    those near a planned onset or within a sound with a planned end. Classes play no role. A clip without strong onsets,
    such as that of rain, is not checked if its plan states no times.

    Args:
        tolerance_s: Maximum difference of a planned and a detected onset, in seconds.
        min_planned: Minimum share of the planned onsets that are detected. Sounds that others mask are not: 0.8 rejects
            1.0 % of the true plans of the studio, 1 rejects 1.4 %.
        min_detected: Minimum share of the strong detected onsets that are planned.
        min_rise_db: Rise in level, averaged over the frequency bands, from which on an onset is detected.
        strong_rise_db: Rise in level from which on an onset is strong.
        strong_share: Rise relative to that of the strongest onset of the clip from which on an onset is strong.
    """

    needs: frozenset[Need] = frozenset({"reference"})

    def __init__(
        self,
        tolerance_s: float = TOLERANCE_S,
        min_planned: float = 0.8,
        min_detected: float = 0.8,
        min_rise_db: float = MIN_RISE_DB,
        strong_rise_db: float = 1.0,
        strong_share: float = 0.2,
    ) -> None:
        within(0.001, 60, tolerance_s=tolerance_s)
        within(0, 1, min_planned=min_planned, min_detected=min_detected, strong_share=strong_share)
        within(0, 100, min_rise_db=min_rise_db, strong_rise_db=strong_rise_db)
        self.tolerance_s, self.min_planned, self.min_detected = tolerance_s, min_planned, min_detected
        self.min_rise_db, self.strong_rise_db, self.strong_share = min_rise_db, strong_rise_db, strong_share

    def check(self, clip: Clip, plan: Plan, cot: str = "") -> str | None:
        """A time outside the clip, or the first planned onset that is not there, or the first one that is missing."""
        onsets_s, rises_db = _detected(*audio_of(clip), self.min_rise_db)
        planned = sound_events(plan.story, clip.duration_s)
        for event in planned:
            if event.start_s > clip.duration_s + TIME_TOLERANCE_S:
                return f"{_at(event)} is outside the clip of {clip.duration_s:.2f} s"
        strong_db = max([self.strong_rise_db, *(self.strong_share * rise_db for rise_db in rises_db)])
        strong_s = [time_s for time_s, rise_db in zip(onsets_s, rises_db, strict=True) if rise_db >= strong_db]
        if not planned and not strong_s:
            raise NotApplicableError("the plan states no times, and the sound has no strong onset")
        return self._unheard(planned, onsets_s) or self._unplanned(plan.story.sources, planned, strong_s)

    def _unheard(self, planned: Sequence[SoundEvent], onsets_s: Sequence[float]) -> str | None:
        """Why too few of the planned onsets are detected."""
        own: list[SoundEvent] = []
        for event in planned:
            if not own or event.start_s - own[-1].start_s > MERGED_S:
                own.append(event)
        heard = {i for i, _ in onset_pairs([event.start_s for event in own], onsets_s, self.tolerance_s)}
        lost = [event for i, event in enumerate(own) if i not in heard and event.start_s > FIRST_S]
        if len(own) - len(lost) >= self.min_planned * len(own) - 1e-9:
            return None
        near_s = min(onsets_s, key=lambda time_s: abs(time_s - lost[0].start_s), default=None)
        nearest = "the sound has none" if near_s is None else f"the nearest is at {near_s:.2f} s"
        nearest += ", of another event" * (near_s is not None and self._is_near(near_s, [lost[0].start_s]))
        what = f"{_at(lost[0])} has no onset of the sound within {1000 * self.tolerance_s:.0f} ms; {nearest}"
        return f"{what} ({len(lost)} of {len(own)} planned onsets have none)"

    def _unplanned(
        self, sources: Sequence[Source], planned: Sequence[SoundEvent], strong_s: Sequence[float]
    ) -> str | None:
        """Why too few of the strong detected onsets are planned."""
        times_s = [event.start_s for event in planned]
        spans_s = [(source.onsets_s[0], source.end_s) for source in sources if source.onsets_s and source.end_s]
        missing_s = [
            time_s
            for time_s in strong_s
            if not self._is_near(time_s, times_s)
            and not any(start_s <= time_s <= end_s + self.tolerance_s for start_s, end_s in spans_s)
        ]
        if len(strong_s) - len(missing_s) >= self.min_detected * len(strong_s) - 1e-9:
            return None
        near_s = min(times_s, key=lambda time_s: abs(time_s - missing_s[0]), default=None)
        nearest = "states no times" if near_s is None else f"has {near_s:.2f} s as the nearest time"
        return (
            f"the sound has a strong onset at {missing_s[0]:.2f} s, but the plan {nearest} "
            f"({len(missing_s)} of {len(strong_s)} strong onsets are not planned)"
        )

    def _is_near(self, time_s: float, others_s: Sequence[float]) -> bool:
        return any(abs(time_s - other_s) <= self.tolerance_s for other_s in others_s)


class SideGate(Gate):
    """Rejects plans with a source on the left that is heard on the right, or the other way round.

    Directions are measured at the onsets of sources that sound alone, by the interaural time and level differences of
    80 ms. A source in the middle must not be heard far to one side; one at a side may be heard in the middle, since
    many recordings are narrow. Moments at which the channels do not agree on one direction do not count. Mono sound,
    also in two channels, is not checked.

    Args:
        side_deg: Minimum angle from the middle at which a source is on a side, in degrees.
        far_deg: Minimum angle at which a source is heard too far from the middle, in degrees.
        tolerance_s: Maximum difference of a planned onset and the detected one at which its direction is measured.
        max_residual: Maximum side energy after steering to the measured direction, relative to the total; 0.5 for
            channels that have nothing in common.
        min_side: Minimum side energy of a stereo recording, relative to the total.
    """

    needs: frozenset[Need] = frozenset({"reference"})

    def __init__(
        self,
        side_deg: float = 10.0,
        far_deg: float = 30.0,
        tolerance_s: float = TOLERANCE_S,
        max_residual: float = 0.25,
        min_side: float = 1e-3,
    ) -> None:
        within(0, 90, side_deg=side_deg, far_deg=far_deg)
        within(0.001, 60, tolerance_s=tolerance_s)
        within(0, 1, max_residual=max_residual, min_side=min_side)
        self.side_deg, self.far_deg, self.tolerance_s = side_deg, far_deg, tolerance_s
        self.max_residual, self.min_side = max_residual, min_side

    def check(self, clip: Clip, plan: Plan, cot: str = "") -> str | None:
        """The first source most of whose measured directions are on another side than the planned ones."""
        sources = [source for source in plan.story.sources if source.onsets_s]
        placed = [index for index, source in enumerate(sources) if source.azimuth_deg is not None]
        if not placed:
            raise NotApplicableError("the plan states no directions of sounds with times")
        audio, sample_rate_hz = audio_of(clip)
        if float((audio[1] - audio[0]).square().sum()) <= self.min_side * float(2 * audio.square().sum()):
            raise NotApplicableError("the sound is mono")
        onsets_s, _ = _detected(audio, sample_rate_hz, MIN_RISE_DB)
        any_measured = False
        for index in placed:
            pairs = list(self._measured(sources, index, audio, sample_rate_hz, onsets_s))
            wrong = [pair for pair in pairs if self._is_wrong(*pair[1:])]
            any_measured |= bool(pairs)
            if 2 * len(wrong) > len(pairs):
                time_s, planned_deg, measured_deg = wrong[0]
                what = f"the {sources[index].what} at {time_s:.2f} s"
                return f"{what} is planned at {planned_deg:+.0f}°, but the sound comes from {measured_deg:+.0f}°"
        if not any_measured:
            raise NotApplicableError("no source with a planned direction sounds alone from one direction")
        return None

    def _measured(
        self, sources: Sequence[Source], index: int, audio: Tensor, sample_rate_hz: int, onsets_s: Sequence[float]
    ) -> Iterator[tuple[float, float, float]]:
        """Time, planned and measured direction of the moments at which a source sounds alone."""
        source = sources[index]
        for time_s in source.onsets_s:
            near_s = min(onsets_s, key=lambda other_s: abs(other_s - time_s), default=float("inf"))
            if abs(near_s - time_s) > self.tolerance_s:
                continue
            owner, alone = latest_source(sources, torch.tensor([near_s + WINDOW_S / 2]), WINDOW_S / 2)
            measured_deg = self._direction(audio, sample_rate_hz, near_s - LEAD_S)
            planned_deg = source.azimuth_at(time_s)
            if int(owner) == index and bool(alone) and measured_deg is not None and planned_deg is not None:
                yield time_s, planned_deg, measured_deg

    def _direction(self, audio: Tensor, sample_rate_hz: int, start_s: float) -> float | None:
        """The direction of 80 ms of audio ``(2, samples)``; None for silence and where the channels do not agree."""
        measured = directions(cut(audio, sample_rate_hz, start_s, WINDOW_S)[None], sample_rate_hz).first(1)
        residual = float(measured.residual(measured.itd_ms, measured.ild_db))
        if float(measured.power) < MIN_POWER or residual > self.max_residual:
            return None
        return float(frame_azimuths_deg(measured))

    def _is_wrong(self, planned_deg: float, measured_deg: float) -> bool:
        if abs(planned_deg) < self.side_deg:
            return abs(measured_deg) >= self.far_deg
        return abs(measured_deg) >= self.side_deg and (planned_deg < 0) != (measured_deg < 0)


class AgreementGate(Gate):
    """Rejects plans that another answer of the same model about the same clip does not confirm.

    Two plans are compared in the times of their sounds, the nouns of their sources, and the sides of the sounds whose
    times agree.

    Args:
        tolerance_s: Maximum difference of two onsets that are the same event, in seconds.
        min_events: Minimum F1 score of events: share of the events of both plans that the other one has.
        min_classes: Minimum share of the sources of both plans with a name that shares a word with one of the other.
        min_sides: Minimum share of the events of both with directions that are not on opposite sides.
        side_deg: Minimum angle from the middle at which a source is on a side, in degrees.
    """

    def __init__(
        self,
        tolerance_s: float = TOLERANCE_S,
        min_events: float = 0.5,
        min_classes: float = 0.5,
        min_sides: float = 0.75,
        side_deg: float = 10.0,
    ) -> None:
        within(0.001, 60, tolerance_s=tolerance_s)
        within(0, 1, min_events=min_events, min_classes=min_classes, min_sides=min_sides)
        within(0, 90, side_deg=side_deg)
        self.tolerance_s, self.min_events, self.min_classes = tolerance_s, min_events, min_classes
        self.min_sides, self.side_deg = min_sides, side_deg

    def check(self, clip: Clip, plan: Plan, cot: str = "") -> str | None:
        """A single plan cannot be compared; call :meth:`check_pair`."""
        raise NotApplicableError("it compares two plans of a clip, and there is one")

    def check_pair(self, first: Plan, second: Plan) -> str | None:
        """Compare two plans of one clip.

        Args:
            first: A plan.
            second: Another plan, which the model wrote with another seed.

        Returns:
            In what they differ, one clause with the numbers that decided; None if they agree.

        Raises:
            NotApplicableError: Neither plan has a source.
        """
        events, others = (sound_events(plan.story, float("inf")) for plan in (first, second))
        nouns, other_nouns = ({source.what for source in plan.story.sources} - {UNNAMED} for plan in (first, second))
        if not (events or others or nouns or other_nouns):
            raise NotApplicableError("neither plan has a source")
        pairs = match_events(events, others, self.tolerance_s, by_class=False)
        known, other_known = (frozenset().union(*map(stems, found)) for found in (nouns, other_nouns))
        named = sum(bool(stems(noun) & other_known) for noun in nouns)
        named += sum(bool(stems(noun) & known) for noun in other_nouns)
        within = f"events within {1000 * self.tolerance_s:.0f} ms"
        for what, n_common, n_all, minimum in (
            (within, 2 * len(pairs), len(events) + len(others), self.min_events),
            ("names of sources", named, len(nouns) + len(other_nouns), self.min_classes),
        ):
            if n_common < minimum * n_all - 1e-9:
                return f"two plans agree in {n_common} of {n_all} {what}, at least {minimum:.0%} are expected"
        return self._sides([(events[i], others[j]) for i, j in pairs])

    def _sides(self, pairs: Sequence[tuple[SoundEvent, SoundEvent]]) -> str | None:
        """Why too few of the common events are on the same side."""
        placed = [(a, a.azimuth_deg, b.azimuth_deg) for a, b in pairs]
        known = [(event, one, other) for event, one, other in placed if one is not None and other is not None]
        opposite = [(event, one, other) for event, one, other in known if self._are_opposite(one, other)]
        if len(known) - len(opposite) >= self.min_sides * len(known) - 1e-9:
            return None
        event, one, other = opposite[0]
        return (
            f"{_at(event)} is at {one:+.0f}° in one plan and at {other:+.0f}° in the other "
            f"({len(opposite)} of {len(known)} common events are on opposite sides)"
        )

    def _are_opposite(self, one: float, other: float) -> bool:
        return min(abs(one), abs(other)) >= self.side_deg and (one < 0) != (other < 0)


def audio_of(clip: Clip) -> tuple[Tensor, int]:
    """The audio of a clip, float32 ``(2, samples)`` on the CPU, and its sample rate.

    Raises:
        NotApplicableError: There is none, or it has values that are not finite.
    """
    if clip.audio is None or clip.sample_rate_hz is None or not clip.audio.shape[-1]:
        raise NotApplicableError("the clip has no audio")
    audio = clip.audio.detach().float().cpu()
    if not bool(audio.isfinite().all()):
        raise NotApplicableError("the audio has values that are not finite")
    return audio, clip.sample_rate_hz


def _detected(audio: Tensor, sample_rate_hz: int, min_rise_db: float) -> tuple[list[float], list[float]]:
    """Times in seconds and rises in dB of the onsets of audio ``(2, samples)``, in order of time."""
    times_s, rises_db = onset_peaks(audio[None], sample_rate_hz)
    found = rises_db >= min_rise_db
    return times_s[found].tolist(), rises_db[found].tolist()


def _at(event: SoundEvent) -> str:
    return f"the {event.what} at {event.start_s:.2f} s"
