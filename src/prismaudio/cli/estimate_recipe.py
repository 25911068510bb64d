"""Reading a recipe for ``prismaudio estimate``: its task is built without weights, and nothing else of it is."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

import jsonargparse
import yaml

from prismaudio.autoencoders.oobleck import OobleckAutoencoder
from prismaudio.checkpoints import MetaTensors
from prismaudio.cli.fit import SHARDED_STRATEGY, CommandLine, Known, find_recipes, run
from prismaudio.cli.recipe_errors import refusal
from prismaudio.cli.recipe_files import read_recipe
from prismaudio.cli.recipe_merging import CONFIG_OPTIONS
from prismaudio.errors import CheckpointError, RecipeError, one_line
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.pretrained import loading_with, outline_parts
from prismaudio.registry import discover
from prismaudio.rewards.base import Reward
from prismaudio.training.callbacks.ema import ExponentialMovingAverage
from prismaudio.training.estimate import PlaceholderReward

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lightning.pytorch import LightningModule

MANY = 10**6
PLACEHOLDER = f"{PlaceholderReward.__module__}.{PlaceholderReward.__qualname__}"
LENGTHS = ("max_s", "duration_s")
"""Arguments of data modules that state the length of clips."""


@dataclass
class Recipe:
    """A recipe, with its task.

    Args:
        task: The task, with weights on the device ``meta`` and placeholders for its rewards.
        trainer: Arguments of the trainer.
        data: Arguments of the data module.
        rewards: What the recipe says about each reward whose class is known, by name.
        notes: What is assumed or not counted, one line each.
    """

    task: LightningModule
    trainer: dict[str, Any]
    data: dict[str, Any]
    rewards: dict[str, jsonargparse.Namespace] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def averaged(self) -> bool:
        """Whether a callback averages the weights."""
        callbacks = self.trainer.get("callbacks") or []
        callbacks = callbacks if isinstance(callbacks, list) else [callbacks]
        return any(issubclass(_class_of(callback), ExponentialMovingAverage) for callback in callbacks)

    @property
    def sharded(self) -> bool:
        """Whether FSDP2 shards the weights."""
        strategy = self.trainer.get("strategy")
        return isinstance(strategy, jsonargparse.Namespace) and strategy.class_path == SHARDED_STRATEGY

    @property
    def devices(self) -> int | None:
        """Devices of all nodes; None where the recipe takes all that there are.

        Raises:
            RecipeError: It is neither a number, nor a list, nor ``auto``.
        """
        devices, nodes = self.trainer.get("devices"), int(self.trainer.get("num_nodes") or 1)
        listed = devices if isinstance(devices, list) else str(devices).split(",")
        if str(devices) in ("auto", "-1", "None"):
            return None
        if not all(str(item).strip().isdigit() for item in listed) or str(devices) == "0":
            raise RecipeError(f"trainer.devices is {devices!r}; expected a number, a list of numbers, or auto")
        return (len(listed) if isinstance(devices, list) or len(listed) > 1 else int(listed[0])) * nodes

    @property
    def duration_s(self) -> float | None:
        """Length of the clips in seconds; None where the data module states none."""
        return next((float(self.data[name]) for name in LENGTHS if self.data.get(name)), None)


class _RecipeReader(CommandLine):
    """Builds the task of a recipe, and keeps the rest as it is written."""

    found: ClassVar[Recipe]

    def _set_seed(self) -> None:
        """Nothing is random."""

    def instantiate_classes(self) -> None:
        """Build the task without weights."""
        config = self.config[self.wanted]
        given = config.model.init_args
        notes: list[str] = []
        rewards: dict[str, Any] = {}
        for key in ("rewards", "scoring.held_out"):
            named = given.get(key) or {}
            rewards |= {f"{name} (held out)" if "." in key else name: named[name] for name in named}
            if named:
                given[key] = {name: jsonargparse.Namespace(class_path=PLACEHOLDER) for name in named}
        if given.get("metrics"):
            given.metrics = {}
        only = jsonargparse.Namespace(model=config.model)
        parser = self._subcommand_parsers[self.wanted]
        try:
            with MetaTensors(MANY), loading_with(lambda source: _outline(source, notes)):
                task = parser.instantiate_classes(only).model
        except ValueError as error:
            raise RecipeError(refusal(error)) from error
        data = config.get("data")
        arguments = {} if data is None else data.init_args.as_dict()
        type(self).found = Recipe(task, dict(vars(config.trainer)), arguments, rewards, notes)

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing is run."""


def read(argv: Sequence[str]) -> Recipe:
    """Read a recipe, with the options of ``prismaudio fit``.

    Args:
        argv: The options; recipes after ``--config``.

    Raises:
        RecipeError: The recipe or an option is not valid.
    """
    registry = discover()
    known = Known.of(registry)
    with _without_unknown_rewards(find_recipes(list(argv), registry), known) as (words, notes):
        run("fit", words, _RecipeReader)
    found = _RecipeReader.found
    unknown = [name for name, value in found.rewards.items() if value.class_path == PLACEHOLDER]
    found.rewards = {name: value for name, value in found.rewards.items() if name not in unknown}
    found.notes += notes
    return found


def build_reward(described: jsonargparse.Namespace) -> Reward:
    """Create a reward from what a recipe says about it."""
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--reward", type=Reward)
    made: Reward = parser.instantiate_classes(jsonargparse.Namespace(reward=described)).reward
    return made


@contextmanager
def _without_unknown_rewards(words: Sequence[str], known: Known) -> Iterator[tuple[list[str], list[str]]]:
    """Options whose recipes name a placeholder for each reward whose class is not installed, and a note for each."""
    notes: list[str] = []
    changed = list(words)
    with TemporaryDirectory(prefix="prismaudio-") as folder:
        for place, word in enumerate(words):
            option, equals, path = word.partition("=")
            is_value = place > 0 and words[place - 1] in CONFIG_OPTIONS
            if not is_value and not (equals and option in CONFIG_OPTIONS):
                continue
            path = word if is_value else path
            recipe, n_before = read_recipe(Path(path), path), len(notes)
            given: Any = (recipe.get("model") or {}).get("init_args") or {}
            several: list[Any] = [given.get("rewards"), (given.get("scoring") or {}).get("held_out")]
            for named in (some for some in several if isinstance(some, dict)):
                for name, value in named.items():
                    kind = value.get("class_path") if isinstance(value, dict) else value
                    if isinstance(kind, str) and "." not in kind and kind not in known.names:
                        named[name] = {"class_path": PLACEHOLDER}
                        notes.append(f"reward {name} is not counted: {known.explain(kind)}")
            if len(notes) > n_before:
                copy = Path(folder, f"{place}-{Path(path).name}")
                copy.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
                changed[place] = str(copy) if is_value else f"{option}={copy}"
        yield changed, list(dict.fromkeys(notes))


def _outline(source: str, notes: list[str]) -> dict[str, Any]:
    """The components of a model without weights; those of the published sizes where it is not on this machine."""
    try:
        return outline_parts(source)
    except CheckpointError as error:
        notes.append(f"{one_line(error)}: transformer and autoencoder are assumed to have the published sizes")
    return {"transformer": DiffusionTransformer(), "autoencoder": OobleckAutoencoder()}


def _class_of(described: jsonargparse.Namespace) -> type:
    """The class that a recipe names."""
    found: type = resolve_name(described.class_path)
    return found
