"""Compares precomputed latents and features with the models of a task."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from prismaudio.data.description import compare, describe_autoencoder, describe_encoder
from prismaudio.errors import DataError
from prismaudio.types import LATENTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prismaudio.autoencoders.base import Autoencoder
    from prismaudio.data.features import FeatureSet
    from prismaudio.encoders.base import Encoder

LOG = logging.getLogger("prismaudio.data")


@runtime_checkable
class TrainsOnFeatures(Protocol):
    """A task that trains on latents and features; data modules check theirs against its models."""

    @property
    def autoencoder(self) -> Autoencoder | None:
        """The autoencoder of the latents; None if it is not known."""

    @property
    def encoders(self) -> Mapping[str, Encoder]:
        """The known encoders, by stream."""

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""

    @property
    def stream_dims(self) -> Mapping[str, int]:
        """Feature dim of each stream that is trained on."""


@runtime_checkable
class TrainsOnWholeClips(Protocol):
    """A task that can train on clips of any length, which need no audio, such as one that trains a language model."""

    @property
    def takes_whole_clips(self) -> bool:
        """Whether it does."""


def check_features(found: FeatureSet, task: TrainsOnFeatures) -> float | None:
    """Check a feature set against the models of a task.

    A stream that only one of them has is logged, since a task can be trained without some of its streams.

    Args:
        found: The feature set.
        task: The task.

    Returns:
        Latent frames per second, if the set or the autoencoder states it.

    Raises:
        DataError: They do not match.
    """
    autoencoder = task.autoencoder
    if autoencoder is not None:
        compare(found.latents, describe_autoencoder(autoencoder), "the manifest", LATENTS)
    for name, encoder in task.encoders.items():
        compare(found.streams.get(name, {}), describe_encoder(encoder), "the manifest", f"{name} features")
    dims = task.stream_dims
    log_streams({name for name, about in found.streams.items() if about.get("width")}, dims, "data")
    sizes = [("channels of its latents", found.latents.get("channels"), task.latent_channels)]
    shared = sorted(found.streams.keys() & dims.keys())
    sizes += [(f"width of its {name} features", found.streams[name].get("width"), dims[name]) for name in shared]
    for what, size, wanted in sizes:
        if size and wanted != size:
            raise DataError(
                f"the manifest's {what} is {size}, the transformer's {wanted}; "
                "run prismaudio extract with the model to train"
            )
    if found.latent_rate_hz is None and autoencoder is not None:
        return float(autoencoder.sample_rate_hz / autoencoder.hop)
    return found.latent_rate_hz


def log_streams(found: set[str], dims: Mapping[str, int], where: str) -> None:
    """Log a line for the streams that only the transformer has, and one for those that it lacks.

    Args:
        found: Streams with features.
        dims: Dim of each stream of the transformer.
        where: Source of the features: ``"data"`` or ``"encoders"``.
    """
    if lacking := dims.keys() - found:
        LOG.warning("the %s have no features of %s: the transformer is trained without", where, _names(lacking))
    if unused := found - dims.keys():
        LOG.warning("the transformer has no stream for the %s features of the %s", _names(unused), where)


def _names(streams: set[str]) -> str:
    return ", ".join(sorted(streams))
