"""Loudness as a fifth perceptual dimension. Imported by every command, so it does not import torch."""

from pathlib import Path

from prismaudio import Component, Dimension, hookimpl


@hookimpl
def prismaudio_dimensions():
    prompt = Path(__file__).with_name("prompt.yaml")
    return [Dimension("loudness", "How loud is the whole, in LUFS?", "The whole is at -23 LUFS.", prompt)]


@hookimpl
def prismaudio_rewards():
    return [Component("prismaudio_loudness.loudness:LoudnessReward", "Nearness to the planned loudness.", "loudness")]


@hookimpl
def prismaudio_metrics():
    return [Component("prismaudio_loudness.loudness:LoudnessMetric", "Distance to a loudness in LU.", "loudness")]


@hookimpl
def prismaudio_recipes():
    return [Path(__file__).with_name("recipes")]
