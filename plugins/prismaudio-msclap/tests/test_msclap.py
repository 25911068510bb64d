import math
from pathlib import Path

import pytest
import torch
from parity import published_shapes

from prismaudio.errors import CheckpointError, NotApplicableError
from prismaudio.plan import Plan
from prismaudio.testing.rewards import check_reward
from prismaudio.weight_files import misfits
from prismaudio_msclap.network import MsClap
from prismaudio_msclap.published import KERNELS, TOWER, our_names
from prismaudio_msclap.reward import MsClapReward

RATE_HZ = 44_100


def noise(seconds, rows=1, seed=0):
    return 0.1 * torch.randn(rows, 2, round(seconds * RATE_HZ), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("options", [{}, {"text": "plan"}, {"release": True}])
def test_it_keeps_the_contract(network, tokenizer, options):
    check_reward(MsClapReward(network=network, tokenizer=tokenizer, **options))


def test_all_of_long_audio_counts_but_only_whole_crops_in_the_published_reward(network):
    early, late = noise(9), noise(9)
    early[..., : RATE_HZ // 2] = 0
    late[..., 8 * RATE_HZ :] = 0
    for release, differs in ((False, [True, True]), (True, [True, False])):
        sounds = network.embed_audio(torch.cat([noise(9), early, late]), RATE_HZ, release=release)
        assert [not torch.allclose(sounds[0], other, atol=1e-5) for other in sounds[1:]] == differs


def test_a_short_sound_is_repeated(network):
    second = noise(1)
    assert torch.allclose(
        network.embed_audio(second, RATE_HZ), network.embed_audio(second.repeat(1, 1, 7), RATE_HZ), atol=1e-5
    )


def test_the_end_of_a_long_text_counts_and_a_short_one_is_read_at_once(network, tokenizer):
    reward = MsClapReward(network=network, tokenizer=tokenizer)
    long = "A dog barks in the yard. " * 20
    ends = [reward.prepare(None, Plan({"semantic": long + end}))["text"] for end in ("A bell.", "Thunder rolls.")]
    assert not torch.allclose(*ends, atol=1e-4)
    short = reward.prepare(None, Plan({"semantic": "A dog barks."}))["text"]
    released = MsClapReward(network=network, tokenizer=tokenizer, release=True)
    whole = released.prepare(None, Plan({"semantic": "A dog barks."}))["text"]
    assert torch.cosine_similarity(short, whole, dim=0).item() == pytest.approx(1, abs=1e-6)


def test_the_published_reward_reports_a_text_that_is_too_long(network, tokenizer):
    reward = MsClapReward(network=network, tokenizer=tokenizer, release=True)
    with pytest.raises(NotApplicableError, match=r"^the text has 2,\d{3} tokens, expected at most 1,024 with release"):
        reward.prepare(None, Plan({"semantic": "A dog. " * 300}))


def test_the_published_scale(network, tokenizer):
    network.logit_scale.data.fill_(math.log(40))
    cache = {"text": torch.randn(24)}
    scores = [
        MsClapReward(network=network, tokenizer=tokenizer, release=release).score(noise(2), RATE_HZ, [cache])
        for release in (False, True)
    ]
    assert MsClapReward(network=network, tokenizer=tokenizer, release=True).range == pytest.approx((-0.5, 0.5))
    assert abs(scores[1].item()) <= 0.5 < 1 == MsClapReward(network=network, tokenizer=tokenizer).range[1]


def test_the_option_text_selects_the_section_or_the_plan(network, tokenizer):
    plan = Plan.parse("<Semantic> A bell rings. <Spatial> It is on the left.")
    found = {text: MsClapReward(network=network, tokenizer=tokenizer, text=text) for text in ("section", "plan")}
    assert found["section"].identity != found["plan"].identity
    alone = found["section"].prepare(None, Plan.parse("<Semantic> A bell rings. It is on the left."))["text"]
    assert torch.allclose(found["plan"].prepare(None, plan)["text"], alone)
    with pytest.raises(NotApplicableError, match="no <Semantic> section"):
        found["section"].prepare(None, Plan.parse("<Spatial> It is on the left."))


def test_missing_and_wrong_weights_are_one_line(tmp_path, monkeypatch, tokenizer):
    monkeypatch.setenv("PRISMAUDIO_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        CheckpointError, match=r"CLAP_weights_2023.pth \(690 MB, .*microsoft/msclap.*put it at"
    ) as caught:
        MsClapReward(weights=str(tmp_path / "x.pth"), tokenizer=tokenizer)
    assert "\n" not in str(caught.value)
    torch.save({"model": {"resnet.weight": torch.ones(3)}}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="does not fit MsClap: missing") as caught:
        MsClapReward(weights=str(tmp_path / "other.pth"), tokenizer=tokenizer)
    assert "\n" not in str(caught.value)


def test_another_spectrum_is_refused():
    kernels = {f"audio_encoder.base.htsat.spectrogram_extractor.stft.conv_{part}.weight" for part in ("real", "imag")}
    with pytest.raises(CheckpointError, match="another spectrum than that of a Hann window"):
        our_names({key: torch.ones(513, 1, 1024) for key in kernels}, "x.pth")


def test_an_empty_tokenizer_and_none_are_one_line(tmp_path, network):
    from tokenizers import Tokenizer, models

    Tokenizer(models.BPE({token: i for i, token in enumerate("abcde")}, [])).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(CheckpointError, match=r"has 5 tokens, expected 50,257; get gpt2-tokenizer.json"):
        MsClapReward(network=network, tokenizer=str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="is not a tokenizer"):
        MsClapReward(network=network, tokenizer=str(tmp_path))
    with pytest.raises(CheckpointError, match=r"no such file: .*put it at"):
        MsClapReward(network=network, tokenizer=str(tmp_path / "none.json"))


def test_names_and_shapes_are_those_of_the_published_file_and_of_files_of_older_transformers():
    shapes = published_shapes(Path(__file__).with_name("data") / "msclap_2023.json.gz")
    with torch.device("meta"):
        network = MsClap()
        weights = {key: torch.empty(shape) for key, shape in shapes.items()}
        weights |= {f"caption_encoder.base.h.3.attn.{name}": torch.empty(1) for name in ("bias", "masked_bias")}
        weights["surplus"] = torch.empty(1)
        del (
            weights["caption_encoder.base.ln_f.weight"],
            weights["audio_encoder.base.htsat.layers.0.blocks.0.norm1.bias"],
        )
    spectra = torch.fft.rfft(torch.hann_window(1024).diag()).T[:, None]
    weights |= {TOWER + key: wave for key, wave in zip(KERNELS, (spectra.real, spectra.imag), strict=True)}
    found = {key: value.shape for key, value in our_names(weights, "x").items()}
    assert misfits(found, {key: value.shape for key, value in network.state_dict().items()}) == [
        "missing audio.audio_encoder.layers.0.blocks.0.layernorm_before.bias",
        "missing text.ln_f.weight",
        "unknown surplus",
    ]
