"""The published model in its layouts on a hub, with the encoders of the plugins: from a video to audio."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from hub_server import run_commands, serving
from published_layouts import NAMES, layout, write_files
from safetensors.torch import load_file, save

from prismaudio.media import write_video
from prismaudio.pretrained import find

pytest.importorskip("prismaudio_synchformer")
from prismaudio_synchformer.visual import VisualTower

FLAX = "flax_lvt_large_f8r288_repeated.npz"
PLAN = "<Semantic> a dog <Temporal> it barks at 0.2 s <Aesthetic> clean <Spatial> left"
T5 = importlib.util.find_spec("prismaudio_t5gemma") is not None
DIMS = {"video": 48, "sync": 24, "text": 32 if T5 else 7}
STAND_IN = {"PRISMAUDIO_PLUGINS": "published_plugin.py", "PUBLISHED_HIDDEN": "VideoPrismEncoder,SynchformerEncoder"}
"""Variables that give the text stream an encoder where the plugin of T5-Gemma is not installed."""


def text_encoder(folder):
    """The files of a text encoder: a T5-Gemma of reduced size where its plugin is installed."""
    if not T5:
        return {"model.safetensors": save({"weight": torch.randn(7, 3)}), "config.json": b"{}", "tokenizer.json": b"[]"}
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import T5GemmaConfig, T5GemmaForConditionalGeneration, T5GemmaModuleConfig

    sizes = {
        "vocab_size": 8, "hidden_size": DIMS["text"], "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "query_pre_attn_scalar": 4,
    }  # fmt: skip
    encoder, decoder = T5GemmaModuleConfig(**sizes), T5GemmaModuleConfig(**sizes)
    config = T5GemmaConfig(encoder=encoder, decoder=decoder, vocab_size=sizes["vocab_size"])
    T5GemmaForConditionalGeneration(config).save_pretrained(folder)
    words = {word: index for index, word in enumerate(("<pad>", "?", "a", "dog", "barks", "left"))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return {name: (folder / name).read_bytes() for name in ("model.safetensors", "config.json", "tokenizer.json")}


@pytest.fixture(scope="module")
def encoders(flax, tmp_path_factory):
    """Weights of Synchformer, and the files of the other encoders by name."""
    torch.manual_seed(0)
    tower = VisualTower(DIMS["sync"], depth=1)
    for weight in tower.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    sync = {f"vfeat_extractor.{key}": value for key, value in tower.state_dict().items()}
    sync |= {"vfeat_extractor.patch_embed.proj.weight": torch.ones(3), "afeat_extractor.x": torch.ones(2)}
    return sync, flax.read_bytes(), text_encoder(tmp_path_factory.mktemp("t5gemma"))


@pytest.fixture
def hub(encoders):
    """A hub with the layouts, and with the repositories of the encoders that two of them lack."""
    sync, video, text = encoders
    bundled = {f"videoprism-lvt-large-f8r288/{FLAX}": video}
    bundled |= {f"t5gemma-l-l-ul2-it/{name}": data for name, data in text.items()}
    with serving() as server:
        for name in NAMES:
            server.repository(name).commit(layout(name, DIMS, sync, bundled))
        server.repository("google/videoprism-lvt-large-f8r288").commit({FLAX: video})
        server.repository("google/t5gemma-l-l-ul2-it").commit(text)
        yield server


@pytest.fixture
def environment(hub, encoders, tmp_path):
    more = {"PRISMAUDIO_CACHE": str(tmp_path / "cache")}
    if not T5:
        write_files({"text.safetensors": encoders[2]["model.safetensors"]}, tmp_path)
        plugin = Path(importlib.util.find_spec("published_plugin").origin)
        more |= STAND_IN | {"PRISMAUDIO_PLUGINS": str(plugin), "PUBLISHED_DEFAULTS": str(tmp_path)}
    frames = torch.randint(0, 255, (25, 3, 48, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    write_video(frames, 25.0, tmp_path / "clip.mp4", torch.full((2, 16_000), 0.1))
    return hub.environment(tmp_path / "home", **more)


def generate(model, out):
    words = ("--device", "cpu", "--steps", "2", "--seed", "3")
    return ("generate", "clip.mp4", "--plan", PLAN, "--model", model, "-o", out, *words)


def test_a_video_gets_audio_by_the_name_of_the_model(hub, environment, tmp_path, capsys):
    answers = run_commands(
        environment,
        tmp_path,
        *(generate(name, f"out{index}") for index, name in enumerate(NAMES)),
        *(("convert", name, f"model{index}") for index, name in enumerate(NAMES)),
        *(generate(f"model{index}", f"again{index}") for index in range(3)),
    )
    assert [answer[0] for answer in answers] == [0] * 9, answers
    audio = {}
    for index, name in enumerate(NAMES):
        audio[name], again = ((tmp_path / f"{folder}{index}" / "clip.wav").read_bytes() for folder in ("out", "again"))
        assert audio[name] == again
        described = json.loads((tmp_path / f"out{index}" / "clip.json").read_text())
        assert described["model"].startswith(f"{name}@")
    assert audio["FunAudioLLM/PrismAudio"] == audio["AEmotionStudio/prismaudio-models"]
    assert "/google/videoprism-lvt-large-f8r288/resolve/main/" + FLAX in {path for _, path, _ in hub.requests}
    files = hub.downloaded()
    assert files.count(FLAX) == 2  # of the bundle and of the repository: once each
    assert files.count("prismaudio.ckpt") == 1


def test_features_are_extracted_with_the_encoders_of_the_model(environment, tmp_path):
    (tmp_path / "clips.csv").write_text("video,caption\nclip.mp4,a dog\n")
    words = ("--model", NAMES[0], "--device", "cpu")
    (answer,) = run_commands(environment, tmp_path, ("extract", "clips.csv", "-o", "features", *words))
    assert answer[0] == 0, answer
    (shard,) = (tmp_path / "features").rglob("*.safetensors")
    shapes = {key.rpartition("/")[2]: tuple(value.shape) for key, value in load_file(shard).items()}
    found = {stream: shape for key, shape in shapes.items() for stream in DIMS if stream in key}
    assert found.keys() == DIMS.keys(), shapes
    assert {stream: shape[-1] for stream, shape in found.items()} == DIMS


def test_an_encoder_of_another_size_is_refused(encoders, environment, tmp_path):
    sync, _, _ = encoders
    write_files(layout(NAMES[0], DIMS | {"sync": 32}, sync), tmp_path / "published")
    (answer,) = run_commands(environment, tmp_path, generate("published", "out"))
    assert answer[0] == 2
    assert "the sync_encoder computes sync features of dim 24, but the transformer expects 32" in answer[2]
    assert not (tmp_path / "out").exists()


def test_what_needs_no_encoder_does_not_load_them(encoders, tmp_path):
    write_files(layout(NAMES[0], DIMS, encoders[0]), tmp_path / "published")
    (tmp_path / "published" / "synchformer_state_dict.pth").write_bytes(b"broken")
    factories = find(tmp_path / "published").factories()
    assert {"transformer", "autoencoder", "video_encoder", "sync_encoder"} <= factories.keys()
    assert factories["transformer"]().config["depth"] == 2
