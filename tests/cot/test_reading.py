import random

import pytest

from prismaudio.cot import words
from prismaudio.cot.narration import narrate
from prismaudio.cot.plan import Plan
from prismaudio.cot.story import Source, Story


def sources(text: str) -> list[tuple[object, ...]]:
    return [(s.what, s.onsets_s, s.end_s, s.azimuth_deg) for s in Plan.parse(text).story.sources]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<Temporal> at 1 and 2 seconds", [("sound", (1.0, 2.0), None, None)]),
        (
            "<Semantic> A dog barks <Temporal> 0.7s, 1.5s <Spatial> from the left",
            [("dog", (0.7, 1.5), None, (-35.0, -35.0))],
        ),
        (
            ("<Semantic> A dog barks and a car door slams <Temporal> The dog barks at 0.7s; the car door at 2 s "
            "<Spatial> dog half left, car door in the centre"),
            [("dog", (0.7,), None, (-18.0, -18.0)), ("car door", (2.0,), None, (0.0, 0.0))],
        ),
        (
            "<Temporal> the bell rings at 100 ms and 1,5 s <Spatial> bell 30° left, moving right",
            [("bell", (0.1, 1.5), None, (-30.0, 35.0))],
        ),
        ("<Temporal> engine 0.5-2.3 s", [("engine", (0.5,), 2.3, None)]),
        ("<Temporal> whistle from 0.5 s for 2 s", [("whistle", (0.5,), 2.5, None)]),
        ("<Temporal> The bell after one second", [("bell", (1.0,), None, None)]),
        ("<Temporal> bells at 1.0, 2.0, 3.0", [("bell", (1.0, 2.0, 3.0), None, None)]),
        ("<Temporal> The bell at 1 s. It rings again at 3 s.", [("bell", (1.0, 3.0), None, None)]),
        ("<Temporal> drum every 0.5 s", [("drum", (), None, None)]),
        ("<Semantic> A glass marble rolls <Temporal> from 1s to 2s", [("marble", (1.0,), 2.0, None)]),
        ("<Semantic> The engine whistles at 2 s on the right", [("engine", (2.0,), None, (35.0, 35.0))]),
        ("<Semantic> A bell and a drum <Spatial> All on the far right", [
            ("bell", (), None, (60.0, 60.0)), ("drum", (), None, (60.0, 60.0))
        ]),
        ("<Spatial> Bell at azimuth −95°", [("bell", (), None, (-90.0, -90.0))]),
        ("<Semantic> A bell at 1.5 s on the left in a large hall", [("bell", (1.5,), None, (-35.0, -35.0))]),
        ("<Aesthetic> Warm", []),
    ],
)  # fmt: skip
def test_reads_what_people_write(text, expected):
    assert sources(text) == expected


@pytest.mark.parametrize(
    ("aesthetic", "quality", "room"),
    [
        ("No background noise, no echo.", "clean", "dry"),
        ("Clear but with a lot of hiss, in a cathedral", "noisy", "hall"),
        ("Heavily distorted; some reverb", "clipped", "room"),
        ("Warm and lively", None, None),
    ],
)
def test_reads_quality_and_room(aesthetic, quality, room):
    story = Plan({"aesthetic": aesthetic}).story
    assert (story.quality, story.room) == (quality, room)


def test_reads_sizes():
    told = Plan({"semantic": "A tiny bell and a very big old drum near a coin."}).story.sources
    assert [(s.what, s.size) for s in told] == [("bell", "small"), ("drum", "large"), ("coin", None)]


def test_never_fails_on_garbled_text():
    rng = random.Random(0)
    story = Story(
        tuple(Source(what, (0.5, 1.25), 2.0, (-20.0, 35.0), "small") for what in words.CLASSES), "noisy", "hall"
    )
    alphabet = [
        *" ".join(narrate(story, rng).values()).split(),
        "of",
        "-",
        "–",
        "(",
        "°",
        "12",
        ".5",
        "9e9",
        "ä",
        ",",
        "1,5,2",
    ]
    for _ in range(300):
        text = " ".join(rng.choices(alphabet, k=25))
        plan = Plan(dict.fromkeys(("semantic", "temporal", "aesthetic", "spatial"), text))
        assert isinstance(plan.story, Story)
        plan.crop(0.5, 1.5)
