import pytest
import torch
from streams import streams

from prismaudio.models.dit import DiffusionTransformer
from prismaudio.types import Conditions, Features


@pytest.fixture
def transformer() -> DiffusionTransformer:
    torch.manual_seed(0)
    model = DiffusionTransformer(
        6,
        64,
        2,
        2,
        streams(64, ["text"], ["video", "plan"], video=5, text=7, plan=4),
    )
    for parameter in model.parameters():  # parameters initialised to zero would hide errors
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def conditions(words: list[int], frames: int = 20) -> Conditions:
    generator = torch.Generator().manual_seed(1)
    text = [torch.randn(n, 7, generator=generator) for n in words]
    whole = torch.ones(len(words), frames, dtype=torch.bool)
    return Conditions(
        video=Features(torch.randn(len(words), 8, 5, generator=generator), whole[:, :8]),
        text=Features.pad(text),
        plan=Features(torch.randn(len(words), frames, 4, generator=generator), whole),
    )


def test_batch_equals_its_samples_one_by_one(transformer: DiffusionTransformer) -> None:
    cond = conditions([3, 9, 0])
    latents, times = torch.randn(3, 6, 20), torch.tensor([0.2, 0.5, 0.9])
    together = transformer(latents, times, cond)
    for row, words in enumerate([3, 9, 0]):
        alone = cond.index(torch.tensor([row]))
        alone = Conditions({**alone, "text": alone["text"].map(lambda x, n=words: x[:, :n])})
        single = transformer(latents[row : row + 1], times[row : row + 1], alone)
        torch.testing.assert_close(single[0], together[row], rtol=1e-4, atol=1e-5)


def test_empty_streams_and_missing_streams_are_the_same(transformer: DiffusionTransformer) -> None:
    latents, times = torch.randn(2, 6, 20), torch.tensor([0.3, 0.6])
    empty = transformer(latents, times, conditions([4, 4]).null())
    torch.testing.assert_close(empty, transformer(latents, times, Conditions()))


@pytest.mark.parametrize("stream", ["video", "text", "plan"])
def test_every_stream_affects_the_output(transformer: DiffusionTransformer, stream: str) -> None:
    latents, times, cond = torch.randn(1, 6, 20), torch.tensor([0.5]), conditions([4])
    without = cond.drop({stream: torch.tensor([True])})
    assert (transformer(latents, times, cond) - transformer(latents, times, without)).abs().max() > 1e-3


def test_precomputed_conditions_give_the_same_output(transformer: DiffusionTransformer) -> None:
    latents, times, cond = torch.randn(2, 6, 20), torch.tensor([0.5, 0.1]), conditions([4, 2])
    torch.testing.assert_close(
        transformer(latents, times, cond), transformer(latents, times, transformer.cache_conditions(cond, 20))
    )


@pytest.mark.parametrize("time", [0.01, 0.3, 0.7, 1.0])
def test_zero_output_gives_the_best_linear_prediction(time: float) -> None:
    """If the network outputs zero, preconditioning gives the optimal velocity for unstructured data."""
    sigma_data, count = 0.4, 4000
    model = DiffusionTransformer(4, 32, 1, 1, {}, sigma_data=sigma_data)
    torch.nn.init.zeros_(model.project_out.weight)
    data, noise = sigma_data * torch.randn(count, 4, 4), torch.randn(count, 4, 4)
    point = (1 - time) * data + time * noise
    predicted = model(point, torch.full((count,), time), Conditions())
    slope = float((point * (noise - data)).sum() / point.square().sum())
    torch.testing.assert_close(predicted, slope * point, rtol=0, atol=0.2)
    assert (predicted / point).std() < 1e-3


def test_small_head_dim_is_rejected() -> None:
    with pytest.raises(ValueError, match="at least 32"):
        DiffusionTransformer(6, 64, 1, 4)
