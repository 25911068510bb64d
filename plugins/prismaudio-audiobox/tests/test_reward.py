import pytest
import torch

from prismaudio.errors import PrismAudioError
from prismaudio.testing.rewards import check_reward
from prismaudio_audiobox.network import frame_mask
from prismaudio_audiobox.rating import Rater
from prismaudio_audiobox.reward import AudioboxReward


def noise(n_samples, batch=1):
    return 0.1 * torch.randn(batch, 2, n_samples, generator=torch.Generator().manual_seed(0))


def test_it_keeps_the_contract(network):
    check_reward(AudioboxReward(network=network))


def test_axes_have_weights(network):
    rated = Rater(network=network).rate(noise(16_000), 16_000)[0]
    assert AudioboxReward(network=network).score(noise(16_000), 16_000, [{}]).item() == pytest.approx(
        (rated[0] + rated[1] - rated[2] + rated[3]).item() / 40
    )
    only = AudioboxReward(ce=0, cu=0, pc=0, pq=1, network=network)
    assert only.score(noise(16_000), 16_000, [{}]).item() == pytest.approx(rated[3].item())


def test_all_of_a_long_sound_counts_by_its_length(network):
    rater, sound = Rater(network=network), noise(200_000)
    first, rest = rater.rate(sound[..., :160_000], 16_000), rater.rate(sound[..., 160_000:], 16_000)
    assert torch.allclose(rater.rate(sound, 16_000), 0.8 * first + 0.2 * rest, atol=1e-5)


def test_chunks_and_rows_are_rated_together(network):
    rater, sound = Rater(network=network), noise(500_000, batch=3)
    alone = torch.cat([rater.rate(row[None], 16_000) for row in sound])
    assert torch.allclose(rater.rate(sound, 16_000), alone, atol=1e-5)


def test_padding_does_not_change_the_layers(network):
    sound, lengths = noise(160_000)[:, 0], torch.tensor([50_000])
    louder = sound.clone()
    layers, mask = network.layers(sound, lengths)
    assert mask.sum() == 157
    other, _ = network.layers(sound, torch.tensor([100_000]))
    assert not torch.allclose(layers[-1][mask], other[-1][mask])
    louder[:, 130_000:] *= 1.001  # all frames share the normalisation of the first layer, nothing else
    assert torch.allclose(network.layers(louder, lengths)[0][-1][mask], layers[-1][mask], atol=1e-2)


def test_padding_by_the_rule_of_the_authors():
    assert frame_mask(torch.tensor([1, 320, 321, 160_000]), 160_000, 499).sum(1).tolist() == [1, 1, 2, 499]


def test_bf16_moves_little(network):
    exact, rounded = (
        Rater(network=network, precision=precision).rate(noise(50_000), 16_000) for precision in ("fp32", "bf16")
    )
    assert rounded.dtype == torch.float32
    assert (
        rounded - exact
    ).abs().max() < 0.5  # of 1 to 10, with random weights; CPUs with AMX round products otherwise
    assert not torch.equal(rounded, exact)


@pytest.mark.parametrize("shape", [(2, 100), (1, 2, 0), (0, 2, 100)])
def test_invalid_audio_is_reported(network, shape):
    with pytest.raises(PrismAudioError, match="the audio has shape"):
        AudioboxReward(network=network).score(torch.zeros(shape), 16_000, [{}])
