"""Our own checkpoint format: one folder with ``config.json`` and ``model.safetensors``, and nothing that runs code."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import os
import tempfile
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.overrides import TorchFunctionMode

from prismaudio.errors import CheckpointError
from prismaudio.weight_files import below, fill

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

FORMAT = 1
TRUSTED = {"prismaudio"}
"""Top-level packages whose classes a model folder may name; ``prismaudio fit`` adds those of installed plugins."""


class Configured:
    """Remembers the arguments that an object was made with, so that it can be made again from JSON.

    Example:
        >>> class Box(Configured):
        ...     def __init__(self, size: int = 3) -> None: ...
        >>> Box(4).config
        {'size': 4}
    """

    config: dict[str, Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            cls.__init__ = _remembering(cls.__init__)  # type: ignore[method-assign]


def _remembering(init: Any) -> Any:
    signature = inspect.signature(init)

    @functools.wraps(init)
    def remember(self: Any, *args: Any, **kwargs: Any) -> None:
        if "config" not in self.__dict__:  # the most derived constructor comes first
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            object.__setattr__(self, "config", dict(list(bound.arguments.items())[1:]))
        init(self, *args, **kwargs)

    return remember


def save_components(
    folder: Path,
    components: Mapping[str, Any],
    half: Collection[str] = (),
    half_dtype: torch.dtype = torch.float16,
    *,
    beside: bool = False,
) -> None:
    """Write components to a folder, complete or not at all.

    Args:
        folder: Folder to write ``config.json`` and ``model.safetensors`` to.
        components: Objects by name; each is :class:`Configured`, some are ``nn.Module``.
        half: Names of the components whose floating-point weights are stored in half precision.
        half_dtype: Which one, ``float16`` or ``bfloat16``.
        beside: Keep the components of other names that the folder has, as they are stored.

    Raises:
        CheckpointError: What the folder has cannot be kept, because it is damaged.
    """
    described, weights = _others(folder, components) if beside else ({}, {})
    for name, component in components.items():
        kind = type(component)
        described[name] = {"class": f"{kind.__module__}:{kind.__qualname__}", "arguments": component.config}
        if isinstance(component, torch.nn.Module):
            for key, value in component.state_dict().items():
                small = name in half and value.is_floating_point()
                stored = value.detach().to("cpu", half_dtype if small else value.dtype)
                weights[f"{name}.{key}"] = stored.contiguous()
    text = json.dumps({"format": FORMAT, "components": described}, indent=2) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    tensors, config = folder / "model.safetensors.partial", folder / "config.json.partial"
    try:
        save_file(weights, tensors)
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
    described, weights = _stored(folder)
    kept = {name: entry for name, entry in described.items() if name not in names}
    return kept, {key: value for key, value in weights.items() if key.partition(".")[0] in kept}


def load_components(folder: Path, packages: Collection[str] | None = None) -> dict[str, Any]:
    """Components of a folder that :func:`save_components` wrote, in evaluation mode and float32.

    Args:
        folder: The folder.
        packages: Top-level packages whose classes may be made; a checkpoint cannot name any other. None for
            :data:`TRUSTED`.

    Raises:
        CheckpointError: The folder is not such a checkpoint, is damaged, or names a class outside ``packages``.
    """
    described, weights = _stored(folder)
    components = {}
    for name, entry in described.items():
        component = _make(folder, entry, TRUSTED if packages is None else packages)
        if isinstance(component, torch.nn.Module):
            fill(component, below(weights, f"{name}."), f"{folder}: {name}")
        components[name] = component
    return components


def _stored(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Classes and arguments of components by name, and weights by ``component.key``."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        written, described = config.get("format", FORMAT), dict(config["components"])
        if written != FORMAT:
            raise CheckpointError(
                f"{folder} is of format {written}, but this version reads format {FORMAT}; update prismaudio"
            )
        if not all(isinstance(entry, dict) and {"class", "arguments"} <= entry.keys() for entry in described.values()):
            raise ValueError("config.json does not say class and arguments of every component")
        return described, load_file(folder / "model.safetensors")
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder} is not a PrismAudio checkpoint: {error.filename} is missing") from error
    except (ValueError, KeyError, TypeError, AttributeError, SafetensorError, OSError) as error:
        raise CheckpointError(f"{folder} is damaged or not a PrismAudio checkpoint: {error}") from error


def _make(folder: Path, entry: dict[str, Any], packages: Collection[str]) -> Any:
    module, _, name = str(entry["class"]).partition(":")
    if module.partition(".")[0] not in packages:
        raise CheckpointError(f"{folder} asks for the class {entry['class']}, which no installed plugin provides")
    try:
        kind = getattr(importlib.import_module(module), name)
        with WithoutDrawing():
            return kind(**entry["arguments"])
    except (ImportError, AttributeError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise CheckpointError(f"{folder}: cannot make {entry['class']}: {error}") from error


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
