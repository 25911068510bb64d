"""The vocabulary that plans are written in and read with: one table serves both directions."""

from __future__ import annotations

CLASSES = (
    "bell",
    "woodblock",
    "glass",
    "drum",
    "ball",
    "coin",
    "shaker",
    "marble",
    "cart",
    "whistle",
    "engine",
    "buzzer",
)

LASTING = ("marble", "cart", "whistle", "engine", "buzzer")
"""The classes whose sounds last until something stops them; all others die away by themselves."""

VERBS = {
    "bell": ("rings", "chimes", "is struck and rings"),
    "woodblock": ("knocks", "clacks", "is tapped"),
    "glass": ("clinks", "pings", "is struck and pings"),
    "drum": ("booms", "thumps", "is beaten"),
    "ball": ("bounces", "thuds on the floor", "drops and bounces"),
    "coin": ("clatters", "drops and clinks", "falls on the floor"),
    "shaker": ("rattles", "is shaken", "swishes"),
    "marble": ("rolls", "rolls along", "rolls across the floor"),
    "cart": ("rumbles by", "rolls by", "trundles along"),
    "whistle": ("blows", "shrills", "gives a long note"),
    "engine": ("runs", "hums", "growls"),
    "buzzer": ("buzzes", "drones", "goes off"),
}
GENERIC_VERBS = ("is heard", "sounds", "can be heard")

TIMBRES = {
    "bell": ("with a bright metallic ring", "with a long metallic tone"),
    "woodblock": ("with a short wooden knock", "with a hollow wooden sound"),
    "glass": ("with a high clear ping", "with a thin brittle tone"),
    "drum": ("with a deep boom", "with a low round thump"),
    "ball": ("with a soft rubbery thud", "with a dull rubbery bump"),
    "coin": ("with a sharp metallic clink", "with a thin metallic clatter"),
    "shaker": ("with a grainy rattle", "with a sandy swish"),
    "marble": ("with a hard rolling sound", "with a steady grinding roll"),
    "cart": ("with a low rumble", "with a heavy rumbling of wheels"),
    "whistle": ("with a high pure tone", "with a piercing tone"),
    "engine": ("with a low throbbing hum", "with a deep mechanical hum"),
    "buzzer": ("with a harsh electric tone", "with a rough nasal tone"),
}

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
    # lower bound of the azimuth in degrees, then how a place is called, and how an end of a movement is called
    (48, ("on the far right", "far to the right", "at the right edge"), ("the far right", "the right edge")),
    (24, ("on the right", "to the right", "on the right side"), ("the right", "the right side")),
    (8, ("half right", "slightly to the right", "a little to the right"), ("half right", "slightly right")),
    (-8, ("in the centre", "in the middle", "straight ahead"), ("the centre", "the middle")),
    (-24, ("half left", "slightly to the left", "a little to the left"), ("half left", "slightly left")),
    (-48, ("on the left", "to the left", "on the left side"), ("the left", "the left side")),
    (-91, ("on the far left", "far to the left", "at the left edge"), ("the far left", "the left edge")),
)
