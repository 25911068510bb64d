"""The vocabulary of the studio: its classes, and the words that describe their sounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from prismaudio.plan.nouns import Nouns
from prismaudio_footage.families import UNKNOWN, family_of, sounding, verbs
from prismaudio_studio.families import lasts, voice_names, voices

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

MOTIONS = {
    "struck": ("bell", "woodblock", "glass", "drum"),
    "bouncing": ("ball", "coin"),
    "shaken": ("shaker",),
    "rolling": ("marble", "cart"),
    "sustained": ("whistle", "engine", "buzzer"),
    "calling": (),
    "stepping": (),
    "spinning": (),
    "flowing": (),
    "rustling": (UNKNOWN,),
}
"""How things move when they sound, with the classes of :data:`CLASSES` that do; families have theirs in their table."""
FAMILIES = tuple(voices())
"""The families that sound like recordings."""
VOCABULARY = (*CLASSES, *FAMILIES)
"""All classes of the world that have a sound of their own."""
LASTING = ("marble", "cart", "whistle", "engine", "buzzer")
"""The classes with synthetic sustained sounds, which have an end; the other synthetic ones decay."""
_MOTION = {what: motion for motion, whats in MOTIONS.items() for what in whats}
_MOTION |= {voice.name: voice.motion for voice in voices().values()}
VOICELESS = (UNKNOWN, *(f.name for f in sounding() if f.name not in voice_names() and f.name not in CLASSES))
"""Nouns that have no sound of their own: families without recordings or a synthetic class, what is not recognised."""
_SYNONYMS = {noun: name for noun, name in voice_names().items() if noun not in CLASSES}


def motion_of(what: str) -> str:
    """How a class moves when it sounds; what has no sound of its own is rustled."""
    return _MOTION.get(what, "rustling")


def class_of(noun: str, classes: Iterable[str] = VOCABULARY) -> str | None:
    """The class that a noun or one of its words names, in any number, or by another word; None for no class.

    Example:
        >>> class_of("church bells"), class_of("puppy"), class_of("violin")
        ('bell', 'dog', None)
    """
    known = list(classes)
    low = noun.lower()
    for text in (low, *reversed(low.split())):
        for word in (text, text.removesuffix("s"), text.removesuffix("es")):
            if word in known:
                return word
            if _SYNONYMS.get(word) in known:
                return _SYNONYMS[word]
    return None


class Vocabulary:
    """What a model knows: its classes with other words for them, and what it was taught.

    Args:
        classes: Its classes.
        taught: Nouns that it was taught, with the class that each is like.

    Attributes:
        known: Nouns that it has a sound of.
        nouns: Those that its texts are read with: a model of families also reads the names of families without a sound.

    Example:
        >>> Vocabulary(["bell", "dog"]).known.named("A bell, a puppy and a violin.")
        ['bell', 'puppy']
    """

    def __init__(self, classes: Iterable[str] = CLASSES, taught: Mapping[str, str] = MappingProxyType({})) -> None:
        self.classes, self.taught = tuple(classes), taught
        others = [noun for noun, name in _SYNONYMS.items() if name in self.classes]
        self.known = NOUNS.only((*self.classes, *others, *taught, *([UNKNOWN] if others else [])))
        self.nouns = self.known.more(VOICELESS) if others else self.known

    def lasts(self, noun: str) -> bool:
        """Whether what a noun names sounds continuously."""
        noun = self.taught.get(noun, noun)
        if noun in self.classes and noun in CLASSES:
            return noun in LASTING
        return bool(self.nouns.named(noun)) and lasts(noun)


NOUNS = Nouns(
    (*CLASSES, *_SYNONYMS, *VOICELESS),
    verbs=("whistles", "drums", "bells", *(forms[0].split()[0] for forms in verbs().values())),
)
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
    **{noun: forms for noun, forms in verbs().items() if noun not in CLASSES},
    **{noun: (family.verb,) for noun in _SYNONYMS if (family := family_of(noun))},
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
