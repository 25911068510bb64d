import random

import pytest
from stories import random_story

from prismaudio.plan import Plan
from prismaudio.plan.story import Source, Story
from prismaudio_studio.narration import narrate
from prismaudio_studio.words import NOUNS, VOCABULARY


@pytest.mark.parametrize("seed", range(300))
def test_story_survives_the_round_trip(seed):
    rng = random.Random(seed)
    story = random_story(rng, [*VOCABULARY, "zebra", "tea kettle"])
    for plan in (narrate(story), narrate(story, rng), narrate(story, rng)):
        assert plan.story == plan.read(NOUNS) == story
        assert Plan.parse(str(plan)).story == story


def test_rounds_times_and_azimuths():
    story = Story((Source("bell", (0.6649,), None, (24.4, 24.4)),))
    assert narrate(story).story.sources == (Source("bell", (0.66,), None, (24.0, 24.0)),)


def test_texts_vary_with_the_seed_and_only_with_it():
    story = Story((Source("bell", (0.5, 1.0), None, (10.0, 10.0), "small"),), "noisy", "hall")
    texts = {str(narrate(story, random.Random(seed))) for seed in range(50)}
    assert len(texts) > 40
    assert narrate(story, random.Random(7)) == narrate(story, random.Random(7))
    assert narrate(story) == narrate(story)
