"""Argument parser with one-line errors, argument types, and the arguments that several commands share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from prismaudio.errors import PrismAudioError
from prismaudio.untrusted import is_text

MAX_SEED = 2**63 - 1
"""The largest seed that a random number generator accepts."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises :class:`PrismAudioError` instead of printing the usage."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; reject ``--option=--``, an option without a value, which argparse parses as an empty list."""
        for word in args or ():
            if word.startswith("--") and word.endswith("=--"):
                self.error(f"argument {word[:-3]}: expected a value")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise an error that refers to the help."""
        raise PrismAudioError(f"{message}; see {self.prog} --help")


def whole(low: int, high: int) -> argparse._ActionType:
    """Argument type of an integer in a range."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:  # not a number, or more digits than Python parses
            raise argparse.ArgumentTypeError(
                f"{brief(text)} is not a whole number; expected one from {low} to {high}"
            ) from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"{brief(text)} is out of range; expected a whole number from {low} to {high}"
            )
        return value

    convert.__name__ = "whole number"
    return convert


def number(low: float, high: float) -> argparse._ActionType:
    """Argument type of a float in a range."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{brief(text)} is not a number; expected {low:g} to {high:g}") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{value:g} is out of range; expected {low:g} to {high:g}")
        return value

    convert.__name__ = "number"
    return convert


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the options that select the model and its device."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        metavar="NAME|DIR|ID",
        help="an installed model, a model folder, or owner/model on the Hugging Face hub",
    )
    add_revision(group)
    group.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto (default: %(default)s)")
    group.add_argument(
        "--precision",
        choices=("fp32", "bf16"),
        default="fp32",
        help="dtype of the transformer; with bf16 a GPU decodes in float16 (default: %(default)s)",
    )


def add_scorers(group: argparse._ActionsContainer) -> None:
    """Add the options that select rewards and metrics, their device and their cache."""
    for kind in ("rewards", "metrics"):
        group.add_argument(
            f"--{kind}", type=_scorer_names, metavar="NAMES", help="comma-separated names, or none (default: all)"
        )
    group.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto (default: %(default)s)")
    group.add_argument("--no-cache", action="store_true", help="do not cache the prepared inputs of rewards on disk")


def _scorer_names(text: str) -> list[str]:
    return [] if text == "none" else [name for name in text.split(",") if name]


def add_revision(parser: argparse._ActionsContainer) -> None:
    """Add the option ``--revision`` of a model on the hub."""
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit of a model on the hub")


positive = whole(1, 2**31 - 1)
"""Argument type of an integer of at least 1."""
seed = whole(0, MAX_SEED)
"""Argument type of a seed."""


def text(given: str) -> str:
    """Argument type of UTF-8 text."""
    if not is_text(given):
        raise argparse.ArgumentTypeError("the text is not UTF-8; set the terminal, or the script, to UTF-8")
    return given


def plan(given: str) -> str:
    """Argument type of a plan: its text, or its file name, which may be any bytes."""
    return text(given) if "<" in given else given


def model_files(folder: str) -> list[Path]:
    """The two files that are written to a model folder."""
    place = Path(os.path.expanduser(folder))  # noqa: PTH111 - an unknown user is reported elsewhere
    return [place / name for name in ("config.json", "model.safetensors")]


def brief(text: str) -> str:
    """The first 40 characters of a text, quoted.

    Example:
        >>> brief("7"), brief("9" * 100)
        ("'7'", "'9999999999999999999999999999999999999999…'")
    """
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def names(what: str, known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    """Argument type of a comma-separated list of known names."""

    def convert(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"no {what} is named {unknown[0]!r}; expected some of {','.join(known)}")
        return names

    return convert
