"""One more class for a model with a plan grid: its noun, and its weights."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch

from prismaudio.checkpoints import fresh
from prismaudio.encoders.base import by_stream
from prismaudio.errors import CheckpointError, DataError
from prismaudio.plan.nouns import COMMON_WORDS, MAX_NOUN_LENGTH
from prismaudio.plan.story import Source, Story
from prismaudio_footage.families import UNKNOWN
from prismaudio_studio.narration import narrate
from prismaudio_studio.plan_grid import ROWS, PlanGridEncoder
from prismaudio_studio.planner.event import EventPlanner
from prismaudio_studio.understanding import PHRASES
from prismaudio_studio.words import Vocabulary, class_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prismaudio.models.dit import DiffusionTransformer

_NOUN = re.compile(r"[^\W\d_]+(?:[ -][^\W\d_]+)*")


def usable_noun(text: str, classes: Sequence[str]) -> str:
    """The noun of a new class, in lower case.

    Args:
        text: The noun as the user wrote it.
        classes: The classes of the model.

    Raises:
        DataError: It is no noun phrase, names a class already, or would be found in what plans say of other sounds.

    Example:
        >>> usable_noun("Vuvuzela", ["bell", "horn"])
        'vuvuzela'
    """
    noun = " ".join(text.lower().split())
    if not _NOUN.fullmatch(noun) or len(noun) > MAX_NOUN_LENGTH:
        raise DataError(
            f"{text!r:.60} cannot name a sound; expected a noun in the singular, such as vuvuzela or fog horn"
        )
    if noun == UNKNOWN or not COMMON_WORDS.isdisjoint(noun.split()):
        raise DataError(f"{noun} is a word that plans use for any sound; choose another noun, such as vuvuzela")
    before, after = Vocabulary(classes).nouns, Vocabulary([*classes, noun]).nouns
    if any(mention.start == 0 and mention.end == len(noun) for mention in before.mentions(noun)):
        raise DataError(f"{noun} names a sound that the model has, {class_of(noun, classes)}; choose another noun")
    for phrase in PHRASES:
        said = f"the {classes[0]} {phrase}"
        if after.named(said) != before.named(said):
            raise DataError(f"plans say {phrase!r} of other sounds, so {noun} cannot name one; choose another noun")
    plan = narrate(Story((Source(noun, (0.5, 1.5), None, (24, 24)),), "clean", "dry"))
    if [source.what for source in plan.read(after).sources] != [noun]:
        raise DataError(f"{noun} is not found in the plan {str(plan)!r}; choose another noun, such as vuvuzela")
    return noun


def like_class(text: str, classes: Sequence[str]) -> str:
    """The class of a model that a noun names.

    Raises:
        DataError: It names none.
    """
    name = class_of(" ".join(text.split()), classes)
    if name is None:
        raise DataError(f"{text!r:.60} is no class of the model; expected one of {', '.join(classes) or 'none'}")
    return name


def plan_grid(parts: Mapping[str, Any]) -> tuple[str, PlanGridEncoder]:
    """The stream of a model that has a plan grid, and its encoder.

    Raises:
        CheckpointError: The model has none.
    """
    for stream, encoder in by_stream(parts).items():
        if isinstance(encoder, PlanGridEncoder) and stream in parts["transformer"].conditioners:
            return stream, encoder
    raise CheckpointError(
        "this model has no PlanGridEncoder, whose classes are its vocabulary, so it cannot be taught a class; "
        "give the studio model, or one that was trained like it"
    )


def widened(parts: Mapping[str, Any], noun: str, like: str) -> dict[str, Any]:
    """A model with one more class, which sounds as another one does; of anything else it generates the same.

    Args:
        parts: Components by name; they are not changed.
        noun: The new class.
        like: The class whose weights it has.
    """
    stream, encoder = plan_grid(parts)
    grown = PlanGridEncoder([*encoder.classes, noun], encoder.rate_hz)
    made = {**parts, f"{stream}_encoder": grown}
    made["transformer"] = _wider(parts["transformer"], stream, encoder.classes.index(like), len(encoder.classes), grown)
    planner = parts.get("planner")
    if isinstance(planner, EventPlanner):
        taught = {**planner.taught, noun: planner.taught.get(like, like)}
        told = type(planner)(**{**fresh(planner.config), "taught": taught})
        told.load_state_dict(planner.state_dict())
        made["planner"] = told.eval().requires_grad_(requires_grad=False)
    return made


def _wider(
    old: DiffusionTransformer, stream: str, place: int, count: int, grown: PlanGridEncoder
) -> DiffusionTransformer:
    """A transformer whose plan stream has the rows of one more class after ``count``, copies of those of another."""
    arguments = fresh(old.config)
    conditioner = arguments["streams"][stream]
    arguments["streams"][stream] = type(conditioner)(**{**conditioner.config, "dim": grown.dim})
    new = type(old)(**arguments)
    state = dict(old.state_dict())
    for name, weight in new.state_dict().items():
        if weight.shape != state[name].shape:  # the inputs are the second axis
            classes, rest = state[name].tensor_split([ROWS * count], 1)
            state[name] = torch.cat([classes, classes[:, ROWS * place : ROWS * (place + 1)], rest], 1)
    new.load_state_dict(state)
    return new.to(next(old.parameters()).device)
