"""The studio: a procedural world with exact truth, a small model of it, and the benchmark that measures both.

This module is what every command imports, so it imports no torch.
"""

from collections.abc import Iterable
from pathlib import Path

from prismaudio import Command, Component, Pretrained, Stream, hookimpl


@hookimpl
def prismaudio_rewards() -> Iterable[Component]:
    """The semantic reward that needs no weights but those of this package."""
    return [
        Component(
            "prismaudio_studio.reward:SemanticReward", "Probability of the planned things by a classifier.", "semantic"
        )
    ]


@hookimpl
def prismaudio_metrics() -> Iterable[Component]:
    """Measurements of what only exact truth tells."""
    return [
        Component("prismaudio_studio.classifier:ClassAccuracy", "Clips in which the right thing sounds.", "semantic"),
        Component("prismaudio_studio.adherence:NoiseFloorAdherence", "Noisy against clean clips.", "aesthetic"),
        Component("prismaudio_studio.adherence:LateEnergyAdherence", "Halls against dry clips.", "aesthetic"),
    ]


@hookimpl
def prismaudio_encoders() -> Iterable[Component]:
    """The encoders of the small model; none has weights."""
    return [
        Component(
            "prismaudio_studio.motion_grid:MotionGridEncoder",
            "Video: colour and motion on a coarse grid.",
            stream=Stream("video", 256, 16.0),
        ),
        Component(
            "prismaudio_studio.hashed_text:HashedTextEncoder",
            "Text: hashed words with their neighbours and section.",
            stream=Stream("text", 262),
        ),
        Component(
            "prismaudio_studio.plan_grid:PlanGridEncoder",
            "Plan: its events drawn on a time grid.",
            stream=Stream("plan", rate_hz=62.5),
        ),
    ]


@hookimpl
def prismaudio_planners() -> Iterable[Component]:
    """The planner of the small model."""
    return [Component("prismaudio_studio.planner.event:EventPlanner", "Watches for sound events and writes them down.")]


@hookimpl
def prismaudio_autoencoders() -> Iterable[Component]:
    """The autoencoder of the small model."""
    return [
        Component(
            "prismaudio_studio.autoencoder:ParametricStereoAutoencoder", "Fitted spectral basis and parametric stereo."
        )
    ]


@hookimpl
def prismaudio_tasks() -> Iterable[Component]:
    """What fits the autoencoder."""
    return [
        Component("prismaudio_studio.fitting:AutoencoderFittingTask", "Fits a spectral basis to one epoch of audio.")
    ]


@hookimpl
def prismaudio_data_modules() -> Iterable[Component]:
    """The world as training data."""
    return [Component("prismaudio_studio.datamodule:StudioDataModule", "Clips of the procedural world with plans.")]


@hookimpl
def prismaudio_benchmarks() -> Iterable[Component]:
    """What is measured on held-out clips of the world."""
    return [
        Component(
            "prismaudio_studio.benchmark.studio:StudioBenchmark",
            "Held-out clips: onsets, direction, class, quality, room, edits of the plan.",
        ),
        Component(
            "prismaudio_studio.benchmark.degradation:DegradationBenchmark",
            "Scores of held-out clips, whole and degraded in one dimension.",
        ),
        Component(
            "prismaudio_studio.benchmark.instruments:InstrumentsBenchmark",
            "Fits the classifier of what sounds anew, and measures it.",
        ),
    ]


@hookimpl
def prismaudio_models() -> Iterable[Pretrained]:
    """The small model."""
    folder = Path(__file__).with_name("model")
    return [Pretrained("studio", folder, "A small model of the procedural world: twelve things, in seconds on a CPU.")]


@hookimpl
def prismaudio_commands() -> Iterable[Command]:
    """What renders the world to files."""
    return [Command("studio", "prismaudio_studio.cli:main", "render clips of the procedural world, with their truth")]


@hookimpl
def prismaudio_recipes() -> Iterable[Path]:
    """How the small model was trained, and every stage in seconds."""
    return [Path(__file__).with_name("recipes")]
