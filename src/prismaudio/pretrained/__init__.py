"""Pretrained models, installed, on disk or on the hub: folders with ``config.json`` and ``model.safetensors``."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prismaudio.checkpoints import load_components, loadable
from prismaudio.components import Pretrained
from prismaudio.encoders.base import by_stream
from prismaudio.errors import CheckpointError, one_line
from prismaudio.paths import expanded
from prismaudio.registry import discover

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prismaudio.models.dit import DiffusionTransformer

NEEDED = ("transformer", "autoencoder")
FILES = ("config.json", "model.safetensors")
PLUGINS = {"video": "prismaudio-videoprism", "sync": "prismaudio-synchformer", "text": "prismaudio-t5gemma"}
"""The plugins that provide the encoders of the published model, by stream."""


def load(source: str | Path | None = None, revision: str | None = None) -> tuple[dict[str, Any], str]:
    """Load the components of a model and its identifier, ``name@hash``.

    Args:
        source: The name of an installed model, a folder, the name of a model on the Hugging Face hub
            (``owner/model``), or None for the only installed model.
        revision: Branch, tag or commit on the hub.

    Raises:
        CheckpointError: There is no such model, or it is damaged or incomplete.
    """
    source = installed_model() if source is None else source
    folder = find_folder(source, revision)
    components = load_parts(folder)
    missing = [name for name in NEEDED if name not in components]
    if missing:
        raise CheckpointError(
            f"{folder} is not a complete model: it lacks {' and '.join(missing)}; train the remaining stages, or run "
            "prismaudio convert with all files of the model, the autoencoder with --vae"
        )
    check_sizes(folder, components)
    return components, f"{source}@{folder_hash(folder)}"


def load_parts(folder: Path) -> dict[str, Any]:
    """Load the components of a folder, complete or not, of classes that hooks of the core or of plugins list."""
    return load_components(folder, loadable(discover().components()))


def check_sizes(folder: Path, components: Mapping[str, Any]) -> None:
    """Check that the components of a model match.

    Raises:
        CheckpointError: The channels of latents or the dim of features differ between components.
    """
    transformer, codec = components["transformer"], components["autoencoder"]
    sizes = {"latents": (codec.channels, transformer.latent_channels, "autoencoder")}
    for stream, encoder in by_stream(components).items():
        if stream in transformer.streams:
            sizes[f"{stream} features"] = (encoder.dim, transformer.streams[stream].dim, f"{stream}_encoder")
    for what, (given, expected, part) in sizes.items():
        if given != expected:
            raise CheckpointError(
                f"{folder}: the {part} computes {what} of dim {given}, but the transformer expects {expected}; use "
                "components of the same model"
            )


def installed_model() -> str:
    """The name of the only installed model.

    Raises:
        CheckpointError: No model is installed, or more than one.
    """
    names = discover().names("models")
    if not names:
        raise CheckpointError(
            "no model is installed; in a clone run: pip install plugins/prismaudio-studio, from an index: "
            "pip install 'prismaudio[studio]', or give a model folder with --model DIR"
        )
    if len(names) > 1:
        raise CheckpointError(f"{len(names)} models are installed: {', '.join(names)}; select one with --model NAME")
    return names[0]


def find_folder(source: str | Path | None, revision: str | None = None) -> Path:
    """The folder of a model; a model on the hub is downloaded, or read from the cache.

    Args:
        source: See :func:`load`.
        revision: Branch, tag or commit on the hub.
    """
    source = installed_model() if source is None else source
    registry = discover()
    if isinstance(source, str) and source in registry.names("models"):
        item = registry.find("models", source).item
        source = item.source if isinstance(item, Pretrained) else source
    folder = expanded(source)
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise CheckpointError(
            f"{source} is a file; expected a model folder: run prismaudio convert {source} FOLDER and give that folder"
        )
    if not _HUB_NAME.fullmatch(str(source)):
        installed = ", ".join(registry.names("models")) or "none"
        raise CheckpointError(
            f"no model at {source}; expected an installed one ({installed}), a folder with config.json, or owner/model "
            "on the hub"
        )
    return _download(str(source), revision)


_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def _download(name: str, revision: str | None) -> Path:
    """Download the two files of a model on the hub; return their folder in the cache."""
    from huggingface_hub import errors, snapshot_download  # only needed for models on the hub

    at = f"{name} (revision {revision})" if revision else name
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(FILES)))
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(f"{name} on the hub has no revision {revision}; leave it out for the newest") from error
    except errors.GatedRepoError as error:
        raise CheckpointError(
            f"{name} on the hub is gated; ask for access on its page, and log in: hf auth login"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(
            f"no folder {name}, and no such model on the hub, or it is private: hf auth login"
        ) from error
    except Exception as error:  # without a network the client raises errors of many libraries
        raise CheckpointError(
            f"no folder {name}, and the hub cannot be reached for {at} ({one_line(error, 120)}); get "
            f"{' and '.join(FILES)} of huggingface.co/{name} elsewhere, put them into a folder, and name that folder"
        ) from error


def check_encoders(transformer: DiffusionTransformer, present: Mapping[str, Any]) -> None:
    """Check that there is an encoder for every stream of a transformer.

    Raises:
        CheckpointError: An encoder is missing; the message gives the plugin that provides it.
    """
    lacking = [stream for stream in transformer.conditioners if stream not in present]
    if lacking:
        named = ", ".join(f"{stream} ({PLUGINS[stream]})" if stream in PLUGINS else stream for stream in lacking)
        raise CheckpointError(
            f"this model has no encoder for {named}; install the plugins in brackets and add their encoders to "
            "model.encoders, or pass precomputed features to PrismAudio.render_features"
        )


def folder_hash(folder: Path) -> str:
    """The first 12 hexadecimal digits of a SHA-256 hash of a model's files."""
    digest = hashlib.sha256()
    for name in FILES:
        with (folder / name).open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()[:12]
