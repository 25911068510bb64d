"""Reduces the parser's report on a recipe, which can fill a page, to one line with the error and its fix."""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

BARE_NAME = re.compile(r"Expected a dot import path string: (\S+)")
DENIED = re.compile(r"Importing '([^']+)' is not allowed")
MISSING_MODULE = re.compile(r"No module named '?([\w.]+)'?")
MISSING_ATTRIBUTE = re.compile(r"module '?([\w.]+)'? has no attribute '?(\w+)'?")
UNKNOWN_ARGUMENT = re.compile(r"Option '([^']+)' is not accepted")
UNKNOWN_IN_GROUP = re.compile(r"Group '([^']+)' does not accept option '([^']+)'")
UNRECOGNIZED = re.compile(r"unrecognized arguments: --([\w.]+)")
WRONG_VALUE = re.compile(r"Expected an? (?:<class '([^']+)'>|([^\n]+?))\. Got value: ([^\n]*)")
AMBIGUOUS = re.compile(r"Multiple subclasses with name (\w+)\. .*?: ([\w., ]+\w)")
CLASS_PATH = re.compile(r"Problem with given class_path '([^']+)'")
CALLED_CLASS = re.compile(r"\. Got value: Namespace\(class_path='([^']+)'")
REFUSED = re.compile(r"Errors:\s+- (.+?)\s+- Expected a <class 'NoneType'>", re.DOTALL)
KEY = re.compile(r'Parser key "([^"]+)"')
"""Patterns in the error reports of jsonargparse."""


def shorten(report: str, explain_name: Callable[[str], str]) -> str:
    r"""Reduce a parser's report to its cause.

    Args:
        report: The report of jsonargparse, on many lines.
        explain_name: Returns the message for an unknown bare class name.

    Example:
        >>> shorten('Parser key "model":\n  Parser key "width":\n    Expected a <class \'int\'>. Got value: x', str)
        "model.width: expected int, got 'x'"
    """
    for pattern, write in (
        (BARE_NAME, lambda found: explain_name(found[1])),
        (DENIED, lambda found: denied(found[1])),
        (AMBIGUOUS, lambda found: f"{found[1]!r} is ambiguous, it may be any of {found[2]}; give the full path"),
        (UNKNOWN_ARGUMENT, lambda found: unknown_argument(report, found, found[1])),
        (UNKNOWN_IN_GROUP, lambda found: unknown_argument(report, found, f"{found[1]}.{found[2]}")),
        (UNRECOGNIZED, lambda found: unknown_argument(report, found, found[1])),
        (WRONG_VALUE, lambda found: f"expected {found[1] or found[2]}, got {found[3]!r}"),
        (MISSING_ATTRIBUTE, lambda found: f"module {found[1]!r} has no attribute {found[2]!r}"),
        (MISSING_MODULE, lambda found: f"there is no module {found[1]!r}"),
    ):
        if found := pattern.search(report):
            where = key_path(report[: found.start()])
            return f"{where}: {write(found)}" if where else write(found)
    return " ".join(report.split())


def refusal(report: str) -> str:
    r"""The error of a constructor, extracted from the report on its class.

    Example:
        >>> refusal("Errors:\n  - the model lacks a planner\n  - Expected a <class 'NoneType'>\n  Given value: x")
        'the model lacks a planner'
    """
    found = REFUSED.search(report)
    return found[1] if found else report


def key_path(report: str) -> str:
    """The path of keys to the end of a report, without keys of other branches."""
    keys: list[tuple[int, str]] = []
    for line in report.splitlines():
        if found := KEY.search(line):
            indent = len(line) - len(line.lstrip(" -"))
            keys = [*(pair for pair in keys if pair[0] < indent), (indent, found[1])]
    return ".".join(key for _, key in keys)


def denied(path: str) -> str:
    """Message about a class that recipes may not import."""
    text = (
        f"a recipe may not import {path!r}; expected a class of prismaudio, lightning, torch, torchmetrics or a plugin"
    )
    package = path.partition(".")[0]
    if package in sys.stdlib_module_names or package in sys.modules:
        return text
    return f"{text}; to use your own module, add --plugin {package}"


def unknown_argument(report: str, found: re.Match[str], wrong: str) -> str:
    """Message about an argument that a class does not have, with the nearest name.

    Args:
        report: The report of the parser.
        found: The match that names the argument.
        wrong: The argument; one of a group of options has the name of the group before it.
    """
    called = CALLED_CLASS.match(report, found.end())  # an optimizer or another class that is called later
    paths = [called[1]] if called else CLASS_PATH.findall(report[: found.start()])
    if not paths:
        return f"there is no option {wrong!r}"
    module, _, name = paths[-1].rpartition(".")
    return f"{name} has no argument {wrong!r}{suggest_argument(module, name, wrong)}"


def suggest_argument(module: str, name: str, wrong: str) -> str:
    """The nearest argument of a class to a wrong one, else all of its arguments."""
    target = getattr(sys.modules.get(module), name, None)
    if target is None:
        return ""
    known = arguments_of(target)
    by_last = {argument.rpartition(".")[2]: argument for argument in reversed(known)}
    if near := get_close_matches(wrong.rpartition(".")[2], by_last, n=1):
        return f"; did you mean {by_last[near[0]]!r}?"
    group = wrong.rpartition(".")[0]
    beside = [argument for argument in known if argument.rpartition(".")[0] == group]
    return f"; it takes {', '.join(beside) or 'none'}"


def arguments_of(target: Any) -> list[str]:
    """Arguments of a class, those that it passes on to its bases included, and the fields of groups of options.

    Example:
        >>> class Base:
        ...     def __init__(self, size: int = 1) -> None: ...
        >>> class Derived(Base):
        ...     def __init__(self, depth: int = 1, **kwargs: int) -> None: ...
        >>> arguments_of(Derived)
        ['depth', 'size']
    """
    names: list[str] = []
    for cls in inspect.getmro(target) if inspect.isclass(target) else (target,):
        if inspect.isclass(cls) and "__init__" not in vars(cls):
            continue
        parameters = inspect.signature(cls.__init__ if inspect.isclass(cls) else cls).parameters.values()
        passed_on = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        for parameter in parameters:
            if parameter.name in ("self", *names) or parameter.kind in (
                parameter.VAR_KEYWORD,
                parameter.VAR_POSITIONAL,
            ):
                continue
            names.append(parameter.name)
            if is_dataclass(parameter.default):
                names += [f"{parameter.name}.{field.name}" for field in fields(parameter.default)]
        if not passed_on:
            break
    return names
