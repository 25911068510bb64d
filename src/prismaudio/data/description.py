"""Descriptions of the models that computed latents and features, and their comparison with those of a task."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from prismaudio.checkpoints import Configured
from prismaudio.errors import DataError
from prismaudio.types import LATENTS

if TYPE_CHECKING:
    from prismaudio.autoencoders.base import Autoencoder
    from prismaudio.encoders.base import Encoder

FORMAT = 1
RATES = ("sample_rate_hz", "rate_hz")
COUNTS = ("hop", "channels", "width", "group")
"""Keys of a description whose values are integers."""
MAX_NUMBER = 1 << 40


def describe_features(
    autoencoder: Autoencoder | None, encoders: Mapping[str, Encoder], versions: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The description stored with latents and features, to prevent training on those of another model.

    Args:
        autoencoder: Autoencoder of the latents; None if there are none.
        encoders: Encoders by stream.
        versions: Versions of packages; for information, not compared.
    """
    return {
        "format": FORMAT,
        "latents": {} if autoencoder is None else describe_autoencoder(autoencoder),
        "streams": {name: describe_encoder(encoder) for name, encoder in encoders.items()},
        "versions": dict(versions or {}),
    }


def describe_autoencoder(autoencoder: Autoencoder) -> dict[str, Any]:
    """The properties of an autoencoder that latents depend on."""
    return _identity(autoencoder) | {
        "sample_rate_hz": autoencoder.sample_rate_hz,
        "hop": autoencoder.hop,
        "channels": autoencoder.channels,
    }


def describe_encoder(encoder: Encoder) -> dict[str, Any]:
    """The properties of an encoder that features depend on; crops keep groups of ``group`` features together."""
    own = {"width": encoder.dim, "rate_hz": encoder.rate_hz, "group": encoder.group}
    return _identity(encoder) | own


def _identity(component: Any) -> dict[str, Any]:
    kind = type(component)
    own: dict[str, Any] = {"class": f"{kind.__module__}:{kind.__qualname__}", "config": _config(component)}
    if isinstance(component, torch.nn.Module):
        own["weights"] = weights_hash(component)
    return own


def _config(component: Any) -> dict[str, Any]:
    """Arguments of a component, as decoded from JSON."""
    config = component.config if isinstance(component, Configured) else {}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in config.items()}


def weights_hash(module: torch.nn.Module) -> str:
    """Hash of the weights of a module, twelve hex digits.

    Example:
        >>> one, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
        >>> weights_hash(one) == weights_hash(one), weights_hash(one) == weights_hash(other)
        (True, False)
    """
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def check_description(description: Any, where: str) -> None:
    """Check that the values of a stored description have the types that :func:`describe_features` writes.

    Args:
        description: The description.
        where: Its file, for the error.

    Raises:
        DataError: A value has another type.
    """
    if not isinstance(description, Mapping):
        raise DataError(f"{where} has the description {str(description)[:80]}; expected an object; create it again")
    parts = {LATENTS: description.get("latents", {}), **_streams(description)}
    for what, part in parts.items():
        if not isinstance(part, Mapping):
            raise DataError(f"{where} has the {what} description {str(part)[:80]}; expected an object; create it again")
        for name, value in part.items():
            kind = int | float if name in RATES else int if name in COUNTS else None
            if kind is None or (name == "rate_hz" and value is None):
                continue
            if not isinstance(value, kind) or isinstance(value, bool) or not 0 < value < MAX_NUMBER:
                shown = str(value)[:80]
                raise DataError(f"{where}: {name} of its {what} is {shown}; expected a number above 0; create it again")


def _streams(description: Mapping[str, Any]) -> Mapping[str, Any]:
    streams = description.get("streams", {})
    return streams if isinstance(streams, Mapping) else {"streams": streams}


def compare(found: Mapping[str, Any], expected: Mapping[str, Any], where: str, what: str) -> None:
    """Check that two descriptions of latents or of a stream agree on the keys that both have.

    Args:
        found: Description of the stored data.
        expected: Description of the model.
        where: Origin of the stored data, for the error.
        what: What is described, such as ``"latents"``.

    Raises:
        DataError: They differ.
    """
    for name in ("class", "sample_rate_hz", "hop", "channels", "width", "rate_hz", "group", "config", "weights"):
        if name in found and name in expected and not _agree(found[name], expected[name]):
            made, needed = (_short(name, value) for value in (found[name], expected[name]))
            maker = "autoencoder" if what == "latents" else "encoder"
            raise DataError(
                f"the {what} of {where} were computed by another {maker}: {name} {made}, expected {needed}; "
                "run prismaudio extract with the model that you train, into a new folder"
            )


def _agree(one: Any, other: Any) -> bool:
    """Whether two values are equal; arguments that only one of two versions has are ignored."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return all(one[name] == other[name] for name in one.keys() & other.keys())
    return bool(one == other)


def _short(name: str, value: Any) -> str:
    text = str(value).rpartition(":")[2] if name == "class" else str(value)
    return text[:200]
