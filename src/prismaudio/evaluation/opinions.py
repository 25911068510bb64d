"""What listeners think: mean opinion scores, preferences and agreement from the answers of a listening test."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from prismaudio.errors import DataError
from prismaudio.evaluation.intervals import MeanInterval, mean_interval
from prismaudio.evaluation.listening import CHOICES, FORMAT, NOISE, TRUTH
from prismaudio.untrusted import escaped, load_json, read_small

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from prismaudio.evaluation.listening import Answers, Key

TITLES = {"quality": "MOS-Q", "consistency": "MOS-C"}
PREFERENCES = "preferences"
Z_95 = statistics.NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Opinion:
    """A mean opinion score.

    Args:
        mean: Mean of the ratings.
        half: Half of its 95% interval, 1.96 standard errors, as papers print it; None with one rating.
        n: Number of ratings.
        over_listeners: Bootstrap interval of the mean over listeners, whose ratings are not independent.
    """

    mean: float
    half: float | None
    n: int
    over_listeners: MeanInterval

    @classmethod
    def of(cls, by_rater: Mapping[str, Sequence[int]]) -> Opinion:
        """The score of the ratings of each listener."""
        ratings = [rating for given in by_rater.values() for rating in given]
        half = Z_95 * statistics.stdev(ratings) / math.sqrt(len(ratings)) if len(ratings) > 1 else None
        means = [statistics.fmean(given) for given in by_rater.values() if given]
        return cls(statistics.fmean(ratings), half, len(ratings), mean_interval(means))


@dataclass(frozen=True)
class Preference:
    """How often a system was preferred to another one.

    Args:
        wins: How often the first was preferred.
        losses: How often the second was.
        ties: How often neither was.
    """

    wins: int
    losses: int
    ties: int

    @property
    def rate(self) -> float | None:
        """Share of wins among wins and losses; None without either."""
        return self.wins / (self.wins + self.losses) if self.wins + self.losses else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95% interval of :attr:`rate`.

        Example:
            >>> low, high = Preference(8, 2, 5).interval
            >>> round(low, 3), round(high, 3)
            (0.49, 0.943)
        """
        n = self.wins + self.losses
        if not n:
            return None
        rate, z = self.wins / n, Z_95
        middle = (rate + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)


@dataclass
class Opinions:
    """The result of a listening test.

    Args:
        key: The test.
        scores: Question → system, or :data:`TRUTH` → opinion.
        preferences: The first and the second system → preference.
        agreement: Krippendorff's alpha of each question, and of ``"preference"``; None where too little was answered
            by several listeners.
        raters: Number of listeners that count.
        notes: Who was left out, and what else a reader must know.
    """

    key: Key
    scores: dict[str, dict[str, Opinion]] = field(default_factory=dict)
    preferences: dict[tuple[str, str], Preference] = field(default_factory=dict)
    agreement: dict[str, float | None] = field(default_factory=dict)
    raters: int = 0
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The content of ``listening.json``."""
        scores: dict[str, Any] = {}
        for question, row in self.scores.items():
            for system, opinion in row.items():
                over = opinion.over_listeners
                scores.setdefault(system, {})[TITLES[question]] = {
                    "mean": opinion.mean,
                    "plus_minus": opinion.half,
                    "ratings": opinion.n,
                    "listeners": over.clips,
                    "low_over_listeners": over.low,
                    "high_over_listeners": over.high,
                }
        pairs = [
            {
                "first": first,
                "second": second,
                **vars(found),
                "rate": found.rate,
                "low": found.interval and found.interval[0],
                "high": found.interval and found.interval[1],
            }
            for (first, second), found in self.preferences.items()
        ]
        return {
            "format": FORMAT,
            "test": self.key.test,
            "listeners": self.raters,
            "scores": scores,
            "preferences": pairs,
            "agreement": self.agreement,
            "notes": self.notes,
        }


def collect(key: Key, given: Iterable[Answers], *, keep_failed: bool = False) -> Opinions:
    """Mean opinion scores, preferences and agreement of the answers of listeners.

    Of several files of one listener and form that with most answers counts. A listener who failed an attention check
    is left out.

    Args:
        key: The test.
        given: The answers.
        keep_failed: Keep listeners who failed an attention check.
    """
    found = Opinions(key)
    counted = [answers for answers in _latest(given, found) if _counts(answers, found, keep_failed)]
    found.notes = list(dict.fromkeys(found.notes))
    found.raters = len({answers.rater for answers in counted})
    for question in key.questions:
        by_system: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        by_stimulus: dict[str, dict[str, float]] = defaultdict(dict)
        for answers in counted:
            for name, ratings in answers.ratings.items():
                system = key.stimuli[name][1]
                if system != NOISE:
                    by_system[system][answers.rater].append(ratings[question])
                    by_stimulus[name][answers.rater] = ratings[question]
        ordered = [system for system in (*key.systems, TRUTH) if system in by_system]
        found.scores[question] = {system: Opinion.of(by_system[system]) for system in ordered}
        found.agreement[question] = krippendorff_alpha([list(given.values()) for given in by_stimulus.values()])
    _add_preferences(found, counted)
    return found


def _latest(given: Iterable[Answers], found: Opinions) -> list[Answers]:
    """Of several files of a listener and a form the one with most answers."""
    latest: dict[tuple[str, int], Answers] = {}
    for answers in given:
        who = (answers.rater, answers.form)
        if who in latest:
            found.notes.append(f"{answers.rater} has several files; the one with most answers counts")
        if who not in latest or (answers.n, answers.finished) > (latest[who].n, latest[who].finished):
            latest[who] = answers
    return list(latest.values())


def _counts(answers: Answers, found: Opinions, keep_failed: bool) -> bool:  # noqa: FBT001
    """Whether the answers of a listener count; notes say why not, and what they lack."""
    if not answers.n:
        found.notes.append(f"{answers.rater} answered nothing and is left out")
        return False
    if wrong := answers.failed_checks(found.key):
        checks = "1 attention check" if wrong == 1 else f"{wrong} attention checks"
        found.notes.append(f"{answers.rater} failed {checks} and {'counts' if keep_failed else 'is left out'}")
        if not keep_failed:
            return False
    n_trials = len(found.key.forms[answers.form])
    if answers.n < n_trials:
        found.notes.append(f"{answers.rater} left {n_trials - answers.n} of {n_trials} trials unanswered")
    return True


def _add_preferences(found: Opinions, counted: Sequence[Answers]) -> None:
    """Add the preferences, and how well listeners agree on them."""
    counts: dict[tuple[str, str], list[int]] = {}
    by_pair: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for pair in itertools.combinations(found.key.compared, 2):
        counts[pair] = [0, 0, 0]
    for answers in counted:
        for (left, right), choice in answers.choices.items():
            systems = (found.key.stimuli[left][1], found.key.stimuli[right][1])
            is_turned = systems not in counts
            if is_turned and systems[::-1] not in counts:  # an attention check
                continue
            first, second = (right, left) if is_turned else (left, right)
            place = CHOICES.index(choice)
            place = place if choice == "none" or not is_turned else 1 - place
            counts[systems[::-1] if is_turned else systems][place] += 1
            by_pair[first, second][answers.rater] = place
    found.preferences = {pair: Preference(*row) for pair, row in counts.items() if any(row)}
    if counts:
        found.agreement["preference"] = krippendorff_alpha(
            [list(given.values()) for given in by_pair.values()], is_nominal=True
        )


def krippendorff_alpha(units: Iterable[Sequence[float]], *, is_nominal: bool = False) -> float | None:
    """Krippendorff's alpha: agreement of raters, 1 for perfect, 0 for chance, of whom each rates only some units.

    Args:
        units: The values that raters gave each unit; units with fewer than two count for nothing.
        is_nominal: Whether values are names; otherwise their squared differences count.

    Returns:
        Alpha; None if no unit has two values, or all values are the same.

    Source:
        Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011.

    Example:
        >>> round(krippendorff_alpha([[1, 1], [2, 2], [3, 3], [3, 3, 3, 4], [1, 2]]), 4)
        0.8281
    """
    rated = [unit for unit in units if len(unit) > 1]
    values = [value for unit in rated for value in unit]
    n = len(values)
    if not n:
        return None

    def apart(some: Sequence[float]) -> float:
        """Sum of the differences of all ordered pairs."""
        if is_nominal:
            return float(len(some) ** 2 - sum(some.count(value) ** 2 for value in set(some)))
        mean = statistics.fmean(some)
        return 2 * len(some) * sum((value - mean) ** 2 for value in some)

    expected = apart(values) / (n * (n - 1))
    if expected <= 0:
        return None
    observed = sum(apart(unit) / (len(unit) - 1) for unit in rated) / n
    return 1 - observed / expected


RESULTS = "listening.json"
"""File in the folder of an evaluation with the result of its listening test."""


def mean_opinions(folder: Path, truth: str | None) -> dict[str, dict[str, float]]:
    """Mean opinion scores that were collected in the folder of an evaluation: system → MOS-Q or MOS-C → mean.

    Args:
        folder: The folder.
        truth: Name of the system that is the true audio; None for none.

    Returns:
        The scores; empty without a listening test.

    Raises:
        DataError: The file is no result of a listening test.
    """
    path = folder / RESULTS
    if not path.is_file():
        return {}
    try:
        found = load_json(read_small(path))
        scores = {
            str(truth if system == TRUTH else system): {
                str(title): float(score["mean"]) for title, score in row.items() if title in TITLES.values()
            }
            for system, row in found["scores"].items()
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no result of prismaudio listen --collect; collect the answers again") from error
    return scores


# Tables --------------------------------------------------------------------------------------------------------------
def rows(found: Opinions) -> tuple[list[list[str]], list[list[str]]]:
    """The two tables as texts: mean opinion scores and preferences, each with its head first."""
    opinions = [["system", *(TITLES[question] for question in found.scores), "ratings", "listeners"]]
    for system in [*found.key.systems, TRUTH]:
        scores = [row[system] for row in found.scores.values() if system in row]
        if scores:
            cells = [f"{one.mean:.2f}" + ("" if one.half is None else f" ± {one.half:.2f}") for one in scores]
            name = "true audio (hidden)" if system == TRUTH else system
            opinions.append([name, *cells, str(scores[0].n), str(scores[0].over_listeners.clips)])
    preferences = [["first", "second", "first", "second", "neither", "rate of the first"]]
    for (first, second), one in found.preferences.items():
        interval = one.interval
        rate = "–" if one.rate is None or interval is None else f"{one.rate:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"
        preferences.append([first, second, str(one.wins), str(one.losses), str(one.ties), rate])
    return opinions, preferences


def _agreement(found: Opinions) -> str:
    parts = [
        f"{TITLES.get(name, name)} {'–' if alpha is None else format(alpha, '.2f')}"
        for name, alpha in found.agreement.items()
    ]
    return f"Agreement of listeners (Krippendorff's alpha): {', '.join(parts)}."


def tables(found: Opinions) -> list[Table | Text]:
    """The result for the terminal."""
    made: list[Table | Text] = []
    titles = (f"{found.raters} listeners", PREFERENCES)
    for title, (head, *body) in zip(titles, rows(found), strict=True):
        if not body:
            continue
        table = Table(title=Text(title), show_edge=False)
        for number_, name in enumerate(head):
            table.add_column(name, justify="left" if number_ == 0 or name == "second" else "right")
        for line in body:
            table.add_row(*map(Text, line))
        made.append(table)
    return [*made, Text(_agreement(found))]


def markdown(found: Opinions) -> str:
    """The result as Markdown."""
    parts = [f"# Listening test {found.key.test}, {found.raters} listeners\n"]
    for head, *body in rows(found):
        if body:
            parts.append(f"\n| {' | '.join(head)} |\n|{'---|' * len(head)}\n")
            parts += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in body]
    parts.append(
        "\n±: 1.96 standard errors of all ratings, as papers print it; `listening.json` has the interval over "
        "listeners, too. In brackets Wilson's 95% interval of the share of the first among those who preferred one.\n"
        f"\n{_agreement(found)}\n"
    )
    parts += [f"\nNote: {note}.\n" for note in found.notes]
    return escaped("".join(parts))
