"""Models on disk and on a hub: a folder with ``config.json`` and ``model.safetensors``."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import prismaudio
from prismaudio.checkpoints import load_components
from prismaudio.errors import CheckpointError
from prismaudio.registry import discover

if TYPE_CHECKING:
    from collections.abc import Mapping

EMBEDDED = Path(prismaudio.__file__).with_name("embedded")
"""The model that comes with the package."""
NEEDED = ("transformer", "autoencoder", "planner")
_ENCODER = "_encoder"


def load(source: str | Path | None = None) -> tuple[dict[str, Any], str]:
    """Components of a model, and the name that says which one it is.

    Args:
        source: A folder, the name of a model on the Hugging Face hub (``owner/model``), or None for the embedded one.

    Raises:
        CheckpointError: There is no such model, or it is damaged or incomplete.
    """
    folder = find(source)
    packages = {
        "prismaudio",
        *(plugin.module.partition(".")[0] for plugin in discover().plugins if plugin.status == "ok"),
    }
    components = load_components(folder, packages)
    missing = [name for name in NEEDED if name not in components]
    if missing or not encoders(components):
        lacks = ", ".join([*missing, *(["encoders"] if not encoders(components) else [])])
        raise CheckpointError(f"{folder} is not a whole model: it lacks {lacks}; train the remaining stages")
    return components, f"{'embedded' if source is None else source}@{fingerprint(folder)}"


def find(source: str | Path | None) -> Path:
    """The folder of a model; one on the hub is downloaded, or taken from the cache."""
    if source is None:
        if not (EMBEDDED / "config.json").exists():
            raise CheckpointError("this installation has no embedded model; name a model folder with --model DIR")
        return EMBEDDED
    folder = Path(source).expanduser()
    if folder.exists() or str(source).count("/") != 1 or str(source).startswith((".", "~", "/")):
        if not folder.is_dir():
            raise CheckpointError(
                f"no model at {source}; expected a folder with config.json, or owner/model on the hub"
            )
        return folder
    from huggingface_hub import snapshot_download  # only needed for models of a hub

    try:
        return Path(snapshot_download(str(source), allow_patterns=["config.json", "model.safetensors"]))
    except Exception as error:  # the hub's client raises errors of many libraries
        text = " ".join(str(error).split())[:200]
        raise CheckpointError(f"no folder {source}, and the hub does not give that model: {text}") from error


def encoders(components: Mapping[str, Any]) -> dict[str, Any]:
    """The encoders among components, by stream.

    Example:
        >>> encoders({"text_encoder": 1, "planner": 2})
        {'text': 1}
    """
    return {name.removesuffix(_ENCODER): part for name, part in components.items() if name.endswith(_ENCODER)}


def named(streams: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`encoders`."""
    return {f"{stream}{_ENCODER}": encoder for stream, encoder in streams.items()}


def fingerprint(folder: Path) -> str:
    """Twelve letters that differ between models."""
    digest = hashlib.sha256()
    for name in ("config.json", "model.safetensors"):
        with (folder / name).open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()[:12]
