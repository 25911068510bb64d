"""Selection of a sampler by name and number of steps."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from prismaudio.errors import PrismAudioError, UnknownNameError, one_line
from prismaudio.registry import discover
from prismaudio.signatures import parameters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prismaudio.samplers.base import Sampler

MAX_STEPS = 1000


def make_sampler(
    default: Sampler,
    requested: Sampler | str | None,
    steps: int | None,
    arguments: Mapping[str, Any] = MappingProxyType({}),
) -> Sampler:
    """Select or create a sampler.

    Args:
        default: The model's sampler.
        requested: A sampler, a class name such as ``HeunSampler`` or short ``heun``, or None for the default.
        steps: Number of steps, or None for the sampler's default.
        arguments: Further arguments of its class; others are those of the model's sampler if that is of the same class.

    Raises:
        UnknownNameError: No plugin provides a sampler of that name.
        PrismAudioError: The sampler has no argument ``steps``, or an argument is out of range.
    """
    kind, options = type(default), dict(default.config)
    if isinstance(requested, str):
        kind = find_sampler(requested)
        options = options if kind is type(default) else {}
    elif requested is not None:
        kind, options = type(requested), dict(requested.config)
    if steps is not None:
        if not 1 <= steps <= MAX_STEPS:
            raise PrismAudioError(f"{steps} sampling steps are out of range; expected 1 to {MAX_STEPS}")
        if "steps" not in parameters(kind):
            raise PrismAudioError(f"{kind.__name__} takes no number of steps; leave --steps out")
        options["steps"] = steps
    elif not arguments and not isinstance(requested, str):
        return default if requested is None else requested
    try:
        sampler: Any = kind(**{**options, **arguments})
    except (ValueError, TypeError) as error:
        raise PrismAudioError(f"{kind.__name__}: {one_line(error)}") from error
    return sampler


def find_sampler(name: str) -> type[Sampler]:
    """Find a sampler class by name, case-insensitive, with or without the suffix ``Sampler``.

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
