"""Arguments of constructors, with those that ``**kwargs`` passes on to base classes, as jsonargparse resolves them."""

from __future__ import annotations

import inspect
import typing
from collections import abc
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def constructors(kind: type) -> Iterator[Callable[..., None]]:
    """The constructor of a class, and those of its bases that receive its ``**kwargs``."""
    for cls in inspect.getmro(kind):
        if "__init__" in vars(cls):
            init: Any = vars(cls)["__init__"]
            yield init
            if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in _parameters(init)):
                return


def parameters(kind: type) -> dict[str, inspect.Parameter]:
    """The named arguments of a class.

    Example:
        >>> class Base:
        ...     def __init__(self, size: int = 1) -> None: ...
        >>> class Derived(Base):
        ...     def __init__(self, depth: int = 1, **kwargs: int) -> None: ...
        >>> list(parameters(Derived))
        ['depth', 'size']
    """
    found: dict[str, inspect.Parameter] = {}
    for init in constructors(kind):
        for parameter in _parameters(init):
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                found.setdefault(parameter.name, parameter)
    return found


def type_hints(kind: type) -> dict[str, Any]:
    """Types of the arguments of a class; names that a module imports under ``TYPE_CHECKING`` are resolved if standard.

    Raises:
        NameError: A type cannot be resolved.
    """
    found: dict[str, Any] = {}
    for init in constructors(kind):
        found = typing.get_type_hints(init, localns={**vars(abc), **vars(typing)}) | found
    return found


def _parameters(init: Callable[..., None]) -> list[inspect.Parameter]:
    return list(inspect.signature(init).parameters.values())[1:]
