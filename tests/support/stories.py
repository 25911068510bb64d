"""Stories that tests tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prismaudio.plan import words
from prismaudio.plan.story import Source, Story

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

STORIES = [
    *(
        Story((Source("bell", (0.5 + 0.1 * i, 2.0), azimuth_deg=(a, a)),))
        for i, a in enumerate((-60, -30, 0, 15, 40, 60))
    ),
    Story((Source("bell", (0.4, 2.5), azimuth_deg=(-50, -20)), Source("drum", (1.2,), azimuth_deg=(30, 30)))),
]
"""Six of one source in different directions, one of two sources."""


def random_story(rng: random.Random, things: Sequence[str]) -> Story:
    """At most four of these things, at times and from directions of all kinds."""
    sources = []
    for what in rng.sample(things, rng.randint(0, 4)):
        onsets = sorted(rng.sample(range(400), rng.randint(1, 6)))
        end = onsets[-1] + rng.randint(1, 200) if rng.random() < 0.4 else None
        first = float(rng.randint(-90, 90))
        azimuth_deg = (first, first if rng.random() < 0.5 else float(rng.randint(-90, 90)))
        sources.append(
            Source(
                what,
                tuple(t / 100 for t in onsets),
                None if end is None else end / 100,
                azimuth_deg if rng.random() < 0.9 else None,
                rng.choice([None, *words.SIZES]),
            )
        )
    return Story(tuple(sources), rng.choice([None, *words.QUALITIES]), rng.choice([None, *words.ROOMS]))
