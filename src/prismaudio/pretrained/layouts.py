"""Layouts of models: which files a model consists of, and which component each of them holds."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prismaudio.checkpoints import component_factories, loadable
from prismaudio.errors import CheckpointError
from prismaudio.pretrained.importing import published_factories
from prismaudio.registry import discover

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


@dataclass(frozen=True, eq=False)
class Layout:
    """The files of a model.

    Args:
        name: Its name in messages.
        transformer: The file with the transformer, by which the layout is recognised.
        parts: Files of the other components by component; that with the weights first, several of them in a folder of
            their own.
        subfolder: Folder in which the files without a folder of their own may be.
    """

    name: str
    transformer: str
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    subfolder: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """Relative paths of all files; those of the subfolder without it."""
        return (*(file for files in self.parts.values() for file in files), self.transformer)

    def found(self, has: Callable[[str], bool]) -> dict[str, str]:
        """The files that exist: their relative paths by their path in :attr:`files`.

        Args:
            has: Whether there is a file of a relative path.
        """
        places = {file: next(filter(has, self._places(file)), None) for file in self.files}
        return {file: path for file, path in places.items() if path is not None}

    @property
    def places(self) -> tuple[str, ...]:
        """All relative paths at which the files may be."""
        return tuple(path for file in self.files for path in self._places(file))

    def _places(self, file: str) -> tuple[str, ...]:
        return (f"{self.subfolder}/{file}", file) if self.subfolder and "/" not in file else (file,)

    def __str__(self) -> str:
        shown = [self.transformer, *(files[0] for files in self.parts.values())]
        return f"{self.name} ({', '.join(shown)})"


MODEL_FOLDER = Layout("a model folder", "model.safetensors", {"config": ("config.json",)})
"""The layout of :func:`prismaudio.checkpoints.save_components`."""
_T5GEMMA = tuple(f"t5gemma-l-l-ul2-it/{name}" for name in ("model.safetensors", "config.json", "tokenizer.json"))
LAYOUTS = (
    MODEL_FOLDER,
    Layout(
        "FunAudioLLM/PrismAudio",
        "prismaudio.ckpt",
        {"autoencoder": ("vae.ckpt",), "sync_encoder": ("synchformer_state_dict.pth",)},
    ),
    Layout(
        "DeepBeepMeep/prismaudio",
        "prismaudio_bf16.safetensors",
        {
            "autoencoder": ("prismaudio_vae_bf16.safetensors",),
            "sync_encoder": ("prismaudio_synchformer_bf16.safetensors",),
            "video_encoder": ("videoprism-lvt-large-f8r288/flax_lvt_large_f8r288_repeated.npz",),
            "text_encoder": _T5GEMMA,
        },
        "prismaudio",
    ),
    Layout(
        "AEmotionStudio/prismaudio-models",
        "prismaudio.safetensors",
        {"autoencoder": ("vae.safetensors",), "sync_encoder": ("synchformer_state_dict.safetensors",)},
    ),
)
"""The layouts that are recognised: our own, and those of the published model on the Hugging Face hub."""
ENCODERS = {
    "video_encoder": "VideoPrismEncoder",
    "sync_encoder": "SynchformerEncoder",
    "text_encoder": "T5GemmaEncoder",
}
"""Encoders of the published model by component; one without a file in a layout has a default source of its own."""


def recognise(where: object, has: Callable[[str], bool]) -> Layout:
    """Recognise the layout of a model by the names of its files.

    Args:
        where: Subject of error messages, such as the folder.
        has: Whether there is a file of a relative path.

    Raises:
        CheckpointError: There is no model, there are two, or a file is missing.
    """
    found = {layout: layout.found(has) for layout in LAYOUTS}
    named = [layout for layout, paths in found.items() if layout.transformer in paths]
    if len(named) > 1:
        files = " and ".join(found[layout][layout.transformer] for layout in named)
        raise CheckpointError(f"{where} contains two models, {files}; expected one, so move the other elsewhere")
    layout = named[0] if named else max(LAYOUTS, key=lambda layout: len(found[layout]))
    if not found[layout]:
        raise CheckpointError(f"{where} contains no model; expected the files of {'; or of '.join(map(str, LAYOUTS))}")
    if missing := [file for file in layout.files if file not in found[layout]]:
        raise CheckpointError(f"{where} lacks {', '.join(missing)}; expected all files of {layout}")
    return layout


@dataclass(frozen=True)
class ModelFiles:
    """A model on this machine that is not loaded yet.

    Args:
        name: The model as the user named it.
        folder: The folder with its files.
        layout: Its layout.
    """

    name: str
    folder: Path
    layout: Layout

    @property
    def paths(self) -> dict[str, Path]:
        """Path of each file, by its path in :attr:`Layout.files`."""
        found = self.layout.found(lambda path: (self.folder / path).is_file())
        return {file: self.folder / path for file, path in found.items()}

    @property
    def hash(self) -> str:
        """The first 12 hexadecimal digits of a SHA-256 hash of the files."""
        stats = [(path, path.stat()) for path in self.paths.values()]
        return _hash(tuple((path, stat.st_size, stat.st_mtime_ns) for path, stat in stats))

    def factories(self) -> dict[str, Callable[[], Any]]:
        """Check the files, and return a function for each component that loads it; nothing is loaded yet.

        Each call loads the component again. Encoders of the published model whose plugin is not installed are left
        out; the others check their files when they are loaded, and get them from the hub if the layout lacks them.

        Raises:
            CheckpointError: A file is damaged, or its weights do not fit.
        """
        registry = discover()
        if self.layout is MODEL_FOLDER:
            return component_factories(self.folder, loadable(registry.components()))
        paths, parts = self.paths, self.layout.parts
        factories = published_factories(paths[self.layout.transformer], paths[parts["autoencoder"][0]])
        for component, kind in ENCODERS.items():
            if kind in registry.names("encoders"):
                weights = [paths[file] for file in parts.get(component, ())]
                source = None if not weights else str(weights[0] if len(weights) == 1 else weights[0].parent)
                factories[component] = functools.partial(_load_encoder, kind, source)
        return factories

    def load(self) -> dict[str, Any]:
        """Load all components.

        Raises:
            CheckpointError: A file is damaged, or its weights do not fit.
        """
        return {name: make() for name, make in self.factories().items()}


def _load_encoder(kind: str, weights: str | None) -> Any:
    return discover().load("encoders", kind)(weights=weights)


@functools.lru_cache(maxsize=8)
def _hash(files: tuple[tuple[Path, int, int], ...]) -> str:
    """See :attr:`ModelFiles.hash`; size and time of the files are part of the cache key."""
    digest = hashlib.sha256()
    for path, *_ in files:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()[:12]
