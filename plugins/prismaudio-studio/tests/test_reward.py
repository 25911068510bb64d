"""Each source is scored in the segments in which the plan places it."""

from dataclasses import replace

import pytest
import torch

from prismaudio.errors import CheckpointError, NotApplicableError
from prismaudio.plan import Plan
from prismaudio.types import Clip
from prismaudio_studio.classifier import studio_classifier
from prismaudio_studio.narration import narrate
from prismaudio_studio.reward import SemanticReward
from prismaudio_studio.world import render_audio, sample_scene

RATE_HZ = 16_000
CLIP = Clip("x", 4.0)


def render(scene) -> torch.Tensor:
    return torch.as_tensor(render_audio(scene)).float()[None]


def two_things():
    """A scene of two struck things, and the same with their classes exchanged."""
    for index in range(200):
        scene = sample_scene(index, 4)
        if len(scene.things) == 2 and all(thing.end_s is None for thing in scene.things):
            first, second = scene.things
            things = (replace(first, what=second.what), replace(second, what=first.what))
            return scene, replace(scene, things=things)
    raise AssertionError


def test_exchanged_classes_score_low() -> None:
    scene, exchanged = two_things()
    reward = SemanticReward(temperature=1.0)
    caches = [reward.prepare(CLIP, narrate(scene.story))]
    right, wrong = (reward.score(render(s), RATE_HZ, caches).item() for s in (scene, exchanged))
    assert right > 0.7
    assert wrong < 0.3


def test_segments_lie_between_the_onsets_of_other_sources() -> None:
    text = "The bell sounds at 0.50 s and 3.00 s. The drum sounds at 1.20 s. The whistle sounds from 2.50 s to 3.90 s."
    cache = SemanticReward().prepare(CLIP, Plan({"semantic": "A bell, a drum, a whistle.", "temporal": text}))
    segments = sorted(
        zip(cache["start_s"].tolist(), cache["length_s"].tolist(), cache["named"].sum(1).tolist(), strict=True)
    )
    starts, lengths, named = zip(*segments, strict=True)
    assert starts == pytest.approx((0.4, 1.1, 2.4))
    assert lengths == pytest.approx((0.8, 1.1, 0.6), abs=0.11)
    assert named == (1, 1, 1)


def test_without_times_the_whole_clip_is_scored() -> None:
    cache = SemanticReward().prepare(CLIP, Plan({"semantic": "A bell rings and a drum booms."}))
    assert (cache["start_s"].tolist(), cache["length_s"].tolist()) == ([0.0], [4.0])
    assert cache["named"].sum() == 2


def test_plans_without_known_classes_are_not_applicable() -> None:
    with pytest.raises(NotApplicableError, match="none of the classes of the classifier: bell, "):
        SemanticReward().prepare(CLIP, Plan({"semantic": "A dog barks."}))
    cache = SemanticReward().prepare(
        CLIP,
        Plan({"semantic": "A dog barks, a bell rings.", "temporal": "The dog barks at 1 s. The bell rings at 2 s."}),
    )
    assert cache["start_s"].tolist() == pytest.approx([1.9])


def test_a_higher_temperature_keeps_the_order() -> None:
    scene, exchanged = two_things()
    sounds = torch.cat([render(scene), render(exchanged), render(scene) + 0.05 * torch.randn(1, 2, 64_000)])
    cold, warm = (
        reward.score(sounds, RATE_HZ, 3 * [reward.prepare(CLIP, narrate(scene.story))])
        for reward in (SemanticReward(1.0), SemanticReward(3.0))
    )
    assert cold.argmax() == warm.argmax() == 0


def test_another_classifier_is_read_from_its_file(tmp_path) -> None:
    SemanticReward().classifier.save(tmp_path / "c.safetensors")
    assert SemanticReward(classifier=str(tmp_path / "c.safetensors")).classifier.classes
    with pytest.raises(CheckpointError, match="cannot read the classifier"):
        SemanticReward(classifier=str(tmp_path / "none")).prepare(CLIP, Plan({"semantic": "A bell."}))


def test_the_identity_depends_on_the_classes_of_the_classifier(tmp_path) -> None:
    path, found = tmp_path / "classes.safetensors", []
    for word in ("bell", "gong"):
        classifier = studio_classifier()
        names = [word if name == "bell" else name for name in classifier.classes]
        type(classifier)(names, classifier.weights).save(path)
        found.append(SemanticReward(classifier=str(path)).identity)
    assert found[0] != found[1]
