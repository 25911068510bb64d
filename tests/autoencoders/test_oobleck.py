import pytest
import torch

from prismaudio.autoencoders import oobleck
from prismaudio.autoencoders.oobleck import OobleckAutoencoder, Posterior, Snake, decoder_reach, encoder_reach


def make(width: int = 4, **options) -> OobleckAutoencoder:
    torch.manual_seed(0)
    codec = OobleckAutoencoder(width, (1, 2, 3), (2, 4, 4), latent_channels=5, **options)
    for name, weight in codec.named_parameters():
        if name.endswith(("alpha", "beta")):
            torch.nn.init.normal_(weight, std=0.3)
    return codec.eval().requires_grad_(requires_grad=False)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (32, 1), (33, 2), (640, 20)])
def test_lengths(samples, frames):
    codec = make()
    latents = codec.encode(noise(2, 2, samples))
    assert latents.shape == (2, 5, frames)
    assert codec.decode(latents).shape == (2, 2, 32 * frames)


@pytest.mark.parametrize("frames", [31, 64])
@pytest.mark.parametrize("chunk_frames", [7, 16])
def test_pieces_give_what_one_pass_gives(frames, chunk_frames):
    whole, pieces = make(one_pass_frames=1000), make(one_pass_frames=16, chunk_frames=chunk_frames)
    audio, latents = noise(2, 2, frames * 32 - 5), noise(2, 5, frames)
    assert torch.allclose(whole.encode(audio), pieces.encode(audio), atol=1e-5)
    assert torch.allclose(whole.decode(latents), pieces.decode(latents), atol=1e-5)


@pytest.mark.parametrize("strides", [(2, 4, 4), (3, 2, 5), (2, 2)])
def test_tiles_give_what_one_pass_gives(monkeypatch, strides):
    torch.manual_seed(0)
    codec = OobleckAutoencoder(4, [1, 2, 3][: len(strides)], strides, latent_channels=5, one_pass_frames=10_000)
    audio, latents = noise(1, 2, 120 * codec.hop - 3), noise(1, 5, 120)
    usual, n_tiled = (codec.encode(audio).detach(), codec.decode(latents).detach()), []  # gradients: no tiles

    def look(x_BC1T, part):
        n_tiled.append(oobleck.TILE // (part.width * max(part.taken, part.given)) < x_BC1T.shape[-1] // part.taken)
        return in_tiles(x_BC1T, part)

    in_tiles = oobleck.in_tiles
    monkeypatch.setattr(oobleck, "in_tiles", look)
    monkeypatch.setattr(oobleck, "TILE", 2**10)
    monkeypatch.setattr(oobleck, "MIN_TILE", 1)
    with torch.no_grad():
        assert torch.allclose(codec.encode(audio), usual[0], atol=1e-5)
        assert torch.allclose(codec.decode(latents), usual[1], atol=1e-5)
    assert sum(n_tiled) >= len(strides)


def test_the_halo_is_what_a_frame_depends_on():
    """Beyond it nothing changes, and a narrower one would not do."""
    codec, strides = make().double(), (2, 4, 4)
    reach, n = decoder_reach(strides), 81
    latents = noise(1, 5, n).double()
    changed = codec.decode(latents + 10 * (torch.arange(n) == 40)) - codec.decode(latents)
    frames = changed.abs().amax((0, 1)).view(n, 32).amax(1).nonzero().flatten()
    assert (frames[0], frames[-1]) == (40 - reach, 40 + reach)

    audio = noise(1, 2, 32 * n).double()
    before, after = codec.encode(audio), []
    for place in (40 * 32 - encoder_reach(strides), 41 * 32 + encoder_reach(strides) - 1):
        for outside in (0, 1 if place > 41 * 32 else -1):
            moved = codec.encode(audio + 10.0 * (torch.arange(32 * n) == place + outside))
            after.append(bool((moved - before)[..., 40].abs().max() > 1e-12))
    assert after == [True, False, True, False]


def test_memory_of_a_long_decode_is_that_of_a_piece():
    codec, longest = make(one_pass_frames=16, chunk_frames=16), 0

    def look(module, args, output):
        nonlocal longest
        longest = max(longest, output.shape[-1])

    for layer in codec.decoder:
        layer.register_forward_hook(look)
    with torch.no_grad():
        codec.decode(noise(1, 5, 200))
    assert longest <= 32 * (16 + 2 * decoder_reach((2, 4, 4)))


def test_latents_are_means_or_drawn():
    codec, audio = make(), noise(1, 2, 320)
    posterior = codec.posterior(audio)
    draws = [codec.encode(audio, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)]
    assert torch.equal(codec.encode(audio), posterior.mean)
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    spread = (torch.stack([codec.encode(audio, torch.Generator().manual_seed(s)) for s in range(200)])).std(0)
    assert float((spread / posterior.std).mean()) == pytest.approx(1, abs=0.05)


def test_divergence_is_zero_at_the_standard_normal_and_positive_elsewhere():
    zero, one = torch.zeros(2, 3, 4), torch.ones(2, 3, 4)
    assert Posterior(zero, one).kl() == 0
    assert float(Posterior(one, one).kl()) == 3
    assert Posterior(zero, 2 * one).kl() > 0


def test_gradients_flow_and_equal_those_without_shortcuts():
    codec = make().requires_grad_(requires_grad=True)
    audio = noise(1, 2, 128)
    loud = codec.decode(codec.encode(audio))
    with torch.no_grad():
        assert torch.allclose(loud, codec.decode(codec.encode(audio)), atol=1e-6)
    loud.square().mean().backward()
    assert all(weight.grad is not None for name, weight in codec.named_parameters() if not name.startswith("encoder.5"))


def test_snake_leaves_its_input_alone():
    snake, x = Snake(3), noise(1, 3, 1, 8)
    kept = x.clone()
    with torch.no_grad():
        quick = snake(x)
    assert torch.equal(x, kept)
    assert torch.allclose(quick, snake(x), atol=1e-6)


@pytest.mark.parametrize("strides", [(3,), (2, 5), (3, 3, 2)])
def test_odd_strides(strides):
    """They lose samples at the end, as the published ones do; there is silence instead."""
    torch.manual_seed(0)
    codec = OobleckAutoencoder(2, [1] * len(strides), strides, latent_channels=3).requires_grad_(requires_grad=False)
    audio, latents = noise(1, 2, 40 * codec.hop - 1), noise(1, 3, 40)
    whole = codec.encode(audio), codec.decode(latents)
    codec.one_pass_frames, codec.chunk_frames = 10, 9
    assert torch.allclose(codec.encode(audio), whole[0], atol=1e-5)
    assert torch.allclose(codec.decode(latents), whole[1], atol=1e-5)
    assert whole[1].shape[-1] == 40 * codec.hop


@pytest.mark.parametrize("bad", [{"strides": (2, 1)}, {"strides": (2,)}, {"multipliers": (), "strides": ()}])
def test_impossible_strides(bad):
    with pytest.raises(ValueError, match="stride of at least 2"):
        OobleckAutoencoder(**{"width": 2, "multipliers": (1, 2), **bad})
    with pytest.raises(ValueError, match="chunk_frames"):
        OobleckAutoencoder(2, (1,), (2,), chunk_frames=0)
