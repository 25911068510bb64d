"""Generation from precomputed features, without encoders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.data.features import index_file, read_tensor
from prismaudio.errors import DataError, PrismAudioError
from prismaudio.profiling import phase
from prismaudio.samplers.guidance import guided_velocity
from prismaudio.types import LATENTS, Conditions, Features

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prismaudio.inference.rendering import Renderer
    from prismaudio.inference.settings import Guidance
    from prismaudio.models.dit import DiffusionTransformer
    from prismaudio.samplers.base import Sampler

MIN_DURATION_S, MAX_DURATION_S = 0.2, 3600.0


def read_conditions(path: str | Path, clip: str = "") -> Conditions:
    """Read the conditions of one clip from a feature file, as a batch of one.

    Args:
        path: A published ``.npz``, or a ``.safetensors`` or ``.tar`` file of ``prismaudio extract``.
        clip: Id of the clip, required if the file contains more than one.

    Raises:
        DataError: The file cannot be read, or does not contain the clip.
    """
    if not Path(path).is_file():
        raise DataError(f"no such file: {path}")
    records = index_file(Path(path)).records
    if not clip and len(records) != 1:
        raise DataError(f"{path} contains {len(records)} clips; give the id of one of them")
    if clip and clip not in records:
        raise DataError(f"{path} contains no clip {clip!r}; expected one of {', '.join(list(records)[:5])}")
    record = records[clip] if clip else next(iter(records.values()))
    names = [name for name in record.parts if name != LATENTS and "." not in name]
    found = {stream: record.parts[stream] for stream in names}
    for stream, part in found.items():
        if len(part.shape) != 2:
            raise DataError(f"the {stream} features in {path} have shape {part.shape}; expected two dimensions")
    try:
        streams = {stream: Features.pad([read_tensor(part)]) for stream, part in found.items()}
    except (ValueError, TypeError) as error:  # strings, dates
        raise DataError(f"{path} contains features that are not numbers: {error}") from error
    if not streams:
        raise DataError(f"{path} contains no features; expected at least one stream")
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
    """Generate audio float32 ``(2, samples)`` for each sample of the conditions, as :meth:`Renderer.render` does."""
    if not MIN_DURATION_S <= duration_s <= MAX_DURATION_S:
        raise PrismAudioError(
            f"a duration of {duration_s} s is out of range; expected {MIN_DURATION_S} to {MAX_DURATION_S:g} s"
        )
    for some in (conditions, negative):
        check_conditions(renderer.transformer, some, len(seeds))
    n_frames = renderer.autoencoder.n_frames(duration_s)
    dtype = renderer.transformer.pre.weight.dtype
    wanted = conditions.to(renderer.device, dtype)
    other = None if negative is None else negative.to(renderer.device, dtype)
    noise = renderer.noise(seeds, [n_frames] * len(seeds)).to(renderer.device)
    with phase("sampling"), renderer.ready(renderer.transformer) as transformer:
        options = guidance.scale, guidance.rescale, other, guidance.interval
        velocity = guided_velocity(transformer, wanted, n_frames, *options)
        latents = sampler.sample(velocity, noise, on_step).float()
    return renderer.decode(list(latents), [duration_s] * len(latents))


def check_conditions(transformer: DiffusionTransformer, conditions: Conditions | None, count: int) -> None:
    """Check that features fit a transformer.

    Raises:
        PrismAudioError: A stream is unknown, or has another dim, another number of samples, or non-finite values.
    """
    for stream, features in (conditions or {}).items():
        if stream not in transformer.streams:
            raise PrismAudioError(f"this model has no stream {stream!r}; leave its features out")
        dim = transformer.streams[stream].dim
        samples, _, found = features.values.shape
        if found != dim:
            raise PrismAudioError(
                f"{stream} features have dim {found}, but this model expects {dim}; compute them with its encoder"
            )
        if samples != count:
            raise PrismAudioError(
                f"{stream} features have {samples} samples, but there are {count} seeds; give one seed per sample"
            )
        if not bool(torch.isfinite(features.values).all()):
            raise PrismAudioError(f"the {stream} features contain NaN or infinity; compute them again")
