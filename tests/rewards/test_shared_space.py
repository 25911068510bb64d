import pytest
import torch

from prismaudio.errors import NotApplicableError
from prismaudio.plan import Plan
from prismaudio.rewards.shared_space import CosineReward, SharedSpace
from prismaudio.testing.rewards import check_reward


class Counting(SharedSpace):
    """Sounds by their level, texts by their tokens."""

    longest = 4

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.texts = 0

    def embed_audio(self, audio, sample_rate_hz):
        return torch.stack([audio.square().mean((1, 2)), torch.ones(len(audio))], dim=1) * self.weight

    def embed_tokens(self, tokens, real):
        self.texts += len(tokens)
        return torch.stack([(tokens * real).sum(1), real.sum(1)], dim=1).float()


class Numbers:
    """A word is its length, and every text ends with 1."""

    def __call__(self, text):
        return [len(word) for word in text.split()] + [1]


def reward(**options):
    return CosineReward(Counting(), Numbers(), **options)


@pytest.mark.parametrize("text", ["section", "plan"])
def test_it_keeps_the_contract(text):
    check_reward(reward(text=text))


def test_a_long_text_is_the_mean_of_its_pieces_by_their_tokens():
    found = reward()
    embedding = found.embed_text("one two three. fourteen.")
    pieces = [((3 + 3 + 6 + 1, 4.0), 4), ((9 + 1, 2.0), 2)]
    directions = [torch.nn.functional.normalize(torch.tensor(piece), dim=0) * n / 6 for piece, n in pieces]
    assert torch.allclose(embedding, sum(directions))
    assert found.space.texts == 2


def test_weights_tell_rewards_apart():
    one, same, other = reward(), reward(), CosineReward(Counting(), Numbers())
    other.space.weight.data.fill_(2)
    again = CosineReward(other.space, Numbers())
    assert one.identity == same.identity != again.identity
    assert reward(text="plan").identity != one.identity


def test_a_plan_without_the_section_cannot_be_scored():
    with pytest.raises(NotApplicableError, match="the plan has no <Semantic> section"):
        reward().prepare(None, Plan({"spatial": "On the left."}))
