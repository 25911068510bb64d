"""Upload of models to the Hugging Face hub; :mod:`prismaudio.pretrained` downloads them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from prismaudio import __version__
from prismaudio.checkpoints import save_components
from prismaudio.errors import CheckpointError, one_line

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

CARD = """\
---
library_name: prismaudio
pipeline_tag: video-to-audio
tags: [prismaudio, video-to-audio, flow-matching]
---
# {title}

A video-to-audio model for [PrismAudio](https://pypi.org/project/prismaudio/) {version}.

```python
from prismaudio import PrismAudio

model = PrismAudio.from_pretrained("{repository}")
model.generate("clip.mp4").save("clip_with_sound.mp4")
```

| | |
|---|---|
| Parameters | {parameters:,} in the transformer, {codec_parameters:,} in the autoencoder |
| Audio | stereo, {sample_rate_hz} Hz, latents at {latent_hz:.1f} Hz |
| Conditions | {streams} |
| Sampling | {sampler}, guidance {guidance:g} |

Describe here the training data, the evaluation results and the licence.
"""


def push(parts: Mapping[str, Any], repository: str, half: Collection[str] = (), *, private: bool = False) -> str:
    """See :meth:`prismaudio.PrismAudio.push_to_hub`.

    Args:
        parts: The components of the model, by their names in a model folder.
        repository: ``owner/model``.
        half: Names of the components whose weights are stored in half precision.
        private: Whether a new repository is private.
    """
    from huggingface_hub import HfApi

    api = HfApi(library_name="prismaudio", library_version=__version__)
    with tempfile.TemporaryDirectory() as folder:
        save_components(Path(folder), parts, half)
        card = Path(folder) / "README.md"
        card.write_text(card_text(parts, repository), encoding="utf-8")
        try:
            api.create_repo(repository, private=private, exist_ok=True)
            if api.file_exists(repository, card.name):  # keep an existing model card
                card.unlink()
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload a PrismAudio model")
        except Exception as error:  # the client raises errors of many libraries
            raise CheckpointError(
                f"cannot upload {repository} to the hub: {one_line(error, 200)}; log in with: hf auth login"
            ) from error
    return f"https://huggingface.co/{repository}"


def card_text(parts: Mapping[str, Any], repository: str) -> str:
    """The model card of a model."""
    codec, transformer = parts["autoencoder"], parts["transformer"]
    return CARD.format(
        title=repository.rpartition("/")[2],
        repository=repository,
        version=__version__,
        parameters=sum(weight.numel() for weight in transformer.parameters()),
        codec_parameters=sum(weight.numel() for weight in codec.parameters()),
        sample_rate_hz=codec.sample_rate_hz,
        latent_hz=codec.sample_rate_hz / codec.hop,
        streams=", ".join(transformer.conditioners),
        sampler=type(parts["sampler"]).__name__,
        guidance=parts["settings"].guidance.scale,
    )
