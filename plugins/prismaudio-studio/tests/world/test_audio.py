from dataclasses import replace

import numpy as np
import pytest
import torch

from prismaudio.audio.interaural import ild_db, itd_s
from prismaudio.audio.onsets import detect_onsets
from prismaudio.audio.recording import late_energy_db, noise_floor_db
from prismaudio_studio.words import CLASSES, LASTING
from prismaudio_studio.world.audio import MAX_ILD_DB, MAX_ITD_S, placement, render_audio
from prismaudio_studio.world.looks import Look
from prismaudio_studio.world.scene import Scene, Thing

RATE_HZ = 16_000


def scene_of(what: str, x: float = 0.0, room: str = "dry", quality: str = "clean", radius: float = 0.12) -> Scene:
    lasts = what in LASTING
    onsets = (1.0,) if lasts else (1.0, 2.0)
    thing = Thing(what, "medium", radius, (x, x), onsets, (-10.0,) * len(onsets), 2.2 if lasts else None, 0.4, 0.5, 11)
    return Scene("test", "plain", False, (thing,), quality, room, Look(), 5)


def render(scene: Scene) -> torch.Tensor:
    return torch.from_numpy(render_audio(scene, RATE_HZ))


@pytest.mark.parametrize("what", CLASSES)
def test_onsets_match_the_ground_truth(what):
    scene = scene_of(what)
    found = detect_onsets(render(scene), RATE_HZ)
    assert found == pytest.approx([event.time_s for event in scene.events], abs=0.02)


@pytest.mark.parametrize("what", CLASSES)
@pytest.mark.parametrize("x", [-1.0, -0.4, 0.7])
def test_interaural_cues_match_the_direction(what, x):
    scene = scene_of(what, x)
    part = render(scene)[:, int(0.995 * RATE_HZ) : int(1.075 * RATE_HZ)]
    true_itd_s, true_ild_db = placement(scene.events[0].azimuth_deg)
    assert ild_db(part) == pytest.approx(float(true_ild_db), abs=1.0)
    tolerance_s = 0.0004 if what == "engine" else 0.00012  # the segment holds few periods of its fundamental
    assert itd_s(part, RATE_HZ) == pytest.approx(float(true_itd_s), abs=tolerance_s)


def test_right_is_earlier_and_louder():
    assert [float(d) for d in placement(60.0)] == pytest.approx([MAX_ITD_S, MAX_ILD_DB])
    left, right = render_audio(scene_of("woodblock", 1.0), RATE_HZ)
    first = [int(np.argmax(np.abs(ear) > 0.1 * np.abs(ear).max())) for ear in (left, right)]
    assert first[1] < first[0]
    assert np.abs(right).max() > 2 * np.abs(left).max()


def test_level_matches_the_ground_truth():
    scene = scene_of("drum")
    assert 20 * np.log10(np.abs(render_audio(scene)).max()) == pytest.approx(-10.0, abs=0.3)


def test_small_things_have_a_higher_pitch():
    spectra = [np.abs(np.fft.rfft(render_audio(scene_of("bell", radius=radius))[0])) for radius in (0.085, 0.165)]
    small, large = (float((np.arange(len(s)) * s**2).sum() / (s**2).sum()) for s in spectra)
    assert small > 1.3 * large


def test_noise_raises_the_floor():
    clean, noisy = (
        noise_floor_db(render(scene_of("bell", quality=quality))[None], RATE_HZ).item()
        for quality in ("clean", "noisy")
    )
    assert noisy > clean + 15


def test_hall_rings_longer_than_room_and_dry():
    late = [
        late_energy_db(render(scene_of("woodblock", room=room))[None], RATE_HZ, torch.tensor([[2.0]])).item()
        for room in ("dry", "room", "hall")
    ]
    assert late[2] > late[1] + 10
    assert late[2] > late[0] + 20


def test_muffling_removes_high_frequencies():
    def highs(quality: str) -> float:
        power = np.abs(np.fft.rfft(render_audio(scene_of("coin", quality=quality))[0])) ** 2
        return float(power[len(power) // 4 :].sum())

    assert highs("muffled") < 0.05 * highs("clean")


def test_clipping_flattens_peaks():
    clean, clipped = (render_audio(scene_of("bell", quality=quality)) for quality in ("clean", "clipped"))
    crest = [np.abs(sound).max() / sound.std() for sound in (clean, clipped)]
    assert crest[1] < 0.6 * crest[0]


def test_rendering_is_deterministic_and_limited():
    loud = replace(scene_of("drum"), things=tuple(replace(t, levels_db=(3.0, 3.0)) for t in scene_of("drum").things))
    assert np.abs(render_audio(loud)).max() <= 0.9 + 1e-6
    assert np.array_equal(render_audio(scene_of("cart")), render_audio(scene_of("cart")))
    assert render_audio(scene_of("cart"), 48_000).shape == (2, 192_000)
