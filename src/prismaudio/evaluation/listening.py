"""A listening test: blind trials for listeners, and their answers."""

from __future__ import annotations

import hashlib
import itertools
import random
import secrets
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from prismaudio.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

FORMAT = 1
"""Version of the key and of the answers."""
TRUTH, NOISE = "(truth)", "(noise)"
"""The hidden anchor, the true audio of a clip, and the noise of attention checks; no system can have such a name."""
QUESTIONS = ("quality", "consistency")
"""Mean opinion scores of the sound by itself (MOS-Q) and of how it fits the video (MOS-C), each from 1 to 5."""
WORST, BEST = 1, 5
MAX_NOISE_RATING = 2
"""Highest rating of noise by a listener who listens."""
CHOICES = ("left", "right", "none")


@dataclass(frozen=True)
class Design:
    """How many trials a listening test has.

    Args:
        forms: Number of forms; each is a set of trials in an order of its own, for one or more listeners.
        clips: Clips per form of which every system is rated.
        pairs: Pairs of systems per form that are compared.
        checks: Ratings of noise per form.
        questions: What is rated.
        loudness_lufs: Loudness of all stimuli; None to leave them as they are.
    """

    forms: int = 24
    clips: int = 5
    pairs: int = 8
    checks: int = 2
    questions: tuple[str, ...] = QUESTIONS
    loudness_lufs: float | None = -23.0


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
        secret: What the names of the stimuli are made from.
        sources: Digest of the audio of each stimulus, by its name.
    """

    test: str
    systems: list[str]
    stimuli: dict[str, tuple[str, str]]
    forms: list[list[dict[str, str]]]
    questions: tuple[str, ...] = QUESTIONS
    loudness_lufs: float | None = None
    seed: int = 0
    secret: str = ""
    sources: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The content of ``listening-key.json``."""
        return {"format": FORMAT, "kind": "listening test key", **vars(self)}

    @classmethod
    def from_dict(cls, found: Any, where: str) -> Key:
        """Read what :meth:`as_dict` wrote.

        Raises:
            DataError: It is something else.
        """
        expected = "expected the file listening-key.json that prismaudio listen wrote"
        if not isinstance(found, dict) or found.get("kind") != "listening test key":
            raise DataError(f"{where} is not the key of a listening test; {expected}")
        if found.get("format") != FORMAT:
            raise DataError(f"{where} has the format {found.get('format')!r}; this version reads {FORMAT}")
        try:
            stimuli = {str(name): (str(clip), str(system)) for name, (clip, system) in found["stimuli"].items()}
            forms = [[{str(k): str(v) for k, v in trial.items()} for trial in form] for form in found["forms"]]
            questions = tuple(str(question) for question in found["questions"])
            systems = [str(system) for system in found["systems"]]
            rest = {name: found[name] for name in ("loudness_lufs", "seed", "secret", "sources")}
            made = cls(str(found["test"]), systems, stimuli, forms, questions, **rest)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{where} is damaged; {expected}") from error
        named = {name for form in forms for trial in form for name in trial.values()}
        if not named <= stimuli.keys() or not set(questions) <= set(QUESTIONS):
            raise DataError(f"{where} is damaged: a trial has a stimulus that is not listed; {expected}")
        return made

    @property
    def compared(self) -> list[str]:
        """What is compared in pairs: the systems, or a single one with the truth."""
        return self.systems if len(self.systems) > 1 else [*self.systems, TRUTH]


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
    if len(systems) > 1:
        all_pairs = [(clip, pair) for clip in clips for pair in itertools.combinations(systems, 2)]
    else:
        all_pairs = [(clip, (systems[0], TRUTH)) for clip in clips if clip in truths]
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
        ordered = _spread(rated, rng)
        form: list[dict[str, str]] = [{"stimulus": name(*one)} for one in ordered]
        for clip, (left, right) in _spread(compared, rng, ordered[-1][0] if ordered else ""):
            form.append({"left": name(clip, left), "right": name(clip, right)})
        stimuli |= {name(*one): one for one in rated}
        stimuli |= {name(clip, system): (clip, system) for clip, pair in compared for system in pair}
        forms.append(form)
    test = hashlib.sha256(f"{forms} {design}".encode()).hexdigest()[:12]
    stimuli = dict(sorted(stimuli.items()))
    return Key(test, systems, stimuli, forms, design.questions, design.loudness_lufs, seed, secret)


_Item = TypeVar("_Item", bound=tuple[Any, ...])


def _spread(items: Sequence[_Item], rng: random.Random, before: str = "") -> list[_Item]:
    """The items in random order, with none after one of the same clip where that can be avoided.

    Args:
        items: The items, of which the first field is the clip.
        rng: Random generator.
        before: The clip that stands before them.
    """
    left = rng.sample(items, len(items))
    found: list[_Item] = []
    while left:
        counts = Counter(item[0] for item in left)
        others = [item for item in left if item[0] != (found[-1][0] if found else before)] or left
        # a clip that has half of what is left must come now, or it ends up beside itself
        item = next((item for item in others if counts[item[0]] * 2 > len(left)), others[0])
        left.remove(item)
        found.append(item)
    return found


def printable(text: str) -> str:
    """Text of anybody without what a terminal might obey."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


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
            made = cls(printable(str(found["rater"])), int(found["form"]), {}, {}, str(found.get("saved", "")))
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
