"""A stream ``flow`` and a dimension ``tempo``."""

from pathlib import Path

from prismaudio import Component, Dimension, Stream, hookimpl


@hookimpl
def prismaudio_dimensions():
    return [Dimension("tempo", "How many events are there?")]


@hookimpl
def prismaudio_encoders():
    return [Component("prismaudio_tempo.flow:FlowEncoder", "What moves, by column.", stream=Stream("flow", 4, 8.0))]


@hookimpl
def prismaudio_conditioners():
    return [Component("prismaudio_tempo.flow:FlowConditioner", "One layer for flow.")]


@hookimpl
def prismaudio_rewards():
    return [Component("prismaudio_tempo.tempo:TempoReward", "Nearness to the planned tempo.", "tempo")]


@hookimpl
def prismaudio_planners():
    return [Component("prismaudio_tempo.tempo:TempoPlanner", "Counts what flashes.", "tempo")]


@hookimpl
def prismaudio_data_modules():
    return [Component("prismaudio_tempo.training:TempoDataModule", "Clips whose plans state a tempo.")]


@hookimpl
def prismaudio_tasks():
    return [Component("prismaudio_tempo.training:RegressionTask", "Maps features to latents in one step.")]


@hookimpl
def prismaudio_training_parts():
    return [Component("prismaudio_tempo.windows:EarlyWindow", "Window: the first step.")]


@hookimpl
def prismaudio_recipes():
    return [Path(__file__).with_name("recipes")]
