"""Hyper-parameters of a run for the tables of loggers: constructor arguments as class names, numbers and text."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from prismaudio.checkpoints import Configured
from prismaudio.signatures import parameters

Plain = str | int | float | bool | None
SECRET = ("key", "token", "secret", "password")
"""Ends of the names of texts that are not shown."""


class RecordsArguments:
    """Base class of tasks and data modules that records the constructor's arguments for loggers.

    Attributes:
        hyperparameters: The arguments, flat, see :func:`flat`.

    Example:
        >>> class Clips(RecordsArguments):
        ...     def __init__(self, folder: str, batch_size: int = 8) -> None: ...
        >>> Clips("clips").hyperparameters
        {'folder': 'clips', 'batch_size': 8}
    """

    hyperparameters: Mapping[str, Plain]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Record the arguments; ``copy`` and ``pickle`` call this without arguments, and restore what was recorded."""
        made = super().__new__(cls)
        bound = inspect.signature(cls.__init__).bind_partial(made, *args, **kwargs)
        given = {**bound.arguments, **bound.kwargs}
        hidden = getattr(cls, "not_in_folders", ())
        shown = {name: parameter for name, parameter in parameters(cls).items() if name not in hidden}
        values = {name: given.get(name, parameter.default) for name, parameter in shown.items()}
        object.__setattr__(made, "hyperparameters", flat(values))
        return made


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Plain]:
    """Flatten values for a table.

    An object is its class name, and its own arguments below its key; what it computed or holds besides is not shown.
    Functions and missing values are left out.

    Args:
        values: Values by name: numbers, text, mappings, sequences, objects.
        prefix: Text before each name.

    Example:
        >>> flat({"lr": 0.1, "betas": (0.9, 0.98), "optimizer": partial(Path, "a"), "rewards": {"semantic": Path("b")}})
        {'lr': 0.1, 'betas': '0.9, 0.98', 'optimizer': 'Path', 'rewards.semantic': 'b'}
    """
    found: dict[str, Plain] = {}
    for name, value in values.items():
        found |= _entry(f"{prefix}{name}", value)
    return found


def _entry(key: str, value: Any) -> dict[str, Plain]:
    if value is None or isinstance(value, str | int | float | bool):
        is_secret = isinstance(value, str) and key.rpartition(".")[2].endswith(SECRET)
        return {} if is_secret else {key: value}
    if isinstance(value, Path):
        return {key: str(value)}
    if isinstance(value, Mapping):
        return flat(value, f"{key}.")
    if isinstance(value, list | tuple):
        if all(isinstance(item, str | int | float) for item in value):
            return {key: ", ".join(map(str, value))}
        return flat({str(index): item for index, item in enumerate(value)}, f"{key}.")
    if isinstance(value, type):
        return {} if value is inspect.Parameter.empty else {key: value.__name__}
    if isinstance(value, partial):
        return {**_entry(key, value.func), **flat(value.keywords, f"{key}.")}
    if inspect.isroutine(value):
        return {}
    return {key: type(value).__name__, **flat(_arguments(value), f"{key}.")}


def _arguments(value: object) -> Mapping[str, Any]:
    """Arguments that an object was made with, as far as it keeps them."""
    if isinstance(value, Configured):
        return {name: given for name, given in value.config.items() if name not in value.not_in_folders}
    if isinstance(value, Optimizer):
        return {name: given for name, given in value.defaults.items() if given is not None}
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    kept = {name: vars(value)[name] for name in parameters(type(value)) if name in getattr(value, "__dict__", {})}
    return {name: given for name, given in kept.items() if isinstance(given, str | int | float)}
