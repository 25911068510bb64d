"""The built-in plugin of the core, discovered through its entry point like any other."""

from collections.abc import Iterable
from pathlib import Path

from prismaudio import Component, Dimension, Stream, hookimpl

_QUESTIONS = {
    "semantic": "Which things make a sound, and what does each of them sound like?",
    "temporal": "When does each sound begin, how often does it come back, and how long does it last?",
    "aesthetic": "How clean is the recording, and in what room is it heard?",
    "spatial": "From which direction does each sound come, and does it move?",
}
CORE_DIMENSIONS = tuple(
    Dimension(name, question, prompt=Path(__file__).with_name("prompts") / f"{name}.yaml")
    for name, question in _QUESTIONS.items()
)
"""The four dimensions of the paper, in the order of their sections."""


@hookimpl
def prismaudio_dimensions() -> Iterable[Dimension]:
    """The four dimensions of the paper."""
    return CORE_DIMENSIONS


@hookimpl
def prismaudio_rewards() -> Iterable[Component]:
    """Rewards that need no weights."""
    return [
        Component("prismaudio.rewards.temporal:TemporalReward", "Soft F1 score of onsets.", "temporal"),
        Component(
            "prismaudio.rewards.aesthetic:AestheticReward",
            "Noise, clipping, high frequencies, room and loudness against the plan.",
            "aesthetic",
        ),
        Component(
            "prismaudio.rewards.spatial:SpatialReward",
            "Time and level differences and side energy against planned directions.",
            "spatial",
        ),
    ]


@hookimpl
def prismaudio_metrics() -> Iterable[Component]:
    """Metrics that need no weights."""
    return [
        Component("prismaudio.metrics.onset:OnsetF1", "F1 score of onsets within 50 ms of the plan.", "temporal"),
        Component("prismaudio.metrics.onset:OnsetPrecision", "Share of onsets that are planned.", "temporal"),
        Component("prismaudio.metrics.onset:OnsetRecall", "Share of planned onsets that are there.", "temporal"),
        Component(
            "prismaudio.metrics.onset:ReferenceOnsetF1",
            "F1 score of onsets within 100 ms of those of the reference.",
            "temporal",
        ),
        Component("prismaudio.metrics.events:TemporalIoU", "Overlap in time with the events of the plan.", "temporal"),
        Component("prismaudio.metrics.events:ReferenceTemporalIoU", "Overlap in time with the reference.", "temporal"),
        Component(
            "prismaudio.metrics.events:EventLevelError",
            "Error of the levels of events, relative to one another, in dB.",
            "temporal",
        ),
        Component(
            "prismaudio.metrics.spatial:ItdCorrelation", "Correlation of time differences with directions.", "spatial"
        ),
        Component(
            "prismaudio.metrics.spatial:IldCorrelation", "Correlation of level differences with directions.", "spatial"
        ),
        Component("prismaudio.metrics.spatial:SideAdherence", "Share of clips with the correct side.", "spatial"),
        Component("prismaudio.metrics.itd:GccMse", "Error of time differences against the reference.", "spatial"),
        Component("prismaudio.metrics.width:StereoWidth", "Width of the stereo image.", "spatial"),
        Component("prismaudio.metrics.width:ReferenceWidth", "Width of the stereo image of the reference.", "spatial"),
    ]


@hookimpl
def prismaudio_encoders() -> Iterable[Component]:
    """An encoder without weights."""
    return [
        Component(
            "prismaudio.encoders.brightness:BrightnessEncoder",
            "Video: brightness by column; for trying out recipes.",
            stream=Stream("video", 4, 8.0),
        )
    ]


@hookimpl
def prismaudio_conditioners() -> Iterable[Component]:
    """The conditioners of the published model, and one for event grids."""
    return [
        Component(
            "prismaudio.models.conditioners:FeatureConditioner", "Two linear layers without biases, as published."
        ),
        Component(
            "prismaudio.models.conditioners:SyncConditioner",
            "The same, with position embeddings within segments of video.",
        ),
        Component("prismaudio.models.conditioners:GridConditioner", "Convolutions over a sparse event grid."),
    ]


@hookimpl
def prismaudio_samplers() -> Iterable[Component]:
    """Deterministic samplers."""
    return [
        Component("prismaudio.samplers.euler:EulerSampler", "Euler steps, as published; first order."),
        Component("prismaudio.samplers.heun:HeunSampler", "Heun steps: two evaluations each, second order."),
        Component(
            "prismaudio.samplers.midpoint:MidpointSampler", "Midpoint steps: two evaluations each, second order."
        ),
        Component(
            "prismaudio.samplers.adams_bashforth:AdamsBashforthSampler",
            "Adams-Bashforth steps: one evaluation each, second order.",
        ),
        Component(
            "prismaudio.samplers.runge_kutta:RungeKuttaSampler",
            "Runge-Kutta steps: four evaluations each, fourth order.",
        ),
    ]


@hookimpl
def prismaudio_planners() -> Iterable[Component]:
    """Planners that need no weights."""
    return [
        Component("prismaudio.planners.file:FilePlanner", "Reads plans from files."),
        Component(
            "prismaudio.planners.flash:FlashPlanner", "A sound for each flash of the video; for trying out recipes."
        ),
    ]


@hookimpl
def prismaudio_autoencoders() -> Iterable[Component]:
    """The autoencoder of the published model."""
    return [
        Component(
            "prismaudio.autoencoders.oobleck:OobleckAutoencoder",
            "Convolutions with Snake activations and a Gaussian bottleneck, as published.",
        ),
    ]


@hookimpl
def prismaudio_gates() -> Iterable[Component]:
    """Gates that need no weights."""
    return [
        Component("prismaudio.cot.gates:SectionGate", "Sections are there, of sane length, plain English sentences."),
        Component("prismaudio.cot.gates:LeakGate", "No refusals, no mention of the video, no file names."),
        Component("prismaudio.cot.gates:ContradictionGate", "Sections do not contradict each other."),
        Component("prismaudio.cot.gates:OnsetGate", "Planned times are those of the sound, and the other way round."),
        Component("prismaudio.cot.gates:SideGate", "Sources are heard on the planned sides."),
        Component("prismaudio.cot.gates:AgreementGate", "Two plans of a clip agree in times, sources and sides."),
    ]


@hookimpl
def prismaudio_suites() -> Iterable[Component]:
    """Suites whose media are the user's."""
    return [
        Component("prismaudio.evaluation.suites:ManifestSuite", "Clips of a manifest, or the videos of a folder."),
        Component("prismaudio.evaluation.suites:AudioCanvasSuite", "Clips with one sound event or several."),
        Component(
            "prismaudio.evaluation.suites:FoleyBenchSuite", "Clips by kind of sound, number of sources and category."
        ),
        Component("prismaudio.evaluation.suites:VggSoundSuite", "The test clips of VGGSound."),
    ]


@hookimpl
def prismaudio_benchmarks() -> Iterable[Component]:
    """Benchmarks that need no data set."""
    return [
        Component("prismaudio.cli.bench_model:ModelBenchmark", "Speed of a network, relative to a matrix product."),
        Component("prismaudio.cli.bench_train:TrainBenchmark", "Speed of training, relative to a matrix product."),
        Component("prismaudio.cli.bench_features:FeaturesBenchmark", "Cost of each installed encoder for a clip."),
        Component("prismaudio.cli.bench_rewards:RewardsBenchmark", "Cost of each installed reward for a clip."),
        Component("prismaudio.cli.bench_update:UpdateBenchmark", "Cost of an update of Fast-GRPO, by phase."),
    ]


@hookimpl
def prismaudio_tasks() -> Iterable[Component]:
    """The three stages of the paper."""
    return [
        Component("prismaudio.training.foundation:FoundationTask", "Flow matching on latents, stage one."),
        Component(
            "prismaudio.training.cot_tuning:CotTuningTask", "Fine-tuning of a planner that writes plans, stage two."
        ),
        Component("prismaudio.training.fast_grpo:FastGrpoTask", "Reinforcement learning with rewards, stage three."),
    ]


@hookimpl
def prismaudio_data_modules() -> Iterable[Component]:
    """Data modules of a manifest and of synthetic clips."""
    return [
        Component("prismaudio.data.datamodule:ManifestDataModule", "Clips and features listed in a manifest."),
        Component(
            "prismaudio.data.synthetic:SyntheticDataModule", "Synthetic clicks and flashes, for trying out recipes."
        ),
    ]


@hookimpl
def prismaudio_training_parts() -> Iterable[Component]:
    """Arguments of the core's tasks and of the trainer."""
    grpo, callbacks = "prismaudio.training.grpo", "prismaudio.training.callbacks"
    return [
        Component("prismaudio.flow.kernels:EulerMaruyamaKernel", "Kernel: the stochastic step of Flow-GRPO."),
        Component(
            "prismaudio.flow.kernels:RhoKernel", "Kernel: a stochastic step that renews a share of the latents' noise."
        ),
        Component("prismaudio.flow.kernels:OdeKernel", "Kernel: the deterministic step."),
        Component(f"{grpo}.windows:RandomWindow", "Window: a few stochastic steps at a random position."),
        Component(f"{grpo}.windows:SlidingWindow", "Window: moves towards the end during training."),
        Component(f"{grpo}.windows:AllSteps", "Window: every step is stochastic."),
        Component(
            f"{grpo}.advantages:WeightedSumAdvantage", "Advantage: the weighted sum of rewards, normalised per group."
        ),
        Component(f"{grpo}.advantages:DecoupledAdvantage", "Advantage: each reward normalised per group, then summed."),
        Component(f"{grpo}.losses:ClippedLoss", "Loss: PPO's clipped ratio."),
        Component(f"{grpo}.losses:GuardedLoss", "Loss: the clipped ratio of GRPO-Guard, normalised over flow times."),
        Component(f"{grpo}.losses:MaskedLoss", "Loss: Flow-DPPO, which masks samples with a large divergence."),
        Component(f"{grpo}.losses:ReinforceLoss", "Loss: REINFORCE, without a ratio."),
        Component(f"{grpo}.weighting:UniformWeighting", "Step weighting: uniform."),
        Component(f"{grpo}.weighting:RectifiedWeighting", "Step weighting: equal gradient size at all flow times."),
        Component(f"{grpo}.weighting:NoiseWeighting", "Step weighting: proportional to the noise of a step."),
        Component(f"{grpo}.reward_weights:LinearWeight", "Reward weight: moves linearly from one value to another."),
        Component("prismaudio.training.schedule:CosineWithWarmup", "Learning rate: warm-up, then cosine decay."),
        Component(
            "prismaudio.training.schedule:InverseLR",
            "Learning rate: warm-up, then inverse power decay, as published.",
        ),
        Component("prismaudio.training.lora:Lora", "Low-rank adapters, trained instead of the weights."),
        Component(f"{callbacks}.ema:ExponentialMovingAverage", "Callback: exponential moving average of the weights."),
        Component(f"{callbacks}.ema:PolicyAverage", "Callback: average of the policy in reinforcement learning."),
        Component(f"{callbacks}.export:ExportComponents", "Callback: writes a model folder."),
        Component(f"{callbacks}.listening:ListeningSamples", "Callback: logs rendered validation clips."),
        Component(f"{callbacks}.listening:CandidateSamples", "Callback: logs candidates with their rewards."),
        Component(f"{callbacks}.held_out:HeldOutGuard", "Callback: stops training when held-out rewards fall."),
    ]


@hookimpl
def prismaudio_recipes() -> Iterable[Path]:
    """The recipes of the core; the folder ``recipes`` at the root of the repository is a link to them."""
    return [Path(__file__).with_name("recipes")]
