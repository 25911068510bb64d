"""Probes of text encoders: what a linear map reads from frozen features of plans about order, causes and chains.

Each question is asked of several texts with the same words, one for each answer, so that the words alone give no
answer: a bag of words is right by chance.

Source:
    The paper compares text encoders in "sequential understanding", "causal logic" and "multi-step reasoning"; how it
    measured them is not in the sources at hand, these probes are ours. Controls as in Hewitt and Liang, "Designing and
    Interpreting Probes with Control Tasks", 2019.
"""

from __future__ import annotations

import random
import re
import statistics
from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from prismaudio.evaluation.comparison import Cell
from prismaudio.evaluation.folds import assign_folds
from prismaudio.evaluation.grid import EMPTY, Grid
from prismaudio.evaluation.intervals import difference_interval, mean_interval
from prismaudio.evaluation.presentation import text_of
from prismaudio.evaluation.retrieval import spread_of, words_of
from prismaudio.plan import Plan
from prismaudio.plan.nouns import Nouns
from prismaudio.plan.reading import UNNAMED, sentences

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from prismaudio.data.manifest import ManifestEntry

MIN_GAP_S = 0.1
"""Shortest time between two events whose order is asked for."""
CHAIN = 3
"""Fewest events of a chain."""
MIN_CLIPS = 10
"""Fewest clips of which a probe is trained and tested."""
DECAYS = (1e-6, 1e-4, 1e-2)
"""Weights of the L2 penalty that are tried on a quarter of the training clips."""
STATED, REVERSED = "stated", "reversed"


@dataclass(frozen=True)
class Question:
    """A text, and the answer to a question about it.

    Args:
        text: The text, as a plan of one section.
        clip: The clip that it is of; intervals are over clips.
        group: What is held out together.
        candidates: The possible answers.
        answer: The right one.
        guess: The answer by the order of mention alone; empty where that says nothing.
    """

    text: Plan
    clip: str
    group: str
    candidates: tuple[str, ...]
    answer: str
    guess: str = ""

    @property
    def words(self) -> str:
        """The words of the text."""
        return " ".join(self.text.values())


# Questions -----------------------------------------------------------------------------------------------------------
def ordering(entries: Iterable[ManifestEntry]) -> list[Question]:
    """Which of two sources is heard first?

    The text is the temporal section of the plan, once as it is and once with the two names exchanged.

    Args:
        entries: Clips with plans; those whose temporal section does not give times of two sources, each named equally
            often, have no questions.
    """
    return [question for entry in entries for question in _of_pairs(entry)]


def _of_pairs(entry: ManifestEntry) -> Iterator[Question]:
    text, onsets = _timed(entry)
    for pair in combinations(sorted(onsets), 2):
        if abs(onsets[pair[0]][0] - onsets[pair[1]][0]) < MIN_GAP_S:
            continue
        rotations = [_renamed(text, pair, turn, onsets) for turn in range(2)]
        if None in rotations:
            continue
        for turned in filter(None, rotations):
            first = min((turned.onsets[name][0], name) for name in pair)[1]
            yield Question(turned.plan, entry.id, entry.id, pair, first, turned.mentions[0])


def chains(entries: Iterable[ManifestEntry]) -> list[Question]:
    """Which source is heard last, in a chain of three or more events?

    The text is the temporal section of the plan, with the names in each of their rotations.

    Args:
        entries: Clips with plans; those whose temporal section does not give a chain of several sources, each named
            equally often, have no questions.
    """
    return [question for entry in entries for question in _of_chain(entry)]


def _of_chain(entry: ManifestEntry) -> Iterator[Question]:
    text, onsets = _timed(entry)
    names = tuple(sorted(onsets))
    events = sorted((time_s, name) for name, times in onsets.items() for time_s in times)
    if (
        len(names) < 2
        or len(events) < CHAIN
        or events[-1][0] - max(t for t, n in events if n != events[-1][1]) < (MIN_GAP_S)
    ):
        return
    rotations = [_renamed(text, names, turn, onsets) for turn in range(len(names))]
    if None in rotations:
        return
    for turned in filter(None, rotations):
        last = max((turned.onsets[name][-1], name) for name in names)[1]
        yield Question(turned.plan, entry.id, entry.id, names, last, turned.mentions[-1])


@dataclass(frozen=True)
class _Turned:
    """A temporal section with other names: its plan, the onsets that it states by name, and its mentions in order."""

    plan: Plan
    onsets: Mapping[str, tuple[float, ...]]
    mentions: tuple[str, ...]


def _timed(entry: ManifestEntry) -> tuple[str, dict[str, tuple[float, ...]]]:
    """The temporal section of a clip, and the onsets of each source in it."""
    plan = next(iter(entry.plans), Plan({}))
    text = plan.get("temporal", "")
    names = [source.what for source in plan.story.sources if source.what != UNNAMED]
    return text, _onsets(text, names)


def _onsets(text: str, names: Sequence[str]) -> dict[str, tuple[float, ...]]:
    sources = Plan({"temporal": text}).read(Nouns(names)).sources
    return {
        source.what: tuple(sorted(source.onsets_s)) for source in sources if source.onsets_s and source.what in names
    }


def _renamed(text: str, names: tuple[str, ...], turn: int, onsets: Mapping[str, tuple[float, ...]]) -> _Turned | None:
    """A text in which each name is replaced by the one ``turn`` places later.

    None if that changes how often a word occurs, or if the times do not move along with the names.
    """
    new = {name: names[(at + turn) % len(names)] for at, name in enumerate(names)}
    found, parts, mentions, end = Nouns(onsets), [], [], 0
    for mention in found.mentions(text):
        name = new.get(mention.noun, mention.noun)
        parts += [text[end : mention.start], name, text[mention.start + len(mention.noun) : mention.end]]
        end = mention.end
        if mention.noun in new:
            mentions.append(name)
    if len({mentions.count(name) for name in names}) > 1:
        return None
    turned = "".join([*parts, text[end:]])
    stated = _onsets(turned, list(onsets))
    expected = {new.get(name, name): times for name, times in onsets.items()}
    return _Turned(Plan({"temporal": turned}), stated, tuple(mentions)) if stated == expected and mentions else None


_CAUSE = (
    r"(?:(?:is|are|was|were|gets?) )?(?:struck|hit|beaten|tapped|kicked|dropped|thrown|pushed|pressed|plucked|pulled|"
    r"shaken|slammed|squeezed|scratched|drops?|falls?|lands?|hits?|strikes?|collides?|crashes|slips?|tips? over|"
    r"presses|pulls|pushes|kicks|throws|slams)"
)
_AND = re.compile(
    rf"\b(?P<cause>{_CAUSE})(?P<where>(?: (?:on|onto|to|against|into|at|off) (?:the |a |an )?\w+)?)"
    r"(?P<joint>,? and(?: then)? |, then )(?P<effect>[a-z]+s)\b",
    re.IGNORECASE,
)
_JOINTS = (
    ", which causes", ", which makes", ", causing", ", making", ", leading to", ", resulting in", ", followed by",
    " because", " so that",
)  # fmt: skip
_MIN_WORDS = 2


def causal(entries: Iterable[ManifestEntry]) -> list[Question]:
    """Does the effect follow the cause, or are the two exchanged?

    The text is a section of the plan with a sentence that states a cause and its effect, *is struck and rings*, *drops,
    causing a thud*, once as it is and once with the two exchanged. What is held out together is the pair of cause and
    effect, so that a probe is tested with pairs that it has not seen.

    Args:
        entries: Clips with plans.
    """
    return [question for entry in entries for question in _of_cause(entry)]


def _of_cause(entry: ManifestEntry) -> list[Question]:
    """The questions of the first cause and effect of a clip; one, so that no text is in training and test."""
    for name, section in next(iter(entry.plans), Plan({})).items():
        for exchanged, pair in _exchanged(section):
            return [
                Question(Plan({name: text}), entry.id, pair, (STATED, REVERSED), answer)
                for text, answer in ((section, STATED), (exchanged, REVERSED))
            ]
    return []


def _exchanged(section: str) -> Iterator[tuple[str, str]]:
    """A section with a cause and its effect exchanged, for each pair that it states, and the name of the pair."""
    for match in _AND.finditer(section):
        cause, effect = match["cause"], match["effect"]
        text = f"{effect}{match['joint']}{cause}{match['where']}"
        yield section[: match.start()] + text + section[match.end() :], f"{cause} → {effect}".lower()
    for sentence in sentences(section):
        cause, joint, effect = _divided(sentence.rstrip(" .;!?"))
        if joint:
            text = f"{effect[:1].upper()}{effect[1:]}{joint}{cause[:1].lower()}{cause[1:]}"
            yield section.replace(f"{cause}{joint}{effect}", text, 1), f"{cause} → {effect}".lower()


def _divided(sentence: str) -> tuple[str, str, str]:
    """What is before the first connective of a sentence, the connective, and what is after it; empty for none."""
    for joint in _JOINTS:
        before, found, after = sentence.partition(f"{joint} ")
        if found and min(len(before.split()), len(after.split())) >= _MIN_WORDS:
            return before, found, after
    return sentence, "", ""


PROBES = {"ordering": ordering, "causal": causal, "multi-step": chains}
"""The questions of each probe, in the order of the table."""


def enough(questions: Sequence[Question]) -> str:
    """Why a probe cannot be trained on questions; empty if it can."""
    clips, groups = {q.clip for q in questions}, {q.group for q in questions}
    if len(clips) < MIN_CLIPS:
        return f"{len(clips)} clips have plans that answer it; expected {MIN_CLIPS} or more"
    if len(groups) < 2:
        return f"all questions are of one pair, {next(iter(groups))}; expected two or more"
    return ""


# Probes --------------------------------------------------------------------------------------------------------------
def probe(
    features: Tensor, questions: Sequence[Question], n_folds: int = 5, seed: int = 0, *, random_labels: bool = False
) -> Tensor:
    """Whether a linear probe answers each question ``(n,)`` rightly, trained on other groups: 1 or 0.

    The probe is a logistic regression, over the candidates of each question, on standardised features with an L2
    penalty, which is chosen on a quarter of the training groups.

    Args:
        features: Features of the texts ``(n, dim)``.
        questions: The questions.
        n_folds: Number of folds; fewer where there are fewer groups.
        seed: Seed of the folds.
        random_labels: For a control, exchange the answers of the texts of each clip at random, in training and test.
    """
    answers = _shuffled(questions, seed) if random_labels else [question.answer for question in questions]
    names = {name: at for at, name in enumerate(sorted({c for question in questions for c in question.candidates}))}
    right = torch.tensor([names[answer] for answer in answers])
    possible = torch.zeros(len(questions), len(names), dtype=torch.bool)
    for row, question in zip(possible, questions, strict=True):
        row[[names[candidate] for candidate in question.candidates]] = True
    groups = [question.group for question in questions]
    folds = assign_folds(groups, min(n_folds, len(set(groups))), seed)
    found = torch.zeros(len(questions), dtype=torch.float64)
    for fold in folds.unique():
        test = folds == fold
        train = ~test
        inner = assign_folds([group for group, is_in in zip(groups, train.tolist(), strict=True) if is_in], 4, seed + 1)
        part = features[train].double(), right[train], possible[train]
        decay = _best_decay(*part, inner == 0)
        model = _Logistic(*part, decay)
        found[test] = (model.answer(features[test].double(), possible[test]) == right[test]).double()
    return found


def guessed(questions: Sequence[Question]) -> Tensor | None:
    """Whether the order of mention answers each question ``(n,)`` rightly; None where it says nothing."""
    if not all(question.guess for question in questions):
        return None
    return torch.tensor([float(question.guess == question.answer) for question in questions], dtype=torch.float64)


def word_counts(questions: Sequence[Question]) -> Tensor:
    """Counts of the words of each text ``(n, words)``, for a probe that has nothing but words."""
    counted = [Counter(words_of(question.words)) for question in questions]
    number = {word: at for at, word in enumerate(sorted({word for words in counted for word in words}))}
    found = torch.zeros(len(counted), len(number))
    for row, words in zip(found, counted, strict=True):
        for word, count in words.items():
            row[number[word]] = count
    return found


def by_clip(values: Tensor, questions: Sequence[Question]) -> dict[str, float]:
    """The mean of values ``(n,)`` of the questions of each clip."""
    sums: dict[str, list[float]] = {}
    for value, question in zip(values.tolist(), questions, strict=True):
        sums.setdefault(question.clip, []).append(value)
    return {clip: sum(of) / len(of) for clip, of in sums.items()}


def _shuffled(questions: Sequence[Question], seed: int) -> list[str]:
    """The answers, exchanged at random between the texts of the same clip, group and candidates."""
    rng = random.Random(f"answers {seed}")
    places: dict[tuple[str, str, tuple[str, ...]], list[int]] = {}
    for at, question in enumerate(questions):
        places.setdefault((question.clip, question.group, question.candidates), []).append(at)
    answers = [question.answer for question in questions]
    for own in places.values():
        mixed = [answers[at] for at in own]
        rng.shuffle(mixed)
        for at, answer in zip(own, mixed, strict=True):
            answers[at] = answer
    return answers


class _Logistic:
    """A logistic regression over the candidates of each question.

    Args:
        features: Training features ``(n, dim)``, float64.
        right: Number of the right answer of each question ``(n,)``.
        possible: Which answers are candidates ``(n, answers)``.
        decay: Weight of the L2 penalty.
    """

    def __init__(self, features: Tensor, right: Tensor, possible: Tensor, decay: float) -> None:
        self.mean, self.spread = features.mean(0), spread_of(features)
        scale = features.shape[1] ** 0.5
        self.scale = scale
        inputs = self._scaled(features)
        self.weights = torch.zeros(possible.shape[1], features.shape[1], dtype=torch.float64, requires_grad=True)
        self.biases = torch.zeros(possible.shape[1], dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [self.weights, self.biases], max_iter=50, tolerance_grad=1e-5, tolerance_change=1e-7,
            line_search_fn="strong_wolfe",
        )  # fmt: skip

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(self._logits(inputs, possible), right) + decay * self.weights.square().sum()
            loss.backward()
            return loss

        with torch.enable_grad():
            optimizer.step(closure)
        self.weights, self.biases = self.weights.detach(), self.biases.detach()

    def _scaled(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.spread / self.scale

    def _logits(self, inputs: Tensor, possible: Tensor) -> Tensor:
        return (inputs @ self.weights.T + self.biases).masked_fill(~possible, -torch.inf)

    def answer(self, features: Tensor, possible: Tensor) -> Tensor:
        """The most probable candidates ``(n,)`` of questions with features ``(n, dim)``."""
        return self._logits(self._scaled(features), possible).argmax(1)


def _best_decay(features: Tensor, right: Tensor, possible: Tensor, held_out: Tensor) -> float:
    """The penalty with the most right answers on held-out training questions; the largest of equals."""
    if not bool(held_out.any()) or bool(held_out.all()):
        return DECAYS[-1]
    scores = {}
    for decay in DECAYS:
        model = _Logistic(features[~held_out], right[~held_out], possible[~held_out], decay)
        given = model.answer(features[held_out], possible[held_out])
        scores[decay] = int((given == right[held_out]).sum())
    return max(DECAYS, key=lambda decay: (scores[decay], decay))


# Comparison ----------------------------------------------------------------------------------------------------------
@dataclass
class ProbeRow:
    """The accuracy of probes on an encoder.

    Args:
        encoder: Its name.
        cells: Probe → accuracy over clips; with an interval, and the difference from a bag of words.
        random: Probe → accuracy with random labels, a control.
        reason: Why there are none.
    """

    encoder: str
    cells: dict[str, Cell] = field(default_factory=dict)
    random: dict[str, float] = field(default_factory=dict)
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Its content as JSON."""
        probes = {
            name: cell.as_dict() | ({"random_labels": self.random[name]} if name in self.random else {})
            for name, cell in self.cells.items()
        }
        return {"encoder": self.encoder, **({"probes": probes} if probes else {"reason": self.reason})}


def probe_row(
    encoder: str,
    right: Mapping[str, Tensor],
    random_right: Mapping[str, Tensor],
    asked: Mapping[str, Sequence[Question]],
    words: Mapping[str, Tensor] | None = None,
) -> ProbeRow:
    """The accuracy of probes on an encoder, with intervals over clips.

    Args:
        encoder: Its name.
        right: Probe → whether each question is answered rightly ``(n,)``.
        random_right: The same with random labels.
        asked: The questions of each probe.
        words: The same of a bag of words, with which the encoder is compared; None for that itself.
    """
    row = ProbeRow(encoder)
    for name, values in right.items():
        own = by_clip(values, asked[name])
        whole = mean_interval(own.values())
        row.cells[name] = Cell(whole.mean, whole.clips, whole.low, whole.high)
        if words is not None:
            row.cells[name].difference = difference_interval(own, by_clip(words[name], asked[name]))
        if name in random_right:
            row.random[name] = statistics.fmean(by_clip(random_right[name], asked[name]).values())
    return row


def answered(
    features: Mapping[str, Tensor], asked: Mapping[str, Sequence[Question]], n_folds: int, seed: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Whether probes answer questions rightly: with true labels, and with random ones.

    Args:
        features: Features of the texts ``(n, dim)`` of each probe.
        asked: The questions of each probe.
        n_folds: Number of folds.
        seed: Seed of folds and random labels.
    """
    right = {name: probe(features[name], own, n_folds, seed) for name, own in asked.items()}
    by_chance = {name: probe(features[name], own, n_folds, seed, random_labels=True) for name, own in asked.items()}
    return right, by_chance


def chance_row(asked: Mapping[str, Sequence[Question]]) -> ProbeRow:
    """The accuracy of answers that are drawn at random from the candidates."""
    return ProbeRow(
        "chance",
        {
            name: Cell(
                statistics.fmean(
                    by_clip(torch.tensor([1 / len(question.candidates) for question in own]), own).values()
                ),
                len({question.clip for question in own}),
            )
            for name, own in asked.items()
        },
    )


def probe_grid(rows: Sequence[ProbeRow], reasons: Mapping[str, str], title: str) -> Grid:
    """The table: a line for each encoder, accuracy and control of each probe; reasons of empty cells below."""
    heads = [head for name in PROBES for head in (f"{name} ↑", "random labels")]
    grid = Grid(title, ("Encoder", *heads))
    for row in rows:
        cells: list[str] = []
        for name in PROBES:
            cell, control = row.cells.get(name), row.random.get(name)
            cells += [EMPTY if cell is None else text_of(cell, 3), EMPTY if control is None else f"{control:.3g}"]
        grid.rows[row.encoder] = cells
        if row.reason:
            grid.notes.append(f"{EMPTY} {row.encoder}: {row.reason}")
    grid.notes += [f"{EMPTY} {name}: {reason}" for name, reason in reasons.items()]
    return grid
