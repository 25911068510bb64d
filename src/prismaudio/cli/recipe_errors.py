"""Reduces the parser's report on a recipe, which can fill a page, to one line with the error and its fix."""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from prismaudio.signatures import parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHECKED = "4.53"
"""Version of jsonargparse that the patterns below were checked with; a test produces a report for each of them."""

BARE_NAME = re.compile(r"Expected a dot import path string: (\S+)")
DENIED = re.compile(r"Importing '([^']+)' is not allowed")
UNKNOWN_ARGUMENT = re.compile(r"Option '([^']+)' is not accepted")
UNKNOWN_IN_GROUP = re.compile(r"Group '([^']+)' does not accept option '([^']+)'")
UNRECOGNIZED = re.compile(r"unrecognized arguments: --([\w.]+)")
WRONG_VALUE = re.compile(r"Expected an? (?:<class '([^']+)'>|([^\n]+?))\. Got value: ([^\n]*)")
AMBIGUOUS = re.compile(r"Multiple subclasses with name (\w+)\. .*?: ([\w., ]+\w)")
CLASS_PATH = re.compile(r"Problem with given class_path '([^']+)'")
CALLED_CLASS = re.compile(r"\. Got value: Namespace\(class_path='([^']+)'")
KEY = re.compile(r'Parser key "([^"]+)"')
"""Patterns in the error reports of jsonargparse."""


def shorten(report: str, explain_name: Callable[[str], str], error: BaseException | None = None) -> str:
    r"""Reduce a parser's report to its cause.

    Args:
        report: The report of jsonargparse, on many lines.
        explain_name: Returns the message for an unknown bare class name.
        error: The exception that the report is about.

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
    ):
        if found := pattern.search(report):
            return located(report[: found.start()], write(found))
    *_, cause = chain(error)
    if isinstance(cause, ImportError | AttributeError):
        return located(report[: report.find(str(cause))], str(cause))
    return " ".join(report.split())


def unknown_class(report: str) -> str | None:
    """The class that a report says cannot be imported; None if it is about something else."""
    found = BARE_NAME.search(report) or DENIED.search(report)
    return found[1] if found else None


def located(report: str, text: str) -> str:
    """A message after the path of keys to the end of a report."""
    where = key_path(report)
    return f"{where}: {text}" if where else text


def chain(error: BaseException | None) -> Iterator[BaseException | None]:
    """An exception and those that caused it, the first cause last."""
    yield error
    while error is not None and (error := error.__cause__ or error.__context__) is not None:
        yield error


def refusal(error: BaseException) -> str:
    """The message of the constructor that raised an error, which jsonargparse encloses in a report on its class."""
    for cause in chain(error):
        frames = list(traceback.walk_tb(cause.__traceback__)) if cause is not None else []
        if frames and frames[-1][0].f_globals.get("__name__", "").partition(".")[0] != "jsonargparse":
            return str(cause)
    return str(error)


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
    """Arguments of a class or function, and the fields of groups of options."""
    known = parameters(target) if inspect.isclass(target) else inspect.signature(target).parameters
    names: list[str] = []
    for name, parameter in known.items():
        names.append(name)
        if is_dataclass(parameter.default):
            names += [f"{name}.{field.name}" for field in fields(parameter.default)]
    return names
