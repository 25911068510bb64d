from __future__ import annotations

import random

import pytest

from prismaudio.plan import words
from prismaudio.plan.story import Source, Story
from prismaudio_studio.narration import narrate
from prismaudio_studio.understanding import unknown_clauses
from prismaudio_studio.words import CLASSES, VOCABULARY, Vocabulary

STUDIO = Vocabulary(CLASSES)


def test_narrated_text_has_no_unknown_clauses():
    rng = random.Random(0)
    for _ in range(300):
        sources = []
        for what in rng.sample(CLASSES, rng.randrange(4)):
            onsets = tuple(sorted({round(9 * rng.random(), 2) for _ in range(rng.randint(1, 8))}))
            end_s = rng.choice((None, onsets[-1] + 0.5))
            place = (rng.randint(-60, 60), rng.randint(-60, 60))
            sources.append(Source(what, onsets, end_s, place, rng.choice(list(words.SIZES))))
        story = Story(tuple(sources), rng.choice(list(words.QUALITIES)), rng.choice(list(words.ROOMS)))
        for text in narrate(story, rng).values():
            assert unknown_clauses(text, STUDIO) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Eine Glocke läutet", ["Eine Glocke läutet"]),
        ("铃响了", ["铃响了"]),
        ("dog", ["dog"]),
        ("the dog barks, and a bell rings at 0:03", ["the dog barks"]),
        ("A bell. Rain.", ["Rain"]),
        ("the bells ring very softly, three times, in a cathedral", []),
        ("on the left at 2 min 3 s", []),
        ("12 °, 3", []),
        ("", []),
    ],
)
def test_unknown_clauses_are_found(text, expected):
    assert unknown_clauses(text, STUDIO) == expected


@pytest.mark.parametrize(
    "text", ["Water flows on the left.", "Three crows on the left.", "Trumpets on the right at 1 s.", "Water rolls by."]
)
def test_verbs_of_families_are_no_known_words(text):
    assert unknown_clauses(text, STUDIO)
    assert unknown_clauses(text, Vocabulary(VOCABULARY))


def test_what_has_a_name_and_no_sound_is_unknown():
    text = "A gun fires twice. A puppy barks. A rustle of an unknown thing follows the motion. A truck drives."
    assert unknown_clauses(text, Vocabulary(VOCABULARY)) == ["A gun fires twice"]
