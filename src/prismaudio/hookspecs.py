"""The extension points of plugins. All hooks are optional, and all return data, not classes.

A plugin is a module named by an entry point in the group ``prismaudio``. It imports :mod:`prismaudio` and nothing
heavier, because every command imports it; the classes that it refers to are imported when a recipe uses them.

    from prismaudio import Component, hookimpl

    @hookimpl
    def prismaudio_rewards():
        return [Component("my_package.reward:MyReward", "What it scores, in one line.", "temporal")]
"""

from collections.abc import Iterable
from pathlib import Path

import pluggy

from prismaudio.components import Command, Component, Dimension, Pretrained

hookspec = pluggy.HookspecMarker("prismaudio")

CONTRACTS = {
    "rewards": "prismaudio.rewards.base:Reward",
    "metrics": "prismaudio.metrics.base:AudioMetric",
    "encoders": "prismaudio.encoders.base:Encoder",
    "conditioners": "prismaudio.models.conditioners:Conditioner",
    "samplers": "prismaudio.samplers.base:Sampler",
    "planners": "prismaudio.planners.base:Described",
    "autoencoders": "prismaudio.autoencoders.base:Autoencoder",
    "gates": "prismaudio.cot.gates:Gate",
    "benchmarks": "prismaudio.benchmarks.base:Benchmark",
    "suites": "prismaudio.evaluation.suites:Suite",
    "tasks": "lightning.pytorch:LightningModule",
    "data_modules": "lightning.pytorch:LightningDataModule",
    "training_parts": "builtins:object",
}
"""The base class of each kind of component."""

ITEMS: dict[str, type] = {
    "dimensions": Dimension,
    **dict.fromkeys(CONTRACTS, Component),
    "models": Pretrained,
    "commands": Command,
    "recipes": Path,
}
"""The type of the items that the hook of each kind returns."""

KINDS = tuple(ITEMS)
"""All kinds of items that a plugin can provide; the hook of a kind is ``prismaudio_<kind>``."""


@hookspec
def prismaudio_dimensions() -> Iterable[Dimension]:  # type: ignore[empty-body]
    """Perceptual dimensions; every plan has a section for each."""


@hookspec
def prismaudio_rewards() -> Iterable[Component]:  # type: ignore[empty-body]
    """Rewards: they score audio in one dimension, and training maximises them."""


@hookspec
def prismaudio_metrics() -> Iterable[Component]:  # type: ignore[empty-body]
    """Metrics: they evaluate audio, and are not used for training."""


@hookspec
def prismaudio_encoders() -> Iterable[Component]:  # type: ignore[empty-body]
    """Encoders: they encode a clip and its plan as a stream of features."""


@hookspec
def prismaudio_conditioners() -> Iterable[Component]:  # type: ignore[empty-body]
    """Conditioners: they project a stream of features to tokens, for cross-attention or addition in a transformer."""


@hookspec
def prismaudio_samplers() -> Iterable[Component]:  # type: ignore[empty-body]
    """Samplers: they integrate a velocity from noise to latents."""


@hookspec
def prismaudio_planners() -> Iterable[Component]:  # type: ignore[empty-body]
    """Planners: they write the plan of a clip; annotators and decouplers write it in two steps."""


@hookspec
def prismaudio_autoencoders() -> Iterable[Component]:  # type: ignore[empty-body]
    """Autoencoders: they encode audio as latents and decode it."""


@hookspec
def prismaudio_gates() -> Iterable[Component]:  # type: ignore[empty-body]
    """Quality gates: they reject wrong plans when chain-of-thought data is built, and say why."""


@hookspec
def prismaudio_benchmarks() -> Iterable[Component]:  # type: ignore[empty-body]
    """Benchmarks: ``prismaudio bench studio`` runs the ``StudioBenchmark``."""


@hookspec
def prismaudio_suites() -> Iterable[Component]:  # type: ignore[empty-body]
    """Suites: clips on which ``prismaudio evaluate`` compares systems."""


@hookspec
def prismaudio_tasks() -> Iterable[Component]:  # type: ignore[empty-body]
    """Tasks: the LightningModules that recipes train."""


@hookspec
def prismaudio_data_modules() -> Iterable[Component]:  # type: ignore[empty-body]
    """Data modules: the LightningDataModules that recipes train on."""


@hookspec
def prismaudio_training_parts() -> Iterable[Component]:  # type: ignore[empty-body]
    """Arguments of tasks and of the trainer: kernels, windows, advantages, losses, weights, schedules, callbacks."""


@hookspec
def prismaudio_models() -> Iterable[Pretrained]:  # type: ignore[empty-body]
    """Pretrained models: ``--model NAME``, and ``pretrained: NAME`` in recipes."""


@hookspec
def prismaudio_commands() -> Iterable[Command]:  # type: ignore[empty-body]
    """Subcommands of ``prismaudio``."""


@hookspec
def prismaudio_recipes() -> Iterable[Path]:  # type: ignore[empty-body]
    """Folders of recipes; ``smoke/loudness.yaml`` in one of them is the recipe ``smoke/loudness``."""
