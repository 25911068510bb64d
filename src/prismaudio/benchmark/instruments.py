"""Fits the instruments that have weights: the classifier of what sounds."""

from __future__ import annotations

from itertools import count as count_up
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from prismaudio.cot.words import CLASSES
from prismaudio.metrics.classes import SourceClassifier
from prismaudio.metrics.timbre import timbre_features
from prismaudio.studio.audio import render_audio
from prismaudio.studio.sampling import sample_scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RATE_HZ = 16_000
HIDDEN = 96
STEPS = 2500
BATCH = 128


def single_sounds(seed: int, *, held_out: bool = False, split: str = "plain") -> Iterator[tuple[str, Tensor]]:
    """Noun and sound ``(2, samples)`` of the clips with a single source, without end."""
    for index in count_up():
        scene = sample_scene(index, seed, split, held_out=held_out)
        if len(scene.story.sources) == 1:
            yield scene.story.sources[0].what, torch.from_numpy(render_audio(scene, RATE_HZ)).float()


def training_set(seed: int, clips: int, on_clip: Callable[[], None] = lambda: None) -> tuple[Tensor, Tensor]:
    """Features ``(clips, n_features())`` and class indices ``(clips,)`` of training clips, half of each split."""
    features, labels = [], []
    for split in ("plain", "randomised"):
        for _, (what, sound) in zip(range(clips // 2), single_sounds(seed, split=split), strict=False):
            features.append(timbre_features(sound, RATE_HZ))
            labels.append(CLASSES.index(what))
            on_clip()
    return torch.stack(features), torch.tensor(labels)


def fit_classifier(features: Tensor, labels: Tensor, seed: int) -> SourceClassifier:
    """A classifier with one hidden layer, trained on features with a little noise and with features left out.

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
    optimiser = torch.optim.AdamW([w1, b1, w2, b2], lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, STEPS)
    for _ in range(STEPS):
        rows = torch.randint(len(labels), (BATCH,), generator=generator)
        batch = scaled[rows] + 0.15 * torch.randn(BATCH, features.shape[1], generator=generator)
        batch = batch * (torch.rand(batch.shape, generator=generator) > 0.1)
        scores = torch.relu(batch @ w1.T + b1) @ w2.T + b2
        loss = nn.functional.cross_entropy(scores, labels[rows], label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    weights = {"mean": mean, "deviation": deviation, "w1": w1, "b1": b1, "w2": w2, "b2": b2}
    return SourceClassifier(CLASSES, {name: tensor.detach().clone() for name, tensor in weights.items()})


def accuracy(classifier: SourceClassifier, seed: int, clips: int, split: str = "plain") -> float:
    """Share of held-out clips with a single source that a classifier hears right."""
    sounds = zip(range(clips), single_sounds(seed, held_out=True, split=split), strict=False)
    return sum(classifier.classify(sound, RATE_HZ) == what for _, (what, sound) in sounds) / clips
