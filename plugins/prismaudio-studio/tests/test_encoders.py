import pytest
import torch

from prismaudio.errors import MediaError
from prismaudio.inference.planning import unknown_to_all
from prismaudio.plan import Plan
from prismaudio.types import Clip
from prismaudio_studio.hashed_text import HashedTextEncoder, word_vector
from prismaudio_studio.motion_grid import MotionGridEncoder
from prismaudio_studio.plan_grid import ROWS, PlanGridEncoder

CLIP = Clip("clip", 4.0, frames=torch.zeros(64, 3, 48, 48, dtype=torch.uint8), fps=16.0)


def test_words_keep_their_vectors_and_relatives_are_near() -> None:
    assert float(word_vector("muffled") @ word_vector("muffling")) > 20
    assert abs(float(word_vector("muffled") @ word_vector("clean"))) < 30
    assert not torch.equal(word_vector("muffled"), word_vector("muffling"))


def test_a_word_knows_its_section_and_its_neighbours() -> None:
    encoder = HashedTextEncoder()
    first = encoder.encode(CLIP, Plan({"semantic": "a loud bell"}))
    assert first.shape == (3, encoder.dim)
    assert not torch.equal(first[2], encoder.encode(CLIP, Plan({"aesthetic": "a loud bell"}))[2])
    assert not torch.equal(first[2], encoder.encode(CLIP, Plan({"semantic": "a soft bell"}))[2])
    assert encoder.encode(CLIP, Plan({})).shape == (0, encoder.dim)


def test_sections_that_the_model_was_not_trained_on_are_not_read() -> None:
    plan = Plan({"semantic": "a loud bell", "loudness": "The whole is at -23 LUFS."})
    assert len(HashedTextEncoder().encode(CLIP, plan)) == 3
    assert len(HashedTextEncoder(sections=["semantic", "loudness"]).encode(CLIP, plan)) == 8


def test_the_grid_has_what_the_plan_says_where_it_says_it() -> None:
    encoder = PlanGridEncoder(["bell", "cart"], 62.5)
    plan = Plan(
        {
            "temporal": "The bell sounds at 1.00 s. The cart sounds from 2.00 s to 3.00 s. A zither sounds at 3.50 s.",
            "spatial": "The bell is on the right (azimuth +30°). "
            "The cart moves from the left (azimuth -60°) to the right (azimuth +60°).",
        }
    )
    drawn = encoder.encode(CLIP, plan)
    assert drawn.shape == (250, encoder.dim)
    grid = drawn[:, : 3 * ROWS].unflatten(1, (3, ROWS))
    assert grid.shape == (250, 3, ROWS)
    bell, cart, other = grid[:, 0], grid[:, 1], grid[:, 2]
    assert abs(int(bell[:, 0].argmax()) - 62) <= 1
    assert bell[:60, 1].max() == 0 < bell[65, 1]
    assert float(bell[65, 2]) == pytest.approx(0.5, abs=0.01)
    assert float(cart[124:188, 1].mean()) == pytest.approx(1, abs=0.05)
    assert cart[195:, 1].max() == 0
    assert cart[130, 2] < -0.8
    assert cart[180, 2] > 0.7
    assert abs(int(other[:, 0].argmax()) - 218) <= 1


def test_the_grid_has_everything_together() -> None:
    encoder = PlanGridEncoder(["bell", "drum"])
    plans = [
        Plan({"temporal": f"The {what} sounds at 1.00 s.", "spatial": f"The {what} is at azimuth +30°."})
        for what in ("bell", "drum")
    ]
    bell, drum = (encoder.encode(CLIP, plan)[:, 3 * ROWS : 4 * ROWS] for plan in plans)
    torch.testing.assert_close(bell, drum)
    assert float(bell[65, 2]) == pytest.approx(0.5, abs=0.01)


def test_the_grid_has_the_surroundings_all_the_time() -> None:
    grid = PlanGridEncoder(["bell"]).encode(CLIP, Plan({"aesthetic": "A noisy recording in a hall."}))
    assert grid[:, -7:].unique(dim=0).tolist() == [[0, 1, 0, 0, 0, 0, 1]]


def test_motion_is_seen_where_it_is() -> None:
    frames = torch.zeros(4, 3, 48, 48, dtype=torch.uint8)
    frames[2, :, :6, 42:] = 255
    encoder = MotionGridEncoder()
    seen = encoder.encode(Clip("c", 0.25, frames, 16.0), Plan({})).unflatten(1, (4, 8, 8))
    assert seen[2, 3, 0, 7] > 1
    assert seen[2, 3].count_nonzero() == 1
    assert seen[1, 3].count_nonzero() == 0


def test_another_picture_rate_is_refused() -> None:
    with pytest.raises(MediaError, match="expected 16"):
        MotionGridEncoder().encode(Clip("c", 1.0, torch.zeros(25, 3, 48, 48, dtype=torch.uint8), 25.0), Plan({}))


def test_any_number_of_moments_is_drawn_in_the_memory_of_a_few(monkeypatch) -> None:
    plan = Plan({"temporal": "The bell sounds at " + ", ".join(f"{i / 9:.2f} s" for i in range(30))})
    whole = PlanGridEncoder(["bell"]).encode(CLIP, plan)
    monkeypatch.setattr("prismaudio_studio.plan_grid.ONSETS_AT_ONCE", 7)
    assert torch.allclose(PlanGridEncoder(["bell"]).encode(CLIP, plan), whole, atol=1e-6)
    sizes = []
    monkeypatch.setattr(torch, "exp", lambda value: sizes.append(value.shape) or value.exp())
    PlanGridEncoder(["bell"]).encode(CLIP, plan)
    assert max(shape[1] for shape in sizes) == 7


def test_a_text_is_understood_where_one_encoder_knows_what_it_names() -> None:
    grid, motion = PlanGridEncoder(["bell", "drum"]), MotionGridEncoder()
    text = "A bell, a dog, a zither."
    assert unknown_to_all(text, [grid, motion, HashedTextEncoder()]) == ["a dog", "a zither"]
    assert unknown_to_all(text, [grid, HashedTextEncoder(vocabulary=["dog"])]) == ["a zither"]
    assert unknown_to_all(text, [grid, HashedTextEncoder(vocabulary=None)]) == []
    assert unknown_to_all(text, [motion]) == []
