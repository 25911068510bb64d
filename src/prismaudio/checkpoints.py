"""The format of model folders: ``config.json`` and ``model.safetensors``, without executable code.

A folder may be untrusted. Its classes are checked against a list before any import, their arguments against the
declared types, and the shapes of the weights against those of the file before memory is allocated.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import inspect
import json
import math
import os
import reprlib
import shutil
import sys
import tempfile
import types
import typing
from collections import abc
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.overrides import TorchFunctionMode

from prismaudio import builtin
from prismaudio.downloads import is_repository
from prismaudio.errors import CheckpointError, one_line
from prismaudio.signatures import parameters, type_hints
from prismaudio.weight_files import below, check_finite, check_fit, fill, read_safetensors, save_tensors, shapes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from prismaudio.components import Component

FORMAT = 1
MAX_CONFIG_BYTES = 10_000_000
"""Maximum size of a ``config.json``; that of a small model has 3,000 bytes."""
KINDS = ("autoencoders", "encoders", "planners", "samplers", "conditioners")
"""Kinds of components in a model folder, besides transformer and settings; conditioners are part of the former."""
OWN = {
    "prismaudio.models.dit:DiffusionTransformer": "transformers",
    "prismaudio.inference.settings:Settings": "settings",
}
"""Loadable classes that no hook provides, and their kinds."""
ROLES = {
    "transformer": "transformers",
    "autoencoder": "autoencoders",
    "planner": "planners",
    "sampler": "samplers",
    "settings": "settings",
}
"""Kind of each component by name; names that end in ``_encoder`` are encoders."""


def loadable(components: Iterable[tuple[str, Component]]) -> dict[str, str]:
    """Classes that a model folder may contain: kind by target, ``package.module:ClassName``.

    Args:
        components: Kind and component of each class that hooks of plugins provide.

    Example:
        >>> from prismaudio.components import Component
        >>> found = loadable([("samplers", Component("mine.heun:Heun", "")), ("rewards", Component("mine:Loud", ""))])
        >>> sorted(found.keys() - OWN.keys())
        ['mine.heun:Heun']
    """
    return OWN | {component.target: kind for kind, component in components if kind in KINDS}


def _core_components() -> Iterator[tuple[str, Component]]:
    for kind in KINDS:
        yield from ((kind, component) for component in getattr(builtin, f"prismaudio_{kind}")())


LOADABLE = loadable(_core_components())
"""Default for the classes that a model folder may contain; ``prismaudio fit`` adds those of its plugins."""


class Configured:
    """Base class that stores constructor arguments in ``config``, so that an object can be recreated from JSON.

    Attributes:
        config: The arguments.
        not_in_folders: Arguments that are the user's own, such as the address to which a key is sent: they are not
            stored in model folders, and a folder of somebody else that sets one is rejected.
        files_argument: The argument that is a folder with the component's own files, weights included, in place of
            weights in ``model.safetensors``, or ``owner/name`` on the hub. In a model folder the files are in a folder
            of the component's name.

    Example:
        >>> class Box(Configured):
        ...     def __init__(self, size: int = 3) -> None: ...
        >>> Box(4).config
        {'size': 4}
    """

    config: Mapping[str, Any] = MappingProxyType({})
    not_in_folders: ClassVar[frozenset[str]] = frozenset()
    files_argument: ClassVar[str] = ""

    @property
    def has_files(self) -> bool:
        """Whether a model folder gets files of the component; otherwise it names the repository on the hub."""
        return bool(self.files_argument)

    def save_files(self, folder: Path) -> Mapping[str, Any]:
        """Write the component's own files to a new folder; for classes with a :attr:`files_argument`.

        Returns:
            Arguments that have another value with these files, by name.
        """
        raise NotImplementedError

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            cls.__init__ = _storing_config(cls.__init__)  # type: ignore[method-assign]


def _storing_config(init: Any) -> Any:
    signature = inspect.signature(init)

    @functools.wraps(init)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> None:
        if self.config is Configured.config:  # the most derived constructor is called first
            bound = signature.bind(self, *args, **kwargs)
            given = {**bound.arguments, **bound.kwargs}
            config = {name: given.get(name, p.default) for name, p in parameters(type(self)).items()}
            object.__setattr__(self, "config", config)
        init(self, *args, **kwargs)

    return wrapped


def description(component: Configured) -> dict[str, Any]:
    """Class and arguments of a component, and of components among its arguments, as JSON types.

    Raises:
        CheckpointError: An argument is a function or another object that JSON cannot hold.

    Example:
        >>> class Box(Configured):
        ...     def __init__(self, size: int = 3) -> None: ...
        >>> class Shelf(Configured):
        ...     def __init__(self, boxes: dict[str, Box]) -> None: ...
        >>> description(Shelf({"red": Box(4)}))["arguments"]
        {'boxes': {'red': {'class': 'prismaudio.checkpoints:Box', 'arguments': {'size': 4}}}}
    """
    kind = type(component)
    stored = {name: value for name, value in component.config.items() if name not in kind.not_in_folders}
    arguments = _map_components(stored, description)
    if code := next((name for name, value in arguments.items() if callable(value)), None):
        raise CheckpointError(
            f"{kind.__name__} cannot be written to a file: its argument {code} is the Python object "
            f"{arguments[code]!r:.60}; write a class of a plugin, see prismaudio plugins new --help"
        )
    try:
        json.dumps(arguments)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{kind.__name__} cannot be written to a file: {error} in its arguments") from error
    return {"class": f"{kind.__module__}:{kind.__qualname__}", "arguments": arguments}


def fresh(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Copy arguments, with components among them recreated, so that they share no weights."""
    copied: dict[str, Any] = _map_components(arguments, lambda part: type(part)(**fresh(part.config)))
    return copied


def _map_components(value: Any, change: Callable[[Any], Any], kind: type | None = None) -> Any:
    """Apply ``change`` to all components in a value, also inside mappings and lists."""
    if isinstance(value, kind or Configured):
        return change(value)
    if isinstance(value, abc.Mapping):
        return {name: _map_components(item, change, kind) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_map_components(item, change, kind) for item in value]
    return value


def within(least: float, most: float, /, **numbers: float | None) -> None:
    """Check that arguments of a constructor lie in a range; None is allowed.

    Args:
        least: Minimum.
        most: Maximum.
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
    """Write components to a folder: all of them, or none.

    Args:
        folder: Folder for ``config.json`` and ``model.safetensors``.
        components: Objects by name; each is :class:`Configured`, some are ``nn.Module``.
        half: Names of the components whose floating-point weights are stored in half precision.
        half_dtype: The half precision, ``float16`` or ``bfloat16``.
        beside: Keep other components of an existing folder unchanged.
        finite: Reject weights that are NaN or infinite; loading always rejects them.

    Raises:
        CheckpointError: Weights are not finite, or the existing folder is damaged.
    """
    described, weights = _other_components(folder, components) if beside else ({}, {})
    for name, component in components.items():
        described[name] = description(component)
        if not component.files_argument and isinstance(component, torch.nn.Module):
            stored = {
                key: value.detach().to("cpu", half_dtype if name in half and value.is_floating_point() else None)
                for key, value in component.state_dict().items()
            }
            if finite:
                check_finite(stored, f"{name} is not written to {folder}")
            weights |= {f"{name}.{key}": value.contiguous() for key, value in stored.items()}
    folder.mkdir(parents=True, exist_ok=True)
    tensors, config = folder / "model.safetensors.partial", folder / "config.json.partial"
    folders = [folder / f"{name}.partial" for name, component in components.items() if component.has_files]
    try:
        for part in folders:
            shutil.rmtree(part, ignore_errors=True)
            component = components[part.stem]
            changed = {component.files_argument: part.stem, **component.save_files(part)}
            described[part.stem]["arguments"] |= changed
        save_tensors(weights, tensors)
        text = json.dumps({"format": FORMAT, "components": described}, indent=2) + "\n"
        config.write_text(text, encoding="utf-8")
        for part in folders:
            _replace_folder(part)
        for part in (tensors, config):
            os.replace(part, part.with_suffix(""))  # noqa: PTH105 - atomic on every system
    finally:
        for part in (tensors, config):
            part.unlink(missing_ok=True)
        for part in folders:
            shutil.rmtree(part, ignore_errors=True)


def _replace_folder(part: Path) -> None:
    """Give a finished folder its name; an existing one is moved aside first, since folders are not replaced at once."""
    target, previous = part.with_suffix(""), part.with_suffix(".previous")
    shutil.rmtree(previous, ignore_errors=True)
    if target.is_dir():
        target.rename(previous)
    part.rename(target)
    shutil.rmtree(previous, ignore_errors=True)


def check_target(folder: Path) -> None:
    """Check, before long work, that components can be added to a folder.

    Raises:
        CheckpointError: The folder is not writable, or its content is damaged.
    """
    _other_components(folder, ())
    present = folder.absolute()
    while not present.exists():
        present = present.parent
    try:
        with tempfile.TemporaryFile(dir=present):
            pass
    except OSError as error:
        raise CheckpointError(f"cannot write a model to {folder}: {error.strerror}; choose another folder") from error


def _other_components(folder: Path, names: Collection[str]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Descriptions and weights of the components in a folder, except those of the given names."""
    if not (folder / "config.json").exists():
        return {}, {}
    described, weights = _read_config(folder), _weights(folder)
    kept = {name: entry for name, entry in described.items() if name not in names}
    return kept, {key: value for key, value in weights.items() if key.partition(".")[0] in kept}


def changed_components(folder: Path, components: Mapping[str, Any]) -> list[str]:
    """Names of the components in a folder that :func:`save_components` would replace by others.

    Weights are compared in the precision of the file. A component with files of its own counts as another one.

    Args:
        folder: The folder; it may not exist yet.
        components: Objects by name.

    Raises:
        CheckpointError: The existing folder is damaged.
    """
    if not (folder / "config.json").exists():
        return []
    described, weights = _read_config(folder), _weights(folder)

    def same(name: str, component: Any) -> bool:
        if component.files_argument or json.loads(json.dumps(description(component))) != described[name]:
            return False
        own = component.state_dict() if isinstance(component, torch.nn.Module) else {}
        stored = {key: value for key, value in weights.items() if key.partition(".")[0] == name}
        return stored.keys() == {f"{name}.{key}" for key in own} and all(
            torch.equal(value.detach().cpu().to(stored[f"{name}.{key}"].dtype), stored[f"{name}.{key}"])
            for key, value in own.items()
        )

    return [name for name, component in components.items() if name in described and not same(name, component)]


MAX_KEPT = 10_000
"""Limit of the numbers of models that are kept."""


def keep_components(folder: Path) -> Path:
    """Keep what a folder has of a model in a folder beside it, of its name and the next free number.

    Files are hard links where the file system has them: saving replaces files and does not change them.

    Returns:
        The folder that was made.

    Raises:
        CheckpointError: There is no free number.
    """
    names = [
        "config.json",
        "model.safetensors",
        "adapter.safetensors",
        "adapter.json",
        "adapter",
        *_read_config(folder),
    ]
    folder = folder.absolute()
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    shutil.copymode(folder, part)
    for source in (folder / name for name in names):
        if source.is_dir():
            shutil.copytree(source, part / source.name, copy_function=_link_or_copy)
        elif source.is_file():
            _link_or_copy(source, part / source.name)
    for number in range(1, MAX_KEPT):
        target = folder.with_name(f"{folder.name}.{number}")
        if not target.exists():
            with contextlib.suppress(OSError):  # another process took this number
                return part.rename(target)
    raise CheckpointError(f"the model in {folder} cannot be kept as {folder.name}.1 or a later number; choose a folder")


def _link_or_copy(source: str | Path, target: str | Path) -> None:
    try:
        Path(target).hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)


# Reading --------------------------------------------------------------------------------------------------------------
def load_components(folder: Path, classes: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Load the components of a folder of :func:`save_components`, in evaluation mode and float32.

    Args:
        folder: The folder.
        classes: Classes that it may contain, as :func:`loadable` returns them; None for :data:`LOADABLE`.

    Raises:
        CheckpointError: The folder is not a model folder, is damaged, contains another class or arguments that its
            class does not accept, or has weights that are not finite.
    """
    return {name: make() for name, make in component_factories(folder, classes).items()}


@dataclass(frozen=True)
class Factory:
    """Loads a component of a model; each call loads it again, so that a component that is dropped takes no memory.

    Args:
        load: Returns the component.
        outline: Returns the component with its weights on the meta device, which takes no memory: it has all attributes
            but cannot compute.
    """

    load: Callable[[], Any]
    outline: Callable[[], Any]

    def __call__(self) -> Any:
        """Load the component."""
        return self.load()


def component_factories(folder: Path, classes: Mapping[str, str] | None = None) -> dict[str, Factory]:
    """Check a model folder, and return a factory of each component; nothing is loaded yet.

    Classes, arguments, and the names and shapes of all weights are checked at once, the values of weights when their
    component is loaded.

    Args:
        folder: See :func:`load_components`.
        classes: See :func:`load_components`.

    Raises:
        CheckpointError: See :func:`load_components`.
    """
    described, classes = _read_config(folder), LOADABLE if classes is None else classes
    parts = {
        name: _with_files(folder, name, _parse_component(_place(folder, name), entry, _role(name), classes))
        for name, entry in described.items()
    }
    shapes = shapes_of(_weights(folder))
    for name, part in parts.items():
        if issubclass(part.kind, torch.nn.Module):
            given = below(shapes, f"{name}.")
            empty = _outline(folder, name, part, len(given))
            check_fit(given, shapes_of(empty.state_dict()), f"{folder}: {name}", part.kind.__name__)
    return {
        name: Factory(functools.partial(_build, folder, name, part), functools.partial(_outline, folder, name, part))
        for name, part in parts.items()
    }


def make_component(place: str, entry: Mapping[str, Any], role: str) -> Any:
    """Create a component without weights of the core from its description.

    Args:
        place: Subject of error messages.
        entry: Its class and arguments, as in ``config.json``.
        role: The kind that it must be of.

    Raises:
        CheckpointError: The class is not loadable, or does not accept the arguments.

    Example:
        >>> entry = {"class": "prismaudio.samplers.euler:EulerSampler", "arguments": {"steps": 8}}
        >>> make_component("sampler", entry, "samplers").config
        {'steps': 8}
    """
    return _parse_component(place, entry, role, LOADABLE).make()


def _role(name: str) -> str | None:
    return ROLES.get(name) or ("encoders" if name.endswith("_encoder") else None)


@dataclass(frozen=True)
class _ComponentSpec:
    """A component with an allowed class and arguments of the declared types, not created yet."""

    kind: type[Configured]
    arguments: Mapping[str, Any]

    @property
    def is_on_hub(self) -> bool:
        """Whether its files are those of a repository on the hub."""
        return is_repository(str(self.arguments.get(self.kind.files_argument)))

    def make(self) -> Any:
        """Create the component, and the components among its arguments."""
        return self.kind(**_map_components(self.arguments, _ComponentSpec.make, _ComponentSpec))


def _with_files(folder: Path, name: str, part: _ComponentSpec) -> _ComponentSpec:
    """The component with the path of its own files, which are beside ``config.json``."""
    argument = part.kind.files_argument
    if not argument or part.is_on_hub:
        return part
    if part.arguments.get(argument) != name or not (folder / name).is_dir():
        place, value = _place(folder, name), _short_repr(part.arguments.get(argument))
        raise CheckpointError(
            f"{place}.arguments.{argument} is {value}; expected {name!r} and a folder of that name, or owner/name on "
            "the hub"
        )
    return _ComponentSpec(part.kind, {**part.arguments, argument: str(folder / name)})


def _parse_component(
    place: str, entry: Mapping[str, Any], role: str | None, classes: Mapping[str, str]
) -> _ComponentSpec:
    """Parse and check a description; a mapping with a class and arguments among the arguments is a component."""
    kind = _import_class(place, role, entry["class"], classes)

    def parsed(where: str, value: Any) -> Any:
        if isinstance(value, dict) and value.keys() == {"class", "arguments"}:
            if not isinstance(value["arguments"], dict):
                raise CheckpointError(f"{where}.arguments is {_short_repr(value['arguments'])}; expected an object")
            part = _parse_component(where, value, None, classes)  # of the kind that its argument declares
            own = part.kind.files_argument
            if own and not part.is_on_hub:
                raise CheckpointError(f"{where}.arguments.{own} is a place on a disk; expected owner/name on the hub")
            return part
        if isinstance(value, dict):
            return {name: parsed(f"{where}.{name}", item) for name, item in value.items()}
        return value

    arguments = {name: parsed(f"{place}.arguments.{name}", value) for name, value in entry["arguments"].items()}
    if reserved := sorted(kind.not_in_folders & arguments.keys()):
        raise CheckpointError(
            f"{place}.arguments has {reserved[0]}, which only the user sets, not a model; remove it from the file"
        )
    check_arguments(place, kind, arguments)
    return _ComponentSpec(kind, arguments)


def _place(folder: Path, name: str) -> str:
    return f"{folder / 'config.json'}: components.{name}"


def _read_config(folder: Path) -> dict[str, dict[str, Any]]:
    """Class and arguments of each component by name."""
    path = folder / "config.json"
    if not path.is_file():  # a pipe or a device may be endless
        raise CheckpointError(f"{folder} is not a PrismAudio checkpoint: {path} is missing")
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError(f"it has {path.stat().st_size:,} bytes, expected at most {MAX_CONFIG_BYTES:,}")
        config = json.loads(path.read_text(encoding="utf-8"), parse_constant=_reject_constant)
    except (ValueError, RecursionError, OSError) as error:
        reason = "brackets are nested too deeply" if isinstance(error, RecursionError) else error
        raise CheckpointError(f"{path} is damaged or not a PrismAudio checkpoint: {reason}") from error
    if isinstance(config, dict) and (written := config.get("format", FORMAT)) != FORMAT:
        raise CheckpointError(
            f"{path} has format {reprlib.repr(written)}, but this version reads format {FORMAT}; update prismaudio"
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
                f"{path} is damaged: components.{_short_repr(name)} is {_short_repr(entry)}; expected an object with "
                "class and arguments"
            )
        if not isinstance(entry["arguments"], dict):
            raise CheckpointError(
                f"{_place(folder, name)}.arguments is {_short_repr(entry['arguments'])}; expected an object"
            )
    return described


def _reject_constant(constant: str) -> float:
    raise ValueError(f"it contains {constant}; expected finite numbers")


def _short_repr(value: object) -> str:
    return reprlib.repr(value)[:80]


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    """Weights by ``component.key``."""
    path = folder / "model.safetensors"
    if not path.is_file():
        raise CheckpointError(f"{folder} is not a PrismAudio checkpoint: {path} is missing")
    return read_safetensors(path)


def _import_class(place: str, role: str | None, target: object, classes: Mapping[str, str]) -> type[Configured]:
    """Import the class of a component, which must be one of the loadable classes.

    A hook may refer to a class by a module that re-exports it; a folder refers to the defining module. Only targets
    of hooks are imported.
    """
    for listed, kind in classes.items():
        if isinstance(target, str) and _label(listed) == _label(target):
            module, _, attribute = listed.partition(":")
            try:
                found = getattr(importlib.import_module(module), attribute)
            except Exception as error:  # a plugin's module may raise anything
                raise CheckpointError(
                    f"{place} is a {attribute}, which cannot be imported: {one_line(error, 300)}"
                ) from error
            defined = isinstance(found, type) and f"{found.__module__}:{found.__qualname__}" == target
            if defined and issubclass(found, Configured):
                if role in (kind, None):
                    return found
                raise CheckpointError(f"{place} is a {attribute}, one of the {kind}; expected one of the {role}")
    raise CheckpointError(
        f"{place}.class is {_short_repr(target)}, which no installed plugin provides for model folders; install the "
        f"plugin that provides it, or list the class in one of its hooks for {', '.join(KINDS)}"
    )


def _label(target: str) -> tuple[str, str]:
    """Top-level package and class name of ``package.module:ClassName``."""
    return target.partition(":")[0].partition(".")[0], target.partition(":")[2]


def check_arguments(place: str, kind: type, arguments: Mapping[str, Any], under: str = ".arguments") -> None:
    """Check arguments against the signature and the declared types of a constructor.

    Args:
        place: Subject of the error message, the file and the component.
        kind: The class.
        arguments: Its arguments, as JSON types.
        under: Where the arguments are in that place.

    Raises:
        CheckpointError: An argument is missing, unknown or of another type.

    Example:
        >>> class Box(Configured):
        ...     def __init__(self, size: int = 3) -> None: ...
        >>> check_arguments("config.json: box", Box, {"size": 2.5})
        Traceback (most recent call last):
        prismaudio.errors.CheckpointError: config.json: box.arguments.size is 2.5; expected int
    """
    known = parameters(kind)
    try:
        hints = type_hints(kind)
    except (NameError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{place}: {kind.__name__} declares types that cannot be read: {error}") from error
    for name in arguments:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise CheckpointError(f"{place}{under} has {_short_repr(name)}, which {kind.__name__} does not take{hint}")
    for name, parameter in known.items():
        hint = hints.get(name, Any)
        if name not in arguments:
            if parameter.default is parameter.empty:
                raise CheckpointError(f"{place}{under} lacks {name}, which {kind.__name__} needs")
        elif not matches(arguments[name], hint):
            expected = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
            if isinstance(arguments[name], float) and not math.isfinite(arguments[name]):
                expected = "a finite number"
            raise CheckpointError(
                f"{place}{under}.{name} is {_short_repr(arguments[name])}; expected "
                f"{expected.replace('collections.abc.', '').replace('typing.', '')}"
            )


def matches(value: Any, hint: Any) -> bool:
    """Whether a JSON value matches a type hint; types without a JSON equivalent never match.

    Example:
        >>> matches([1, 2], abc.Sequence[int]), matches("7", int | None), matches(10**400, int), matches(True, float)
        (True, False, False, False)
    """
    origin, parts = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(matches(value, part) for part in parts)
    if origin is typing.Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if origin is Any:
        return True
    if isinstance(value, _ComponentSpec | Configured):  # described in a folder, or made already
        kind = value.kind if isinstance(value, _ComponentSpec) else type(value)
        return isinstance(origin, type) and issubclass(kind, origin)
    if isinstance(value, dict):
        if origin not in (dict, abc.Mapping, abc.MutableMapping):
            return False
        key, item = parts or (Any, Any)
        return all(matches(k, key) and matches(v, item) for k, v in value.items())
    if isinstance(value, list):
        if origin is tuple and parts and parts[-1] is not ...:
            return len(value) == len(parts) and all(map(matches, value, parts))
        return origin in _LISTS and all(matches(item, parts[0] if parts else Any) for item in value)
    return _is_plain(value, origin)


_LISTS = (list, tuple, abc.Sequence, abc.Collection, abc.Iterable)


def _is_plain(value: Any, kind: Any) -> bool:
    """Whether a null, boolean, number or string matches a type, and is finite or valid text."""
    if value is None or isinstance(value, bool):
        return kind is type(value) or (value is None and kind is None)
    if isinstance(value, int):
        return kind in (int, float) and -(2**63) <= value < 2**63
    if isinstance(value, float):
        return kind is float and math.isfinite(value)
    return kind is str and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _outline(folder: Path, name: str, part: _ComponentSpec, n_weights: int = sys.maxsize) -> Any:
    """Create a component without memory for its weights, of which a file has ``n_weights``."""
    with _creating(folder, name, part), MetaTensors(n_weights):
        return part.make()


def _build(folder: Path, name: str, part: _ComponentSpec) -> Any:
    """Create a component and load its weights."""
    with _creating(folder, name, part), SkipInitialization():
        component = part.make()
    if isinstance(component, torch.nn.Module):
        fill(component, below(_weights(folder), f"{name}."), f"{folder}: {name}")
    return component


@contextlib.contextmanager
def _creating(folder: Path, name: str, part: _ComponentSpec) -> Iterator[None]:
    """Turn the errors of a constructor, which may raise anything, into one line."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{_place(folder, name)}: cannot create a {part.kind.__name__}: {one_line(error, 300)}"
        ) from error


_INITIALISERS = (torch.nn.init.kaiming_uniform_, torch.nn.init.uniform_, torch.nn.init.normal_)


class SkipInitialization(TorchFunctionMode):
    """Skips the random initialisation of weights that are overwritten by loading, for it takes most of the time.

    Example:
        >>> with SkipInitialization():
        ...     layer = torch.nn.Linear(2, 2)
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _INITIALISERS:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


_FACTORIES: dict[Any, Any] = {
    **dict.fromkeys((torch.rand, torch.randn), torch.empty),
    **{func: func for func in (torch.empty, torch.zeros, torch.ones, torch.full)},
}
"""Factory functions of tensors, and their replacements on the meta device."""


class MetaTensors(SkipInitialization):
    """Creates a network without allocating memory, limited to about the number of available weights.

    Only factory functions of tensors use the meta device: other operations of constructors are small, and some of
    them would import the compiler of torch on that device, which takes seconds.

    Args:
        n_weights: Number of available tensors.
    """

    def __init__(self, n_weights: int) -> None:
        super().__init__()
        self.n_weights, self.n_left = n_weights, 100 + 4 * n_weights

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count the tensors that are created."""
        if func in _FACTORIES:
            self.n_left -= 1
            if self.n_left < 0:
                raise ValueError(f"it is far larger than the {self.n_weights} tensors that the file contains for it")
            func, kwargs = _FACTORIES[func], {**(kwargs or {}), "device": "meta"}
            kwargs.pop("generator", None)
        return super().__torch_function__(func, types, args, kwargs)
