"""Upload of model folders to the Hugging Face hub; :mod:`prismaudio.pretrained.download` downloads them."""

from __future__ import annotations

from collections import abc
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open

from prismaudio import __version__, pretrained
from prismaudio.checkpoints import Configured
from prismaudio.components import Component
from prismaudio.downloads import is_repository
from prismaudio.encoders.base import by_stream
from prismaudio.errors import CheckpointError, DataError, one_line, reason
from prismaudio.paths import expanded
from prismaudio.pretrained.card import MARK, About, Card, Known, ModelPart, notes, write_card
from prismaudio.pretrained.layouts import LAYOUTS, MODEL_FOLDER, recognise
from prismaudio.registry import discover
from prismaudio.untrusted import MAX_TEXT_BYTES, read_small
from prismaudio.weight_files import check_finite, read_safetensors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

README = "README.md"
OWN = (
    "config.json",
    "model.safetensors",
    "adapter.safetensors",
    "adapter.json",
    "LICENSE",
    "LICENSE.md",
    "LICENSE.txt",
)
"""Files of a model folder, besides those of components and the card."""
SUFFIXES = frozenset((".safetensors", ".json", ".txt", ".model", ".jinja", ".tiktoken"))
"""Suffixes of files that components have in folders of their own; none of them runs code."""
MESSAGE = "Upload a PrismAudio model"


@dataclass(frozen=True)
class Model:
    """A complete model folder that can be uploaded.

    Args:
        folder: The folder.
        files: Files that belong to the model, by their path in the folder.
        left_out: Other files, and why they are left out.
        known: What the folder says about the model.
    """

    folder: Path
    files: Mapping[str, Path]
    left_out: Mapping[str, str]
    known: Known


@dataclass(frozen=True)
class Upload:
    """What is uploaded.

    Args:
        repository: ``owner/name``.
        files: Contents by path in the repository, a file or bytes.
        card: The model card.
        notes: Lines for the owner of the model.
    """

    repository: str
    files: Mapping[str, Path | bytes]
    card: Card
    notes: Sequence[str] = field(default_factory=list)

    def sizes(self) -> dict[str, int]:
        """Bytes of each file."""
        return {
            name: len(file) if isinstance(file, bytes) else file.stat().st_size for name, file in self.files.items()
        }


def open_model(source: str | Path) -> Model:
    """Check a model folder: all classes, names, shapes and values of its weights.

    Args:
        source: The folder.

    Raises:
        CheckpointError: It is not a complete model folder, or is damaged.
    """
    folder = expanded(source)
    if not folder.is_dir():
        raise CheckpointError(f"no such folder: {folder}; expected a model folder")
    if not any((folder / place).exists() for layout in LAYOUTS for place in layout.places):
        inside = [path.parent for depth in ("*", "*/*", "*/*/*") for path in sorted(folder.glob(f"{depth}/{OWN[1]}"))]
        hint = f"; did you mean {inside[-1]}?" if inside else ""
        raise CheckpointError(f"{folder} is no model folder: it has no {' and no '.join(OWN[:2])}{hint}")
    found = pretrained.find(folder)
    if found.layout is not MODEL_FOLDER:
        raise CheckpointError(
            f"{folder} has the files of {found.layout}, which are not uploaded; run prismaudio convert {folder} MODEL "
            "and push MODEL"
        )
    components, _ = pretrained.outlines(found)
    places = {name: _place(folder, name, part) for name, part in components.items()}
    files, left_out = _files(folder, [name for name, place in places.items() if place == name])
    check_finite(read_safetensors(files["model.safetensors"]), files["model.safetensors"])
    packages, local = _packages(components)
    parts = list(_parts(components, places, files))
    return Model(folder, files, left_out, Known(parts, packages, local, _facts(components), found.hash))


def _place(folder: Path, name: str, component: Any) -> str | None:
    """Where the own files of a component are: in a folder of its name, or in a repository; None if it has none."""
    if not isinstance(component, Configured) or not component.files_argument:
        return None
    stored = str(component.config.get(component.files_argument))
    return name if stored == str(folder / name) else stored


def _files(folder: Path, components: Sequence[str]) -> tuple[dict[str, Path], dict[str, str]]:
    """The files of a model, and those that are left out with the reason."""
    files, left_out = {}, {}
    root = folder.resolve()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        within = name.partition("/")[0] in (*components, "adapter") and "/" in name
        if path.is_dir() or name == README:
            continue
        if not (name in OWN or within):
            left_out[name] = "not a file of the model"
        elif within and (path.suffix not in SUFFIXES or any(part.startswith(".") for part in Path(name).parts)):
            left_out[name] = "not safetensors, JSON or text"
        elif not path.resolve().is_relative_to(root):
            if name in OWN[:2] or path.suffix == ".safetensors":
                raise CheckpointError(
                    f"{path} is a link to {path.resolve()}, outside the folder; copy the file into it"
                )
            left_out[name] = "a link to a place outside the folder"
        elif not path.is_file():
            left_out[name] = "not a regular file"
        else:
            files[name] = path
    for component in components:
        own, others = ([name for name in some if name.startswith(f"{component}/")] for some in (files, left_out))
        if not own or (others and not any(map(_weights, own))):
            raise CheckpointError(
                f"{folder / component} has no weights as .safetensors, or is a link; copy its files there"
            )
    return files, left_out


def _parts(
    components: Mapping[str, Any], places: Mapping[str, str | None], files: Mapping[str, Path]
) -> Iterator[ModelPart]:
    headers = _header(files["model.safetensors"])
    for name, component in components.items():
        if name == "settings":
            continue
        own: dict[str, tuple[int, str]] = {}
        if places[name] is not None:
            for file, path in files.items():
                if file.startswith(f"{name}/") and _weights(file):
                    own |= _header(path)
        elif isinstance(component, torch.nn.Module):
            keys = [f"{name}.{key}" for key, _ in component.named_parameters()]
            own = {key: headers[key] for key in keys if key in headers}
        counted = sum(size for size, _ in own.values()) if own else None
        dtypes = tuple(sorted({dtype for _, dtype in own.values()}))
        yield ModelPart(name, type(component).__name__, counted, dtypes, places[name])


def _weights(name: str) -> bool:
    return name.endswith(".safetensors")


def _header(path: Path) -> dict[str, tuple[int, str]]:
    """Number of values and data type of each tensor of a file; no tensor is read."""
    names = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
    try:
        with safe_open(path, "pt") as file:
            parts = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
            return {
                key: (torch.Size(part.get_shape()).numel(), names.get(part.get_dtype(), part.get_dtype().lower()))
                for key, part in parts.items()
            }
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is truncated or damaged ({one_line(error, 120)}); make the model again"
        ) from error


def _packages(components: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """Versions of the packages that provide the classes of a model, and names of classes that no package provides."""
    plugins = {entry.name: entry.plugin for entry in discover().entries if isinstance(entry.item, Component)}
    packages, local = {"prismaudio": __version__}, []
    for kind in dict.fromkeys(_classes(list(components.values()))):
        plugin = plugins.get(kind.__name__)
        if plugin is not None and plugin.distribution is None:
            local.append(kind.__name__)
        elif plugin is not None and plugin.distribution is not None:
            packages[plugin.distribution] = str(plugin.version)
    return packages, local


def _classes(value: Any) -> Iterator[type]:
    """Classes of components, and of the components among their arguments."""
    if isinstance(value, Configured):
        yield type(value)
        yield from _classes(value.config)
    elif isinstance(value, abc.Mapping):
        yield from _classes(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _classes(item)


def _facts(components: Mapping[str, Any]) -> dict[str, str]:
    codec, transformer = components["autoencoder"], components["transformer"]
    encoders = by_stream(components)
    streams = [
        stream if stream in encoders else f"{stream} (features; no encoder)" for stream in transformer.conditioners
    ]
    found = {
        "Audio": f"stereo, {codec.sample_rate_hz} Hz, latents at {codec.sample_rate_hz / codec.hop:.1f} Hz",
        "Conditions": ", ".join(streams),
    }
    if "planner" in components:
        found["Planner"] = f"`{type(components['planner']).__name__}`"
    if "sampler" in components:
        found["Sampler"] = f"`{type(components['sampler']).__name__}` {_arguments(components['sampler'])}".rstrip()
    if "settings" in components:
        found["Guidance"] = f"{components['settings'].guidance.scale:g}"
    return found


def _arguments(component: Any) -> str:
    return ", ".join(
        f"{key} {value}" for key, value in component.config.items() if isinstance(value, int | float | str)
    )


def check_repository(repository: str) -> None:
    """Check the name of a repository.

    Raises:
        CheckpointError: It is not ``owner/name``.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        if not is_repository(repository):
            raise CheckpointError(f"{repository!r:.100} is no name of a repository; expected owner/name")
        validate_repo_id(repository)
    except HFValidationError as error:
        raise CheckpointError(f"{repository!r:.100} is no name of a repository: {one_line(error, 200)}") from error


def prepare(model: Model, repository: str, about: About, page: str | None = None, *, rewrite: bool = False) -> Upload:
    """Prepare an upload, without a network.

    Args:
        model: The model.
        repository: ``owner/name``.
        about: What the folder does not say about the model.
        page: The README.md that the repository has.
        rewrite: Replace a README.md that somebody wrote.

    Raises:
        CheckpointError: The name of the repository, or a README.md, is not valid.
        DataError: A file with results cannot be read.
    """
    check_repository(repository)
    local = model.folder / README
    where, text = "on the hub", page
    try:
        if local.is_file():
            if not local.resolve().is_relative_to(model.folder.resolve()):
                raise CheckpointError(f"{local} is a link to a place outside the folder; copy the file into it")
            where, text = f"in {model.folder}", read_small(local, MAX_TEXT_BYTES).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {local}: {reason(error)}") from error
    kept = text if text is not None and text.strip() and MARK not in text and not rewrite else None
    card = write_card(repository, model.known, about, kept)
    said = [f"the text of the {README} {where} is kept; its metadata are completed"] if kept else []
    said += notes(model.known, about)
    return Upload(repository, {README: card.text.encode(), **model.files}, card, said)


@dataclass(frozen=True)
class Hub:
    """A repository on the hub.

    Args:
        repository: ``owner/name``.
        private: Whether a new repository is private.
        revision: The branch that is written; made if it does not exist.
    """

    repository: str
    private: bool = False
    revision: str | None = None

    def push(self, model: Model, about: About, message: str = MESSAGE, *, rewrite: bool = False) -> tuple[str, Upload]:
        """Upload a model in one commit, and return the address of the commit and what was uploaded.

        Args:
            model: The model.
            about: What the folder does not say about it.
            message: Message of the commit.
            rewrite: See :func:`prepare`.

        Raises:
            CheckpointError: There is no token, the licence is not known, or the hub refuses.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token

        prepare(model, self.repository, about, rewrite=rewrite)  # what is wrong here is said before the hub is asked
        if not get_token():
            raise CheckpointError("uploads need a token of the Hugging Face hub: hf auth login, or set HF_TOKEN")
        api = HfApi(library_name="prismaudio", library_version=__version__)
        try:
            info, has_branch = self._look(api)
            there = {item.rfilename for item in info.siblings or ()} if info else set()
            page = self._page(api, info.sha) if info and README in there else None
            upload = prepare(model, self.repository, about, page, rewrite=rewrite)
            check_licence(upload.card)
            folders = tuple(f"{part.name}/" for part in model.known.parts)
            stale = sorted(name for name in there - upload.files.keys() if name.startswith(folders))
            kept = there - set(stale) | upload.files.keys()
            recognise(f"with this upload {self.repository} on the hub", kept.__contains__)
            if info is None:
                api.create_repo(self.repository, private=self.private, exist_ok=True)
            if self.revision and not has_branch:
                api.create_branch(self.repository, branch=self.revision, exist_ok=True)
            operations = [
                CommitOperationAdd(name, str(f) if isinstance(f, Path) else f) for name, f in upload.files.items()
            ]
            done = api.create_commit(
                self.repository,
                [*operations, *map(CommitOperationDelete, stale)],
                commit_message=message,
                revision=self.revision,
            )
        except (CheckpointError, DataError):
            raise
        except Exception as error:  # the client raises errors of many libraries
            raise self._error(error) from error
        return str(done.commit_url), upload

    def _look(self, api: Any) -> tuple[Any, bool]:
        """What the hub says about the repository, None if there is none, and whether the branch exists."""
        from huggingface_hub import errors

        try:
            try:
                info, has_branch = api.model_info(self.repository, revision=self.revision), True
            except errors.RevisionNotFoundError:
                info, has_branch = api.model_info(self.repository), False
        except errors.RepositoryNotFoundError:
            return None, False
        if self.private and not info.private:
            raise CheckpointError(
                f"{self.repository} exists and is public, and --private applies to new repositories; make it private "
                "on its page first, or leave --private out"
            )
        return info, has_branch

    def _page(self, api: Any, commit: str) -> str:
        path = api.hf_hub_download(self.repository, README, revision=commit)
        return read_small(path, MAX_TEXT_BYTES).decode("utf-8-sig")

    def _error(self, error: Exception) -> CheckpointError:
        """Explain an exception of the client in one line."""
        response = getattr(error, "response", None)
        status = getattr(response, "status_code", None)
        said = (getattr(error, "server_message", None) or one_line(error))[:200].strip()
        if status == 401:
            return CheckpointError("the hub does not accept the token; log in again: hf auth login, or set HF_TOKEN")
        if status == 403:
            return CheckpointError(
                f"the token may not write to {self.repository}; check the owner's name, and that the token has the "
                "permission to write: https://huggingface.co/settings/tokens"
            )
        if status == 404:
            return CheckpointError(f"the hub has no {self.repository}, or not for this token: {said}")
        if status is not None:
            return CheckpointError(f"the hub refuses the upload to {self.repository} ({status}): {said}")
        return CheckpointError(
            f"cannot upload to {self.repository} ({said}); try again: what is uploaded is not sent again"
        )


def check_licence(card: Card) -> None:
    """Check that a card states a licence.

    Raises:
        CheckpointError: It does not.
    """
    if card.licence is None:
        raise CheckpointError(
            "the licence of the model is not known; state it with --license ID, such as apache-2.0, cc-by-4.0 or other "
            "(licence= in Python)"
        )
