"""Replays of the golden files, with the weights of their recipe; ``--parity-dir`` replays those of a folder."""

from pathlib import Path

import numpy as np
import pytest
import torch
from parity import Comparison, golden_files, published_shapes, read_npz, recipe_weights, replayer_flaws

from prismaudio.audio.spectral import published_mel_filters
from prismaudio.models.htsat import N_FFT
from prismaudio.weight_files import fill
from prismaudio_msclap.network import RATE_HZ, MsClap
from prismaudio_msclap.published import BANDS, KERNELS, TOWER, our_names
from prismaudio_msclap.reward import MsClapReward

DATA = Path(__file__).with_name("data")
MEASURED_IN = 32_000
"""The rate in Hz for which the published mel bands are computed, whatever that of the sound is."""


def pytest_generate_tests(metafunc):
    if "path" in metafunc.fixturenames:
        golden_files(metafunc, DATA, "msclap")


def published_weights(shapes, seed):
    """Weights by the recipe, but for what the published code computes."""
    weights = recipe_weights(shapes, seed)
    turn = torch.arange(N_FFT // 2 + 1)[:, None] * torch.arange(N_FFT).double() * (2 * torch.pi / N_FFT)
    window = torch.hann_window(N_FFT)
    for key, wave in zip(KERNELS, (turn.cos(), -turn.sin()), strict=True):
        weights[TOWER + key] = (wave.float() * window)[:, None]
    weights[TOWER + BANDS] = published_mel_filters(64, N_FFT, MEASURED_IN, 50, 14_000, "slaney").T.float()
    index = [key for key in shapes if key.endswith("relative_position_index")]
    tower = MsClap().audio.audio_encoder
    for key in index:
        stage, block = (int(key.split(".")[place]) for place in (4, 6))
        weights[key] = tower.layers[stage].blocks[block].attention.self.relative_position_index
    return weights


@torch.no_grad()
def check(golden, network, tokenizer):
    comparison, given, sounds, texts = Comparison(golden), [], [], []
    for (i,) in golden.numbered(r"in/stereo(\d+)_int16"):
        audio = torch.as_tensor(golden[f"in/stereo{i}_int16"])[None].float() / 32_767
        given.append(audio)
        levels_db = network.mel_decibels(audio.mean(1))
        for (step,) in golden.numbered(rf"out/logmel{i}_every(\d+)"):
            comparison.close(f"out/logmel{i}_every{step}", levels_db[0, :: int(step)], 5e-4)
        comparison.close(f"out/logmel{i}_shape", torch.tensor([1, *levels_db.shape]), 0)
        comparison.close(f"out/latent{i}", network.latents(levels_db, release=True), 2e-5)
        sounds.append(network.embed_audio(audio, RATE_HZ, release=True))
        comparison.close(f"out/audio_emb{i}", sounds[-1], 2e-5)
    for (i,) in golden.numbered(r"in/ids(\d+)"):
        texts.append(network.embed_whole_text(torch.as_tensor(golden[f"in/ids{i}"])))
        comparison.close(f"out/text_emb{i}", texts[-1], 2e-5)
    reward = MsClapReward(network=network, tokenizer=tokenizer, release=True)
    cosines = torch.cosine_similarity(torch.cat(sounds)[:, None], torch.cat(texts)[None], dim=-1)
    comparison.close("out/similarity_audio_by_text", network.logit_scale.exp() * cosines, 2e-6)
    comparison.close("out/logit_scale_exp", network.logit_scale.exp(), 1e-6)
    caches = [{"text": text[0]} for text in texts]
    scores = torch.stack([reward.score(audio.expand(len(texts), -1, -1), RATE_HZ, caches) for audio in given])
    comparison.close("out/prism_ms_clap_reward", scores, 1e-7)
    return comparison


@pytest.mark.slow
def test_every_tensor(path, tokenizer):
    golden = read_npz(path)
    with torch.device("meta"):
        network = MsClap()
    fill(
        network,
        our_names(
            published_weights(published_shapes(DATA / "msclap_2023.json.gz"), golden.options()["seed"]), "recipe"
        ),
        "recipe",
    )
    assert check(golden, network, tokenizer).problems() == []


def test_any_number_of_sounds_and_texts_is_replayed(tmp_path, network, tokenizer):
    rng, lengths = np.random.default_rng(0), (30_000, 9000, 20_000)
    outline = {f"in/stereo{i}_int16": rng.integers(-9000, 9000, (2, n), dtype=np.int16) for i, n in enumerate(lengths)}
    outline |= {"in/ids0": rng.integers(1, 300, (1, 77))}
    zeros = {
        "similarity_audio_by_text": (3, 1),
        "prism_ms_clap_reward": (3, 1),
        "logit_scale_exp": (),
        "text_emb0": (1, 24),
    }
    for i, n in enumerate(lengths):
        zeros |= {f"latent{i}": (1, 64), f"audio_emb{i}": (1, 24), f"logmel{i}_shape": 4}
        zeros |= {f"logmel{i}_every9": (n // 320 // 9 + 1, 64)}
    outline |= {f"out/{name}": np.zeros(shape) for name, shape in zeros.items()}
    assert replayer_flaws(lambda golden: check(golden, network, tokenizer), outline, tmp_path / "other.npz") == []
