from dataclasses import replace

import numpy as np
import pytest

from prismaudio_studio.words import CLASSES, LASTING
from prismaudio_studio.world.looks import Look
from prismaudio_studio.world.motion import exposed, move
from prismaudio_studio.world.sampling import sample_scene
from prismaudio_studio.world.scene import Scene, Thing
from prismaudio_studio.world.video import render_video

ONSET_S = 1.5


def scene_of(what: str, x: tuple[float, float] = (-0.5, -0.5), **changes: object) -> Scene:
    lasts = what in LASTING
    thing = Thing(what, "medium", 0.12, x, (ONSET_S,), (-10.0,), 2.5 if lasts else None, 0.4, 0.5, 11)
    return replace(Scene("test", "plain", False, (thing,), "clean", "dry", Look(), 5), **changes)


def test_shape_type_and_repeatability():
    scene = sample_scene(0, 3)
    assert render_video(scene, (40, 64), 10.0).shape == (40, 3, 40, 64)
    assert render_video(scene).dtype == np.uint8
    assert np.array_equal(render_video(scene), render_video(scene))


@pytest.mark.parametrize("what", CLASSES)
def test_is_seen_where_it_is(what):
    empty = render_video(scene_of(what, things=()))[0].astype(float)
    for x in (-0.7, 0.6):
        thing = render_video(scene_of(what, (x, x)))[0].astype(float)
        columns = np.abs(thing - empty).sum((0, 1))
        centre = (columns * (np.arange(48) + 0.5)).sum() / columns.sum() / 48
        assert centre == pytest.approx(0.5 + 0.44 * x, abs=0.07)


@pytest.mark.parametrize("what", CLASSES)
def test_something_changes_when_it_begins_to_sound(what):
    scene = scene_of(what, (-0.5, 0.4) if what in ("marble", "cart") else (-0.5, -0.5))
    frames = render_video(scene).astype(float)
    change = np.abs(np.diff(frames, axis=0)).sum((1, 2, 3))
    begins = int(ONSET_S * 16)
    assert change[begins - 1 : begins + 2].max() > 300
    if what in LASTING:
        assert change[: begins - 2].max() == 0


def test_classes_look_different():
    looks = [render_video(scene_of(what))[4].astype(float) for what in CLASSES]
    apart = [np.abs(a - b).sum() for i, a in enumerate(looks) for b in looks[:i]]
    assert min(apart) > 4000


def test_times_are_finer_than_frames():
    times_s = np.arange(64) / 16
    early, late = (
        scene_of("buzzer", things=(replace(scene_of("buzzer").things[0], onsets_s=(t,)),)) for t in (1.48, 1.51)
    )
    lit = [move(s.things[0], times_s, 16.0, 1.0).lit for s in (early, late)]
    assert lit[0][24] - lit[1][24] == pytest.approx(0.03 * 16)
    assert exposed(0.0, 0.5, np.array([0.5]), 0.1)[0] == pytest.approx(0.5)


def test_a_ball_touches_the_ground_at_its_onsets_only():
    thing = replace(scene_of("ball").things[0], onsets_s=(1.0, 1.5, 1.9), levels_db=(-9.0, -10.0, -11.0))
    lift = move(thing, np.arange(400) / 100, 16.0, 1.0).lift
    assert lift[[100, 150, 190]] == pytest.approx([0, 0, 0], abs=1e-9)
    assert min(lift[80], lift[125], lift[170]) > 0.1
    assert lift[200:].max() == 0


def test_room_quality_and_size_are_seen():
    def apart(**changes: object) -> float:
        one, other = render_video(scene_of("bell")), render_video(scene_of("bell", **changes))
        return float(np.abs(one.astype(float) - other).mean())

    assert min(apart(room="room"), apart(room="hall")) > 15
    assert min(apart(quality="noisy"), apart(quality="muffled")) > 10
    assert apart(quality="clipped") > 5
    assert apart(things=(replace(scene_of("bell").things[0], radius=0.165),)) > 0.5


@pytest.mark.parametrize("quality", ["clean", "noisy", "clipped", "muffled"])
def test_looks_alike_at_every_size(quality):
    scene = replace(sample_scene(3, 5), quality=quality)
    small = render_video(scene, 48).astype(float)
    large = render_video(scene, 240).astype(float).reshape(64, 3, 48, 5, 48, 5).mean((3, 5))
    assert np.abs(small - large).mean() < 8


def test_randomised_looks_vary():
    looks = {sample_scene(index, 0, "randomised").look for index in range(30)}
    assert len(looks) == 30
    assert {sample_scene(index, 0).look for index in range(30)} == {Look()}
    shaking = replace(sample_scene(1, 0, "randomised"), look=Look(shake=0.05), things=())
    assert np.abs(np.diff(render_video(shaking).astype(int), axis=0)).sum() > 0
