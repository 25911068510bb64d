"""Replays of the golden files, with the weights of their recipe; ``--parity-dir`` replays those of a folder."""

import json
from pathlib import Path

import pytest
import torch
from parity import Comparison, golden_files, published_shapes, read_npz, recipe_weights

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


@pytest.mark.slow
def test_every_tensor(path, tokenizer):
    golden = read_npz(path)
    config, comparison = json.loads(golden["config"]), Comparison(golden)
    with torch.device("meta"):
        network = MsClap()
    shapes = published_shapes(DATA / "msclap_2023.json.gz")
    fill(network, our_names(published_weights(shapes, config["seed"]), "recipe"), "recipe")
    given, sounds, texts = [], [], []
    with torch.no_grad():
        for i in range(len(config["durations"])):
            audio = torch.as_tensor(golden[f"in/stereo{i}_int16"])[None].float() / 32_767
            given.append(audio)
            levels_db = network.mel_decibels(audio.mean(1))
            comparison.close(f"out/logmel{i}_every25", levels_db[0, ::25], 5e-4)
            comparison.close(f"out/logmel{i}_shape", torch.tensor([1, *levels_db.shape]), 0)
            comparison.close(f"out/latent{i}", network.latents(levels_db, release=True), 2e-5)
            sounds.append(network.embed_sound(audio, RATE_HZ, release=True))
            comparison.close(f"out/audio_emb{i}", sounds[-1], 2e-5)
        for i in range(len(config["text_lengths"])):
            texts.append(network.embed_whole_text(torch.as_tensor(golden[f"in/ids{i}"])))
            comparison.close(f"out/text_emb{i}", texts[-1], 2e-5)
    reward = MsClapReward(network=network, tokenizer=tokenizer, release=True)
    cosines = torch.cosine_similarity(torch.cat(sounds)[:, None], torch.cat(texts)[None], dim=-1)
    comparison.close("out/similarity_audio_by_text", network.logit_scale.exp() * cosines, 2e-6)
    comparison.close("out/logit_scale_exp", network.logit_scale.exp(), 1e-6)
    with torch.no_grad():
        caches = [{"text": text[0]} for text in texts]
        scores = torch.stack([reward.score(audio.expand(2, -1, -1), RATE_HZ, caches) for audio in given])
    comparison.close("out/prism_ms_clap_reward", scores, 1e-7)
    assert comparison.problems() == []
