"""Download of models from the Hugging Face hub."""

from __future__ import annotations

import errno
from pathlib import Path

from prismaudio.errors import CheckpointError, one_line, reason
from prismaudio.pretrained.layouts import LAYOUTS, recognise

_STORAGE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}
"""Errors of the disk, not of the network."""


def download(name: str, revision: str | None = None) -> Path:
    """Download the files of a model; without a network, they are read from the client's cache.

    The repository is listed first: only the files of its layout are downloaded, and none of an incomplete model.

    Args:
        name: ``owner/model``.
        revision: Branch, tag or commit.

    Returns:
        Their folder in the cache.

    Raises:
        CheckpointError: There is no such model, its files are not those of a layout, or they cannot be downloaded.
    """
    from huggingface_hub import HfApi, errors, snapshot_download  # only needed for models on the hub

    at = f"{name} (revision {revision})" if revision else name
    try:
        listed = HfApi().model_info(name, revision=revision, timeout=10)
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(f"{name} on the hub has no revision {revision}; leave it out for the newest") from error
    except Exception as error:  # without a network the client raises errors of many libraries
        if (cached := _cached(name, revision)) is not None:
            return cached
        raise _explained(error, name, f"the hub does not answer for {at}; try again") from error
    files = {item.rfilename for item in listed.siblings or ()}
    layout = recognise(f"{at} on the hub", files.__contains__)
    wanted = list(layout.found(files.__contains__).values())
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=wanted))
    except Exception as error:
        raise _explained(
            error, name, f"the download of {at} was interrupted; try again: what is complete is kept"
        ) from error


def _cached(name: str, revision: str | None) -> Path | None:
    """The folder of a model in the client's cache, if all of its files are there."""
    from huggingface_hub import try_to_load_from_cache

    places = [place for layout in LAYOUTS for place in layout.places]
    found = {place: try_to_load_from_cache(name, place, revision=revision) for place in places}
    paths = {place: path for place, path in found.items() if isinstance(path, str)}
    try:
        recognise(name, paths.__contains__)
    except CheckpointError:
        return None
    place, path = next(iter(paths.items()))
    return Path(path).parents[place.count("/")]


def _explained(error: Exception, name: str, what: str) -> CheckpointError:
    """The error of a download, in one line."""
    from huggingface_hub import errors
    from huggingface_hub.constants import HF_HUB_CACHE

    if isinstance(error, errors.GatedRepoError):
        return CheckpointError(f"{name} on the hub is gated; ask for access on its page, and log in: hf auth login")
    if isinstance(error, errors.RepositoryNotFoundError):
        return CheckpointError(f"no folder {name}, and no such model on the hub, or it is private: hf auth login")
    if isinstance(error, OSError) and error.errno in _STORAGE:
        return CheckpointError(
            f"{name} cannot be stored in {HF_HUB_CACHE}: {reason(error)}; make room there, or set HF_HOME to a folder "
            "on another disk"
        )
    return CheckpointError(
        f"no folder {name}, and {what} ({one_line(error, 160)}); or get the files of huggingface.co/{name} elsewhere, "
        "put them into a folder, and name that folder"
    )
