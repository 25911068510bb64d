"""The classifier is read, written and counted right."""

import pytest
import torch

from prismaudio.errors import CheckpointError
from prismaudio.metrics.target import Target
from prismaudio.plan.story import Source, Story
from prismaudio_studio.classifier import ClassAccuracy, SourceClassifier
from prismaudio_studio.timbre import n_features, timbre_features


def constant_classifier(index: int) -> SourceClassifier:
    """Always hears the same class."""
    n, hidden = n_features(), 3
    weights = {
        "mean": torch.zeros(n),
        "deviation": torch.ones(n),
        "w1": torch.zeros(hidden, n),
        "b1": torch.zeros(hidden),
    }
    weights |= {"w2": torch.zeros(2, hidden), "b2": torch.eye(2)[index]}
    return SourceClassifier(("bell", "drum"), weights)


def truth_of(*nouns: str) -> Target:
    return Target.from_story(Story(tuple(Source(noun, (1.0,)) for noun in nouns)))


def test_only_single_sources_of_known_classes_count() -> None:
    metric = ClassAccuracy(constant_classifier(1))
    metric.update(
        torch.zeros(5, 2, 8000),
        16_000,
        [truth_of("drum"), truth_of("bell"), truth_of("drum", "bell"), truth_of(), truth_of("cat")],
    )
    assert (metric.compute(), metric.total) == (0.5, 2)


def test_what_is_written_is_read_back(tmp_path) -> None:
    constant_classifier(1).save(tmp_path / "c.safetensors")
    read = SourceClassifier.load(tmp_path / "c.safetensors")
    assert read.classes == ("bell", "drum")
    assert read.classify(torch.randn(2, 8000), 16_000) == "drum"


def test_a_damaged_file_is_one_clear_error(tmp_path) -> None:
    (tmp_path / "c.safetensors").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"cannot read the classifier .*refit"):
        SourceClassifier.load(tmp_path / "c.safetensors")
    with pytest.raises(CheckpointError, match="cannot read"):
        SourceClassifier.load(tmp_path / "missing.safetensors")


def test_features_do_not_depend_on_level() -> None:
    noise = 0.1 * torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0))
    noise[:, :6000] *= 0.001
    assert torch.allclose(timbre_features(noise, 16_000), timbre_features(0.25 * noise, 16_000), atol=0.02)
