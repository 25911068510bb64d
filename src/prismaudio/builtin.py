"""The core's own plugin, found through its entry point like everybody else's."""

from collections.abc import Iterable
from pathlib import Path

from prismaudio import Component, Dimension, Stream, hookimpl

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
    """Rewards that need no weights."""
    return [
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
        Component("prismaudio.metrics.spatial:SideAdherence", "Clips heard from the right side.", "spatial"),
        Component("prismaudio.metrics.itd:GccMse", "Error of time differences against the reference.", "spatial"),
    ]


@hookimpl
def prismaudio_encoders() -> Iterable[Component]:
    """An encoder without weights."""
    return [
        Component(
            "prismaudio.encoders.brightness:BrightnessEncoder",
            "Video: brightness by column; to try recipes on.",
            stream=Stream("video", 4, 8.0),
        )
    ]


@hookimpl
def prismaudio_conditioners() -> Iterable[Component]:
    """The conditioners of the published model, and one for grids of events."""
    return [
        Component("prismaudio.models.conditioners:FeatureConditioner", "Two layers without biases, as published."),
        Component("prismaudio.models.conditioners:SyncConditioner", "The same with positions in segments of video."),
        Component("prismaudio.models.conditioners:GridConditioner", "Convolutions over a grid of sparse events."),
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
    """Planners that need no model."""
    return [
        Component("prismaudio.planners.file:FilePlanner", "Reads plans that somebody wrote."),
        Component("prismaudio.planners.flash:FlashPlanner", "What flashes is heard; to try recipes on."),
    ]


@hookimpl
def prismaudio_autoencoders() -> Iterable[Component]:
    """The autoencoder of the published model."""
    return [
        Component(
            "prismaudio.autoencoders.oobleck:OobleckAutoencoder",
            "Snake convolutions and a Gaussian bottleneck; of the published model.",
        ),
    ]


@hookimpl
def prismaudio_benchmarks() -> Iterable[Component]:
    """What is measured without anybody's data."""
    return [
        Component("prismaudio.cli.bench_model:ModelBenchmark", "Speed of a network, against a matrix product."),
        Component("prismaudio.cli.bench_rewards:RewardsBenchmark", "What each installed reward costs for a clip."),
    ]


@hookimpl
def prismaudio_tasks() -> Iterable[Component]:
    """The three stages of the paper."""
    return [
        Component("prismaudio.training.foundation:FoundationTask", "Flow matching on latents, stage one."),
        Component("prismaudio.training.cot_tuning:CotTuningTask", "Teaches a planner to write plans, stage two."),
        Component("prismaudio.training.fast_grpo:FastGrpoTask", "Reinforcement learning with rewards, stage three."),
    ]


@hookimpl
def prismaudio_data_modules() -> Iterable[Component]:
    """Data that somebody has, and data of nobody."""
    return [
        Component("prismaudio.data.datamodule:ManifestDataModule", "Clips and features that a manifest lists."),
        Component("prismaudio.data.synthetic:SyntheticDataModule", "Clicks and flashes, to try a recipe on."),
    ]


@hookimpl
def prismaudio_training_parts() -> Iterable[Component]:
    """What the tasks of the core are made with."""
    grpo, callbacks = "prismaudio.training.grpo", "prismaudio.training.callbacks"
    return [
        Component("prismaudio.flow.kernels:EulerMaruyamaKernel", "Kernel: the random step of Flow-GRPO."),
        Component("prismaudio.flow.kernels:RhoKernel", "Kernel: a random step whose noise is a share of the latents'."),
        Component("prismaudio.flow.kernels:OdeKernel", "Kernel: the deterministic step."),
        Component(f"{grpo}.windows:RandomWindow", "Window: a few random steps at a random place."),
        Component(f"{grpo}.windows:SlidingWindow", "Window: moves towards the end as training goes on."),
        Component(f"{grpo}.windows:AllSteps", "Window: every step is random."),
        Component(f"{grpo}.advantages:WeightedSumAdvantage", "Advantage: the weighted sum, normalised in its group."),
        Component(f"{grpo}.advantages:DecoupledAdvantage", "Advantage: each reward normalised, then summed."),
        Component(f"{grpo}.losses:ClippedLoss", "Loss: PPO's clipped ratio."),
        Component(f"{grpo}.losses:GuardedLoss", "Loss: the clipped ratio of GRPO-Guard, alike at all times."),
        Component(f"{grpo}.losses:MaskedLoss", "Loss: Flow-DPPO's, without samples that moved too far."),
        Component(f"{grpo}.losses:ReinforceLoss", "Loss: REINFORCE, without a ratio."),
        Component(f"{grpo}.weighting:UniformWeighting", "Step weighting: all the same."),
        Component(f"{grpo}.weighting:RectifiedWeighting", "Step weighting: gradients of one size at all times."),
        Component(f"{grpo}.weighting:NoiseWeighting", "Step weighting: by the noise of a step."),
        Component(f"{grpo}.reward_weights:LinearWeight", "Reward weight: changes with the updates."),
        Component("prismaudio.training.schedule:CosineWithWarmup", "Learning rate: warm-up, then half a cosine."),
        Component("prismaudio.training.schedule:InverseLR", "Learning rate: the published one, an inverse power."),
        Component("prismaudio.training.lora:Lora", "Low-rank adapters in place of the weights."),
        Component(f"{callbacks}.ema:ExponentialMovingAverage", "Callback: an average of the weights."),
        Component(f"{callbacks}.ema:PolicyAverage", "Callback: the average of reinforcement learning."),
        Component(f"{callbacks}.export:ExportComponents", "Callback: writes a model folder."),
        Component(f"{callbacks}.listening:ListeningSamples", "Callback: logs rendered validation clips."),
        Component(f"{callbacks}.held_out:HeldOutGuard", "Callback: stops when held-out rewards fall."),
    ]


@hookimpl
def prismaudio_recipes() -> Iterable[Path]:
    """The recipes of the core; the folder ``recipes`` at the top of a source tree is a link to them."""
    return [Path(__file__).with_name("recipes")]
