"""The patterns that read the reports of jsonargparse, each checked on a report that jsonargparse makes."""

from __future__ import annotations

import abc
import importlib.metadata
import json
from collections.abc import Callable
from dataclasses import dataclass

import jsonargparse
import pytest
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from prismaudio.cli import recipe_errors
from prismaudio.cli.recipe_errors import CHECKED, refusal


class Source:
    """A class of which a recipe names a subclass."""


class Needy(Source):
    """A subclass that requires an argument."""

    def __init__(self, pitch_hz: int) -> None: ...


class Filter(abc.ABC):
    """A class of which no object can be made."""

    @abc.abstractmethod
    def apply(self) -> None: ...


class Tone(Source):
    """A subclass.

    Args:
        pitch_hz: An argument.
    """

    def __init__(self, pitch_hz: int = 440) -> None:
        if pitch_hz < 0:
            raise ValueError(f"pitch_hz is {pitch_hz}; expected at least 0")


@dataclass
class Size:
    """A group of options."""

    width: int = 1


class Sized(Source):
    """A subclass with a group of options."""

    def __init__(self, size: Size = Size()) -> None: ...  # noqa: B008


class Twins:
    """Holds a class of the same bare name as another one."""

    class Tone(Source):
        """The other one."""


def parser() -> jsonargparse.ArgumentParser:
    made = jsonargparse.ArgumentParser(exit_on_error=False)
    made.add_argument("--source", type=Source | None)
    made.add_argument("--count", type=int)
    made.add_argument("--optimizer", type=Callable[[list], Optimizer] | None)
    made.add_argument("--schedule", type=Callable[[Optimizer], LRScheduler] | None)
    made.add_argument("--sources", type=dict[str, Source] | None)
    made.add_argument("--filter", type=Filter)
    made.add_argument("--rate", type=int | float)
    made.add_argument("--config", action="config")
    return made


def program() -> jsonargparse.ArgumentParser:
    made = jsonargparse.ArgumentParser(exit_on_error=False)
    made.add_subcommands().add_subcommand("run", parser())
    return made


@pytest.fixture
def restricted():
    """Import only what a recipe may, until the end of the test."""
    jsonargparse.set_parsing_settings(
        import_path_denylist=["*", "subprocess"], import_path_allowlist=["tests", "torch"]
    )
    yield
    jsonargparse.set_parsing_settings(import_path_denylist=[], import_path_allowlist=[])


def report_on(words: list[str]) -> tuple[str, BaseException]:
    with pytest.raises(jsonargparse.ArgumentError) as caught:
        (program() if words[0] == "run" else parser()).parse_args(words)
    return str(caught.value), caught.value


TONE = f"{__name__}.Tone"
WRONG = {
    "BARE_NAME": ["--source", "Tune"],
    "DENIED": ["--source", "subprocess.Popen"],
    "UNKNOWN_ARGUMENT": ["--source", TONE, "--source.pitch", "3"],
    "UNKNOWN_IN_GROUP": [
        "--source",
        json.dumps({"class_path": f"{__name__}.Sized", "init_args": {"size": {"depth": 3}}}),
    ],
    "UNKNOWN_IN_RECIPE": ["run", "--config", "sourc: 3"],
    "UNRECOGNIZED": ["--number", "3"],
    "REQUIRED": ["--source", f"{__name__}.Needy"],
    "GIVEN_CLASS": ["--schedule", "torch.optim.lr_scheduler.StepLR"],
    "NO_ALTERNATIVE": ["--rate", "fast"],
    "NOT_SUBCLASS": ["--source", f"{__name__}.Size"],
    "NO_CLASS": ["--source", "[Tone]"],
    "ABSTRACT": ["--filter.pitch", "3"],
    "NESTED": ["--sources.one", "Tune"],
    "VALUE": ["--rate", "fast"],
    "WRONG_VALUE": ["--count", "many"],
    "AMBIGUOUS": ["--source", "Tone"],
    "CLASS_PATH": ["--source", TONE, "--source.pitch", "3"],
    "CALLED_CLASS": ["--optimizer", "torch.optim.SGD", "--optimizer.rate", "3"],
    "KEY": ["--count", "many"],
}


@pytest.mark.usefixtures("restricted")
@pytest.mark.parametrize("name", WRONG)
def test_each_pattern_matches_a_report_of_the_installed_jsonargparse(name):
    report, _ = report_on(WRONG[name])
    installed = importlib.metadata.version("jsonargparse")
    assert getattr(recipe_errors, name).search(report), f"checked with {CHECKED}, installed {installed}: {report}"


def test_no_pattern_is_left_out():
    patterns = {name for name, value in vars(recipe_errors).items() if hasattr(value, "search") and name.isupper()}
    assert patterns == set(WRONG)


def test_the_error_of_a_constructor_is_found_below_the_report():
    made = parser()
    config = made.parse_args(["--source", TONE, "--source.pitch_hz", "-1"])
    with pytest.raises(ValueError, match="pitch_hz") as caught:
        made.instantiate(config)
    assert refusal(caught.value) == "pitch_hz is -1; expected at least 0"
