"""The choice of clips for a suite: conditions on scores, a balance of classes, and ids that tell nothing of a clip."""

from __future__ import annotations

import hashlib
import heapq
import math
import operator
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from prismaudio.errors import PrismAudioError
from prismaudio.media.files import short_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

SINGLE, MULTI = "single", "multi"
MULTIPLE = "Multiple events"
"""What the ids of clips with several classes begin with, as those of AudioCanvas do."""
MAX_NAME_BYTES = 120
OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_CONDITION = re.compile(r"(.+)\s*(>=|<=|>|<)\s*(\S+)", re.DOTALL)
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\s.;]+')


# Conditions ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Condition:
    """A condition on a score.

    Args:
        name: Name of the score.
        comparison: ``>=``, ``<=``, ``>`` or ``<``.
        limit: What the score is compared with.

    Example:
        >>> solved = Condition.parse("ClapScore>=0.5")
        >>> solved.holds(0.6), solved.holds(0.4), str(solved)
        (True, False, 'ClapScore>=0.5')
    """

    name: str
    comparison: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Parse a name, a comparison and a number.

        Raises:
            PrismAudioError: It is something else.
        """
        match = _CONDITION.fullmatch(text.strip())
        try:
            limit = float(match[3]) if match else float("nan")
        except ValueError:
            limit = float("nan")
        if match is None or not math.isfinite(limit):
            raise PrismAudioError(
                f"{text!r} is no condition; expected a score, >=, <=, > or <, and a number: CLAP>=0.5"
            )
        return cls(match[1].strip(), match[2], limit)

    def holds(self, value: float | None) -> bool:
        """Whether a score fulfils it; one that is not there does not."""
        return value is not None and OPERATORS[self.comparison](value, self.limit)

    def __str__(self) -> str:
        return f"{self.name}{self.comparison}{self.limit:g}"


def solved_clips(
    systems: Mapping[str, Mapping[str, Mapping[str, float]]], conditions: Sequence[Condition],
    rule: Literal["all", "any"],
) -> dict[str, str]:  # fmt: skip
    """The clips that systems solve: all conditions hold for the scores of every system, or of any.

    Args:
        systems: System → clip → score → value.
        conditions: The conditions; a score that is not there fulfils none.
        rule: ``"all"``: a clip is solved if every system solves it; ``"any"``: if one does.

    Returns:
        By whom clips are solved, by their ids.

    Example:
        >>> scores = {"one": {"a": {"CLAP": 0.7}, "b": {"CLAP": 0.7}}, "two": {"a": {"CLAP": 0.6}}}
        >>> solved_clips(scores, [Condition("CLAP", ">=", 0.5)], "all")
        {'a': 'one, two'}
    """
    by: dict[str, list[str]] = {}
    for system, clips in systems.items():
        for clip, values in clips.items():
            if all(condition.holds(values.get(condition.name)) for condition in conditions):
                by.setdefault(clip, []).append(system)
    needed = len(systems) if rule == "all" else 1
    return {clip: ", ".join(names) for clip, names in by.items() if len(names) >= needed} if conditions else {}


# Balance -------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Candidate:
    """A clip that may become part of a suite.

    Args:
        id: Its id.
        classes: Names of its classes, sorted; one for a single-event clip.
        is_kept: Whether a person wants it kept, so that it is chosen before others.
    """

    id: str
    classes: tuple[str, ...]
    is_kept: bool = False

    @property
    def events(self) -> str:
        """``"single"`` or ``"multi"``."""
        return events_of(self.classes)


def events_of(classes: Sequence[str]) -> str:
    """``"single"`` or ``"multi"``, after the number of classes."""
    return SINGLE if len(classes) == 1 else MULTI


@dataclass
class Selection:
    """Which candidates a suite has.

    Args:
        chosen: Those that it has, in the order in which they were chosen.
        spare: The next ones of their class, in the same order.
        left: Why the others are left out, by id.
    """

    chosen: list[Candidate] = field(default_factory=list)
    spare: list[Candidate] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


def balance(
    candidates: Iterable[Candidate], per_class: int, n_multi: int | None = None, min_per_class: int = 1, seed: int = 0
) -> Selection:
    """Choose clips so that no class has many more than others.

    Each class has at most ``per_class`` single-event clips, and at most as many multi-event clips in which it occurs;
    of the latter, the one whose most frequent class is rarest so far is chosen next. Which of the clips of a class are
    chosen depends on the seed and on their ids alone, not on the order or the number of other clips.

    Args:
        candidates: The clips.
        per_class: Most clips of a class.
        n_multi: Most multi-event clips; None for no limit of their own.
        min_per_class: Single-event clips of a class with fewer are left out.
        seed: Seed of the choice.

    Example:
        >>> clips = [Candidate(f"d{i}", ("Dog",)) for i in range(9)] + [Candidate("b", ("Siren",))]
        >>> Counter(clip.classes[0] for clip in balance(clips, 2).chosen)
        Counter({'Dog': 2, 'Siren': 1})
    """
    ordered = sorted(candidates, key=lambda one: (not one.is_kept, _rank(one.id, seed)))
    found = Selection()
    by_class: dict[str, list[Candidate]] = {}
    for one in ordered:
        if one.events == SINGLE:
            by_class.setdefault(one.classes[0], []).append(one)
    for name in sorted(by_class):
        of_class = by_class[name]
        if len(of_class) < min_per_class:
            found.left |= {
                one.id: f"{name} has {len(of_class)} single-event clips, fewer than {min_per_class}" for one in of_class
            }
            continue
        found.chosen += of_class[:per_class]
        found.spare += of_class[per_class : 2 * per_class]
        found.left |= {one.id: f"{name} has {per_class} single-event clips already" for one in of_class[per_class:]}
    _choose_multi([one for one in ordered if one.events == MULTI], per_class, n_multi, found)
    return found


def _choose_multi(candidates: Sequence[Candidate], per_class: int, n_multi: int | None, found: Selection) -> None:
    """Add multi-event clips to a selection, those of the rarest classes first."""
    counts: Counter[str] = Counter()

    def cost(rank: int) -> tuple[bool, int, int, int]:
        one = candidates[rank]
        numbers = [counts[name] for name in one.classes]
        return not one.is_kept, max(numbers), sum(numbers), rank

    heap = [cost(rank) for rank in range(len(candidates))]
    heapq.heapify(heap)
    n_chosen = n_spare = 0
    limit = len(candidates) if n_multi is None else n_multi
    while heap:
        before = heapq.heappop(heap)
        rank = before[-1]
        if (now := cost(rank)) != before:  # its classes have become more frequent
            heapq.heappush(heap, now)
            continue
        one = candidates[rank]
        full = [name for name in one.classes if counts[name] >= per_class]
        if n_chosen < limit and not full:
            counts.update(one.classes)
            found.chosen.append(one)
            n_chosen += 1
            continue
        if n_spare < n_chosen:
            found.spare.append(one)
            n_spare += 1
        why = (
            f"{full[0]} is in {per_class} multi-event clips already" if full else f"there are {limit} of several events"
        )
        found.left[one.id] = why


def _rank(identifier: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{identifier}".encode("utf-8", "surrogatepass")).digest()


# Ids -----------------------------------------------------------------------------------------------------------------
def anonymous_ids(chosen: Iterable[Candidate]) -> dict[str, str]:
    """Ids that tell a clip's class and nothing else, such as ``Dog_1`` and ``Multiple events_2``, by those it has.

    They name files on every file system, where two that differ only in case are the same.

    Example:
        >>> anonymous_ids([Candidate("x7", ("Hiss/steam",)), Candidate("x2", ("Siren", "Dog"))])
        {'x7': 'Hiss steam_1', 'x2': 'Multiple events_1'}
    """
    numbers: Counter[str] = Counter()
    spelling: dict[str, str] = {}
    found = {}
    for one in chosen:
        name = _file_name(one.classes[0]) if one.events == SINGLE else MULTIPLE
        name = spelling.setdefault(name.casefold(), name)
        numbers[name] += 1
        found[one.id] = f"{name}_{numbers[name]}"
    return found


def _file_name(name: str) -> str:
    """A name as part of a file name, on any file system."""
    plain = _UNSAFE.sub(" ", unicodedata.normalize("NFC", name)).strip(" -")
    return short_name(plain, MAX_NAME_BYTES) or "Class"
