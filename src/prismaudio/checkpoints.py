"""Our own checkpoint format: one folder with ``config.json`` and ``model.safetensors``, and nothing that runs code.

A folder may come from anybody. Which classes it may name is decided before anything is imported, their arguments are
compared with their declared types, and the shapes of the weights with those of the file before memory is taken.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import math
import os
import reprlib
import tempfile
import types
import typing
from collections import abc
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from prismaudio import builtin
from prismaudio.errors import CheckpointError, one_line
from prismaudio.weight_files import below, check_finite, check_fit, fill, read_safetensors, save_tensors, shapes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from prismaudio.components import Component

FORMAT = 1
MAX_CONFIG_BYTES = 10_000_000
"""Size of a ``config.json``; that of a small model has 3,000 bytes."""
KINDS = ("autoencoders", "encoders", "planners", "samplers", "conditioners")
"""Kinds of components that a model folder holds, beside a transformer and settings; conditioners are parts of it."""
OWN = {
    "prismaudio.models.dit:DiffusionTransformer": "transformers",
    "prismaudio.inference.settings:Settings": "settings",
}
"""Loadable classes that no hook names, and of which kind they are."""
ROLES = {
    "transformer": "transformers",
    "autoencoder": "autoencoders",
    "planner": "planners",
    "sampler": "samplers",
    "settings": "settings",
}
"""Kind of the component that has a name; names that end in ``_encoder`` are those of encoders."""


def loadable(components: Iterable[tuple[str, Component]]) -> dict[str, str]:
    """Classes that a model folder may name: kind by target, ``package.module:ClassName``.

    Args:
        components: Kind and component of what the hooks of plugins provide.

    Example:
        >>> from prismaudio.components import Component
        >>> found = loadable([("samplers", Component("mine.heun:Heun", "")), ("rewards", Component("mine:Loud", ""))])
        >>> sorted(found.keys() - OWN.keys())
        ['mine.heun:Heun']
    """
    return OWN | {component.target: kind for kind, component in components if kind in KINDS}


def _of_the_core() -> Iterator[tuple[str, Component]]:
    for kind in KINDS:
        yield from ((kind, component) for component in getattr(builtin, f"prismaudio_{kind}")())


LOADABLE = loadable(_of_the_core())
"""Classes that a model folder may name where the caller does not say; ``prismaudio fit`` puts those of its plugins."""


class Configured:
    """Remembers the arguments that an object was made with, so that it can be made again from JSON.

    Example:
        >>> class Box(Configured):
        ...     def __init__(self, size: int = 3) -> None: ...
        >>> Box(4).config
        {'size': 4}
    """

    config: Mapping[str, Any] = MappingProxyType({})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            cls.__init__ = _remembering(cls.__init__)  # type: ignore[method-assign]


def _remembering(init: Any) -> Any:
    signature = inspect.signature(init)

    @functools.wraps(init)
    def remember(self: Any, *args: Any, **kwargs: Any) -> None:
        if self.config is Configured.config:  # the most derived constructor comes first
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            object.__setattr__(self, "config", dict(list(bound.arguments.items())[1:]))
        init(self, *args, **kwargs)

    return remember


def description(component: Configured) -> dict[str, Any]:
    """Class and arguments of a component, and of the components among its arguments, as JSON has them.

    Example:
        >>> class Box(Configured):
        ...     def __init__(self, size: int = 3) -> None: ...
        >>> class Shelf(Configured):
        ...     def __init__(self, boxes: dict[str, Box]) -> None: ...
        >>> description(Shelf({"red": Box(4)}))["arguments"]
        {'boxes': {'red': {'class': 'prismaudio.checkpoints:Box', 'arguments': {'size': 4}}}}
    """
    kind = type(component)
    arguments = _nested(component.config, description)
    return {"class": f"{kind.__module__}:{kind.__qualname__}", "arguments": arguments}


def fresh(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The same arguments with new components in the place of those among them, which then share no weights."""
    made: dict[str, Any] = _nested(arguments, lambda part: type(part)(**fresh(part.config)))
    return made


def _nested(value: Any, change: Callable[[Any], Any], kind: type | None = None) -> Any:
    """A value with its components changed, wherever in mappings and lists they are."""
    if isinstance(value, kind or Configured):
        return change(value)
    if isinstance(value, abc.Mapping):
        return {name: _nested(item, change, kind) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_nested(item, change, kind) for item in value]
    return value


def within(least: float, most: float, /, **numbers: float | None) -> None:
    """Check that arguments of a constructor lie in a range; None is left alone.

    Args:
        least: Lowest number that is right.
        most: Highest one.
        numbers: The arguments by name.

    Raises:
        ValueError: A number is outside the range, or NaN.

    Example:
        >>> within(1, 8, cells=9)
        Traceback (most recent call last):
        ValueError: cells is 9; expected 1 to 8
    """
    for name, number in numbers.items():
        if number is not None and not least <= number <= most:
            raise ValueError(f"{name} is {number:g}; expected {least:g} to {most:g}")


# Writing --------------------------------------------------------------------------------------------------------------
def save_components(
    folder: Path,
    components: Mapping[str, Any],
    half: Collection[str] = (),
    half_dtype: torch.dtype = torch.float16,
    *,
    beside: bool = False,
    finite: bool = True,
) -> None:
    """Write components to a folder, complete or not at all.

    Args:
        folder: Folder to write ``config.json`` and ``model.safetensors`` to.
        components: Objects by name; each is :class:`Configured`, some are ``nn.Module``.
        half: Names of the components whose floating-point weights are stored in half precision.
        half_dtype: Which one, ``float16`` or ``bfloat16``.
        beside: Keep the components of other names that the folder has, as they are stored.
        finite: Refuse weights that are NaN or infinite, which loading refuses too.

    Raises:
        CheckpointError: Weights are not finite, or what the folder has cannot be kept, because it is damaged.
    """
    described, weights = _others(folder, components) if beside else ({}, {})
    for name, component in components.items():
        described[name] = description(component)
        if isinstance(component, torch.nn.Module):
            stored = {
                key: value.detach().to("cpu", half_dtype if name in half and value.is_floating_point() else None)
                for key, value in component.state_dict().items()
            }
            if finite:
                check_finite(stored, f"{name} is not written to {folder}")
            weights |= {f"{name}.{key}": value.contiguous() for key, value in stored.items()}
    text = json.dumps({"format": FORMAT, "components": described}, indent=2) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    tensors, config = folder / "model.safetensors.partial", folder / "config.json.partial"
    try:
        save_tensors(weights, tensors)
        config.write_text(text, encoding="utf-8")
        for part in (tensors, config):
            os.replace(part, part.with_suffix(""))  # noqa: PTH105 - atomic on every system
    finally:
        for part in (tensors, config):
            part.unlink(missing_ok=True)


def check_target(folder: Path) -> None:
    """See, before the work is done, that its result can be saved beside the components of a folder.

    Raises:
        CheckpointError: The folder cannot be written to, or what it has is damaged.
    """
    _others(folder, ())
    present = folder.absolute()
    while not present.exists():
        present = present.parent
    try:
        with tempfile.TemporaryFile(dir=present):
            pass
    except OSError as error:
        raise CheckpointError(f"cannot write a model to {folder}: {error.strerror}; choose another folder") from error


def _others(folder: Path, names: Collection[str]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What a folder has, if anything, apart from the components of these names."""
    if not (folder / "config.json").exists():
        return {}, {}
    described, weights = _described(folder), _weights(folder)
    kept = {name: entry for name, entry in described.items() if name not in names}
    return kept, {key: value for key, value in weights.items() if key.partition(".")[0] in kept}


# Reading --------------------------------------------------------------------------------------------------------------
def load_components(folder: Path, classes: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Components of a folder that :func:`save_components` wrote, in evaluation mode and float32.

    Args:
        folder: The folder.
        classes: Classes that it may name, as :func:`loadable` has them; None for :data:`LOADABLE`.

    Raises:
        CheckpointError: The folder is not such a checkpoint, is damaged, names another class or arguments that are
            not those of its class, or holds weights that are not finite.
    """
    described, classes = _described(folder), LOADABLE if classes is None else classes
    parts = {
        name: _part(
            _place(folder, name), entry, ROLES.get(name) or ("encoders" if name.endswith("_encoder") else None), classes
        )
        for name, entry in described.items()
    }
    weights = _weights(folder)
    return {name: _made(folder, name, part, below(weights, f"{name}.")) for name, part in parts.items()}


def _role(name: str) -> str | None:
    return ROLES.get(name) or ("encoders" if name.endswith("_encoder") else None)


@dataclass(frozen=True)
class _Part:
    """A component that may be made: a class that may be named, and arguments of the right types."""

    kind: type[Configured]
    arguments: Mapping[str, Any]

    def make(self) -> Any:
        """A new one, with new components among its arguments."""
        return self.kind(**_nested(self.arguments, _Part.make, _Part))


def _part(place: str, entry: Mapping[str, Any], role: str | None, classes: Mapping[str, str]) -> _Part:
    """What a description says, checked; a mapping of a class and arguments among the arguments is a component."""
    kind = _class(place, role, entry["class"], classes)

    def parsed(where: str, value: Any) -> Any:
        if isinstance(value, dict) and value.keys() == {"class", "arguments"}:
            if not isinstance(value["arguments"], dict):
                raise CheckpointError(f"{where}.arguments is {_shown(value['arguments'])}; expected an object")
            return _part(where, value, "conditioners", classes)
        if isinstance(value, dict):
            return {name: parsed(f"{where}.{name}", item) for name, item in value.items()}
        return value

    arguments = {name: parsed(f"{place}.arguments.{name}", value) for name, value in entry["arguments"].items()}
    check_arguments(place, kind, arguments)
    return _Part(kind, arguments)


def _place(folder: Path, name: str) -> str:
    return f"{folder / 'config.json'}: components.{name}"


def _described(folder: Path) -> dict[str, dict[str, Any]]:
    """Class and arguments of each component by name."""
    path = folder / "config.json"
    if not path.is_file():  # a pipe or a device would be read without end
        raise CheckpointError(f"{folder} is not a PrismAudio checkpoint: {path} is missing")
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError(f"it has {path.stat().st_size:,} bytes, expected at most {MAX_CONFIG_BYTES:,}")
        config = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError, OSError) as error:
        reason = "brackets are nested too deeply" if isinstance(error, RecursionError) else error
        raise CheckpointError(f"{path} is damaged or not a PrismAudio checkpoint: {reason}") from error
    if isinstance(config, dict) and (written := config.get("format", FORMAT)) != FORMAT:
        raise CheckpointError(
            f"{path} is of format {reprlib.repr(written)}, but this version reads format {FORMAT}; update prismaudio"
        )
    described = config.get("components") if isinstance(config, dict) else None
    if not isinstance(described, dict) or not config.keys() <= {"format", "components"}:
        raise CheckpointError(
            f"{path} is damaged or not a PrismAudio checkpoint: expected an object with format and components, and "
            "under components an object"
        )
    for name, entry in described.items():
        if not (name.isidentifier() and isinstance(entry, dict) and entry.keys() == {"class", "arguments"}):
            raise CheckpointError(
                f"{path} is damaged: components.{_shown(name)} is {_shown(entry)}; expected an object with class and "
                "arguments"
            )
        if not isinstance(entry["arguments"], dict):
            raise CheckpointError(
                f"{_place(folder, name)}.arguments is {_shown(entry['arguments'])}; expected an object"
            )
    return described


def _no_number(constant: str) -> float:
    raise ValueError(f"it holds {constant}, which is not a number; expected finite numbers")


def _shown(value: object) -> str:
    return reprlib.repr(value)[:80]


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    """Weights by ``component.key``."""
    path = folder / "model.safetensors"
    if not path.is_file():
        raise CheckpointError(f"{folder} is not a PrismAudio checkpoint: {path} is missing")
    return read_safetensors(path)


def _class(place: str, role: str | None, target: object, classes: Mapping[str, str]) -> type[Configured]:
    """The class that a component names: one of the loadable ones, from the module that defines it.

    A hook may name a class where it is imported from; a folder names it where it is defined. Only what hooks name is
    imported.
    """
    for listed, kind in classes.items():
        if isinstance(target, str) and _label(listed) == _label(target):
            module, _, attribute = listed.partition(":")
            try:
                found = getattr(importlib.import_module(module), attribute)
            except Exception as error:  # whatever a plugin's module raises
                raise CheckpointError(
                    f"{place} is a {attribute}, which cannot be imported: {one_line(error, 300)}"
                ) from error
            defined = isinstance(found, type) and f"{found.__module__}:{found.__qualname__}" == target
            if defined and issubclass(found, Configured):
                if role in (kind, None):
                    return found
                raise CheckpointError(f"{place} is a {attribute}, which is one of the {kind}; expected the {role}")
    raise CheckpointError(
        f"{place}.class is {_shown(target)}, which no installed plugin provides for model folders; install the plugin "
        f"that has it, or name the class in one of its hooks for {', '.join(KINDS)}"
    )


def _label(target: str) -> tuple[str, str]:
    """Top-level package and class name of ``package.module:ClassName``."""
    return target.partition(":")[0].partition(".")[0], target.partition(":")[2]


def check_arguments(place: str, kind: type, arguments: Mapping[str, Any]) -> None:
    """See that arguments are those of a class, of the types that its constructor declares.

    Args:
        place: What the error names, the file and the component.
        kind: The class.
        arguments: Its arguments, as JSON has them.

    Raises:
        CheckpointError: One is missing, unknown or of another type.

    Example:
        >>> class Box(Configured):
        ...     def __init__(self, size: int = 3) -> None: ...
        >>> check_arguments("config.json: box", Box, {"size": 2.5})
        Traceback (most recent call last):
        prismaudio.errors.CheckpointError: config.json: box.arguments.size is 2.5; expected int
    """
    init: Any = kind.__init__  # type: ignore[misc]
    known = {
        name: parameter
        for name, parameter in list(inspect.signature(init).parameters.items())[1:]
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    try:  # the names that a module imports for type checkers alone
        hints = typing.get_type_hints(init, localns={**vars(abc), **vars(typing)})
    except (NameError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{place}: {kind.__name__} declares types that cannot be read: {error}") from error
    for name in arguments:
        if name not in known:
            raise CheckpointError(f"{place}.arguments has {_shown(name)}, which {kind.__name__} does not take")
    for name, parameter in known.items():
        hint = hints.get(name, Any)
        if name not in arguments:
            if parameter.default is parameter.empty:
                raise CheckpointError(f"{place}.arguments lacks {name}, which {kind.__name__} needs")
        elif not is_of(arguments[name], hint):
            expected = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
            raise CheckpointError(
                f"{place}.arguments.{name} is {_shown(arguments[name])}; expected "
                f"{expected.replace('collections.abc.', '').replace('typing.', '')}"
            )


def is_of(value: Any, hint: Any) -> bool:
    """Whether a value from JSON is of a type; what JSON does not have is of no type.

    Example:
        >>> is_of([1, 2], abc.Sequence[int]), is_of("7", int | None), is_of(10**400, int), is_of(True, float)
        (True, False, False, False)
    """
    origin, parts = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(is_of(value, part) for part in parts)
    if origin is typing.Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if origin is Any:
        return True
    if isinstance(value, _Part):
        return isinstance(origin, type) and issubclass(value.kind, origin)
    if isinstance(value, dict):
        if origin not in (dict, abc.Mapping, abc.MutableMapping):
            return False
        key, item = parts or (Any, Any)
        return all(is_of(k, key) and is_of(v, item) for k, v in value.items())
    if isinstance(value, list):
        if origin is tuple and parts and parts[-1] is not ...:
            return len(value) == len(parts) and all(map(is_of, value, parts))
        return origin in _LISTS and all(is_of(item, parts[0] if parts else Any) for item in value)
    return _is_plain(value, origin)


_LISTS = (list, tuple, abc.Sequence, abc.Collection, abc.Iterable)


def _is_plain(value: Any, kind: Any) -> bool:
    """Whether a null, a boolean, a number or a text is of a type, and can be worked with."""
    if value is None or isinstance(value, bool):
        return kind is type(value) or (value is None and kind is None)
    if isinstance(value, int):
        return kind in (int, float) and -(2**63) <= value < 2**63
    if isinstance(value, float):
        return kind is float and math.isfinite(value)
    return kind is str and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _made(folder: Path, name: str, part: _Part, weights: Mapping[str, torch.Tensor]) -> Any:
    """A component with its weights."""
    kind = part.kind
    try:
        if issubclass(kind, torch.nn.Module):
            with Outline(len(weights)):
                outline: Any = part.make()
            check_fit(shapes_of(weights), shapes_of(outline.state_dict()), f"{folder}: {name}", kind.__name__)
        with WithoutDrawing():
            component = part.make()
    except CheckpointError:
        raise
    except Exception as error:  # whatever a constructor raises
        raise CheckpointError(
            f"{_place(folder, name)}: cannot make a {kind.__name__}: {one_line(error, 300)}"
        ) from error
    if isinstance(component, torch.nn.Module):
        fill(component, weights, f"{folder}: {name}")
    return component


_DRAWING = (torch.nn.init.kaiming_uniform_, torch.nn.init.uniform_, torch.nn.init.normal_)


class WithoutDrawing(TorchFunctionMode):
    """Leaves out the random initialisation of weights that are loaded the next moment; that takes most of the time.

    Example:
        >>> with WithoutDrawing():
        ...     layer = torch.nn.Linear(2, 2)
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _DRAWING:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


_MAKING: dict[Any, Any] = {
    **dict.fromkeys((torch.rand, torch.randn), torch.empty),
    **{func: func for func in (torch.empty, torch.zeros, torch.ones, torch.full)},
}
"""What makes tensors of a given size, and what makes them without memory."""


class Outline(WithoutDrawing):
    """Lets a network be made without memory, and no larger than there are weights for.

    Only what makes tensors of a given size is on torch's meta device: the rest of what constructors compute is small,
    and on that device some of it imports what torch compiles with, which takes seconds.

    Args:
        n_weights: How many tensors there are.
    """

    def __init__(self, n_weights: int) -> None:
        super().__init__()
        self.n_weights, self.n_left = n_weights, 100 + 4 * n_weights

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count the tensors that are made."""
        if func in _MAKING:
            self.n_left -= 1
            if self.n_left < 0:
                raise ValueError(f"it is far larger than the {self.n_weights} tensors that the file has for it")
            func, kwargs = _MAKING[func], {**(kwargs or {}), "device": "meta"}
            kwargs.pop("generator", None)
        return super().__torch_function__(func, types, args, kwargs)
