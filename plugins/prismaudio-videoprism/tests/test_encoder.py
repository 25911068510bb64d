"""The encoder: its frames, its place in a model folder, and embeddings of clips and texts."""

import json
from dataclasses import replace

import pytest
import torch

from prismaudio.checkpoints import load_components, loadable, save_components
from prismaudio.components import Component
from prismaudio.errors import CheckpointError, MediaError
from prismaudio.plan import Plan
from prismaudio.testing import check_encoder
from prismaudio.testing.examples import example_clip
from prismaudio.types import Clip
from prismaudio_videoprism.encoder import VideoPrismEncoder
from prismaudio_videoprism.frames import squared
from prismaudio_videoprism.retrieval import VideoTextEmbedder

TINY = {
    "image_size": 36, "num_frames": 4, "dim": 32, "num_heads": 2, "mlp_dim": 64, "num_spatial_layers": 1,
    "num_temporal_layers": 1, "num_auxiliary_layers": 1,
}  # fmt: skip


def test_it_keeps_the_contract(flax):
    check_encoder(VideoPrismEncoder(str(flax)), clip=example_clip(2.0))


def test_embeddings_are_those_of_the_golden_file(flax, golden):
    frames = torch.as_tensor(golden["in/frames_uint8"])[0].permute(0, 3, 1, 2)
    found = VideoPrismEncoder(str(flax)).encode(Clip("a", 2.75, frames, 4.0), Plan({}))
    torch.testing.assert_close(found, torch.as_tensor(golden["out/frame_embeddings"])[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("duration_s", "count"), [(9.0, 36), (2.6, 10), (0.1, 1)])
def test_there_are_four_frames_a_second(duration_s, count):
    frames = torch.arange(round(duration_s * 25) or 1)
    found = Clip("a", duration_s, frames, 25.0).frames_at(4.0)
    assert len(found) == count
    assert (found - torch.arange(count) * 6.25).abs().max() <= 0.5


def test_frames_are_padded_to_squares():
    wide = torch.full((1, 3, 40, 80), 255, dtype=torch.uint8)
    found = squared(wide, 20)
    assert found[0, 0, :4].max() == 0
    assert found[0, 0, 6:14].min() == 1
    assert found.shape == (1, 3, 20, 20)
    whole = torch.randint(0, 255, (2, 3, 20, 20), dtype=torch.uint8)
    assert torch.equal(squared(whole, 20), whole.float() / 255)


def test_a_model_folder_holds_its_weights(tmp_path, monkeypatch):
    torch.manual_seed(0)
    encoder, clip = VideoPrismEncoder("random", sizes=TINY), example_clip(1.0)
    save_components(tmp_path / "model", {"video_encoder": encoder})
    named = loadable([("encoders", Component("prismaudio_videoprism.encoder:VideoPrismEncoder", ""))])
    again = load_components(tmp_path / "model", named)["video_encoder"]
    assert torch.equal(again.encode(clip, Plan({})), encoder.encode(clip, Plan({})))
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["components"]["video_encoder"]["arguments"]["sizes"]["dim"] == 32


def test_missing_weights_are_reported():
    with pytest.raises(CheckpointError, match="has no weights yet"):
        VideoPrismEncoder("", sizes=TINY).encode(example_clip(1.0), Plan({}))


def test_a_clip_without_frames_has_no_features(flax):
    assert VideoPrismEncoder(str(flax)).encode(Clip("a", 1.0), Plan({})).shape == (0, 48)


def test_batches_do_not_change_the_embeddings(flax):
    encoder = VideoPrismEncoder(str(flax))
    clips = [example_clip(duration_s) for duration_s in (1.0, 2.0, 1.0)]
    clips = [replace(clip, frames=torch.roll(clip.frames, 9 * shift, -1)) for shift, clip in enumerate(clips)]
    clips.append(Clip("d", 1.0))
    together = encoder.encode_batch(clips, [Plan({})] * 4)
    assert [len(features) for features in together] == [4, 8, 4, 0]
    for clip, features in zip(clips, together, strict=True):
        torch.testing.assert_close(features, encoder.encode(clip, Plan({})), atol=1e-5, rtol=1e-5)


def test_eager_attention_and_bfloat16_compute_the_same_embeddings(flax):
    clip, plan = example_clip(3.0), Plan({})
    blocks = VideoPrismEncoder(str(flax)).encode(clip, plan)
    eager = VideoPrismEncoder(str(flax), **VideoPrismEncoder.plain).encode(clip, plan)
    torch.testing.assert_close(blocks, eager, atol=1e-5, rtol=0)
    halved = VideoPrismEncoder(str(flax), precision="bf16").encode(clip, plan)
    assert halved.dtype == torch.float32
    assert not torch.equal(halved, blocks)
    assert (halved * blocks).sum(-1).min() > 0.999


@pytest.fixture
def tokenizer(tmp_path):
    """A tokenizer of words."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(
        models.WordLevel({word: i + 1 for i, word in enumerate(("a", "dog", "barks.", "?"))}, unk_token="?")
    )
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_clips_and_texts_are_embedded(flax, tokenizer, golden):
    embedder = VideoTextEmbedder(str(flax), str(tokenizer))
    frames = torch.as_tensor(golden["in/frames_uint8"])[0].permute(0, 3, 1, 2)
    clip = embedder.embed_clip(Clip("a", 2.75, frames, 4.0))
    torch.testing.assert_close(clip, torch.as_tensor(golden["out/video_embedding"])[0], atol=1e-5, rtol=0)
    one, same, other = (embedder.embed_text(text) for text in ("A dog barks", "a dog, barks!", "A dog"))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.norm().item() == pytest.approx(1)
    with pytest.raises(MediaError, match="no frames"):
        embedder.embed_clip(Clip("a", 1.0))
    with pytest.raises(CheckpointError, match="without a tokenizer"):
        VideoTextEmbedder(str(flax)).embed_text("A dog")
    with pytest.raises(CheckpointError, match="is no tokenizer"):
        VideoTextEmbedder(str(flax), str(flax))
