"""A small classifier of sound classes, and the accuracy metric based on it."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from prismaudio.errors import CheckpointError, NotApplicableError
from prismaudio.metrics.base import Share
from prismaudio.weight_files import check_finite, save_tensors
from prismaudio_studio.timbre import n_features, timbre_features

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from prismaudio.metrics.target import Target


REFIT = "refit it with `prismaudio bench instruments`"


class SourceClassifier:
    """Classifies audio as one of the classes of the studio world; fitted by ``prismaudio bench instruments``.

    Args:
        classes: Nouns of the classes.
        weights: ``mean`` and ``deviation`` of the features, then ``w1``, ``b1``, ``w2``, ``b2`` of a network with
            one hidden layer.
    """

    def __init__(self, classes: Sequence[str], weights: dict[str, Tensor]) -> None:
        self.classes, self.weights = tuple(classes), weights

    @classmethod
    def load(cls, path: Path) -> SourceClassifier:
        """Read a classifier from a safetensors file.

        Raises:
            CheckpointError: The file is not a classifier, or was fitted on other features.
        """
        try:
            with safe_open(path, framework="pt") as file:
                classes = (file.metadata() or {}).get("classes", "")
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"cannot read the classifier {path}: {error}; {REFIT}") from error
        shapes = {name: weights[name].shape[1:] if name in weights else None for name in ("w1", "w2")}
        if not classes or shapes["w1"] != (n_features(),) or shapes["w2"] is None:
            raise CheckpointError(f"{path} is not a classifier; expected one of {n_features()} features; {REFIT}")
        check_finite(weights, path)
        return cls(classes.split(), weights)

    def save(self, path: Path) -> None:
        """Write a safetensors file that :meth:`load` reads."""
        weights = {name: tensor.contiguous() for name, tensor in self.weights.items()}
        save_tensors(weights, path, {"classes": " ".join(self.classes)})

    def scores(self, features: Tensor) -> Tensor:
        """Unnormalised log-probabilities ``(..., classes)`` of features ``(..., n_features())``."""
        w = {name: tensor.to(features) for name, tensor in self.weights.items()}
        hidden = torch.relu(((features - w["mean"]) / w["deviation"]).clamp(-4, 4) @ w["w1"].T + w["b1"])
        return hidden @ w["w2"].T + w["b2"]

    def classify(self, audio: Tensor, sample_rate_hz: int) -> str:
        """The most likely class of audio ``(2, samples)``."""
        return self.classes[int(self.scores(timbre_features(audio, sample_rate_hz)).argmax())]


@lru_cache(maxsize=1)
def studio_classifier() -> SourceClassifier:
    """The classifier of this package."""
    with as_file(files("prismaudio_studio") / "model" / "instruments.safetensors") as path:
        return SourceClassifier.load(path)


class ClassAccuracy(Share):
    """Share of the clips with a single source that are classified as the planned class.

    Args:
        classifier: The classifier; None for the one of this package.
    """

    dimension, needs = "semantic", frozenset({"plan"})

    def __init__(self, classifier: SourceClassifier | None = None) -> None:
        super().__init__()
        self.classifier = classifier

    def is_correct(self, audio: Tensor, sample_rate_hz: int, target: Target) -> bool:
        """Whether audio ``(2, samples)`` is classified as the single source of the target story."""
        classifier = self.classifier or studio_classifier()
        nouns = [source.what for source in target.story.sources]
        if len(nouns) != 1:
            raise NotApplicableError(f"the metric needs a plan with one source, and this one has {len(nouns)}")
        if nouns[0] not in classifier.classes:
            raise NotApplicableError(f"{nouns[0]} is not a class of the classifier: {', '.join(classifier.classes)}")
        return classifier.classify(audio, sample_rate_hz) == nouns[0]
