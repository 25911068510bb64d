"""The studio: a procedural world with exact ground truth, a small model trained on it, and benchmarks.

Every command imports this module, so it does not import torch.
"""

from collections.abc import Iterable
from pathlib import Path

from prismaudio import Command, Component, Pretrained, Stream, hookimpl


@hookimpl
def prismaudio_rewards() -> Iterable[Component]:
    """The semantic reward; its weights are part of this package."""
    return [
        Component(
            "prismaudio_studio.reward:SemanticReward", "Classifier probability of the planned classes.", "semantic"
        )
    ]


@hookimpl
def prismaudio_metrics() -> Iterable[Component]:
    """Metrics that need exact ground truth."""
    return [
        Component("prismaudio_studio.classifier:ClassAccuracy", "Share of clips with the planned class.", "semantic"),
        Component(
            "prismaudio_studio.adherence:NoiseFloorAdherence", "Noise floor of noisy against clean clips.", "aesthetic"
        ),
        Component(
            "prismaudio_studio.adherence:LateEnergyAdherence", "Late energy of hall against dry clips.", "aesthetic"
        ),
    ]


@hookimpl
def prismaudio_encoders() -> Iterable[Component]:
    """The encoders of the small model; they have no weights."""
    return [
        Component(
            "prismaudio_studio.motion_grid:MotionGridEncoder",
            "Video: colour and motion on a coarse grid.",
            stream=Stream("video", 256, 16.0),
        ),
        Component(
            "prismaudio_studio.hashed_text:HashedTextEncoder",
            "Text: hashes of each word, its neighbours and its section.",
            stream=Stream("text", 262),
        ),
        Component(
            "prismaudio_studio.plan_grid:PlanGridEncoder",
            "Plan: its events on a time grid.",
            stream=Stream("plan", rate_hz=62.5),
        ),
    ]


@hookimpl
def prismaudio_planners() -> Iterable[Component]:
    """The planner of the small model, and what it detects as text."""
    return [
        Component("prismaudio_studio.planner.event:EventPlanner", "Detects sound events in video and writes the plan."),
        Component(
            "prismaudio_studio.planner.studio:StudioPlanner",
            "Plans clips of the studio from their events, and other videos as FootagePlanner does.",
        ),
        Component(
            "prismaudio_studio.describing:EventDescriber", "Describes what EventPlanner detects, as an annotator."
        ),
    ]


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
    """The task that fits the autoencoder."""
    return [
        Component("prismaudio_studio.fitting:AutoencoderFittingTask", "Fits a spectral basis to one epoch of audio."),
        Component("prismaudio_studio.fitting:PlannerFittingTask", "Fits what a planner takes for the studio."),
    ]


@hookimpl
def prismaudio_data_modules() -> Iterable[Component]:
    """The world, and recordings for its autoencoder, as training data."""
    return [
        Component("prismaudio_studio.datamodule:StudioDataModule", "Clips of the procedural world with plans."),
        Component(
            "prismaudio_studio.recorded:RecordingsDataModule", "Recordings from random directions, for an autoencoder."
        ),
    ]


@hookimpl
def prismaudio_benchmarks() -> Iterable[Component]:
    """The benchmarks on held-out clips of the world."""
    return [
        Component(
            "prismaudio_studio.benchmark.studio:StudioBenchmark",
            "Onsets, direction, class, quality, room and plan edits on held-out clips.",
        ),
        Component(
            "prismaudio_studio.benchmark.plan:PlanBenchmark",
            "Events, classes and directions of plans against exact truth, or against the sound of videos.",
        ),
        Component(
            "prismaudio_studio.benchmark.cot:CotBenchmark",
            "Models trained on plans of four forms: none, words in random order, one text, sections.",
        ),
        Component(
            "prismaudio_studio.benchmark.degradation:DegradationBenchmark",
            "Scores of held-out clips, unchanged and degraded in one dimension.",
        ),
        Component(
            "prismaudio_studio.benchmark.cheats:CheatsBenchmark",
            "Scores of sounds made to fool the rewards, and the metrics that catch them.",
        ),
        Component(
            "prismaudio_studio.benchmark.instruments:InstrumentsBenchmark",
            "Refits the class classifier and measures its accuracy.",
        ),
        Component(
            "prismaudio_studio.benchmark.codec:CodecBenchmark",
            "What autoencoders change in held-out recordings: spectrum, class, onsets, direction, and their speed.",
        ),
    ]


@hookimpl
def prismaudio_suites() -> Iterable[Component]:
    """Held-out clips with exact truth."""
    return [Component("prismaudio_studio.suite:StudioSuite", "Held-out clips of the procedural world, exact truth.")]


@hookimpl
def prismaudio_models() -> Iterable[Pretrained]:
    """The small model."""
    folder = Path(__file__).with_name("model")
    return [Pretrained("studio", folder, "A small model of the procedural world: twelve classes, seconds on a CPU.")]


@hookimpl
def prismaudio_commands() -> Iterable[Command]:
    """The command that renders clips of the world to files, lists recordings for it, and teaches the model a sound."""
    return [
        Command(
            "studio",
            "prismaudio_studio.cli:main",
            "render clips of the procedural world, list recordings for it, teach the model a new sound",
        )
    ]


@hookimpl
def prismaudio_recipes() -> Iterable[Path]:
    """The recipes that trained the small model, and smoke recipes of every stage."""
    return [Path(__file__).with_name("recipes")]
