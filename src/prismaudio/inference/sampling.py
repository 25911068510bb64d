"""The sampler that a user asks for by name and number of steps."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from prismaudio.errors import PrismAudioError, UnknownNameError
from prismaudio.registry import discover

if TYPE_CHECKING:
    from prismaudio.samplers.base import Sampler

MAX_STEPS = 1000


def make_sampler(usual: Sampler, wanted: Sampler | str | None, steps: int | None) -> Sampler:
    """A sampler.

    Args:
        usual: The model's own.
        wanted: A sampler, a class name such as ``HeunSampler`` or short ``heun``, or None for the usual one.
        steps: Number of steps, or None for its default.

    Raises:
        UnknownNameError: No plugin provides a sampler of that name.
        PrismAudioError: It has no number of steps to set, or the number is out of range.
    """
    kind, options = type(usual), dict(usual.config)
    if isinstance(wanted, str):
        kind = find_sampler(wanted)
        options = options if kind is type(usual) else {}
    elif wanted is not None:
        kind, options = type(wanted), dict(wanted.config)
    if steps is not None:
        if not 1 <= steps <= MAX_STEPS:
            raise PrismAudioError(f"{steps} sampling steps are out of range; expected 1 to {MAX_STEPS}")
        if "steps" not in inspect.signature(kind).parameters:
            raise PrismAudioError(f"{kind.__name__} has no number of steps; leave --steps out")
        options["steps"] = steps
    elif wanted is None or not isinstance(wanted, str):
        return usual if wanted is None else wanted
    made: Any = kind(**options)
    return made


def find_sampler(name: str) -> type[Sampler]:
    """The sampler class of a name, with or without ``Sampler`` at its end, in capitals or not.

    Example:
        >>> find_sampler("heun").__name__
        'HeunSampler'
    """
    registry = discover()
    known = registry.names("samplers")
    short = name.lower().removesuffix("sampler")
    match = next((other for other in known if other.lower().removesuffix("sampler") == short), None)
    if match is None:
        raise UnknownNameError(f"no sampler is named {name!r}; {registry.advice(name, known)}")
    return registry.load("samplers", match)
