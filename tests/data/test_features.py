from __future__ import annotations

import copy
import re

import pytest
import torch

from prismaudio.data.features import find_files, gather, look_over
from prismaudio.errors import DataError

from .conftest import DESCRIPTION, tensors


def looked_over(folder, *, verify=True):
    return look_over(*gather(find_files(folder)), verify=verify)


def changed(kind, **change):
    description = copy.deepcopy(DESCRIPTION)
    (description["latents"] if kind == "latents" else description["streams"][kind]).update(change)
    return description


def test_a_set_has_its_rates_and_widths(write, tmp_path):
    write({"a": 10, "b": 20})
    found = looked_over(tmp_path / "features")
    assert [record.id for record in found.records] == ["a", "b"]
    assert found.latent_rate_hz == 62.5
    assert (found.latents["channels"], found.streams["video"]["width"], found.is_timed("text")) == (4, 3, False)


@pytest.mark.parametrize(
    ("kind", "change", "says"),
    [
        ("latents", {"weights": "4567"}, "latents of shard-00001.* another autoencoder: weights 4567, expected 0123"),
        ("latents", {"class": "b:Oobleck"}, "another autoencoder: class Oobleck, expected A"),
        ("latents", {"hop": 512}, "another autoencoder: hop 512, expected 256"),
        ("video", {"rate_hz": 25.0}, "video features of .* another encoder: rate_hz 25.0, expected 12.5"),
        ("video", {"width": 4}, "another encoder: width 4, expected 3"),
    ],
)
def test_shards_of_different_models_are_no_set(write, tmp_path, kind, change, says):
    write({"a": 10})
    write({"b": 10}, "shard-00001", changed(kind, **change))
    with pytest.raises(DataError, match=says):
        looked_over(tmp_path / "features")


def test_versions_and_new_arguments_make_no_other_model(write, tmp_path):
    write({"a": 10}, description=changed("video", config={"cells": 8}) | {"versions": {"torch": "1"}})
    write({"b": 10}, "shard-00001", changed("video", config={"cells": 8, "new": 1}) | {"versions": {"torch": "2"}})
    assert len(looked_over(tmp_path / "features").records) == 2


@pytest.mark.parametrize(("name", "axis", "word"), [("video", 1, "width"), ("latents", 0, "channels")])
def test_widths_that_differ(write, tmp_path, name, axis, word):
    values = tensors(10)
    values[name] = torch.cat([values[name], values[name]], axis)
    write({"a": 10, "b": values}, description={})
    with pytest.raises(DataError, match=f"the {name} of b in .* have {word} .* computed by different models"):
        looked_over(tmp_path / "features")


def test_features_with_a_third_dimension(write, tmp_path):
    write({"a": tensors(10) | {"video": torch.zeros(2, 3, 4)}})
    with pytest.raises(DataError, match=r"have shape \(2, 3, 4\); expected two dimensions"):
        looked_over(tmp_path / "features")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"latents": torch.full((4, 50), float("nan"))}, r"its latents in .* contain NaN"),
        ({"video": torch.full((10, 3), float("inf"))}, r"its video in .* contain NaN or infinity"),
        ({"latents": torch.zeros(4, 200)}, "its latents last 3.20 s, its video features 0.80 s"),
        ({"latents": torch.zeros(4, 0)}, "its latents are empty"),
    ],
)
def test_one_broken_clip_is_skipped_and_reported(write, tmp_path, change, why):
    write({"a": 10, "b": tensors(10) | change, "c": 12})
    found = looked_over(tmp_path / "features")
    assert [record.id for record in found.records] == ["a", "c"]
    assert list(found.failures) == ["b"]
    assert re.search(why, found.failures["b"])


def test_a_clip_without_latents(write, tmp_path):
    values = tensors(10)
    del values["latents"]
    write({"a": 10, "b": values})
    assert looked_over(tmp_path / "features").failures == {"b": "it has no latents"}


def test_small_differences_of_duration_are_no_fault(write, tmp_path):
    write({"a": tensors(100) | {"video": torch.zeros(96, 3)}})
    assert looked_over(tmp_path / "features").failures == {}


def test_features_that_are_no_whole_groups(write, tmp_path):
    write({"a": 10, "b": 16}, description=changed("video", group=8))
    assert list(looked_over(tmp_path / "features").failures) == ["a"]
