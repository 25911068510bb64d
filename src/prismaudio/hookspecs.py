"""The extension points: what a plugin may provide. All hooks are optional, and all return data, not classes.

A plugin is a module named by an entry point in the group ``prismaudio``. It imports :mod:`prismaudio` and nothing
heavier, because every command imports it; the classes that it names are imported when a recipe asks for them.

    from prismaudio import Component, hookimpl

    @hookimpl
    def prismaudio_rewards():
        return [Component("my_package.reward:MyReward", "What it scores, in one line.", "temporal")]
"""

from collections.abc import Iterable
from pathlib import Path

import pluggy

from prismaudio.components import Component, Dimension

hookspec = pluggy.HookspecMarker("prismaudio")

CONTRACTS = {
    "rewards": "prismaudio.rewards.base:Reward",
    "metrics": "prismaudio.metrics.base:SoundMetric",
    "encoders": "prismaudio.encoders.base:Encoder",
    "samplers": "prismaudio.samplers.base:Sampler",
    "planners": "prismaudio.planners.base:Planner",
    "autoencoders": "prismaudio.autoencoders.base:Autoencoder",
}
"""For each kind of component, the class that it must be a subclass of."""

KINDS = ("dimensions", *CONTRACTS, "recipes")
"""Everything that a plugin can provide; the hook of a kind is ``prismaudio_<kind>``."""


@hookspec
def prismaudio_dimensions() -> Iterable[Dimension]:  # type: ignore[empty-body]
    """Perceptual dimensions, each a section of every plan."""


@hookspec
def prismaudio_rewards() -> Iterable[Component]:  # type: ignore[empty-body]
    """Rewards: they score sound in one dimension, and training follows them."""


@hookspec
def prismaudio_metrics() -> Iterable[Component]:  # type: ignore[empty-body]
    """Metrics: they measure sound, and training does not see them."""


@hookspec
def prismaudio_encoders() -> Iterable[Component]:  # type: ignore[empty-body]
    """Encoders: they turn a clip and its plan into a stream of conditions."""


@hookspec
def prismaudio_samplers() -> Iterable[Component]:  # type: ignore[empty-body]
    """Samplers: they integrate a velocity from noise to latents."""


@hookspec
def prismaudio_planners() -> Iterable[Component]:  # type: ignore[empty-body]
    """Planners: they write the plan of a clip."""


@hookspec
def prismaudio_autoencoders() -> Iterable[Component]:  # type: ignore[empty-body]
    """Autoencoders: they turn sound into latents and back."""


@hookspec
def prismaudio_recipes() -> Iterable[Path]:  # type: ignore[empty-body]
    """Folders of recipes; ``smoke/loudness.yaml`` in one of them is the recipe ``smoke/loudness``."""
