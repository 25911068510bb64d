"""Combinations of classes, rooms and qualities that are held out of training."""

from __future__ import annotations

from itertools import combinations

from prismaudio.plan.words import QUALITIES, ROOMS
from prismaudio_studio.words import VOCABULARY

_ROOMS, _QUALITIES = tuple(ROOMS), tuple(QUALITIES)
_PLACES = {what: place for place, what in enumerate(VOCABULARY)}


def is_held_out(whats: tuple[str, ...], room: str, quality: str) -> bool:
    """Whether any pair of the classes, or any class in this room and quality, is held out of training.

    About one in five pairs and one in four triples are held out; they cover every class, room and quality.

    Args:
        whats: The classes of a scene.
        room: Its room.
        quality: Its quality.
    """
    places = sorted(_PLACES.get(what, len(_PLACES)) for what in whats)
    if any((3 * a + b) % 5 == 0 for a, b in combinations(places, 2)):
        return True
    attribute = _ROOMS.index(room) + _QUALITIES.index(quality)
    return any(place % 4 == attribute % 4 for place in places)
