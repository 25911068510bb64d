"""Sound from features that were computed before, without any encoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.data.features import index_file, read_tensor
from prismaudio.errors import DataError, PrismAudioError
from prismaudio.samplers.guidance import guided_velocity
from prismaudio.types import LATENTS, Conditions, Features

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prismaudio.inference.rendering import Renderer
    from prismaudio.inference.settings import Guidance
    from prismaudio.models.dit import DiffusionTransformer
    from prismaudio.samplers.base import Sampler

SHORTEST_S, LONGEST_S = 0.2, 3600.0


def read_conditions(path: str | Path, clip: str = "") -> Conditions:
    """Conditions of one clip, as a batch of one, from a file of features.

    Args:
        path: A published ``.npz``, or a ``.safetensors`` or ``.tar`` that ``prismaudio extract`` wrote.
        clip: Its id, where the file holds more than one.

    Raises:
        DataError: The file cannot be read, or holds no such clip.
    """
    if not Path(path).is_file():
        raise DataError(f"no such file: {path}")
    records = index_file(Path(path)).records
    if not clip and len(records) != 1:
        raise DataError(f"{path} holds {len(records)} clips; name one of them")
    if clip and clip not in records:
        raise DataError(f"{path} holds no clip {clip!r}; it has {', '.join(list(records)[:5])}")
    record = records[clip] if clip else next(iter(records.values()))
    names = [name for name in record.parts if name != LATENTS and "." not in name]
    found = {stream: record.parts[stream] for stream in names}
    for stream, part in found.items():
        if len(part.shape) != 2:
            raise DataError(f"the {stream} features in {path} have shape {part.shape}; expected two dimensions")
    try:
        streams = {stream: Features.pad([read_tensor(part)]) for stream, part in found.items()}
    except (ValueError, TypeError) as error:  # words, dates
        raise DataError(f"{path} holds features that are no numbers: {error}") from error
    if not streams:
        raise DataError(f"{path} holds no features of any stream")
    return Conditions(streams)


@torch.inference_mode()
def render_conditions(
    renderer: Renderer,
    conditions: Conditions,
    duration_s: float,
    seeds: Sequence[int],
    sampler: Sampler,
    guidance: Guidance,
    negative: Conditions | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> list[Tensor]:
    """Audio float32 ``(2, samples)`` of each sample of the conditions, in one pass; see :meth:`Renderer.render`."""
    if not SHORTEST_S <= duration_s <= LONGEST_S:
        raise PrismAudioError(f"a duration of {duration_s} s is out of range; expected {SHORTEST_S} to {LONGEST_S:g} s")
    for some in (conditions, negative):
        check_conditions(renderer.transformer, some, len(seeds))
    n_frames = renderer.autoencoder.n_frames(duration_s)
    dtype = renderer.transformer.pre.weight.dtype
    wanted = conditions.to(renderer.device, dtype)
    other = None if negative is None else negative.to(renderer.device, dtype)
    velocity = guided_velocity(
        renderer.transformer, wanted, n_frames, guidance.scale, guidance.rescale, other, guidance.interval
    )
    noise = renderer.noise(seeds, [n_frames] * len(seeds)).to(renderer.device)
    latents = sampler.sample(velocity, noise, on_step).float()
    return [renderer.finished(row, duration_s) for row in latents]


def check_conditions(transformer: DiffusionTransformer, conditions: Conditions | None, count: int) -> None:
    """See that features are those that a transformer was made for.

    Raises:
        PrismAudioError: A stream has another dim, another number of samples, or values that are no numbers.
    """
    for stream, features in (conditions or {}).items():
        if stream not in transformer.streams:
            raise PrismAudioError(f"this model is not told {stream} features; leave them out")
        dim = transformer.streams[stream].dim
        samples, _, found = features.values.shape
        if found != dim:
            raise PrismAudioError(f"{stream} features are {found} wide, but this model's are {dim} wide")
        if samples != count:
            raise PrismAudioError(f"there are {stream} features of {samples} samples, but {count} seeds")
        if not bool(torch.isfinite(features.values).all()):
            raise PrismAudioError(f"the {stream} features hold NaN or infinity; compute them again")
