"""A padded batch gives the same results as its samples one by one, also with missing streams."""

from __future__ import annotations

import pytest
import torch
from streams import streams
from torch.nn import functional as F

from prismaudio.models.conditioners import SyncConditioner, to_length
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.samplers.euler import EulerSampler
from prismaudio.samplers.guidance import guided_velocity
from prismaudio.types import Conditions, Features

FRAMES = [23, 9, 40, 17]
LENGTHS = {"video": [5, 2, 11, 0], "sync": [24, 11, 40, 13], "text": [7, 0, 12, 3], "plan": [23, 9, 40, 17]}
DIMS = {"video": 5, "sync": 6, "text": 7, "plan": 4}


@pytest.fixture(scope="module")
def transformer() -> DiffusionTransformer:
    torch.manual_seed(0)
    model = DiffusionTransformer(6, 64, 2, 2, streams(64, **DIMS), sigma_data=0.5)
    for parameter in model.parameters():  # parameters initialised to zero would hide errors
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def samples() -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        {
            "latents": torch.randn(6, frames, generator=generator),
            **{s: torch.randn(LENGTHS[s][row], DIMS[s], generator=generator) for s in DIMS},
        }
        for row, frames in enumerate(FRAMES)
    ]


def batch(rows: list[dict[str, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor, Conditions]:
    latents = Features.pad([row["latents"].T for row in rows])
    garbage = torch.randn(latents.values.shape, generator=torch.Generator().manual_seed(9))
    values = torch.where(latents.mask[..., None], latents.values, garbage)
    cond = Conditions({name: Features.pad([row[name] for row in rows]) for name in DIMS})
    return values.transpose(1, 2), latents.mask, cond


def relative_rms(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


@torch.no_grad()
def test_ragged_batch_equals_its_samples_one_by_one(transformer: DiffusionTransformer) -> None:
    times = torch.tensor([0.2, 0.5, 0.9, 1.0])
    latents, mask, cond = batch(samples())
    together = transformer(latents, times, cond, mask)
    for row, sample in enumerate(samples()):
        single, whole, alone = batch([sample])
        assert whole.all()
        velocity = transformer(single, times[row : row + 1], alone)
        assert relative_rms(together[row, :, : FRAMES[row]], velocity[0]) <= 1e-6


def test_guided_trajectory_of_a_ragged_batch_equals_its_samples_one_by_one(transformer: DiffusionTransformer) -> None:
    latents, mask, cond = batch(samples())
    velocity = guided_velocity(transformer, cond, latents.shape[-1], 3.0, 0.5, interval=(0.2, 0.9), mask=mask)
    with torch.no_grad():
        together = EulerSampler(5).sample(velocity, latents)
        for row, sample in enumerate(samples()):
            single, _, alone = batch([sample])
            velocity = guided_velocity(transformer, alone, FRAMES[row], 3.0, 0.5, interval=(0.2, 0.9))
            ours = EulerSampler(5).sample(velocity, single)
            assert relative_rms(together[row, :, : FRAMES[row]], ours[0]) <= 1e-5


def test_padding_has_no_gradient(transformer: DiffusionTransformer) -> None:
    latents, mask, cond = batch(samples())
    latents.requires_grad_()
    out = transformer(latents, torch.full((4,), 0.5), cond, mask)
    (out * mask[:, None]).sum().backward()
    assert latents.grad is not None
    assert not latents.grad.transpose(1, 2)[~mask].any()


def test_precomputed_conditions_give_the_same_gradients(transformer: DiffusionTransformer) -> None:
    latents, mask, cond = batch(samples())
    times = torch.full((4,), 0.5)
    parameters = list(transformer.parameters())
    plain = torch.autograd.grad(transformer(latents, times, cond, mask).square().sum(), parameters)
    cache = transformer.cache_conditions(cond, latents.shape[-1], mask)
    cached = torch.autograd.grad(transformer(latents, times, cache).square().sum(), parameters)
    for a, b in zip(plain, cached, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("names", [[], ["text"], ["video"], ["sync"], ["video", "text"], ["sync", "plan"]])
def test_streams_may_be_missing(transformer: DiffusionTransformer, names: list[str]) -> None:
    latents, _, cond = batch(samples()[:1])
    kept = Conditions({name: cond[name] for name in names})
    dropped = cond.drop({name: torch.tensor([True]) for name in DIMS if name not in names})
    velocity = transformer(latents, torch.tensor([0.4]), kept)
    torch.testing.assert_close(velocity, transformer(latents, torch.tensor([0.4]), dropped))


@pytest.mark.parametrize("duration_s", [0.5, 1, 2.3, 8.5, 9, 12, 20, 60])
def test_every_duration_works(transformer: DiffusionTransformer, duration_s: float) -> None:
    frames, video, sync = (
        round(44_100 / 2048 * duration_s),
        int(4 * duration_s),
        8 * int((25 * duration_s - 16) // 8 + 1),
    )
    cond = Conditions(
        video=Features.pad([torch.randn(video, 5)]),
        sync=Features.pad([torch.randn(max(0, sync), 6)]),
        text=Features.pad([torch.randn(3, 7)]),
    )
    with torch.no_grad():
        velocity = transformer(torch.randn(1, 6, frames), torch.tensor([0.5]), cond)
    assert velocity.shape == (1, 6, frames)
    assert velocity.isfinite().all()


def test_interpolation_of_nine_seconds_equals_the_published_one() -> None:
    stream = Features.pad([torch.randn(216, 16)])
    published = F.interpolate(stream.values.transpose(1, 2), 194, mode="linear").transpose(1, 2)
    ours = to_length(stream, 194)
    torch.testing.assert_close(ours, published, rtol=0, atol=1e-6)
    assert torch.equal(to_length(Features.pad([ours[0]]), 194), ours)


@pytest.mark.parametrize(("have", "want"), [(36, 194), (216, 194), (7, 1), (1, 9), (8, 8)])
def test_interpolation_is_torchs(have: int, want: int) -> None:
    stream = Features.pad([torch.randn(have, 3), torch.randn(have, 3)])
    torchs = F.interpolate(stream.values.transpose(1, 2), want, mode="linear").transpose(1, 2)
    torch.testing.assert_close(to_length(stream, want), torchs, rtol=0, atol=1e-5)


def test_synchronisation_tokens_depend_on_the_position_in_a_segment() -> None:
    conditioner = SyncConditioner(4, 8)
    torch.nn.init.normal_(conditioner.position)
    tokens = conditioner.tokens(Features.pad([torch.ones(19, 4), torch.ones(3, 4)])).values
    torch.testing.assert_close(tokens[0, :8], tokens[0, 8:16])
    torch.testing.assert_close(tokens[0, 16:], tokens[0, :3])
    torch.testing.assert_close(tokens[1, :3], tokens[0, :3])
    assert (tokens[0, 0] - tokens[0, 1]).abs().max() > 1e-3
    assert not tokens[1, 3:].any()
