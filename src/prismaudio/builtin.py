"""The core's own plugin, found through its entry point like everybody else's."""

from collections.abc import Iterable
from pathlib import Path

from prismaudio import Component, Dimension, hookimpl

CORE_DIMENSIONS = (
    Dimension("semantic", "Which things make a sound, and what does each of them sound like?"),
    Dimension("temporal", "When does each sound begin, how often does it come back, and how long does it last?"),
    Dimension("aesthetic", "How clean is the recording, and in what room is it heard?"),
    Dimension("spatial", "From which direction does each sound come, and does it move?"),
)
"""The four dimensions of the paper, in the order of their sections."""


@hookimpl
def prismaudio_dimensions() -> Iterable[Dimension]:
    """The four dimensions of the paper."""
    return CORE_DIMENSIONS


@hookimpl
def prismaudio_rewards() -> Iterable[Component]:
    """Rewards that need no weights but the embedded ones."""
    return [
        Component(
            "prismaudio.rewards.semantic:SemanticReward",
            "Probability of the planned things by the embedded classifier.",
            "semantic",
        ),
        Component("prismaudio.rewards.temporal:TemporalReward", "Soft F1 score of onsets.", "temporal"),
        Component(
            "prismaudio.rewards.aesthetic:AestheticReward",
            "Noise, clipping, highs, room, loudness, as the plan asks for them.",
            "aesthetic",
        ),
        Component(
            "prismaudio.rewards.spatial:SpatialReward",
            "Time and level differences and side energy against directions.",
            "spatial",
        ),
    ]


@hookimpl
def prismaudio_metrics() -> Iterable[Component]:
    """Measurements on waveforms."""
    return [
        Component("prismaudio.metrics.onset:OnsetF1", "Onsets within 50 ms of the true ones.", "temporal"),
        Component("prismaudio.metrics.spatial:ItdCorrelation", "Time differences against directions.", "spatial"),
        Component("prismaudio.metrics.spatial:IldCorrelation", "Level differences against directions.", "spatial"),
        Component("prismaudio.metrics.spatial:SideObeyed", "Clips heard from the right side.", "spatial"),
        Component("prismaudio.metrics.itd:GccMse", "Error of time differences against the reference.", "spatial"),
        Component("prismaudio.metrics.classes:ClassAccuracy", "Clips in which the right thing sounds.", "semantic"),
        Component("prismaudio.metrics.obedience:NoiseFloorObeyed", "Noisy against clean clips.", "aesthetic"),
        Component("prismaudio.metrics.obedience:LateEnergyObeyed", "Halls against dry clips.", "aesthetic"),
    ]


@hookimpl
def prismaudio_encoders() -> Iterable[Component]:
    """Encoders of the embedded model."""
    return [
        Component(
            "prismaudio.encoders.motion_grid:MotionGridEncoder",
            "Video: colour and motion on a coarse grid; no weights.",
        ),
        Component(
            "prismaudio.encoders.hashed_text:HashedTextEncoder",
            "Text: hashed words with their neighbours and section; no weights.",
        ),
        Component(
            "prismaudio.encoders.plan_grid:PlanGridEncoder", "Plan: its events drawn on a time grid; no weights."
        ),
    ]


@hookimpl
def prismaudio_samplers() -> Iterable[Component]:
    """Deterministic samplers."""
    return [
        Component("prismaudio.samplers.euler:EulerSampler", "Euler steps, as published; first order."),
        Component("prismaudio.samplers.heun:HeunSampler", "Heun steps: two evaluations each, second order."),
        Component("prismaudio.samplers.midpoint:MidpointSampler", "Midpoints: two evaluations each, second order."),
        Component(
            "prismaudio.samplers.runge_kutta:RungeKuttaSampler",
            "Runge-Kutta steps: four evaluations each, fourth order.",
        ),
    ]


@hookimpl
def prismaudio_planners() -> Iterable[Component]:
    """Planners that need nothing but the embedded weights or a file."""
    return [
        Component(
            "prismaudio.planners.event:EventPlanner", "Watches for sound events and writes them down; embedded weights."
        ),
        Component("prismaudio.planners.file:FilePlanner", "Reads plans that somebody wrote."),
    ]


@hookimpl
def prismaudio_autoencoders() -> Iterable[Component]:
    """Autoencoders of the embedded model and of the published one."""
    return [
        Component(
            "prismaudio.autoencoders.oobleck:OobleckAutoencoder",
            "Snake convolutions and a Gaussian bottleneck; of the published model.",
        ),
        Component(
            "prismaudio.autoencoders.parametric_stereo:ParametricStereoAutoencoder",
            "Fitted spectral basis and parametric stereo; embedded weights.",
        ),
    ]


@hookimpl
def prismaudio_recipes() -> Iterable[Path]:
    """The recipes of the core; the folder ``recipes`` at the top of a source tree is a link to them."""
    return [Path(__file__).with_name("recipes")]
