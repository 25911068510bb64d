"""The vocabulary of the studio: its classes, and the words that describe their sounds."""

from __future__ import annotations

from prismaudio.plan.nouns import Nouns

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
"""The classes with sustained sounds, which have an end; all others decay."""

NOUNS = Nouns(CLASSES, verbs=("whistles", "drums", "bells"))
"""Parses plans and prompts: the classes, and the words that are verbs after another noun."""

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
