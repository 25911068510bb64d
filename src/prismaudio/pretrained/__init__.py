"""Pretrained models, installed, on disk or on the hub: model folders, and published checkpoints in their layouts."""

from __future__ import annotations

import functools
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from prismaudio.components import Pretrained
from prismaudio.downloads import is_repository
from prismaudio.encoders.base import as_components, by_stream
from prismaudio.errors import CheckpointError
from prismaudio.paths import expanded
from prismaudio.pretrained.download import download
from prismaudio.pretrained.layouts import ENCODERS, LAYOUTS, ModelFiles, recognise
from prismaudio.registry import Registry, discover, plugin_folders

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from prismaudio.models.dit import DiffusionTransformer

NEEDED = ("transformer", "autoencoder")
_REPLACEMENT: ContextVar[Callable[[str], dict[str, Any]] | None] = ContextVar("replacement", default=None)


def load(source: str | Path | None = None, revision: str | None = None) -> tuple[dict[str, Any], str]:
    """Load the components of a model and its identifier, ``name@hash``.

    Args:
        source: The name of an installed model, a folder in a known layout, the name of a model on the Hugging Face hub
            (``owner/model``), or None for the only installed model.
        revision: Branch, tag or commit on the hub.

    Raises:
        CheckpointError: There is no such model, or it is damaged or incomplete.
    """
    model = find(source, revision)
    components = model.load()
    check_complete(model.folder, components)
    check_sizes(model.folder, components)
    return components, f"{model.name}@{model.hash}"


def outlines(model: ModelFiles) -> tuple[dict[str, Any], dict[str, Callable[[], Any]]]:
    """The components of a model without their weights, and a function for each that loads it with its weights.

    Raises:
        CheckpointError: The model is damaged or incomplete; a damaged encoder of a published checkpoint raises it when
            it is loaded.
    """
    factories = model.factories()
    check_complete(model.folder, factories)
    found = {name: factory.outline() for name, factory in factories.items()}
    core = {name: found[name] for name in NEEDED}
    check_sizes(model.folder, core)

    def load(name: str) -> Any:
        component = factories[name]()
        check_sizes(model.folder, {**core, name: component})
        return component

    return found, {name: functools.partial(load, name) for name in factories}


def check_complete(folder: Path, components: Collection[str]) -> None:
    """Check that a model can generate.

    Raises:
        CheckpointError: It has no transformer or no autoencoder.
    """
    if missing := [name for name in NEEDED if name not in components]:
        raise CheckpointError(
            f"{folder} is not a complete model: it lacks {' and '.join(missing)}; train the remaining stages, or "
            "run prismaudio convert with all files of the model, the autoencoder with --vae"
        )


def load_parts(source: str | Path) -> dict[str, Any]:
    """Load the components of a model, complete or not; see :func:`load`."""
    replacement = _REPLACEMENT.get()
    return find(source).load() if replacement is None else replacement(str(source))


def outline_parts(source: str | Path) -> dict[str, Any]:
    """The components of a model, complete or not, without their weights; nothing is downloaded.

    Raises:
        CheckpointError: There is no such model on this machine, or it is damaged.
    """
    if not expanded(source).exists() and str(source) not in discover().names("models"):
        raise CheckpointError(f"there is no model at {source}")
    return {name: factory.outline() for name, factory in find(source).factories().items()}


@contextmanager
def loading_with(function: Callable[[str], dict[str, Any]]) -> Iterator[None]:
    """Context in which :func:`load_parts` calls a function, such as one that loads no weights."""
    token = _REPLACEMENT.set(function)
    try:
        yield
    finally:
        _REPLACEMENT.reset(token)


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
            f"no model is installed; in a clone run: pip install {' '.join(plugin_folders('prismaudio-studio'))}, "
            "from an index: pip install 'prismaudio[studio]', or give a model folder with --model DIR"
        )
    if len(names) > 1:
        raise CheckpointError(f"{len(names)} models are installed: {', '.join(names)}; select one with --model NAME")
    return names[0]


def find(source: str | Path | None = None, revision: str | None = None) -> ModelFiles:
    """The files of a model; a model on the hub is downloaded, or read from the cache.

    Args:
        source: See :func:`load`.
        revision: Branch, tag or commit on the hub.

    Raises:
        CheckpointError: There is no such model, or a file is missing.
    """
    source = installed_model() if source is None else source
    name, registry = str(source), discover()
    if isinstance(source, str) and source in registry.names("models"):
        item = registry.find("models", source).item
        source = item.source if isinstance(item, Pretrained) else source
    folder = expanded(source)
    if folder.is_dir():
        if revision is not None:
            raise CheckpointError(f"{source} is a folder; the revision {revision} applies to models on the hub only")
    elif folder.is_file():
        raise CheckpointError(
            f"{source} is a file; expected a model folder: run prismaudio convert {source} FOLDER and give that folder"
        )
    elif not is_repository(str(source)):
        installed = ", ".join(registry.names("models")) or "none"
        raise CheckpointError(
            f"no model at {source}; expected an installed one ({installed}), a model folder, or owner/model on the hub"
        )
    else:
        folder = download(str(source), revision)
    return ModelFiles(name, folder, recognise(folder, lambda path: (folder / path).is_file()))


def local_files(source: str | Path | None) -> list[Path]:
    """Paths that files of a model may have if it is a folder, for commands that must not overwrite them."""
    folder = expanded(source or "")
    return [folder / path for layout in LAYOUTS for path in layout.places] if source else []


def check_encoders(transformer: DiffusionTransformer, present: Mapping[str, Any]) -> None:
    """Check that there is an encoder for every stream of a transformer.

    Raises:
        CheckpointError: An encoder is missing; the message gives the plugin that provides it.
    """
    if lacking := missing_encoders({"transformer": transformer, **as_components(present)}):
        raise CheckpointError(
            f"this model has no encoder for {lacking}; install the plugins in brackets, which have the encoders of the "
            "published model, and, if this is a model folder, convert its checkpoint again; or add encoders to "
            "model.encoders, or pass precomputed features to PrismAudio.render_features"
        )


def missing_encoders(components: Mapping[str, Any]) -> str:
    """The streams of a model without an encoder, with the plugins that provide one; empty if there are none."""
    present = by_stream(components)
    lacking = [stream for stream in components["transformer"].conditioners if stream not in present]
    published = {stream: Registry.provider(kind) for stream, kind in by_stream(ENCODERS).items()}
    return ", ".join(f"{stream} ({published[stream]})" if stream in published else stream for stream in lacking)
