import pytest
import torch
from safetensors.torch import save_file
from transformers import ClapModel

from prismaudio.errors import CheckpointError
from prismaudio.metrics.target import Target
from prismaudio.plan import Plan
from prismaudio.testing.metrics import check_metric
from prismaudio.testing.rewards import check_reward
from prismaudio.types import Clip
from prismaudio_laion_clap.metric import ClapScore, SegmentClapScore
from prismaudio_laion_clap.network import RATE_HZ, LaionClap
from prismaudio_laion_clap.published import load, mel_bands
from prismaudio_laion_clap.reward import LaionClapReward


def noise(seconds, seed=0):
    return 0.1 * torch.randn(1, 2, round(seconds * RATE_HZ), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("text", ["section", "plan"])
def test_the_reward_keeps_the_contract(network, tokenizer, text):
    check_reward(LaionClapReward(network=network, tokenizer=tokenizer, text=text))


def test_the_metric_keeps_the_contract(network, tokenizer):
    check_metric(ClapScore(network=network, tokenizer=tokenizer))


def test_the_end_of_long_audio_counts_and_short_audio_is_repeated(network):
    long, other = noise(12), noise(12)
    other[..., 11 * RATE_HZ :] = 0
    assert not torch.allclose(*(network.embed_audio(sound, RATE_HZ) for sound in (long, other)), atol=1e-4)
    short = noise(2)
    assert torch.allclose(*(network.embed_audio(sound, RATE_HZ) for sound in (short, short.repeat(1, 1, 5))), atol=1e-5)


def test_sounds_do_not_depend_on_what_is_beside_them(network):
    sounds = torch.cat([noise(12), 3 * noise(12, 1)])
    together = network.embed_audio(sounds, RATE_HZ)
    assert torch.allclose(together[:1], network.embed_audio(sounds[:1], RATE_HZ), atol=1e-6)


def test_the_end_of_a_long_text_counts_and_padding_does_not(network, tokenizer):
    reward = LaionClapReward(network=network, tokenizer=tokenizer)
    long = "A dog barks in the yard. " * 20
    ends = [reward.embed_text(long + end) for end in ("A bell.", "Thunder rolls.")]
    assert not torch.allclose(*ends, atol=1e-5)
    tokens = torch.tensor([[0, 40, 50, 60, 2], [0, 40, 2, 7, 7]])
    real = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()
    alone = network.embed_tokens(tokens[1:, :3], real[1:, :3])
    assert torch.allclose(network.embed_tokens(tokens, real)[1:], alone, atol=1e-5)


def test_the_metric_is_the_mean_of_the_reward_without_dc(network, tokenizer):
    plans = [Plan({"semantic": text}) for text in ("A bell rings.", "A dog barks.")]
    sounds = torch.cat([noise(2), noise(2, 1)])
    reward, metric = (kind(network=network, tokenizer=tokenizer) for kind in (LaionClapReward, ClapScore))
    metric.update(sounds + 0.05, RATE_HZ, [Target.of(Clip("x", 2.0), plan) for plan in plans])
    centred = sounds - sounds.mean((1, 2), keepdim=True)
    expected = reward.score(centred, RATE_HZ, [reward.prepare(None, plan) for plan in plans]).mean()
    assert metric.compute().item() == pytest.approx(expected.item(), abs=1e-5)
    assert not any("clap" in key for key in metric.state_dict())


@torch.no_grad()
def test_segments_are_compared_with_the_names_of_their_sources(network, tokenizer):
    metric, reward = (kind(network=network, tokenizer=tokenizer) for kind in (SegmentClapScore, LaionClapReward))
    sounds = torch.cat([noise(4), noise(4, 1)])
    plans = [Plan({"temporal": text}) for text in ("The dog sounds at 1.00 s. The bell sounds at 3.5 s.", "A dog.")]
    metric.update(sounds, RATE_HZ, [Target.of(Clip("x", 4.0), plan) for plan in plans])
    assert metric.skipped == {1: "the plan states no times"}
    cosines = []
    for name, begin_s in (("dog", 0.9), ("bell", 3.0)):  # the last second of the clip, so that it is a whole one
        part = sounds[:1, :, round(begin_s * RATE_HZ) : round((begin_s + 1) * RATE_HZ)]
        part, text = part - part.mean(), reward.embed_text(f"This is a sound of {name}.")
        cosines.append(torch.cosine_similarity(reward.embed_audio(part, RATE_HZ)[0], text, dim=0))
    assert metric.compute().item() == pytest.approx(float(sum(cosines) / 2), abs=1e-5)
    check_metric(metric)


@pytest.mark.parametrize("fusion", [False, True])
def test_weights_in_the_form_of_transformers(tmp_path, config, network, fusion):
    config.audio_config.enable_fusion = fusion
    theirs = ClapModel(config)
    shared = network.clap.state_dict()
    assert theirs.load_state_dict(shared, strict=False).unexpected_keys == []
    weights = {key: value.contiguous() for key, value in theirs.state_dict().items()}
    assert any("mel_conv2d" in key for key in weights) == fusion
    save_file(
        {key: value for key, value in weights.items() if "position_ids" not in key}, tmp_path / "model.safetensors"
    )
    found = load(str(tmp_path))
    assert torch.equal(found.bands, mel_bands("htk" if fusion else "slaney"))
    network.bands.copy_(found.bands)
    assert torch.equal(found.embed_audio(noise(1), RATE_HZ), network.embed_audio(noise(1), RATE_HZ))


def test_missing_and_wrong_weights_are_one_line(tmp_path, monkeypatch, tokenizer):
    monkeypatch.setenv("PRISMAUDIO_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"esc_89.98.pt \(2350 MB, .*lukewys/laion_clap; put it at") as caught:
        LaionClapReward(weights=str(tmp_path / "x.pt"), tokenizer=tokenizer)
    assert "\n" not in str(caught.value)
    torch.save({"state_dict": {"module.resnet.weight": torch.ones(3)}}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"does not fit LaionClap: .*expected weights of LAION-CLAP") as caught:
        LaionClapReward(weights=str(tmp_path / "other.pt"), tokenizer=tokenizer)
    assert "\n" not in str(caught.value)


def test_an_empty_tokenizer_is_one_line(tmp_path, network):
    from tokenizers import Tokenizer, models

    Tokenizer(models.BPE({token: i for i, token in enumerate("abcde")}, [])).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(CheckpointError, match=r"has 5 tokens, expected 50,265; get roberta-base-tokenizer.json"):
        LaionClapReward(network=network, tokenizer=str(tmp_path))


def test_the_default_form_is_the_smaller_published_one():
    with torch.device("meta"):
        assert LaionClap().clap.audio_model.config.patch_embeds_hidden_size == 96
