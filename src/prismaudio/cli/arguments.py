"""Command lines whose errors are one line, and the arguments that several commands share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from prismaudio.errors import PrismAudioError
from prismaudio.untrusted import is_text

MAX_SEED = 2**63 - 1
"""The largest seed that a generator of random numbers takes."""


class Parser(argparse.ArgumentParser):
    """An argument parser that reports errors the way the rest of the program does."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; ``--option=--`` is an option without a value, of which argparse makes an empty list."""
        for word in args or ():
            if word.startswith("--") and word.endswith("=--"):
                self.error(f"argument {word[:-3]}: expected a value")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the whole usage."""
        raise PrismAudioError(f"{message}; see {self.prog} --help")


def whole(low: int, high: int) -> argparse._ActionType:
    """The type of a whole number in a range."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:  # no number, or one of more digits than Python reads
            raise argparse.ArgumentTypeError(
                f"{brief(text)} is no whole number; expected one from {low} to {high}"
            ) from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"{brief(text)} is out of range, expected a whole number from {low} to {high}"
            )
        return value

    convert.__name__ = "whole number"
    return convert


def number(low: float, high: float) -> argparse._ActionType:
    """The type of a number in a range."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{brief(text)} is no number, expected {low:g} to {high:g}") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{value:g} is out of range, expected {low:g} to {high:g}")
        return value

    convert.__name__ = "number"
    return convert


def add_model(parser: argparse.ArgumentParser) -> None:
    """Which model, and where it runs."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        metavar="NAME|DIR|ID",
        help="an installed model, a model folder, or owner/model on the hub",
    )
    group.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto (default: %(default)s)")
    group.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="(default: %(default)s)")


positive = whole(1, 2**31 - 1)
"""The type of a whole number of at least 1."""
seed = whole(0, MAX_SEED)
"""The type of a seed."""


def text(given: str) -> str:
    """The type of what is to be read as words."""
    if not is_text(given):
        raise argparse.ArgumentTypeError("it is not UTF-8; set the terminal, or the script, to UTF-8")
    return given


def plan(given: str) -> str:
    """The type of a plan: its text, or the name of its file, which may be any bytes."""
    return text(given) if "<" in given else given


def model_files(model: str | None) -> list[Path]:
    """The files of the model folder that ``--model`` names, if it names one."""
    folder = Path(os.path.expanduser(model or ""))  # noqa: PTH111 - whether there is such a user is said elsewhere
    return [folder / name for name in ("config.json", "model.safetensors")] if model else []


def brief(text: str) -> str:
    """The beginning of what was given.

    Example:
        >>> brief("7"), brief("9" * 100)
        ("'7'", "'9999999999999999999999999999999999999999…'")
    """
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def names(what: str, known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    """The type of some of the known names, separated by commas."""

    def convert(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"no {what} named {unknown[0]!r}; {what}s: {','.join(known)}")
        return names

    return convert
