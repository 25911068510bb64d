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
    from collections.abc import Callable, Iterable, Iterator

    from lightning.pytorch import Trainer

CHECKED = "4.53"
"""Version of jsonargparse that the patterns below were checked with; a test produces a report for each of them."""

OPTIMIZATION = ("optimizer", "lr_scheduler")
"""Options of other programs of Lightning that are arguments of the task here."""

CLASS = "{class_path: NAME, init_args: {argument: value}}"

BARE_NAME = re.compile(r"Expected a dot import path string: ?([^\n]*)")
DENIED = re.compile(r"Importing '([^']+)' is not allowed")
UNKNOWN_ARGUMENT = re.compile(r"Option '([^']+)' is not accepted")
UNKNOWN_IN_GROUP = re.compile(r"Group '([^']+)' does not accept option '([^']+)'")
UNKNOWN_IN_RECIPE = re.compile(r"Subcommand '[^']+' does not accept option '([^']+)'")
UNRECOGNIZED = re.compile(r"unrecognized arguments: --?([^\s=]+)")
REQUIRED = re.compile(
    r"(class_path '[^']+':\s*|callable class: )the following arguments are required: (\w+(?:\.\w+|, \w+)*)"
)
GIVEN_CLASS = re.compile(r"Given value: (?:NestedArg\(.*?val=)?Namespace\(class_path='([^']+)'")
NO_ALTERNATIVE = re.compile(
    r"Errors:\n((?:\s*- Expected an? (?!instantiatable)[^\n]+\n)+)\s*Given value type: [^\n]*\n\s*Given value: ([^\n]*)"
)
NOT_SUBCLASS = re.compile(r"Import path (?:(\S+) )?does not correspond to a subclass of ([^\n]+)")
NO_CLASS = re.compile(r"Not a valid subclass of ([\w.]+)")
ABSTRACT = re.compile(r"Expected an instantiatable class, but ([\w.]+) is abstract")
WRONG_VALUE = re.compile(r"Expected an? (?:<class '([^']+)'>|([^\n]+?))\. Got value: ([^\n]*)")
AMBIGUOUS = re.compile(r"Multiple subclasses with name (\w+)\. .*?: ([\w., ]+\w)")
NESTED = re.compile(r"NestedArg\(key='([^']*)', val=(.*)\)$")
VALUE = re.compile(r"Given value: ([^\n]*)")
CLASS_PATH = re.compile(r"Problem with given class_path '([^']+)'")
CALLED_CLASS = re.compile(r"\. Got value: Namespace\(class_path='([^']+)'")
KEY = re.compile(r'Parser key "([^"]+)":\s*')
"""Patterns in the error reports of jsonargparse."""


def shorten(
    report: str,
    explain_name: Callable[[str], str],
    error: BaseException | None = None,
    options: Iterable[str] = (),
) -> str:
    r"""Reduce a parser's report to its cause.

    Args:
        report: The report of jsonargparse, on many lines.
        explain_name: Returns the message for an unknown bare class name.
        error: The exception that the report is about.
        options: The options of the command line.

    Example:
        >>> shorten('Parser key "model":\n  Parser key "width":\n    Expected a <class \'int\'>. Got value: x', str)
        "model.width: expected int, got 'x'"
    """
    for pattern, write in (
        (NO_ALTERNATIVE, lambda found: no_alternative(found[1], found[2], explain_name)),
        (BARE_NAME, lambda found: explain_class(found[1], explain_name)),
        (DENIED, lambda found: denied(found[1])),
        (AMBIGUOUS, lambda found: f"{found[1]!r} is ambiguous, it may be any of {found[2]}; give the full path"),
        (UNKNOWN_ARGUMENT, lambda found: unknown_argument(report, found, found[1], options)),
        (UNKNOWN_IN_GROUP, lambda found: unknown_argument(report, found, f"{found[1]}.{found[2]}", options)),
        (UNKNOWN_IN_RECIPE, lambda found: unknown_argument(report, found, found[1], options)),
        (UNRECOGNIZED, lambda found: unknown_argument(report, found, found[1], options)),
        (REQUIRED, lambda found: missing_argument(report, found)),
        (NOT_SUBCLASS, lambda found: f"expected a {found[2]}{got(report, found)}"),
        (
            ABSTRACT,
            lambda found: f"no class with this argument is named; set class_path to a subclass of {last(found[1])}",
        ),
        (
            WRONG_VALUE,
            lambda found: wrong_value(found[1] or found[2], found[3]),
        ),
        (NO_CLASS, lambda found: f"expected a {last(found[1])}, its name or {CLASS}{got(report, found)}"),
    ):
        if found := pattern.search(report):
            below = NESTED.match(found[2]) if pattern is NO_ALTERNATIVE else None
            return located(report[: found.start()], write(found), below[1] if below else "")
    *_, cause = chain(error)
    if cause is not None and "\n" not in str(cause) and str(cause) in report:
        return located(report[: report.find(str(cause))], KEY.sub("", str(cause)))
    return " ".join(report.split())


def wrong_value(expected: str, value: str) -> str:
    """Message about a value of a wrong type."""
    return f"expected {either(type_names(expected))}, got {own_value(value)!r}"


def no_alternative(expected: str, value: str, explain_name: Callable[[str], str]) -> str:
    """Message about a value that is of none of several types.

    Args:
        expected: What is expected, in the report of the parser.
        value: The value.
        explain_name: Returns the message for an unknown bare class name.
    """
    lines = [line.strip() for line in re.split(r"\n?\s*- Expected an? ", expected)[1:]]
    bare = next((line.partition(": ")[2] for line in lines if line.startswith("dot import path string")), None)
    if bare is not None and not {"<class 'int'>", "<class 'float'>"} & set(lines):
        return explain_class(bare, explain_name)
    names = [name for line in lines for name in (["a class"] if line.startswith("dot import") else type_names(line))]
    return f"expected {either(names)}, got {own_value(value)!r}"


def explain_class(name: str, explain_name: Callable[[str], str]) -> str:
    """Message about a value that is no class."""
    return explain_name(name) if name.isidentifier() else f"expected the name of a class or {CLASS}, got {name!r}"


def type_names(text: str) -> list[str]:
    """A type as users write it, or the values that it allows.

    Example:
        >>> type_names("<class 'int'>"), type_names("typing.Literal['a', 'b']"), type_names("<class 'NoneType'>")
        (['int'], ["'a'", "'b'"], ['null'])
    """
    if choices := re.fullmatch(r"typing\.Literal\[(.*)\]", text):
        return choices[1].split(", ")
    name = re.sub(r"^<class '(.*)'>$", r"\1", text)
    return ["null" if name == "NoneType" else last(name) if re.fullmatch(r"[\w.]+", name) else name]


def either(names: Iterable[str]) -> str:
    """Alternatives, for a sentence.

    Example:
        >>> either(["int", "float", "null"]), either(["int", "int"])
        ('int, float or null', 'int')
    """
    *others, end = dict.fromkeys(names)
    return f"{', '.join(others)} or {end}" if others else end


def own_value(text: str) -> str:
    """A value of a report, without that of the class around it and without the key of an option."""
    text = text.partition(". Got value: Namespace(")[0]
    return nested[2].strip("'") if (nested := NESTED.match(text)) else text


def got(report: str, found: re.Match[str]) -> str:
    """The value that a report gives, in the first group of a match or after it, for a message."""
    given = VALUE.search(report, found.end())
    value = found[1] if found.re is NOT_SUBCLASS and found[1] else given and own_value(given[1])
    return f", got {value!r}" if value else ""


def last(path: str) -> str:
    """The name of a class without its module."""
    return path.rpartition(".")[2]


def unknown_class(report: str) -> str | None:
    """The class that a report says cannot be imported; None if it is about something else."""
    found = BARE_NAME.search(report) or DENIED.search(report)
    return found[1] if found and re.fullmatch(r"[\w.]+", found[1]) else None


def located(report: str, text: str, below: str = "") -> str:
    """A message after the path of keys to the end of a report, and a key below it."""
    where = ".".join(filter(None, (key_path(report), below)))
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


def unlogged(trainer: Trainer, error: BaseException) -> str | None:
    """The message about a metric that a callback or a schedule monitors and nothing logs; None for another error.

    Args:
        trainer: The trainer.
        error: The exception of the run.
    """
    monitors = [(callback, getattr(callback, "monitor", None)) for callback in trainer.callbacks]  # type: ignore[attr-defined]
    monitors += [(config.scheduler, config.monitor) for config in trainer.lr_scheduler_configs]
    logged = list(trainer.callback_metrics)
    for who, name in monitors:
        if isinstance(name, str) and name not in logged and name in str(error):
            near = get_close_matches(name, logged, n=1)
            advice = f"did you mean {near[0]!r}? " if near else ""
            found = ", ".join(logged) or "nothing"
            return f"{type(who).__name__} monitors {name!r}, which is not logged; {advice}logged: {found}"
    return None


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


def unknown_argument(report: str, found: re.Match[str], wrong: str, options: Iterable[str]) -> str:
    """Message about an option, or about an argument that a class does not have, with the nearest name.

    Args:
        report: The report of the parser.
        found: The match that names the argument.
        wrong: The argument; one of a group of options has the name of the group before it.
        options: The options of the command line.
    """
    called = CALLED_CLASS.match(report, found.end())  # an optimizer or another class that is called later
    paths = [called[1]] if called else CLASS_PATH.findall(report[: found.start()])
    if not paths:
        return f"there is no option {wrong!r}{suggest_option(wrong, options)}"
    module, _, name = paths[-1].rpartition(".")
    if name in ("LightningModule", "LightningDataModule"):
        return f"no class that has the argument {wrong!r} is named before it; give --config RECIPE first"
    return f"{name} has no argument {wrong!r}{suggest_argument(module, name, wrong)}"


def missing_argument(report: str, found: re.Match[str]) -> str:
    """Message about arguments that a class requires.

    Args:
        report: The report of the parser.
        found: The match that names the arguments.
    """
    given = None if found[1].startswith("class_path") else GIVEN_CLASS.search(report, found.end())
    path = given[1] if given else CLASS_PATH.findall(report[: found.end()])[-1]
    names = [repr(name) for name in found[2].split(", ")]
    return f"{path.rpartition('.')[2]} requires the argument{'s' * (len(names) > 1)} {', '.join(names)}"


def suggest_option(wrong: str, options: Iterable[str]) -> str:
    """The nearest option to a wrong one, else where options are.

    Args:
        wrong: The option that does not exist.
        options: Those that exist.

    Example:
        >>> suggest_option("max_step", ["--config", "--trainer.max_steps"])
        "; did you mean 'trainer.max_steps'?"
        >>> suggest_option("optimizer.lr", ["--model"])
        "; did you mean 'model.optimizer.lr'?"
    """
    names = [option.removeprefix("--") for option in options if option.startswith("--")]
    by_last = {name.rpartition(".")[2]: name for name in reversed(names)}
    if wrong.partition(".")[0] in OPTIMIZATION:
        near = [f"model.{wrong}"]
    elif not (near := get_close_matches(wrong, names, n=1, cutoff=0.8)):
        near = [by_last[last] for last in get_close_matches(wrong.rpartition(".")[2], by_last, n=1, cutoff=0.8)]
    if near:
        return f"; did you mean {near[0]!r}?"
    return "; those of a recipe begin with model., data. or trainer., as its sections do"


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
    beside = [argument for argument in known if argument.rpartition(".")[0] == group] or [
        argument for argument in known if "." not in argument
    ]
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
