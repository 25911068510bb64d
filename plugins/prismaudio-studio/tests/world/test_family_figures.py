from itertools import combinations, pairwise

import numpy as np
import pytest

from prismaudio_studio.world.family_figures import FAMILY_FIGURES
from prismaudio_studio.world.figures import FIGURES, ColouredShapes, Pose

ANIMALS = ("dog", "cat", "rooster", "bird", "duck", "frog", "horse", "cow", "sheep", "pig")
CALLS = (*ANIMALS, "baby", "sneeze", "horn", "thunder")
STRIKES = (
    "hand clap",
    "finger snap",
    "knife",
    "hammer",
    "metal bar",
    "drum kit",
    "tabla",
    "guitar",
    "keyboard",
    "door",
    "splash",
)
TURNING = ("helicopter", "fan", "car", "train", "airplane")
RUNNING = ("insect", "clock", "power tool", "jackhammer", "train", "boat", "airplane")
MOVING = (*RUNNING, "rain", "wave", "stream", "fire", "wind", "rustle")
WALL = np.array([0.14, 0.15, 0.2])


def pose(n: int = 24, extent: float = 1.6, variant: float = 0.5, **curves: float | list[float]) -> Pose:
    n_frames = max((len(c) for c in curves.values() if isinstance(c, list)), default=1)
    centres = ((np.arange(n, dtype=np.float32) + 0.5) / n * 2 - 1) * np.float32(extent)
    state = {"turn": 0.0, "tool": 1.0, "flash": 0.0, "lit": 0.0, "phase": 0.0} | curves
    fields = {name: np.broadcast_to(np.float32(c), n_frames)[:, None, None] for name, c in state.items()}
    u = np.tile(centres[None, None, :], (n_frames, 1, 1))
    v = np.tile(centres[None, :, None], (n_frames, 1, 1))
    return Pose(u, v, hand=0.8, variant=variant, **fields)


def pictures(figure: ColouredShapes, n_frames: int = 1, n: int = 24, extent: float = 1.6) -> np.ndarray:
    """Frames ``(frames, rows, columns, 3)`` on a dark wall, as in the plain split."""
    canvas = np.tile(WALL, (n_frames, n, n, 1))
    for part in figure:
        coverage = np.clip(0.5 - part.distance * n / 2 / extent, 0, 1) * part.opacity
        canvas += coverage[..., None] * (np.asarray(part.colour) - canvas)
    return canvas


def picture(name: str, **state: float) -> np.ndarray:
    return pictures(FAMILY_FIGURES[name](pose(**state)))[0]


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Mean number of pixels that differ by a whole channel."""
    return float(np.abs(a - b).max(-1).sum())


def test_names_are_those_of_the_families():
    assert {"drum kit", "power tool"} < set(FAMILY_FIGURES)
    assert not set(FAMILY_FIGURES) & set(FIGURES)
    assert {*CALLS, *STRIKES, *TURNING, *MOVING, "footstep"} == set(FAMILY_FIGURES)


@pytest.mark.parametrize("name", FAMILY_FIGURES)
@pytest.mark.parametrize("variant", [0.0, 0.37, 1.0])
def test_shapes_are_finite_and_broadcast(name, variant):
    p = pose(variant=variant, turn=[0.0, -0.35, 7.0], tool=[1.0, 0.0, 0.4], flash=[0.0, 1.0, 0.2],
             lit=[0.0, 1.0, 0.5], phase=[0.0, 0.3, 4.0])  # fmt: skip
    parts = list(FAMILY_FIGURES[name](p))
    assert 3 <= len(parts) <= 12
    for part in parts:
        shape = np.broadcast_shapes(part.distance.shape, np.shape(part.opacity), (3, 24, 24))
        assert shape == (3, 24, 24)
        assert np.isfinite(part.distance).all()
        assert np.isfinite(part.opacity).all()
        assert np.min(part.opacity) >= 0
        assert np.max(part.opacity) <= 1
        assert all(0 <= channel <= 1 for channel in part.colour)


@pytest.mark.parametrize("name", FAMILY_FIGURES)
def test_a_figure_fills_its_place_and_stands_on_the_ground(name):
    rest = np.abs(pictures(FAMILY_FIGURES[name](pose(48, 2.2)), 1, 48, 2.2)[0] - WALL).max(-1) > 0.1
    assert 130 < rest.sum() < 800  # a disc of one unit covers 374
    rows = np.flatnonzero(rest.any(1))
    assert (rows[-1] + 1) / 48 * 4.4 - 2.2 == pytest.approx(1, abs=0.15 if name != "insect" else 0.6)
    assert not rest[:, [0, -1]].any()


@pytest.mark.parametrize("name", CALLS)
def test_calls_open_and_jerk(name):
    rest, opened = picture(name), picture(name, lit=1.0)
    assert distance(rest, opened) > 8
    assert distance(rest, picture(name, lit=0.5)) > 3
    if name not in ("horn", "thunder"):
        assert distance(opened, picture(name, lit=1.0, turn=-0.35)) > 8


@pytest.mark.parametrize("name", STRIKES)
def test_strikes_meet_and_flash(name):
    rest, near, contact = (picture(name, tool=tool) for tool in (1.0, 0.3, 0.0))
    assert distance(rest, near) > 8
    assert distance(near, contact) > 3
    assert distance(contact, picture(name, tool=0.0, flash=1.0)) > 8


def test_legs_swing_and_the_step_flashes():
    standing = picture("footstep")
    assert distance(standing, picture("footstep", turn=0.5)) > 20
    assert distance(picture("footstep", turn=-0.5), picture("footstep", turn=0.5)) > 5
    assert distance(standing, picture("footstep", flash=1.0)) > 8


@pytest.mark.parametrize("name", TURNING)
def test_what_turns_is_seen_to_turn(name):
    assert distance(picture(name), picture(name, turn=0.8)) > 1.5


@pytest.mark.parametrize("fps", [12, 16, 30])
@pytest.mark.parametrize("name", MOVING)
def test_what_runs_or_flows_changes_from_frame_to_frame_and_is_still_while_off(name, fps):
    times_s = [float(t) for t in np.arange(24) / fps]
    on = pictures(FAMILY_FIGURES[name](pose(lit=1.0, phase=times_s)), 24)
    off = pictures(FAMILY_FIGURES[name](pose(lit=0.0, phase=times_s)), 24)
    changes = [distance(a, b) for a, b in pairwise(on)]
    assert min(map(max, pairwise(changes))) > 0.7  # a pendulum stands for a moment where it turns back
    assert np.ptp(off, axis=0).max() == 0


def test_leaves_jerk():
    assert distance(picture("rustle"), picture("rustle", flash=1.0)) > 20


@pytest.mark.parametrize("name", FAMILY_FIGURES)
def test_variants_differ(name):
    variants = [picture(name, variant=variant) for variant in (0.0, 0.3, 0.6, 0.9)]
    assert min(distance(a, b) for a, b in combinations(variants, 2)) > 8


def test_no_two_figures_look_alike():
    """Over variants, in rest and in action: far enough apart even where both wear similar colours."""
    looks = {name: [picture(name, variant=variant) for variant in (0.1, 0.5, 0.9)] for name in FAMILY_FIGURES}
    looks |= {name: [pictures(figure(pose()))[0]] for name, figure in FIGURES.items()}
    nearest = {
        (one, other): min(distance(a, b) for a in looks[one] for b in looks[other])
        for one, other in combinations(looks, 2)
    }
    pair = min(nearest, key=nearest.__getitem__)
    assert nearest[pair] > 28, pair  # the nearest two of the twelve classes: 34
