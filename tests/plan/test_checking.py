import random
import time

import pytest
from stories import random_story

from prismaudio.plan import CORE, Plan
from prismaudio.plan.checking import MAX_WORDS, contradictions, form_problems, leaks, section_problems
from prismaudio.plan.quantities import azimuths
from prismaudio.plan.writing import describe

THINGS = (
    *("bell", "drum", "engine", "dog", "car door", "thunder", "piano", "waves", "baby", "helicopter", "sea lion"),
    *("footsteps", "sewing machine", "rain", "church organ", "toilet flush", "glass door", "whistle", "coin"),
)
GOOD = [
    ("semantic", "dog barks at 1.2 s"),
    ("semantic", "dog, car horn, distant thunder"),
    ("semantic", "A man shouts “I can't see anything!” and a woman answers 'Ich komme gleich'."),
    ("semantic", "A choir sings la la la while a café crowd murmurs."),
    ("semantic", "A retro video game console beeps twice; a camera shutter clicks."),
    ("semantic", "The scene features an old clock that ticks every 60 s."),
    ("semantic", "Lively chatter at a fiesta: guitars, maracas, a señor singing over the crowd."),
    ("semantic", "Nothing sounds."),
    ("semantic", "Crowd din, um and er of a speaker, faint words that are hard to hear."),
    ("semantic", "Great, booming thunder; a video doorbell rings."),
    ("semantic", "Rain. Rain. Rain."),
    ("semantic", "A van passes and a die rolls over the table; the man has a hat on."),
    ("temporal", "0.5 s, 1.2 s and 3.9 s"),
    ("temporal", "The clip starts with the dog, then the car sounds from 1 s until 4.00 s."),
    ("temporal", "The barking repeats every 90 s; it begins immediately."),
    ("temporal", "Sequence: scrape, sizzle, clink."),
    ("aesthetic", "Dry, close and unfiltered, with a reverberation of 6 s."),
    ("aesthetic", "No background music or additional sounds are permitted."),
    ("spatial", "All sounds are centered and close to the listener."),
    ("spatial", "The car moves from -90° to +90°."),
    ("spatial", "Natural sound distribution across the stereo field."),
    ("spatial", "The footsteps recede into the distance."),
    ("loudness", "About -20 LUFS, with a quiet end."),
]
BAD = {
    "empty": [("semantic", text) for text in ("", "  \n ", "...", "—", "```", "**")],
    "words": [
        ("semantic", "dog " * (MAX_WORDS + 1)),
        ("semantic", "a" * 5000),
        ("temporal", "The dog barks and the cat meows. " * 2000),
        ("spatial", "右" * 20000),
    ],
    "plain sentences": [
        ("semantic", "# Semantic\nA dog barks."),
        ("semantic", "### A dog barks."),
        ("semantic", "A **dog** barks."),
        ("semantic", "A *dog* barks."),
        ("semantic", "A __dog__ barks."),
        ("semantic", "A _small_ dog barks."),
        ("semantic", "- A dog barks.\n- A car passes."),
        ("semantic", "* A dog barks."),
        ("semantic", "• A dog barks • A car passes"),
        ("semantic", "1. A dog barks. 2. A car passes."),
        ("semantic", "```text\nA dog barks.\n```"),
        ("semantic", "A `dog` barks."),
        ("semantic", "<b>A dog</b> barks."),
        ("semantic", "<Semantic> A dog barks."),
        ("semantic", "A dog barks.</answer>"),
        ("semantic", "<think>The user wants a plan.</think> A dog barks."),
        ("semantic", "A dog barks.<|im_end|>"),
        ("semantic", "<!-- comment --> A dog barks."),
        ("semantic", '{"semantic": "A dog barks."}'),
        ("temporal", '[{"time": 1.2, "event": "dog"}]'),
        ("temporal", "{'dog': [1.2, 3.4]}"),
        ("temporal", "| time | event | --- | 1.2 | dog |"),
        ("spatial", r"The dog is on the left (\(30^\circ\))."),
        ("spatial", "The dog is on the left at $30^\\circ$."),
        ("semantic", "A dog barks, see https://example.com/dog."),
        ("semantic", "A [dog](dog) barks."),
    ],
    "label": [
        ("semantic", "Semantic: A dog barks."),
        ("temporal", "Temporal section: The dog sounds at 1 s."),
        ("semantic", "Answer: A dog barks."),
        ("loudness", "Loudness: quiet."),
        ("semantic", "assistant: A dog barks."),
    ],
    "refuses": [
        ("semantic", "I'm sorry, but I can't help with that."),
        ("semantic", "I cannot hear the audio."),
        ("semantic", "I can't actually listen to sounds."),
        ("semantic", "As an AI language model, I have no ears."),
        ("semantic", "As a large language model I work with text."),
        ("semantic", "Sorry, no."),
        ("temporal", "It is impossible to determine when the dog barks."),
        ("temporal", "The times cannot be determined from the frames."),
        ("temporal", "I don't have enough information."),
        ("aesthetic", "No audio was provided."),
        ("aesthetic", "Unable to assess the quality."),
        ("aesthetic", "My apologies, but this is beyond what is possible."),
        ("spatial", "N/A"),
        ("spatial", "Unknown."),
        ("spatial", "Not applicable"),
        ("semantic", "Please upload the video again."),
        ("semantic", "That request is against our policies."),
    ],
    "talks": [
        ("semantic", "Sure! A dog barks."),
        ("semantic", "Certainly, a dog barks."),
        ("semantic", "Here is the semantic section of the plan: a dog barks."),
        ("semantic", "Here's a description of the sound. A dog barks."),
        ("semantic", "A dog barks. Let me know if you need more details."),
        ("semantic", "I think a dog barks."),
        ("semantic", "I can see a dog that barks."),
        ("semantic", "A dog barks. Would you like the temporal section too?"),
    ],
    "English": [
        ("semantic", "Ein Hund bellt zweimal."),
        ("semantic", "Der Hund bellt und das Auto fährt vorbei."),
        ("temporal", "Hund bellt bei 1.2 s, dann bei 3 s"),
        ("semantic", "Un chien aboie deux fois."),
        ("semantic", "Le chien aboie dans la rue avec une voiture qui passe."),
        ("semantic", "Un perro ladra dos veces."),
        ("semantic", "El perro ladra y la campana suena en la calle."),
        ("semantic", "Un cane abbaia due volte mentre la campana suona."),
        ("semantic", "Um cachorro late duas vezes e o sino toca."),
        ("semantic", "Een hond blaft twee keer."),
        ("semantic", "En hund skäller två gånger."),
        ("semantic", "En hund gjør to ganger og bilen kjører forbi."),
        ("semantic", "Koira haukkuu kaksi kertaa ja auto ajaa ohi."),
        ("semantic", "Pies szczeka dwa razy, potem słychać samochód."),
        ("semantic", "Pes štěká dvakrát a pak projede auto."),
        ("semantic", "Bir köpek iki kez havlıyor."),
        ("semantic", "Un câine latră de două ori."),
        ("semantic", "Seekor anjing menggonggong dengan keras dari jauh."),
        ("semantic", "Egy kutya kétszer ugat."),
        ("semantic", "Một con chó sủa hai lần."),
        ("semantic", "一只狗叫了两声。"),
        ("semantic", "犬が二回吠える。"),
        ("semantic", "개가 두 번 짖는다."),
        ("semantic", "Собака лает два раза."),
        ("semantic", "كلب ينبح مرتين."),
        ("semantic", "Ένας σκύλος γαβγίζει δύο φορές."),
        ("semantic", "कुत्ता दो बार भौंकता है।"),
        ("semantic", "A dog barks twice and then 汽车经过."),
        ("semantic", "A dog barks twice. Dann fährt ein Auto mit einer Sirene nach rechts."),
        ("semantic", "Lorem ipsum dolor sit amet, consectetur adipiscing elit."),
        ("spatial", "Der Hund ist links, das Auto rechts."),
    ],
    "but the clip lasts": [
        ("temporal", "The dog sounds at 12.00 s."),
        ("temporal", "The dog sounds at 1 s and 4.2 s."),
        ("temporal", "The car sounds from 1 s to 9 seconds."),
        ("temporal", "The dog barks at 0:05."),
        ("temporal", "The dog barks at 1 min."),
        ("temporal", "The dog barks after ten seconds."),
        ("semantic", "A dog barks at 60 s."),
        ("spatial", "The dog moves from the left to the right until 8 s."),
    ],
    "negative time": [("temporal", "The dog sounds at -1.0 s."), ("temporal", "The dog sounds from −2 seconds on.")],
    "after the start": [
        ("temporal", "The car sounds from 3 s to 1 s."),
        ("temporal", "The car starts at 3.50 s and stops at 3.50 s."),
        ("temporal", "The dog sounds at 1 s. The car sounds between 2.0 s and 0.5 s."),
    ],
    "direction of": [
        ("spatial", "The dog is at azimuth +120°."),
        ("spatial", "The dog moves from -180° to 0°."),
        ("spatial", "The dog is 135° right."),
        ("spatial", "The dog is on the far left (azimuth -91°)."),
    ],
    "no direction": [
        ("spatial", "A dog barks."),
        ("spatial", "Clean recording, dry acoustics."),
        ("spatial", "It is loud and clear."),
        ("spatial", "The dog sounds at 1.0 s, right after the bell."),
        ("spatial", "The sound comes from the dog."),
    ],
    "video or a file": [
        ("semantic", "In this video, a dog barks."),
        ("semantic", "The video shows a dog."),
        ("semantic", "The clip shows a dog that barks."),
        ("semantic", "This footage has a dog."),
        ("semantic", "The image depicts a dog."),
        ("semantic", "The frames show a dog barking."),
        ("semantic", "A dog barks in the picture."),
        ("temporal", "The dog barks in frame 12."),
        ("semantic", "A dog barks in IMG_0001.mp4."),
        ("semantic", "dog_small.MOV with a dog"),
        ("semantic", "Throughout these frames a dog barks."),
        ("semantic", "The provided video has a dog."),
        ("semantic", "The audio file has a dog."),
    ],
    "repeats": [("semantic", "The dog barks. " * 12), ("temporal", "A car is heard; " * 8)],
}  # fmt: skip


@pytest.mark.parametrize(("name", "text"), GOOD)
def test_valid_sections_have_no_problems(name, text):
    assert section_problems(name, text, 4.0) == []


@pytest.mark.parametrize(
    ("name", "text", "problem"), [(name, text, problem) for problem, cases in BAD.items() for name, text in cases]
)
def test_every_bad_section_is_found(name, text, problem):
    found = section_problems(name, text, 4.0)
    assert any(problem in clause for clause in found), found
    for clause in found:
        assert clause.startswith("it ")
        assert len(clause) < 200
        assert "\n" not in clause


@pytest.mark.parametrize("seed", range(3))
def test_written_sections_are_valid_and_consistent(seed):
    rng = random.Random(seed)
    for turn in range(300):
        plan = Plan(describe(random_story(rng, THINGS), rng if turn % 10 else None))
        assert [section_problems(name, text, 6.0) for name, text in plan.items()] == [[] for _ in plan], plan
        assert contradictions(plan) == [], plan


@pytest.mark.parametrize("semantic", ["", " ", "...", "-", ".", "?!"])
def test_a_semantic_section_without_words_contradicts_nothing(semantic):
    sections = {"semantic": semantic, "temporal": "The dog sounds at 0.66 s.", "spatial": "The dog is on the left."}
    assert contradictions(sections) == []


def test_leaks_are_the_problems_that_have_nothing_to_do_with_the_section():
    text = "Sure! In this video ein Hund bellt und eine Katze miaut bei 9 s."
    assert form_problems("temporal", text, 4.0) == [
        "it is not in English",
        "it has a sound at 9.00 s, but the clip lasts 4.00 s",
    ]
    assert [problem.split(" (")[0] for problem in leaks(text)] == [
        "it talks to the reader",
        "it mentions the video or a file",
    ]
    assert sorted(section_problems("temporal", text, 4.0)) == sorted(form_problems("temporal", text, 4.0) + leaks(text))


def test_longer_clips_may_have_longer_sections():
    text = " ".join(f"The dog sounds at {second} s." for second in range(100))
    assert section_problems("temporal", text, 100.0) == []
    assert "at most 150" in section_problems("temporal", text, 10.0)[0]


def test_several_problems_are_reported_together():
    found = section_problems("spatial", "**Sure!** In this video ein Hund bellt.", 4.0)
    assert len(found) >= 3


@pytest.mark.parametrize(
    "part", ["a-", "<a ", "_a", "$a", "|a", "'a ", '"a', "{", "[", "\\", "1.", "at 1 s to ", "no "]
)
def test_hostile_text_takes_no_time(part):
    for duration_s in (4.0, 600.0):
        text = part * (MAX_WORDS * 10 // len(part) if duration_s < 15 else 60_000 // len(part))
        start_s = time.process_time()
        for name in CORE:
            section_problems(name, text, duration_s)
        assert time.process_time() - start_s < 10


def test_directions_can_be_read_beyond_the_sides():
    assert [value.number for value in azimuths("azimuth -120°, 100° left")] == [-90.0, -90.0]
    assert [value.number for value in azimuths("azimuth -120°, 100° left", clamp=False)] == [-120.0, -100.0]


@pytest.mark.parametrize(
    ("sections", "parts"),
    [
        (
            {"semantic": "A dog barks.", "temporal": "The dog sounds at 1 s, the cat sounds at 2 s."},
            ["temporal section names the cat"],
        ),
        (
            {"semantic": "A dog barks.", "spatial": "The dog is on the left. The cat is on the right."},
            ["spatial section names the cat"],
        ),
        (
            {
                "semantic": "A dog barks.",
                "temporal": "The dog sounds at 1 s. The cat sounds at 2 s.",
                "spatial": "The cat is on the left.",
            },
            ["temporal section names the cat"],
        ),
        (
            {"semantic": "A dog barks twice.", "temporal": "The dog sounds at 1 s, 2 s and 3 s."},
            ["dog sound 2 times, the temporal section 3 times"],
        ),
        (
            {"semantic": "A dog barks 4 times and a car passes.", "temporal": "The dog sounds at 1 s."},
            ["dog sound 4 times, the temporal section 1 time"],
        ),
        ({"semantic": "Nothing sounds.", "temporal": "The dog sounds at 1 s."}, ["semantic section says that nothing"]),
        (
            {"semantic": "A dog barks at 1 s.", "temporal": "Silence."},
            ["temporal section says that nothing"],
        ),
        (
            {"semantic": "A dog barks. The cat is silent.", "temporal": "The dog sounds at 1 s, the cat at 2 s."},
            ["cat is silent, but it has times"],
        ),
        (
            {"semantic": "A dog barks on the left.", "spatial": "The dog is on the right."},
            ["dog is on the left and on the right"],
        ),
        (
            {"semantic": "A dog barks.", "spatial": "The dog is on the far left. The dog is right (azimuth +50°)."},
            ["dog is on the left and on the right"],
        ),
        (
            {"semantic": "A car passes.", "temporal": "The car sounds from 1 s to 2 s, and again at 3 s."},
            ["car ends at 2.00 s, but starts at 3.00 s"],
        ),
        (
            {"semantic": "A man speaks to his dog.", "aesthetic": "Clean, no speech."},
            ["excludes speech"],
        ),
    ],
)  # fmt: skip
def test_contradictions_are_found(sections, parts):
    found = contradictions(Plan(sections))
    assert len(found) == len(parts), found
    assert all(part in clause for part, clause in zip(parts, found, strict=True)), found


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"temporal": "The dog sounds at 1 s.", "spatial": "The dog is on the left."},
        {"semantic": "Barking dogs.", "temporal": "The dog barks at 1 s."},
        {"semantic": "A chopping axe.", "temporal": "The axe chop is heard at 1 s."},
        {"semantic": "A dog barks.", "temporal": "The first hit is at 1 s, startling the cat."},
        {"semantic": "A dog barks.", "temporal": "A loud thud is heard at 1 s."},
        {"semantic": "A dog barks twice, then growls.", "temporal": "The dog sounds at 1 s, 2 s and 3 s."},
        {"semantic": "A dog barks twice and growls.", "temporal": "The dog sounds at 1 s, 2 s and 3 s."},
        {"semantic": "A dog barks at least twice.", "temporal": "The dog sounds at 1 s, 2 s and 3 s."},
        {"semantic": "A dog barks twice as loud.", "temporal": "The dog sounds at 1 s."},
        {"semantic": "A dog barks at once.", "temporal": "The dog sounds at 1 s and 2 s."},
        {"semantic": "A dog barks twice.", "temporal": "Regular barks throughout."},
        {"semantic": "The dog is silent at the beginning.", "temporal": "The dog sounds at 3 s."},
        {"semantic": "The audio starts in silence. A dog barks.", "temporal": "The dog sounds at 3 s."},
        {"semantic": "A car passes.", "spatial": "The car moves from the left to the right."},
        {"semantic": "A car passes.", "spatial": "First the car is on the left. Later the car is on the right."},
        {"semantic": "Two dogs bark.", "spatial": "One dog is on the left and another dog is on the right."},
        {"semantic": "A man speaks.", "aesthetic": "No other voices."},
        {"semantic": "A baby laughs.", "aesthetic": "No speech."},
        {"semantic": "Nothing sounds.", "temporal": "Nothing happens."},
    ],
)
def test_what_is_not_certain_is_no_contradiction(sections):
    assert contradictions(Plan(sections)) == []


@pytest.mark.parametrize("text", ["{*ۓ!?", "1.2 3.4", "?? 0.5 s !!"])
def test_signs_without_a_word_are_no_english(text):
    assert "it is not in English" in section_problems("temporal", text, 4.0)
