"""Sound from features that were computed before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from prismaudio.errors import CheckpointError, DataError, PlanError, PrismAudioError
from prismaudio.inference import PrismAudio
from prismaudio.pretrained.importing import import_published
from prismaudio.samplers.guidance import guided_velocity
from prismaudio.types import Clip, Conditions, Features
from prismaudio.weight_files import below

DATA = Path(__file__).parents[1] / "golden" / "data"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A small model of the published architecture, without encoders and planner."""
    weights = below(load_file(DATA / "dit_a.safetensors"), "w/")
    codec = below(load_file(DATA / "vae_a.safetensors"), "w/")
    path = tmp_path_factory.mktemp("published") / "prismaudio.ckpt"
    torch.save(weights | {f"pretransform.model.{key}": value for key, value in codec.items()}, path)
    parts = import_published(path)
    return PrismAudio(parts["transformer"], parts["autoencoder"], {}, None, parts["sampler"], parts["settings"])


def features(batch: int = 1, video: int = 4, sync: int = 24, text: int = 5) -> Conditions:
    generator = torch.Generator().manual_seed(0)

    def stream(length: int, width: int) -> Features:
        rows = torch.randn(batch, length, width, generator=generator)
        return Features.pad(list(rows))

    return Conditions(video=stream(video, 32), sync=stream(sync, 24), text=stream(text, 48))


@pytest.mark.parametrize("duration_s", [0.5, 0.77, 2.0, 9.0])
def test_any_length_in_one_pass(published, duration_s):
    (audio,) = published.render_features(features(), duration_s, steps=1)
    assert audio.shape == (2, round(duration_s * 44_100))
    assert audio.abs().max() > 0


def test_it_is_the_velocity_the_sampler_and_the_decoder(published):
    given, frames = features(), 22  # ceil(44100 / 2048)
    (audio,) = published.render_features(given, 1.0, [3], steps=4)
    noise = torch.randn(8, frames, generator=torch.Generator().manual_seed(3))[None]
    with torch.inference_mode():
        latents, velocity = noise, guided_velocity(published.transformer, given, frames, 5.0)
        for step in range(4):
            latents = latents - velocity(latents, torch.tensor([1 - step / 4])) / 4
        sound = published.autoencoder.decode(latents)[0, :, :44_100]
    sound = sound * audio.abs().max() / sound.abs().max()  # louder sound is lowered
    assert torch.nn.functional.cosine_similarity(sound.flatten(), audio.flatten(), 0) > 0.98


def test_a_batch_is_its_samples_and_streams_may_be_missing(published):
    both = features(2)
    together = published.render_features(both, 0.5, [1, 2], steps=2)
    for row, audio in enumerate(together):
        (alone,) = published.render_features(both.index(torch.tensor([row])), 0.5, [row + 1], steps=2)
        assert torch.allclose(alone, audio, atol=1e-4)
    (text_only,) = published.render_features(Conditions(text=both.index(torch.tensor([0]))["text"]), 0.5, [1], steps=2)
    assert not torch.allclose(text_only, together[0], atol=1e-3)
    (negative,) = published.render_features(
        both.index(torch.tensor([0])), 0.5, [1], steps=2, negative=Conditions(text=features(text=3)["text"])
    )
    assert not torch.allclose(negative, together[0], atol=1e-3)


def test_published_npz_files(published, tmp_path):
    given = features()
    arrays = {f"{name}_features": stream.values[0].numpy() for name, stream in given.items()}
    np.savez(tmp_path / "clip.npz", id=np.array("clip"), latent=np.zeros((8, 11), np.float32), **arrays)
    (from_file,) = published.render_features(tmp_path / "clip.npz", 0.5, steps=1)
    assert torch.equal(from_file, published.render_features(given, 0.5, steps=1)[0])
    np.savez(tmp_path / "empty.npz", id=np.array("clip"))
    for path in (tmp_path / "none.npz", tmp_path / "empty.npz", __file__):
        with pytest.raises(DataError):
            published.render_features(path, 0.5)


def wide(values):
    return Conditions(text=Features.pad([values]))


@pytest.mark.parametrize(
    ("given", "duration_s", "seeds", "words"),
    [
        (wide(torch.ones(3, 7)), 1.0, [0], "have dim 7, but this model expects 48"),
        (Conditions(plan=Features.pad([torch.ones(3, 7)])), 1.0, [0], "has no stream 'plan'"),
        (wide(torch.full((3, 48), torch.nan)), 1.0, [0], "NaN"),
        (wide(torch.ones(3, 48)), 1.0, [0, 1], "have 1 samples, but there are 2 seeds"),
        (wide(torch.ones(3, 48)), 0.0, [0], "out of range"),
    ],
)
def test_what_cannot_be_rendered(published, given, duration_s, seeds, words):
    with pytest.raises(PrismAudioError, match=words):
        published.render_features(given, duration_s, seeds)


def test_without_encoders_and_planner(published, tiny_model):
    with pytest.raises(CheckpointError, match=r"video \(prismaudio-videoprism\), .*render_features"):
        published.generate(prompt="a bell", duration_s=1.0)
    with pytest.raises(CheckpointError, match="no encoder for"):
        published.render([Clip("a", 1.0)], [published.read_plan("<Semantic> A bell.")], [0])
    parts = (tiny_model.transformer, tiny_model.autoencoder, tiny_model.encoders)
    with pytest.raises(PlanError, match="no planner"):
        PrismAudio(*parts).plan(Clip("a", 1.0, torch.zeros(16, 3, 48, 48, dtype=torch.uint8), 16.0))


def test_a_model_without_a_window_renders_clips_of_any_length(tiny_model):
    from prismaudio.inference import Settings

    model = PrismAudio(
        tiny_model.transformer, tiny_model.autoencoder, tiny_model.encoders, None, tiny_model.sampler, Settings(None)
    )
    plan = model.read_plan("<Semantic> A bell. <Temporal> The bell sounds at 0.50 s.")
    clips = [Clip("a", 1.0), Clip("b", 5.3), Clip("c", 1.0)]
    together = model.render(clips, [plan] * 3, [0, 1, 2])
    assert [audio.shape[1] for audio in together] == [16_000, round(5.3 * 16_000), 16_000]
    assert torch.allclose(model.render(clips[2:], [plan], [2])[0], together[2], atol=2e-3)


@pytest.mark.parametrize("text", [np.ones(48), np.ones((2, 5, 48)), np.full((5, 48), "a")])
def test_a_file_of_something_else(published, tmp_path, text):
    np.savez(tmp_path / "clip.npz", text_features=text)
    with pytest.raises(DataError, match=r"expected two dimensions|expected numbers"):
        published.render_features(tmp_path / "clip.npz", 1.0)


def test_guidance_is_a_number(published):
    with pytest.raises(PrismAudioError, match=r"guidance of nan .* expected finite numbers"):
        published.render_features(features(), 1.0, steps=1, guidance=float("nan"))
