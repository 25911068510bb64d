"""``prismaudio fit | validate``: a LightningCLI with recipes, plugins and errors of one line."""

from __future__ import annotations

import importlib
import logging
import pkgutil
import re
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import jsonargparse
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.accelerators import CUDAAccelerator
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from prismaudio import __version__
from prismaudio.cli.fit_checkpoint import check_checkpoint, last_checkpoint, misloaded
from prismaudio.cli.recipe_errors import refusal, shorten, unknown_class, unlogged
from prismaudio.cli.recipe_files import bound_values, keep_pipe, read_recipe
from prismaudio.cli.recipe_merging import CONFIG_OPTIONS, Merging, UnknownClassError
from prismaudio.cli.termination import Terminated
from prismaudio.components import Component
from prismaudio.errors import CheckpointError, PrismAudioError, RecipeError, UnknownNameError, one_line
from prismaudio.media import replacing
from prismaudio.registry import Registry, discover, is_file
from prismaudio.training.checkpoint_files import WholeCheckpointIO
from prismaudio.training.contracts import UsesDimensions
from prismaudio.training.finite import guards
from prismaudio.weight_files import listed

if TYPE_CHECKING:
    from types import ModuleType

    from lightning.pytorch import Trainer

IMPORTABLE = ("prismaudio", "lightning", "torch", "torchmetrics")
"""Packages whose classes a recipe may name, besides those of plugins; an untrusted recipe cannot run other code."""

FORBIDDEN = ("torch.hub", "torch.utils.cpp_extension")
"""Modules of these packages that run downloaded or compiled code, which a recipe may not name."""

SHARDED = ("fsdp", "fsdp2")
"""Values of ``trainer.strategy`` that select FSDP2, on GPUs and CPUs; Lightning's own ``fsdp`` is FSDP1."""

SHARDED_STRATEGY = "prismaudio.training.sharding.ShardedStrategy"


def fit(argv: list[str]) -> int:
    """Run ``prismaudio fit``."""
    return run("fit", argv)


def validate(argv: list[str]) -> int:
    """Run ``prismaudio validate``."""
    return run("validate", argv)


def run(subcommand: str, argv: list[str], command_line: type[CommandLine] | None = None) -> int:
    """Read the recipe, build what it describes, and run it.

    Raises:
        RecipeError: The recipe or an option is not valid.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after Lightning has shut down.
    """
    quiet()
    registry = discover()
    known = Known.of(registry)
    restrict_imports(registry)
    words = find_recipes(argv, registry)
    if any("help" in word or "print_config" in word for word in words):
        known.import_all()
    known.import_named(" ".join(words))
    try:
        (command_line or CommandLine)(subcommand, known, words)
    except MisconfigurationException as error:
        raise RecipeError(str(error)) from error
    except SIGTERMException as error:  # Lightning handles the signal at the end of a batch
        raise Terminated from error
    except RecursionError as error:
        raise RecipeError("a value of the recipe is nested too deeply") from error
    except SystemExit as stop:  # Lightning turns Ctrl-C into exit code 1
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise stop.__context__ from None
        raise
    return 0


@dataclass
class Known:
    """Classes that recipes can name in this environment.

    jsonargparse finds a class by its bare name only if it is imported. Only the components that a recipe names are
    imported.

    Args:
        registry: The registry of plugins.
        names: Bare class names that work in a recipe.
        components: Kind of each component that is not imported yet, by its name.
        failures: Reason for each class that cannot be imported, by its name.
        parsers: Parsers of the command line.
    """

    registry: Registry
    names: list[str] = field(default_factory=list)
    components: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    parsers: list[RecipeParser] = field(default_factory=list)

    @classmethod
    def of(cls, registry: Registry) -> Known:
        """What is known before a recipe is read: the classes of training and of torch, and the names of components."""
        known = cls(registry)
        for name in training_modules():
            known.names += public_classes(importlib.import_module(name))
        known.names += [name for name, value in vars(torch.optim).items() if is_kind(value, torch.optim.Optimizer)]
        schedules = torch.optim.lr_scheduler
        known.names += [name for name, value in vars(schedules).items() if is_kind(value, schedules.LRScheduler)]
        for name in ("callbacks", "loggers", "profilers", "strategies"):
            known.names += importlib.import_module(f"lightning.pytorch.{name}").__all__
        for plugin in registry.plugins:
            if plugin.status == "ok":
                known.names += public_classes(sys.modules[plugin.module])
        components = [entry for entry in registry.entries if isinstance(entry.item, Component)]
        known.components = {entry.name: entry.kind for entry in components}
        known.names += known.components
        return known

    def import_named(self, text: str) -> None:
        """Import the components that a text names."""
        if self.components:
            for name in set(re.findall(r"\w+", text)) & self.components.keys():
                self._import(name)

    def import_all(self) -> None:
        """Import every component, so that each can be listed and described."""
        for name in list(self.components):
            self._import(name)

    def _import(self, name: str) -> None:
        """Import a component; a failure is an error only for a recipe that names it."""
        try:
            self.registry.load(self.components.pop(name), name)
        except PrismAudioError as error:
            self.failures[name] = str(error)

    def explain(self, name: str) -> str:
        """Why a recipe cannot name ``name``, and what to do."""
        if name in self.failures:
            return self.failures[name]
        if name in self.names:
            return f"a class {name!r} exists, but it is not of the type that is expected here"
        return f"there is no class {name!r}; {self.registry.advice(name, self.names)}"


def restrict_imports(registry: Registry) -> None:
    """Restrict recipes to classes of :data:`IMPORTABLE` and of plugins."""
    plugged = {re.split(r"[.:]", component.target)[0] for _, component in registry.components()}
    files = [plugin for plugin in registry.plugins if is_file(plugin)]
    plugged |= {plugin.name for plugin in files if sys.modules.get(plugin.name) is sys.modules[plugin.module]}
    packages = {*IMPORTABLE, *plugged}
    jsonargparse.set_parsing_settings(import_path_denylist=["*", *FORBIDDEN], import_path_allowlist=sorted(packages))


def training_modules() -> list[str]:
    """Names of the modules of training: tasks, callbacks, and the classes of their arguments."""
    training = importlib.import_module("prismaudio.training")
    return [module.name for module in pkgutil.walk_packages(training.__path__, f"{training.__name__}.")]


def public_classes(module: ModuleType) -> list[str]:
    """Names of the classes that a module defines."""
    return [
        n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__ and n[0] != "_"
    ]


def is_kind(value: object, base: type) -> bool:
    """Whether a value is a proper subclass of ``base``."""
    return isinstance(value, type) and issubclass(value, base) and value is not base


def find_recipes(argv: list[str], registry: Registry) -> list[str]:
    """Replace the name of an installed recipe after ``--config`` by the path of its file."""
    found, previous = [], ""
    for word in argv:
        option, equals, value = word.partition("=")
        if previous in CONFIG_OPTIONS:
            found.append(recipe_path(word, registry))
        elif equals and option in CONFIG_OPTIONS:
            found.append(f"{option}={recipe_path(value, registry)}")
        else:
            found.append(word)
        previous = word
    return found


def recipe_path(name: str, registry: Registry) -> str:
    """The file of a recipe, given as a path or as the name of an installed recipe."""
    path = Path(name)
    if path.is_fifo():
        path = keep_pipe(path)
        own = {name: str(path), **{f"{option}={name}": f"{option}={path}" for option in CONFIG_OPTIONS}}
        sys.argv = [own.get(word, word) for word in sys.argv]  # which Lightning gives to its other processes
    elif not path.is_file():
        try:
            path = Path(str(registry.find("recipes", name.removesuffix(".yaml")).item))
        except UnknownNameError as error:
            raise RecipeError(f"there is no file {name!r}, and {error}") from None
    read_recipe(path, name)
    return str(path)


def quiet() -> None:
    """Silence Lightning's tips and its warnings about internals."""
    warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
    # it says that a checkpoint is saved after the optimizer step, which is intended
    warnings.filterwarnings("ignore", message="Using ModelCheckpoint with manual optimization", category=UserWarning)
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    logger.addFilter(lambda record: "Tip: " not in record.getMessage())


def use_tensor_cores(trainer: Trainer, precision: object) -> None:
    """Compute float32 matrix products in TF32 on a CUDA device, as torch and Lightning advise.

    Full float32 or float64 requested by ``trainer.precision`` is kept, and so is a matmul precision that was already
    set in this process.

    Args:
        trainer: The trainer.
        precision: ``trainer.precision`` of the recipe; None if it is not set.
    """
    full = str(precision) in ("32", "32-true", "64", "64-true")
    if (
        isinstance(trainer.accelerator, CUDAAccelerator)
        and not full
        and torch.get_float32_matmul_precision() == "highest"
    ):
        torch.set_float32_matmul_precision("high")


class RecipeParser(LightningArgumentParser):
    """Parser that reports an error in a recipe in one line."""

    known: Known | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})  # also for parsers of classes

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the error instead of printing the usage."""
        if not self.exit_on_error or self.known is None:
            super().error(message, ex)
        actions = [action for parser in self.known.parsers for action in parser._actions]  # noqa: SLF001 - no other list
        options = [name for action in actions for name in action.option_strings]
        text = shorten(message, self.known.explain, ex, options)
        if "are required" in text:
            text = text.replace("fit.", "") + "; name a recipe with --config, see prismaudio recipes list"
        if name := unknown_class(message):
            raise UnknownClassError(text, name) from ex
        raise RecipeError(text) from ex


class Provenance(SaveConfigCallback):
    """Saves the recipe of a training run, including the versions of its plugins, to the folder of the run.

    Evaluation does not save it: its folder may be that of the training run, where export reads the recipe.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save the recipe, unless the folder of the run is the working directory."""
        if stage == "fit" and (trainer.loggers or Path(trainer.default_root_dir).resolve() != Path.cwd()):
            self.path = Path(str(trainer.log_dir), self.config_filename)  # every process must get the folder
            super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the file atomically."""
        text = self.parser.dump(self.config, skip_none=False)
        with replacing(self.path) as part:
            part.write_text(text, encoding="utf-8")


class CommandLine(LightningCLI):
    """LightningCLI with one subcommand, so that it starts quickly."""

    def __init__(self, subcommand: str, known: Known, argv: list[str]) -> None:
        self.wanted = subcommand
        self.known = known
        super().__init__(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=Provenance,
            save_config_kwargs={"config_filename": "recipe.yaml", "overwrite": True, "save_to_log_dir": False},
            parser_class=RecipeParser,
            parser_kwargs={"prog": "prismaudio"},
            seed_everything_default=0,
            auto_configure_optimizers=False,
            args=[subcommand, *argv],
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Only the subcommand that is run."""
        return {self.wanted: LightningCLI.subcommands()[self.wanted]}

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Create a parser that explains unknown names."""
        kwargs["dump_header"] = [f"prismaudio {__version__}"]
        parser = super().init_parser(**kwargs)
        if isinstance(parser, RecipeParser):
            parser.known = self.known
            self.known.parsers.append(parser)
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the key of saved recipes that lists their plugins."""
        text = "plugins that a saved recipe was run with; compared with the installed ones, never installed"
        parser.add_argument("--plugins", type=list[dict[str, str | None]], default=None, help=text)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse ``args``, independently of ``sys.argv``, and record the plugins."""
        merging = Merging()
        bound_values(self.known.import_named, merging.edited)
        self.config = merging.parse(parser.parse_args, args, self.wanted)
        config = self.config[self.wanted]
        present = [
            {"name": plugin.name, "distribution": plugin.distribution, "version": plugin.version}
            for plugin in self.known.registry.plugins
            if plugin.status == "ok"
        ]
        for plugin in config.plugins or []:
            if plugin not in present:
                rank_zero_warn(f"this recipe was saved with plugin {plugin}, which differs from the installed plugins")
        config.plugins = present
        config.weights_only = True  # regardless of the recipe: loading a checkpoint never executes code
        if config.trainer.strategy in SHARDED:
            config.trainer.strategy = jsonargparse.Namespace(class_path=SHARDED_STRATEGY)
            config.trainer.inference_mode = False  # weights that are gathered in it first could not be trained

    def _parse_ckpt_path(self) -> None:
        check_checkpoint(self.config[self.wanted].get("ckpt_path"))
        super()._parse_ckpt_path()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Create the trainer, with atomic checkpoints and a guard that stops it before weights become NaN."""
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except TypeError as error:
            raise RecipeError(one_line(error)) from error
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # the recipe sets no other
            trainer.strategy.checkpoint_io = WholeCheckpointIO()
        trainer.callbacks += guards(trainer)  # type: ignore[attr-defined]
        use_tensor_cores(trainer, self.config[self.wanted].trainer.precision)
        return trainer

    def instantiate_classes(self) -> None:
        """Build everything; a ValueError of a constructor is reported as an error in the recipe."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            raise RecipeError(refusal(error)) from error
        for part in (self.model, self.datamodule):
            if isinstance(part, UsesDimensions):
                part.use_dimensions(self.known.registry.dimensions())
        config = self.config[self.wanted]
        if config.get("ckpt_path") == "last":
            config.ckpt_path = self.config_init[self.wanted].ckpt_path = last_checkpoint(self.trainer)
            check_checkpoint(config.ckpt_path)

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            super()._run_subcommand(subcommand)
        except (RuntimeError, ValueError, MisconfigurationException) as error:
            if text := unlogged(self.trainer, error):
                raise RecipeError(text) from error
            path = self.config[subcommand].get("ckpt_path")
            problems = misloaded(path, self.model, error) if path else []
            if not problems:
                raise
            raise CheckpointError(f"{path} does not fit the recipe: {listed(problems)}") from error
