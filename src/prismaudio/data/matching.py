"""Whether a set of features is one that a task can be trained on."""

from __future__ import annotations

import logging
from typing import Any

from prismaudio.data.description import compare, describe_autoencoder, describe_encoder
from prismaudio.data.features import FeatureSet
from prismaudio.errors import DataError
from prismaudio.types import LATENTS

LOG = logging.getLogger("prismaudio.data")


def check_task(found: FeatureSet, task: Any) -> float | None:
    """Compare a set with what a task has of ``autoencoder``, ``encoders`` and ``transformer``.

    Args:
        found: The set.
        task: The task; None for nothing to compare with.

    Returns:
        Latent frames per second, if the set or the autoencoder says so.

    Raises:
        DataError: They do not belong together.
    """
    autoencoder = getattr(task, "autoencoder", None)
    if autoencoder is not None:
        compare(found.latents, describe_autoencoder(autoencoder), "the manifest", LATENTS)
    for name, encoder in (getattr(task, "encoders", None) or {}).items():
        compare(found.streams.get(name, {}), describe_encoder(encoder), "the manifest", f"{name} features")
    transformer = getattr(task, "transformer", None)
    streams = getattr(transformer, "streams", {})
    wanted = {LATENTS: getattr(transformer, "latent_channels", None)}
    wanted |= {name: streams[name].dim if name in streams else None for name in found.streams}
    if lacking := [name for name in streams if not found.streams.get(name, {}).get("width")]:
        LOG.warning("the data have no features of %s: the transformer is trained without", ", ".join(lacking))
    if unused := [name for name in found.streams if streams and name not in streams]:
        LOG.warning("the transformer has no stream for the %s features of the data", ", ".join(unused))
    sizes = {LATENTS: found.latents.get("channels")} | {name: s.get("width") for name, s in found.streams.items()}
    for name, size in sizes.items():
        if wanted[name] and size and wanted[name] != size:
            what = "channels of its latents" if name == LATENTS else f"width of its {name} features"
            raise DataError(
                f"the manifest's {what} is {size}, the transformer's {wanted[name]}; "
                "run prismaudio extract with the model that you train"
            )
    if found.latent_rate_hz is None and autoencoder is not None:
        return float(autoencoder.sample_rate_hz / autoencoder.hop)
    return found.latent_rate_hz
