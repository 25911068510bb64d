"""Embeddings of clips and texts."""

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModel

from prismaudio.errors import CheckpointError, MediaError
from prismaudio.types import Clip
from prismaudio_clip.frames import prepared, read_preprocessing
from prismaudio_clip.retrieval import VideoTextEmbedder

FILM = Clip("a", 2.0, torch.randint(0, 255, (8, 3, 40, 50), dtype=torch.uint8), 4.0)
IDS = {"clip": [0, 2, 3, 4, 11], "xclip": [0, 2, 3, 4, 11], "siglip": [2, 3, 4, 1, 1, 1, 1, 1]}


@pytest.mark.parametrize("kind", ["clip", "siglip", "xclip"])
def test_texts_and_clips_are_embedded_as_by_transformers(folders, kind):
    embedder, network = VideoTextEmbedder(str(folders / kind)), AutoModel.from_pretrained(folders / kind)
    pixels = prepared(FILM.frames, read_preprocessing(folders / kind))
    with torch.no_grad():
        text = network.get_text_features(input_ids=torch.tensor([IDS[kind]])).pooler_output[0]
        if kind == "xclip":
            video = network.get_video_features(pixel_values=pixels.view(2, 4, 3, 32, 32)).pooler_output.mean(0)
        else:
            video = F.normalize(network.get_image_features(pixel_values=pixels).pooler_output, dim=-1).mean(0)
    found = embedder.embed_text("A dog barks")
    torch.testing.assert_close(found, F.normalize(text, dim=0), atol=1e-5, rtol=0)
    torch.testing.assert_close(embedder.embed_clip(FILM), F.normalize(video, dim=0), atol=1e-5, rtol=0)
    assert not torch.allclose(embedder.embed_text("A dog barks twice"), found)
    assert embedder.embed_text("dog " * 50).norm().item() == pytest.approx(1)
    with pytest.raises(MediaError, match="no frames"):
        embedder.embed_clip(Clip("b", 1.0))


def test_siglip_reads_lower_case_without_punctuation(folders):
    embedder = VideoTextEmbedder(str(folders / "siglip"))
    assert torch.equal(embedder.embed_text("A dog, barks!"), embedder.embed_text("a dog barks"))


def test_a_tokenizer_is_needed(folders, tmp_path):
    for path in (folders / "clip").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is not a tokenizer"):
        VideoTextEmbedder(str(tmp_path))
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no tokenizer\.json"):
        VideoTextEmbedder(str(tmp_path))
