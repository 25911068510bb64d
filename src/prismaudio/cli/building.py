"""Components that are named on the command line, by class or by model."""

from __future__ import annotations

import argparse
import json
import re
from typing import TYPE_CHECKING, Any, TypeVar

from prismaudio.cli.arguments import brief
from prismaudio.errors import CheckpointError, PrismAudioError, RecipeError, one_line, reason
from prismaudio.paths import expanded
from prismaudio.registry import discover
from prismaudio.untrusted import read_small

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from prismaudio.planners.base import Planner

Part = TypeVar("Part")
PLANNER, SAMPLER = "--planner", "--sampler"
YAML_SUFFIXES = (".yaml", ".yml")


COMPLETES = (
    "writes missing sections before the planner of the model does: a class, a model with a planner, or a YAML "
    "file with class_path and init_args; may be given several times, each completes the ones before"
)
"""What ``--planner`` does when a plan is written."""
NO_PLANNER = "none"
"""The value of ``--planner`` of ``prismaudio generate`` with which nobody completes a plan."""


def add_planners(parser: argparse._ActionsContainer, does: str = COMPLETES, option: str = PLANNER) -> None:
    """Add an option that names planners, with arguments of their class as ``--planner.NAME VALUE``.

    Args:
        parser: The parser, or a group of it, of a command that calls :func:`join_planner_arguments`.
        does: What the option does, for the help.
        option: The option.
    """
    group = parser.add_argument_group("planners") if isinstance(parser, argparse.ArgumentParser) else parser
    group.add_argument(
        option, action="append", default=[], metavar="CLASS|DIR|FILE", help=does,
    )  # fmt: skip
    _add_arguments_of(group, option, f"the last {option}, such as {option}.model owner/model")


def add_sampler(parser: argparse._ActionsContainer) -> None:
    """Add the option that names a sampler, with arguments of its class as ``--sampler.NAME VALUE``.

    Args:
        parser: The parser, or a group of it, of a command that calls :func:`join_planner_arguments`.
    """
    parser.add_argument(
        SAMPLER, metavar="CLASS|FILE",
        help="a sampler class, such as HeunSampler or heun, or a YAML file with class_path and init_args; prismaudio "
        "plugins list shows all",
    )  # fmt: skip
    _add_arguments_of(parser, SAMPLER, f"{SAMPLER}, such as {SAMPLER}.steps 8")


def _add_arguments_of(parser: argparse._ActionsContainer, option: str, which: str) -> None:
    parser.add_argument(
        f"{option}.NAME", metavar="VALUE", dest=argparse.SUPPRESS, default=argparse.SUPPRESS,
        help=f"an argument of the class of {which}",
    )  # fmt: skip


def join_planner_arguments(argv: Sequence[str], options: Sequence[str] = (PLANNER,)) -> list[str]:
    """Move the arguments ``--planner.NAME VALUE`` into the value of the ``--planner`` before them.

    Args:
        argv: The words of the command line.
        options: The options that name planners or other classes, such as ``--sampler``.

    Raises:
        PrismAudioError: There is no such option before them, or no value after one.

    Example:
        >>> join_planner_arguments(["clip.mp4", "--planner", "VlmPlanner", "--planner.model", "owner/model"])
        ['clip.mp4', '--planner={"class_path": "VlmPlanner", "init_args": {"model": "owner/model"}}']
    """
    joined: list[str] = []
    words = iter(argv)
    for word in words:
        option, equals, value = word.partition("=")
        if word == "--":
            return [*joined, word, *words]
        of, _, name = option.partition(".")
        if of not in options:
            joined.append(word)
            continue
        if not equals and ((value := next(words, "")) == "" or re.match(r"--?[A-Za-z]", value)):
            raise PrismAudioError(f"argument {option}: expected a value")
        if option == of:
            joined.append(f"{of}={value}")
            continue
        at = max((i for i, other in enumerate(joined) if other.startswith(f"{of}=")), default=None)
        if at is None:
            raise PrismAudioError(f"{option} belongs to no {of.lstrip('-')}; write {of} CLASS before it")
        class_path, arguments = parse_described(joined[at].partition("=")[2], of)
        arguments[name] = _parse_yaml(value, option)
        joined[at] = f"{of}={json.dumps({'class_path': class_path, 'init_args': arguments})}"
    return joined


def make_planners(texts: Sequence[str], device: str) -> list[Planner]:
    """The planners of ``--planner``, in this order.

    Args:
        texts: The values of the option.
        device: Device of the networks.

    Raises:
        PrismAudioError: There is no such class or model, or a class does not take an argument.
    """
    from prismaudio.devices import find_device

    return [make_planner(text, find_device(device)) for text in texts]


def make_planner(text: str, device: torch.device) -> Planner:
    """A planner from its class, from what a recipe says about it, or from a model that has one.

    Args:
        text: The value of ``--planner``.
        device: Device of its networks.
    """
    from prismaudio.planners.base import Planner

    return make_writer(text, device, PLANNER, Planner)


def make_writer(text: str, device: torch.device, option: str, kind: type[Part]) -> Part:
    """A planner, annotator or decoupler, named in one of the ways of :func:`make_planner`.

    Args:
        text: The value of the option.
        device: Device of its networks.
        option: The option, for errors.
        kind: The class that it implements, of :mod:`prismaudio.planners.base`.

    Raises:
        PrismAudioError: There is no such class or model, a class does not take an argument, or it is of another kind.
    """
    from prismaudio.signatures import parameters

    if not is_class(text):
        made = part_of(text, "planner")
    else:
        name, arguments = parse_class(text, option)
        component = discover().load("planners", name)
        own = {"device": str(device)} if "device" in parameters(component) else {}
        made = create("planners", name, own | arguments, option)
    if not isinstance(made, kind):
        raise PrismAudioError(
            f"{option}: {type(made).__name__} is no {kind.__name__}; expected a class that implements "
            f"prismaudio.planners.base.{kind.__name__}, such as ApiPlanner"
        )
    return on_device(made, device)


def parse_sampler(text: str, steps: int | None) -> tuple[str, dict[str, Any]]:
    """Name and arguments of the sampler that ``--sampler`` names.

    Args:
        text: The value of the option.
        steps: The value of ``--steps``.

    Raises:
        PrismAudioError: There is no such sampler, it does not take an argument, or its steps are given twice.
    """
    from prismaudio.checkpoints import check_arguments
    from prismaudio.inference.sampling import find_sampler
    from prismaudio.signatures import parameters

    name, arguments = parse_class(text, SAMPLER)
    if not arguments:
        return name, {}
    kind = find_sampler(name)
    known = parameters(kind)
    if unknown := next((argument for argument in arguments if argument not in known), None):
        takes = ", ".join(known) or "no arguments"
        raise PrismAudioError(f"{SAMPLER}.{unknown}: {kind.__name__} has no argument {unknown}; it takes {takes}")
    if steps is not None and "steps" in arguments:
        raise PrismAudioError(
            f"--steps {steps} and {SAMPLER}.steps {arguments['steps']} are the same; give one of them"
        )
    check_arguments(SAMPLER, kind, arguments, "")
    return name, arguments


def is_class(text: str) -> bool:
    """Whether a planner is named by its class, and not by a model that has one."""
    registry = discover()
    known = text in registry.names("planners") or (text.endswith("Planner") and registry.provider(text) is not None)
    return known or text.endswith(YAML_SUFFIXES) or text.startswith("{")


def on_device(component: Part, device: torch.device) -> Part:
    """The component, moved to a device if it is a network."""
    import torch

    return component.to(device).eval() if isinstance(component, torch.nn.Module) else component


def build(kind: str, described: str, where: str) -> Any:
    """Create a component from its class name, or from what a recipe says: ``{class_path: NAME, init_args: {...}}``.

    Raises:
        PrismAudioError: There is no such class, or it does not take an argument.
    """
    name, arguments = parse_class(described, where)
    return create(kind, name, arguments, where)


def create(kind: str, name: str, arguments: dict[str, Any], where: str) -> Any:
    """Create a component from its class name and arguments.

    Raises:
        PrismAudioError: There is no such class, or it does not take an argument.
    """
    component = discover().load(kind, name)
    from prismaudio.checkpoints import Configured, check_arguments
    from prismaudio.planners.base import Described
    from prismaudio.signatures import type_hints

    for key, hint in type_hints(component).items() if issubclass(component, Configured) else ():
        if key in arguments and isinstance(hint, type) and issubclass(hint, Described):  # a part that is named too
            value = arguments[key]
            arguments[key] = build(kind, value if isinstance(value, str) else json.dumps(value), f"{where}.{key}")
    check_arguments(where, component, arguments, "")
    try:
        return component(**arguments)
    except PrismAudioError:
        raise
    except (ValueError, TypeError) as error:
        raise PrismAudioError(f"{where}: {name}: {one_line(error)}") from error


def parse_class(text: str, where: str) -> tuple[str, dict[str, Any]]:
    """Name and arguments of a class from its name, from ``{class_path: ..., init_args: ...}``, or from a YAML file.

    Raises:
        RecipeError: It is not YAML of this form.
    """
    path, arguments = parse_described(text, where)
    return (path.rpartition(".")[2] if path != text else path), arguments


def parse_described(text: str, where: str) -> tuple[str, dict[str, Any]]:
    """What :func:`parse_class` returns, with the name as it is written, which may be a file that stands for a class."""
    expected = "{class_path: NAME, init_args: {argument: value}}"
    if text.endswith(YAML_SUFFIXES):
        where, value = text, _parse_yaml(_read_text(text), f"{text}:")
    elif text.startswith("{"):
        value = _parse_yaml(text, where)
    else:
        return text, {}
    if not isinstance(value, dict):
        raise RecipeError(f"{where} is {one_line(value, 40)!r}; expected {expected}")
    arguments = value.get("init_args") or {}
    if not value.keys() <= {"class_path", "init_args"} or "class_path" not in value:
        raise RecipeError(f"{where} has {', '.join(map(str, value)) or 'nothing'}; expected {expected}")
    if not isinstance(arguments, dict):
        raise RecipeError(f"{where}: init_args is {arguments!r}; expected arguments by name: {expected}")
    return str(value["class_path"]), arguments


def _parse_yaml(text: str, where: str) -> Any:
    import yaml

    from prismaudio.cli.recipe_files import check_yaml

    try:
        check_yaml(text, where)
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise RecipeError(f"{where} {brief(text)} is not YAML: {one_line(error, 120)}") from error


def _read_text(path: str) -> str:
    try:
        return read_small(expanded(path)).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        text = f"cannot read {path}: {reason(error)}; expected YAML with class_path and init_args"
        raise RecipeError(text) from error


def part_of(source: str, name: str) -> Any:
    """A component of an installed model, a model folder or a model on the hub."""
    from prismaudio import pretrained

    factories = pretrained.find(source).factories()
    if name not in factories:
        raise CheckpointError(f"{source} has no {name}; it has {', '.join(factories)}")
    return factories[name]()
