"""Download of models from the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from prismaudio.checkpoints import ROLES
from prismaudio.downloads import hub_error
from prismaudio.errors import CheckpointError
from prismaudio.pretrained.layouts import LAYOUTS, MODEL_FOLDER, recognise


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
    advice = f"or get the files of huggingface.co/{name} elsewhere, put them into a folder, and name that folder"
    try:
        listed = HfApi().model_info(name, revision=revision, timeout=10)
    except Exception as error:  # without a network the client raises errors of many libraries
        known = isinstance(error, errors.RevisionNotFoundError)
        if not known and (cached := _cached(name, revision)) is not None:
            return cached
        what = f"the hub does not answer for {at}; try again"
        raise hub_error(error, name, revision, advice, what=what) from error
    files = {item.rfilename for item in listed.siblings or ()}
    layout = recognise(f"{at} on the hub", files.__contains__)
    wanted = list(layout.found(files.__contains__).values())
    if layout is MODEL_FOLDER:  # and what components have in folders of their own
        wanted += sorted(file for file in files if "/" in file and file.partition("/")[0] in ROLES)
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=wanted))
    except Exception as error:
        what = f"the download of {at} was interrupted; try again: what is complete is kept"
        raise hub_error(error, name, revision, advice, what=what) from error


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
