"""Fit the classifier of sound classes and measure its accuracy."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import count as count_up
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn

from prismaudio.benchmarks import Benchmark, Report
from prismaudio.cli.arguments import positive, seed
from prismaudio.media import replacing
from prismaudio.plan.words import QUALITIES, ROOMS
from prismaudio_studio.autoencoder import ParametricStereoAutoencoder
from prismaudio_studio.classifier import SourceClassifier
from prismaudio_studio.timbre import timbre_features
from prismaudio_studio.words import CLASSES
from prismaudio_studio.world.audio import render_audio
from prismaudio_studio.world.sampling import sample_scene

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from prismaudio_studio.world.scene import Scene

RATE_HZ = 16_000
N_HELD_OUT = 200
HIDDEN = 96
STEPS = 2500
BATCH = 128
CODEC_BATCH = 16
"""Clips that are encoded and decoded per batch."""
BASIS_CLIPS = 400
"""Number of clips to which the autoencoder is fitted."""


class InstrumentsBenchmark(Benchmark):
    """Fits the classifier of sound classes to training clips and measures its accuracy on held-out clips."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of ``prismaudio bench instruments``."""
        parser.add_argument("--seed", type=seed, default=0, help="seed of the training clips and of the fit")
        parser.add_argument("--count", type=positive, default=2000, help="number of training clips")
        parser.add_argument("-o", "--output", type=Path, required=True, help="safetensors file to write")

    @classmethod
    def measure(cls, options: argparse.Namespace) -> Report:
        """Fit a classifier, save it and measure its accuracy."""
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task("rendering training clips", total=options.count)
            features, labels = training_set(options.seed, options.count, lambda: progress.advance(task))
        classifier = fit_classifier(features, labels, options.seed)
        with replacing(options.output, "choose another with -o") as part:
            classifier.save(part)
        report = Report(["accuracy"], meta={"seed": options.seed, "count": options.count})
        report.add("classifier", "accuracy", accuracy(classifier, options.seed, N_HELD_OUT))
        return report

    @classmethod
    def show(cls, report: Report, options: argparse.Namespace, console: Console) -> None:
        """Print the accuracy of the classifier."""
        (value,) = report.values["classifier"]["accuracy"]
        console.print(f"{options.output}: accuracy {value:.3f} on {N_HELD_OUT} held-out clips")


def single_source_scenes(seed: int, *, held_out: bool = False, split: str = "plain") -> Iterator[Scene]:
    """An infinite iterator of scenes with a single source."""
    for index in count_up():
        scene = sample_scene(index, seed, split, held_out=held_out)
        if len(scene.things) == 1:
            yield scene


def scene_audio(scene: Scene) -> Tensor:
    """Audio of a scene ``(2, samples)`` at 16 kHz."""
    return torch.as_tensor(render_audio(scene, RATE_HZ)).float()


def training_set(seed: int, clips: int, on_clip: Callable[[], None] = lambda: None) -> tuple[Tensor, Tensor]:
    """Features ``(2 * clips, n_features())`` and class indices ``(2 * clips,)`` of training clips.

    The quality and the room of each scene are random, so that every class occurs in all of them. Each clip is used
    twice, unchanged and decoded by an autoencoder fitted to training clips, for robustness to codec artefacts.
    """
    rng = random.Random(seed)
    scenes = single_source_scenes(seed)
    autoencoder = fitted_autoencoder(seed)
    features, labels = [], []
    for start in range(0, clips, CODEC_BATCH):
        batch = [with_random_recording(next(scenes), rng) for _ in range(min(CODEC_BATCH, clips - start))]
        audio = torch.stack([scene_audio(scene) for scene in batch])
        with torch.no_grad():
            decoded = autoencoder.decode(autoencoder.encode(audio))[..., : audio.shape[-1]]
        for scene, *versions in zip(batch, audio, decoded, strict=True):
            features += [timbre_features(version, RATE_HZ) for version in versions]
            labels += 2 * [CLASSES.index(scene.things[0].what)]
            on_clip()
    return torch.stack(features), torch.tensor(labels)


def with_random_recording(scene: Scene, rng: random.Random) -> Scene:
    """The same scene with a random quality and room."""
    return replace(scene, quality=rng.choice(list(QUALITIES)), room=rng.choice(list(ROOMS)))


def fitted_autoencoder(seed: int) -> ParametricStereoAutoencoder:
    """An autoencoder fitted to training clips with any number of sources."""
    autoencoder = ParametricStereoAutoencoder()
    for index in range(BASIS_CLIPS):
        autoencoder.observe(scene_audio(sample_scene(index, seed))[None])
    autoencoder.fit()
    return autoencoder


def fit_classifier(features: Tensor, labels: Tensor, seed: int) -> SourceClassifier:
    """Train a classifier with one hidden layer; feature noise and feature dropout regularise it.

    Args:
        features: Features ``(clips, n_features())``.
        labels: Index into ``CLASSES`` of each clip.
        seed: Seed of the weights, the batches and the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    mean, deviation = features.mean(0), features.std(0).clamp(min=0.02)
    scaled = ((features - mean) / deviation).clamp(-4, 4)
    w1 = nn.Parameter(torch.randn(HIDDEN, features.shape[1], generator=generator) * features.shape[1] ** -0.5)
    w2 = nn.Parameter(torch.randn(len(CLASSES), HIDDEN, generator=generator) * HIDDEN**-0.5)
    b1, b2 = nn.Parameter(torch.zeros(HIDDEN)), nn.Parameter(torch.zeros(len(CLASSES)))
    optimizer = torch.optim.AdamW([w1, b1, w2, b2], lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, STEPS)
    for _ in range(STEPS):
        rows = torch.randint(len(labels), (BATCH,), generator=generator)
        batch = scaled[rows] + 0.15 * torch.randn(BATCH, features.shape[1], generator=generator)
        batch = batch * (torch.rand(batch.shape, generator=generator) > 0.1)
        scores = torch.relu(batch @ w1.T + b1) @ w2.T + b2
        loss = nn.functional.cross_entropy(scores, labels[rows], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    weights = {"mean": mean, "deviation": deviation, "w1": w1, "b1": b1, "w2": w2, "b2": b2}
    return SourceClassifier(CLASSES, {name: tensor.detach().clone() for name, tensor in weights.items()})


def accuracy(classifier: SourceClassifier, seed: int, clips: int, split: str = "plain") -> float:
    """Share of held-out clips with a single source that are classified correctly."""
    scenes = zip(range(clips), single_source_scenes(seed, held_out=True, split=split), strict=False)
    return sum(classifier.classify(scene_audio(s), RATE_HZ) == s.things[0].what for _, s in scenes) / clips
