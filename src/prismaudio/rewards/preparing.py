"""Preparing clips for rewards: what is known of a clip before any sound is made, kept on disk by its content."""

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
    """What a reward needs to know of a clip.

    Args:
        reward: The reward.
        clip: The clip, whose sound is the reference.
        plan: Its plan.
        folder: Where what was prepared is kept, by a hash of everything that it depends on; None to keep nothing.
            Nothing is kept of a reward without an identity.

    Raises:
        NotApplicableError: The reward cannot judge this clip.
        PrismAudioError: The reward is broken: it did not return tensors by name.
    """
    require(reward.needs, clip.has | ({"plan"} if plan else set()))
    kept = None
    if folder is not None and reward.identity is not None:
        kept = folder / type(reward).__name__ / f"{cache_key(reward, clip, plan)}.safetensors"
    if kept is not None and (found := _read(kept)) is not None:
        return found
    cache = reward.prepare(clip, plan)
    if any(not isinstance(value, Tensor) for value in cache.values()):
        raise PrismAudioError(f"{type(reward).__name__}.prepare must return tensors by name, that is what can be kept")
    if kept is not None and cache:
        _write(kept, cache)
    return cache


def cache_key(reward: Reward, clip: Clip, plan: Plan) -> str:
    """Hash of everything that what a reward prepares depends on: the reward, and what it reads of the clip."""
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
    """Name and version of the core and of each plugin that a class and those that it is made of come from.

    Example:
        >>> from prismaudio.rewards import Reward
        >>> [name for name, _ in versions(Reward)]
        ['prismaudio']
    """
    packages = {parent.__module__.partition(".")[0] for parent in kind.__mro__}
    points = [point for point in entry_points(group="prismaudio") if point.value.partition(".")[0] in packages]
    return tuple(sorted({(point.dist.name, point.dist.version) for point in points if point.dist is not None}))


def _read(path: Path) -> Cache | None:
    """What was kept, if it was, and is whole."""
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
        raise PrismAudioError(f"cannot keep what was prepared in {path.parent}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
