"""Upload of models to a hub, without a network: the hub's client is replaced."""

from __future__ import annotations

import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch

from prismaudio.errors import CheckpointError
from prismaudio.inference import PrismAudio


class Hub:
    """What of the client is used, on a folder."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def create_repo(self, repository, *, private, exist_ok):
        if repository.startswith("nobody/"):
            raise ConnectionError("401\nnot logged in")
        (self.folder / repository).mkdir(parents=True, exist_ok=exist_ok)

    def file_exists(self, repository, name):
        return (self.folder / repository / name).exists()

    def upload_folder(self, *, repo_id, folder_path, commit_message):
        shutil.copytree(folder_path, self.folder / repo_id, dirs_exist_ok=True)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    hub = Hub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda **said: hub)
    monkeypatch.chdir(tmp_path)
    return hub


def test_a_model_is_pushed_and_comes_back(hub, tiny_model):
    assert tiny_model.push_to_hub("me/bells", half=["transformer"]) == "https://huggingface.co/me/bells"
    files = sorted(path.name for path in (hub.folder / "me/bells").iterdir())
    assert files == ["README.md", "config.json", "model.safetensors"]
    card = (hub.folder / "me/bells/README.md").read_text()
    assert card.startswith("---\nlibrary_name: prismaudio\n")
    assert 'from_pretrained("me/bells")' in card
    assert "video, text" in card
    again = PrismAudio.from_pretrained(hub.folder / "me/bells")
    weight, other = (model.transformer.project_in.weight for model in (again, tiny_model))
    assert torch.equal(weight, other.half().float())


def test_a_page_that_somebody_wrote_is_kept(hub, tiny_model):
    tiny_model.push_to_hub("me/bells")
    (hub.folder / "me/bells/README.md").write_text("mine")
    tiny_model.push_to_hub("me/bells")
    assert (hub.folder / "me/bells/README.md").read_text() == "mine"


def test_what_the_hub_does_not_take(hub, tiny_model):
    with pytest.raises(CheckpointError, match="cannot upload nobody/x to the hub: 401 not logged in"):
        tiny_model.push_to_hub("nobody/x")
