"""A listening test: blind trials for listeners, and mean opinion scores and preferences from their answers."""

from __future__ import annotations

import hashlib
import itertools
import math
import random
import secrets
import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from prismaudio.errors import DataError
from prismaudio.evaluation.intervals import MeanInterval, mean_interval

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

FORMAT = 1
"""Version of the key and of the answers."""
TRUTH, NOISE = "truth", "noise"
"""The hidden anchor, the true sound of a clip; and the noise of attention checks."""
QUESTIONS = ("quality", "consistency")
"""Mean opinion scores of the sound by itself (MOS-Q) and of how it fits the video (MOS-C), each from 1 to 5."""
TITLES = {"quality": "MOS-Q", "consistency": "MOS-C"}
WORST, BEST = 1, 5
MAX_NOISE_RATING = 2
"""Highest rating of noise by a listener who listens."""
CHOICES = ("left", "right", "none")
Z_95 = statistics.NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Design:
    """How many trials a listening test has.

    Args:
        forms: Number of forms; each is a set of trials in an order of its own, for one or more listeners.
        clips: Clips per form of which every system is rated.
        pairs: Pairs of systems per form that are compared.
        checks: Ratings of noise per form.
        questions: What is rated.
    """

    forms: int = 24
    clips: int = 5
    pairs: int = 8
    checks: int = 2
    questions: tuple[str, ...] = QUESTIONS


@dataclass
class Key:
    """What a listening test consists of. It tells systems apart, so that no listener may see it.

    Args:
        test: Id of the test.
        systems: The systems.
        stimuli: Name of each stimulus → its clip and its system, :data:`TRUTH` or :data:`NOISE`.
        forms: The trials of each form, as JSON types: ``{"stimulus": name}``, or ``{"left": name, "right": name}``.
        questions: What is rated.
        loudness_lufs: Loudness of all stimuli; None if they are as they were.
        seed: Seed of the choice of clips and of the forms.
    """

    test: str
    systems: list[str]
    stimuli: dict[str, tuple[str, str]]
    forms: list[list[dict[str, str]]]
    questions: tuple[str, ...] = QUESTIONS
    loudness_lufs: float | None = None
    seed: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The content of ``key.json``."""
        return {"format": FORMAT, "kind": "listening test key", **vars(self)}

    @classmethod
    def from_dict(cls, found: Any, where: str) -> Key:
        """Read what :meth:`as_dict` wrote.

        Raises:
            DataError: It is something else.
        """
        expected = "expected the file key.json that prismaudio listen wrote"
        if not isinstance(found, dict) or found.get("kind") != "listening test key":
            raise DataError(f"{where} is not the key of a listening test; {expected}")
        if found.get("format") != FORMAT:
            raise DataError(f"{where} has the format {found.get('format')!r}; this version reads {FORMAT}")
        try:
            stimuli = {str(name): (str(clip), str(system)) for name, (clip, system) in found["stimuli"].items()}
            forms = [[{str(k): str(v) for k, v in trial.items()} for trial in form] for form in found["forms"]]
            questions = tuple(str(question) for question in found["questions"])
            test, systems = str(found["test"]), [str(system) for system in found["systems"]]
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{where} is damaged; {expected}") from error
        named = {name for form in forms for trial in form for name in trial.values()}
        if not named <= stimuli.keys() or not set(questions) <= set(QUESTIONS):
            raise DataError(f"{where} is damaged: a trial has a stimulus that is not listed; {expected}")
        return cls(test, systems, stimuli, forms, questions, found.get("loudness_lufs"), found.get("seed", 0))

    def is_check(self, trial: Mapping[str, str]) -> bool:
        """Whether a trial shows whether somebody listens."""
        return any(self.stimuli[name][1] == NOISE for name in trial.values())


def plan_test(
    audio: Mapping[str, Collection[str]], truths: Collection[str], design: Design, seed: int = 0, secret: str = ""
) -> Key:
    """Choose the stimuli and the trials of a listening test.

    Clips and pairs are dealt to the forms in turn, so that each is judged about as often as any other. A form has all
    systems of a clip, and the truth as a hidden anchor; the same clip never stands twice in a row where that can be
    avoided, and the sides of pairs are drawn.

    Args:
        audio: Ids of the clips that each system has.
        truths: Ids of clips whose true sound is known.
        design: Numbers of trials.
        seed: Seed of everything that is drawn, but not of the names of the stimuli.
        secret: What the names of stimuli are made from, so that they tell nothing; by default a new one.

    Raises:
        DataError: The systems have no clip in common, or there is nothing to compare.
    """
    systems = list(audio)
    common = sorted(set.intersection(*(set(ids) for ids in audio.values()))) if systems else []
    if not common:
        raise DataError("no clip has the audio of every system; a listener compares all systems on the same clips")
    if len(systems) < 2 and not set(truths) & set(common):
        raise DataError("a listening test compares two systems, or one with the truth; there is one system alone")
    rng, secret = random.Random(f"listening test {seed}"), secret or secrets.token_hex(16)
    clips = rng.sample(common, len(common))

    def name(clip: str, system: str) -> str:
        return hashlib.sha256(f"{secret}\0{clip}\0{system}".encode("utf-8", "surrogatepass")).hexdigest()[:20]

    deal_clips, deal_checks = itertools.cycle(clips), itertools.cycle(rng.sample(clips, len(clips)))
    all_pairs = [(clip, pair) for clip in clips for pair in itertools.combinations(systems, 2)]
    deal_pairs = itertools.cycle(rng.sample(all_pairs, len(all_pairs)))
    stimuli: dict[str, tuple[str, str]] = {}
    forms = []
    for _ in range(design.forms):
        rated, compared = [], []
        for clip in itertools.islice(deal_clips, min(design.clips, len(clips))):
            rated += [(clip, system) for system in (*systems, *([TRUTH] if clip in truths else []))]
        rated += [(clip, NOISE) for clip in itertools.islice(deal_checks, min(design.checks, len(clips)))]
        if all_pairs and design.pairs:
            pairs = list(itertools.islice(deal_pairs, min(design.pairs, len(all_pairs))))
            check = next(deal_checks)
            pairs.append((check, (TRUTH if check in truths else systems[0], NOISE)))
            compared = [(clip, rng.sample(pair, 2)) for clip, pair in pairs]
        form: list[dict[str, str]] = [{"stimulus": name(*one)} for one in _spread(rated, rng)]
        for clip, (left, right) in _spread(compared, rng):
            form.append({"left": name(clip, left), "right": name(clip, right)})
        stimuli |= {name(*one): one for one in rated}
        stimuli |= {name(clip, system): (clip, system) for clip, pair in compared for system in pair}
        forms.append(form)
    numbers = f"{secret} {seed} {design}"
    test = hashlib.sha256(numbers.encode()).hexdigest()[:12]
    return Key(test, systems, dict(sorted(stimuli.items())), forms, design.questions, seed=seed)


_Item = TypeVar("_Item", bound=tuple[Any, ...])


def _spread(items: Sequence[_Item], rng: random.Random) -> list[_Item]:
    """The items in random order, with none after another one of the same clip where that can be avoided."""
    left = rng.sample(items, len(items))
    found: list[_Item] = []
    while left:
        counts = Counter(item[0] for item in left)
        others = [item for item in left if not found or item[0] != found[-1][0]] or left
        # a clip that has half of what is left must come now, or it ends up beside itself
        item = next((item for item in others if counts[item[0]] * 2 > len(left)), others[0])
        left.remove(item)
        found.append(item)
    return found


# Answers -------------------------------------------------------------------------------------------------------------
@dataclass
class Answers:
    """What a listener answered.

    Args:
        rater: Name or id of the listener.
        form: Number of the form.
        ratings: Ratings of stimuli: name → question → 1 to 5.
        choices: What was preferred in pairs: (left, right) → ``left``, ``right`` or ``none``.
        finished: When it was saved, as text that sorts by time.
    """

    rater: str
    form: int
    ratings: dict[str, dict[str, int]]
    choices: dict[tuple[str, str], str]
    finished: str = ""

    @property
    def n(self) -> int:
        """Number of answered trials."""
        return len(self.ratings) + len(self.choices)

    @classmethod
    def from_dict(cls, found: Any, key: Key, where: str) -> Answers:
        """Read the answers that the page saved.

        Raises:
            DataError: They are of another test, or damaged.
        """
        if not isinstance(found, dict) or found.get("kind") != "listening test answers":
            raise DataError(f"{where} is not the answers of a listening test; expected a file that its page saved")
        if found.get("format") != FORMAT or found.get("test") != key.test:
            raise DataError(f"{where} has the answers of the test {found.get('test')!r}; the key is of {key.test!r}")
        try:
            made = cls(str(found["rater"]), int(found["form"]), {}, {}, str(found.get("saved", "")))
            for answer in found["answers"]:
                made.add(answer, key)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{where} is damaged; expected a file as the page of the test saved it") from error
        if not made.rater or not 0 <= made.form < len(key.forms):
            raise DataError(f"{where} names no listener or no form of the test")
        return made

    def add(self, answer: Mapping[str, Any], key: Key) -> None:
        """Add one answer of a page.

        Raises:
            ValueError: It is none of this test.
        """
        if "stimulus" in answer:
            name, ratings = answer["stimulus"], {q: answer[q] for q in key.questions}
            if name not in key.stimuli or not all(
                isinstance(value, int) and not isinstance(value, bool) and WORST <= value <= BEST
                for value in ratings.values()
            ):
                raise ValueError(name)
            self.ratings[name] = ratings
        else:
            left, right, choice = answer["left"], answer["right"], answer["choice"]
            if not {left, right} <= key.stimuli.keys() or choice not in CHOICES:
                raise ValueError(choice)
            self.choices[left, right] = choice

    def failed_checks(self, key: Key) -> int:
        """Number of attention checks that were answered wrongly: noise rated above 2, or preferred."""
        wrong = sum(
            max(ratings.values()) > MAX_NOISE_RATING
            for name, ratings in self.ratings.items()
            if key.stimuli[name][1] == NOISE
        )
        for pair, choice in self.choices.items():
            if choice != "none" and key.stimuli[pair[CHOICES.index(choice)]][1] == NOISE:
                wrong += 1
        return wrong


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

    Of several files of one listener that with most answers counts. A listener who failed an attention check is left
    out.

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
        by_stimulus: dict[str, list[float]] = defaultdict(list)
        for answers in counted:
            for name, ratings in answers.ratings.items():
                system = key.stimuli[name][1]
                if system != NOISE:
                    by_system[system][answers.rater].append(ratings[question])
                    by_stimulus[name].append(ratings[question])
        ordered = [system for system in (*key.systems, TRUTH) if system in by_system]
        found.scores[question] = {system: Opinion.of(by_system[system]) for system in ordered}
        found.agreement[question] = krippendorff_alpha(by_stimulus.values())
    _add_preferences(found, counted)
    return found


def _latest(given: Iterable[Answers], found: Opinions) -> list[Answers]:
    """Of several files of a listener the one with most answers."""
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
    by_pair: dict[tuple[str, str], list[float]] = defaultdict(list)
    for pair in itertools.combinations(found.key.systems, 2):
        counts[pair] = [0, 0, 0]
    for answers in counted:
        for (left, right), choice in answers.choices.items():
            systems = (found.key.stimuli[left][1], found.key.stimuli[right][1])
            if NOISE in systems or TRUTH in systems:
                continue
            is_turned = systems not in counts
            first, second = (right, left) if is_turned else (left, right)
            place = CHOICES.index(choice)
            place = place if choice == "none" or not is_turned else 1 - place
            counts[systems[::-1] if is_turned else systems][place] += 1
            by_pair[first, second].append(place)
    found.preferences = {pair: Preference(*row) for pair, row in counts.items() if any(row)}
    if counts:
        found.agreement["preference"] = krippendorff_alpha(by_pair.values(), is_nominal=True)


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
        0.858
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
