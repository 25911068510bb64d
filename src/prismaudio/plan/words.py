"""Vocabulary of plans, independent of the sources; the same tables are used for writing and for parsing."""

from __future__ import annotations

GENERIC_VERBS = ("is heard", "sounds", "can be heard")

SIZES = {
    "small": ("small", "little", "tiny"),
    "medium": ("medium-sized", "medium", "mid-sized"),
    "large": ("large", "big", "huge"),
}

QUALITIES = {
    "clean": (
        "a clean recording",
        "the recording is clean and clear",
        "crisp, undisturbed sound",
        "the sound is pristine, without background noise",
        "clear audio with a silent background",
    ),
    "noisy": (
        "a noisy recording",
        "steady hiss lies under everything",
        "the recording is full of background noise",
        "constant static and hiss can be heard",
        "noisy audio with an audible hiss",
    ),
    "clipped": (
        "a clipped recording",
        "the sound is overdriven and distorted",
        "harsh clipping on the peaks",
        "an overloaded, distorted recording",
        "the recording clips, with audible distortion",
    ),
    "muffled": (
        "a muffled recording",
        "the sound is dull and muffled",
        "everything is muffled, without highs",
        "dull audio, as if heard through a wall",
        "a veiled recording that lacks treble",
    ),
}

ROOMS = {
    "dry": (
        "dry acoustics",
        "the space is dry, with hardly any echo",
        "no reverberation at all",
        "a dry and close sound",
        "recorded dry, without any reverberation",
    ),
    "room": (
        "room acoustics",
        "it was recorded in a small room",
        "the acoustics are those of a living room",
        "a short room reverberation",
        "an ordinary room answers softly",
    ),
    "hall": (
        "hall acoustics",
        "it was recorded in a large hall",
        "long reverberation of a spacious hall",
        "a hall answers with a long echo",
        "the space is a reverberant hall",
    ),
}

COUNTS = {
    1: ("once", "one time", "a single time"),
    2: ("twice", "two times"),
    3: ("three times",),
    4: ("four times",),
    5: ("five times",),
    6: ("six times",),
    7: ("seven times",),
    8: ("eight times",),
}

DIRECTIONS = (
    # lower bound of the azimuth in degrees, phrases for a position, phrases for an end point of a movement
    (48, ("on the far right", "far to the right", "at the right edge"), ("the far right", "the right edge")),
    (24, ("on the right", "to the right", "on the right side"), ("the right", "the right side")),
    (8, ("half right", "slightly to the right", "a little to the right"), ("half right", "slightly right")),
    (-8, ("in the centre", "in the middle", "straight ahead"), ("the centre", "the middle")),
    (-24, ("half left", "slightly to the left", "a little to the left"), ("half left", "slightly left")),
    (-48, ("on the left", "to the left", "on the left side"), ("the left", "the left side")),
    (-91, ("on the far left", "far to the left", "at the left edge"), ("the far left", "the left edge")),
)
