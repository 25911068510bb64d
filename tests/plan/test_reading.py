import contextlib
import random
import time

import pytest
from stories import random_story

from prismaudio.errors import PlanError
from prismaudio.plan import CORE, Plan, words
from prismaudio.plan.nouns import Nouns
from prismaudio.plan.quantities import times
from prismaudio.plan.story import Source, Story
from prismaudio.plan.writing import describe

THINGS = ("bell", "drum", "engine", "whistle", "coin", "marble", "car door", "sea lion")
KNOWN = Nouns(THINGS, verbs=("whistles",))
"""What a reader knows by name, where a test is about one that does."""
ARBITRARY = (
    *("dog", "car door", "thunder", "piano", "violin", "waves", "baby", "helicopter", "sea lion", "fire", "footsteps"),
    *("sewing machine", "rain", "church organ", "bird", "toilet flush", "bus", "glass door"),
)


def told(story: Story) -> list[tuple[object, ...]]:
    return [(s.what, s.onsets_s, s.end_s, s.azimuth_deg) for s in story.sources]


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
        ("<Temporal> The bell at 1 s. It rings again at 3 s.", [("bell", (1.0, 3.0), None, None)]),
        ("<Semantic> The engine whistles at 2 s on the right", [("engine", (2.0,), None, (35.0, 35.0))]),
        ("<Semantic> A bell and a drum <Spatial> All on the far right", [
            ("bell", (), None, (60.0, 60.0)), ("drum", (), None, (60.0, 60.0))
        ]),
        ("<Semantic> A bell at 1.5 s on the left in a large hall", [("bell", (1.5,), None, (-35.0, -35.0))]),
        ("<Aesthetic> Warm", []),
    ],
)  # fmt: skip
def test_reads_what_people_write_in_any_vocabulary(text, expected):
    assert told(Plan.parse(text).story) == expected
    assert told(Plan.parse(text).read(KNOWN)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<Temporal> bells at 1.0, 2.0, 3.0", [("bell", (1.0, 2.0, 3.0), None, None)]),
        ("<Temporal> drum every 0.5 s", [("drum", (), None, None)]),
        ("<Semantic> A glass marble rolls <Temporal> from 1s to 2s", [("marble", (1.0,), 2.0, None)]),
        ("<Spatial> Bell at azimuth −95°", [("bell", (), None, (-90.0, -90.0))]),
    ],
)
def test_a_reader_that_knows_a_thing_by_name_finds_it_wherever_it_stands(text, expected):
    assert told(Plan.parse(text).read(KNOWN)) == expected
    assert told(Plan.parse(text).story) != expected


@pytest.mark.parametrize("seed", range(300))
def test_every_text_that_is_written_is_read_back(seed):
    story = random_story(random.Random(seed), ARBITRARY)
    for rng in (None, random.Random(seed), random.Random(-seed)):
        plan = Plan(describe(story, rng))
        assert plan.story == story, str(plan)
        assert Plan.parse(str(plan)).story == story


def test_times_and_azimuths_are_rounded():
    story = Story((Source("dog", (0.6649,), None, (24.4, 24.4)),))
    assert Plan(describe(story)).story.sources == (Source("dog", (0.66,), None, (24.0, 24.0)),)


def test_texts_vary_with_the_seed_and_only_with_it():
    story = Story((Source("dog", (0.5, 1.0), None, (10.0, 10.0), "small"),), "noisy", "hall")
    assert len({str(describe(story, random.Random(seed))) for seed in range(50)}) > 40
    assert describe(story, random.Random(7)) == describe(story, random.Random(7))


@pytest.mark.parametrize("table", [words.QUALITIES, words.ROOMS])
def test_every_wording_of_an_attribute_is_understood(table):
    for name, wordings in table.items():
        for wording in wordings:
            story = Plan({"aesthetic": wording}).story
            assert name == (story.quality if table is words.QUALITIES else story.room), wording
            assert (story.room if table is words.QUALITIES else story.quality) is None, wording


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [
        ("at 0:03", [3]),
        ("0:03 the bell", [3]),
        ("[00:03.25]", [3.25]),
        ("at 1:02.5", [62.5]),
        ("at 0:03,500", [3.5]),
        ("at 01:02:03", [3723]),
        ("at 0:03,0:05", [3, 5]),
        ("at 0:03, 0:05 and 1:02.5", [3, 5, 62.5]),
        ("at 3 and 0:05", [3, 5]),
        ("at the 0:03 mark", [3]),
        ("at 1:30 h", [5400]),
        ("every 2 s from 0:01", [1]),
        ("1 min 2 s", [62]),
        ("1 min. 2 sec.", [62]),
        ("1m2s", [62]),
        ("1h2m3.5s", [3723.5]),
        ("1 minute and 2 seconds", [62]),
        ("1′02″", [62]),
        ("2 s 500 ms", [2.5]),
        ("2 minutes", [120]),
        ("1 and 2 minutes", [60, 120]),
        ("1 min and 2 min", [60, 120]),
        ("half a minute", [30]),
        ("one and a half minutes", [90]),
        ("at twenty-two seconds", [22]),
        ("at one, two and three seconds", [1, 2, 3]),
        ("at 1 1/2 s", [1.5]),
        ("at 1e9", []),
        ("at -1 s", []),
        ("at 16:9", []),
        ("with a 16:10 frame", []),
        ("at 12:00 am", []),
        ("at 5 o'clock", []),
        ("at 0:75", []),
        ("at 00:00:03:12", []),  # a time code counts frames, and their rate is not known
        ("the 12:15 train at 3 s", [3]),
        ("a drum 5 m away at 2 s", [2]),
        ('a 3" pipe at 2 s', [2]),
        ("at 1.2.3 s", []),
    ],
)  # fmt: skip
def test_reads_times_of_every_form_whole_or_not_at_all(text, expected_s):
    assert [value.number for value in times(text)] == expected_s


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The bell from 0:01 to 0:04.", (1, 4)),
        ("The bell 0:01-0:04", (1, 4)),
        ("The bell between 1 and 2 min 30 s", (1, 150)),
        ("The bell starts at 1 minute 2 seconds and stops at 1:05", (62, 65)),
        ("The bell at 0:10 for 1 min 2 s", (10, 72)),
    ],
)
def test_reads_spans_of_clock_times(text, expected):
    (bell,) = Plan({"temporal": text}).story.sources
    assert (*bell.onsets_s, bell.end_s) == expected


def test_a_number_in_words_leaves_the_rest_of_a_sentence_where_it_is():
    text = "At twenty-two seconds the bell, at thirty-three seconds the drum, at forty-four seconds the coin"
    story = Plan({"temporal": text}).read(KNOWN)
    assert [(s.what, s.onsets_s) for s in story.sources] == [("bell", (22,)), ("drum", (33,)), ("coin", (44,))]


def test_a_time_is_finite_however_long_its_number():
    (bell,) = Plan({"temporal": f"The bell at {'9' * 400} s."}).story.sources
    assert bell.onsets_s == (1e9,)
    with pytest.raises(PlanError, match=r"^the plan has the bell at 1000000000\.00 s"):
        Plan({"temporal": f"The bell at {'9' * 400} s."}).check(4.0)


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
    sources = Plan({"semantic": "A tiny bell and a very big old drum near a coin."}).read(KNOWN).sources
    assert [(s.what, s.size) for s in sources] == [("bell", "small"), ("drum", "large"), ("coin", None)]


def test_never_fails_on_garbled_text():
    rng = random.Random(0)
    story = Story(tuple(Source(what, (0.5, 1.25), 2.0, (-20.0, 35.0), "small") for what in THINGS), "noisy", "hall")
    alphabet = [
        *" ".join(describe(story, rng).values()).split(),
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


def cost_s(text: str) -> float:
    """The least processor time of three readings of a text as every section, and as the sections of a file."""
    times = []
    for _ in range(3):
        begin = time.process_time()
        assert isinstance(Plan(dict.fromkeys(CORE, text)).story, Story)
        with contextlib.suppress(PlanError):
            Plan.parse(f"<Semantic> {text}")
        times.append(time.process_time() - begin)
    return min(times)


def made_of(unit: str, n_characters: int) -> str:
    """Repetitions of a unit, in which each ``@`` is another word."""
    parts, n = [], 0
    while n < n_characters:
        word = "".join("bcdfghklmnprst"[int(digit)] + "aeiouaeiou"[int(digit)] for digit in str(len(parts)))
        parts.append(unit.replace("@", f"{word}k"))
        n += len(parts[-1])
    return "".join(parts)


@pytest.mark.parametrize(
    "unit",
    [
        "A @ rattles at 1.5 s. The @ is on the left. ",
        "a @, ",
        "the @ and a small bell ",
        "1", "1deg", "1 deg ", "azimuth -", "0:03, ", "1 min 2 s and ", "twenty two ", "a-", "bell's ", "end ",
        "x", "<", "< ", "</", "\\<", "no hiss ", "at again at ", "((",
    ],
)  # fmt: skip
def test_reading_takes_a_time_that_grows_with_the_text_only(unit):
    short, long = made_of(unit, 2_500), made_of(unit, 20_000)
    assert cost_s(long) < 24 * cost_s(short) + 0.05  # 8 if it is linear, 64 if it is quadratic


@pytest.mark.parametrize("tag", ["<", "</", "<Semantic"])
def test_a_tag_with_a_long_gap_is_read_in_no_time(tag):
    begin = time.process_time()
    with pytest.raises(PlanError):
        Plan.parse(f"{tag}{' ' * 40_000}!")
    gap_s = time.process_time() - begin
    assert gap_s < 24 * cost_s(made_of("A @ rattles at 1.5 s. ", 5_000)) + 0.05


def test_a_noun_is_found_whole_and_a_thing_of_many_names_once():
    assert [m.noun for m in Nouns(["bell", "bell tower"]).mentions("A bell tower, bells, a bellow.")] == [
        "bell tower", "bell"
    ]  # fmt: skip
    assert Nouns(["bell"]).mentions("İİ bell's")[0] == (3, 9, "bell")
    assert Nouns([]).mentions("a bell") == []
