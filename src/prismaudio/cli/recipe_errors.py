"""Reduces the parser's report on a recipe, which can fill a page, to one line with the error and its fix."""

from __future__ import annotations

import inspect
import re
import sys
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BARE_NAME = re.compile(r"Expected a dot import path string: (\S+)")
DENIED = re.compile(r"Importing '([^']+)' is not allowed")
MISSING_MODULE = re.compile(r"No module named '?([\w.]+)'?")
MISSING_ATTRIBUTE = re.compile(r"module '?([\w.]+)'? has no attribute '?(\w+)'?")
UNKNOWN_ARGUMENT = re.compile(r"Option '([^']+)' is not accepted")
WRONG_VALUE = re.compile(r"Expected an? (?:<class '([^']+)'>|([^\n]+?))\. Got value: ([^\n]*)")
AMBIGUOUS = re.compile(r"Multiple subclasses with name (\w+)\. .*?: ([\w., ]+\w)")
CLASS_PATH = re.compile(r"Problem with given class_path '([^']+)'")
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
        (UNKNOWN_ARGUMENT, lambda found: unknown_argument(report, found)),
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


def unknown_argument(report: str, found: re.Match[str]) -> str:
    """Message about an argument that a class does not have, with the nearest name."""
    paths = CLASS_PATH.findall(report[: found.start()])
    if not paths:
        return f"there is no option {found[1]!r}"
    module, _, name = paths[-1].rpartition(".")
    return f"{name} has no argument {found[1]!r}{suggest_argument(module, name, found[1])}"


def suggest_argument(module: str, name: str, wrong: str) -> str:
    """The nearest argument of a class to a wrong one, else all of its arguments."""
    target = getattr(sys.modules.get(module), name, None)
    if target is None:
        return ""
    known = [argument for argument in inspect.signature(target).parameters if argument != "self"]
    near = get_close_matches(wrong, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; it takes {', '.join(known) or 'none'}"
