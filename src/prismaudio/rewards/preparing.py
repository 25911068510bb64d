"""Prepares clips for rewards and stores the resulting caches on disk, keyed by their inputs."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from prismaudio.errors import PrismAudioError
from prismaudio.types import require
from prismaudio.weight_files import save_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from prismaudio.plan import Plan
    from prismaudio.rewards.base import Cache, Reward
    from prismaudio.types import Clip


def prepare(reward: Reward, clip: Clip, plan: Plan, folder: Path | None = None) -> Cache:
    """The cache of a reward for a clip, read from disk or computed.

    Args:
        reward: The reward.
        clip: The clip, whose audio is the reference.
        plan: The plan of the clip.
        folder: Where caches are stored, keyed by a hash of everything that they depend on; None to store none.
            Caches of a reward without an identity are not stored.

    Raises:
        NotApplicableError: The reward cannot score this clip.
        PrismAudioError: The reward did not return tensors by name.
    """
    require(reward.needs, clip.has | ({"plan"} if plan else set()))
    kept = None
    if folder is not None and reward.identity is not None:
        kept = folder / type(reward).__name__ / f"{cache_key(reward, clip, plan)}.safetensors"
    if kept is not None and (found := _read(kept)) is not None:
        return found
    cache = reward.prepare(clip, plan)
    if any(not isinstance(value, Tensor) for value in cache.values()):
        raise PrismAudioError(f"{type(reward).__name__}.prepare must return tensors by name, to be stored")
    if kept is not None and cache:
        _write(kept, cache)
    return cache


def cache_key(reward: Reward, clip: Clip, plan: Plan) -> str:
    """Hash of everything that the cache of a reward depends on: the reward, and the inputs that it reads."""
    digest = hashlib.blake2b(digest_size=16)

    def add(*parts: object) -> None:
        digest.update(repr(parts).encode())

    add(reward.identity, versions(type(reward)), clip.duration_s)
    if "video" in reward.reads and clip.frames is not None:
        add("video", clip.fps, tuple(clip.frames.shape))
        digest.update(clip.frames.contiguous().cpu().numpy().data)
    if "reference" in reward.reads and clip.audio is not None:
        add("reference", clip.sample_rate_hz, tuple(clip.audio.shape))
        digest.update(clip.audio.contiguous().cpu().numpy().data)
    if "plan" in reward.reads:
        add("plan", str(plan))
    return digest.hexdigest()


@lru_cache(maxsize=64)
def versions(kind: type) -> tuple[tuple[str, str], ...]:
    """Name and version of each distribution (the core or plugins) that defines a class or one of its bases.

    Example:
        >>> from prismaudio.rewards import Reward
        >>> [name for name, _ in versions(Reward)]
        ['prismaudio']
    """
    packages = {parent.__module__.partition(".")[0] for parent in kind.__mro__}
    points = [point for point in entry_points(group="prismaudio") if point.value.partition(".")[0] in packages]
    return tuple(sorted({(point.dist.name, point.dist.version) for point in points if point.dist is not None}))


def _read(path: Path) -> Cache | None:
    """The stored cache; None if there is none or it is damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError):
        return None


def _write(path: Path, cache: Cache) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_tensors({name: value.detach().cpu().contiguous().clone() for name, value in cache.items()}, partial)
        partial.replace(path)
    except OSError as error:
        raise PrismAudioError(f"cannot store the prepared cache in {path.parent}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
