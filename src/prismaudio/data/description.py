"""What latents and features were computed with, and whether that is what they are trained with."""

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
"""What a description has numbers of."""
MAX_NUMBER = 1 << 40


def describe(
    autoencoder: Autoencoder, encoders: Mapping[str, Encoder], versions: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What is written beside latents and features, so that nobody trains on those of another model.

    Args:
        autoencoder: What the latents are made with.
        encoders: What the streams are made with.
        versions: Versions of packages; told, never compared.
    """
    return {
        "format": FORMAT,
        "latents": describe_autoencoder(autoencoder),
        "streams": {name: describe_encoder(encoder) for name, encoder in encoders.items()},
        "versions": dict(versions or {}),
    }


def describe_autoencoder(autoencoder: Autoencoder) -> dict[str, Any]:
    """What latents depend on."""
    return _identity(autoencoder) | {
        "sample_rate_hz": autoencoder.sample_rate_hz,
        "hop": autoencoder.hop,
        "channels": autoencoder.channels,
    }


def describe_encoder(encoder: Encoder) -> dict[str, Any]:
    """What the features of a stream depend on; ``group`` features belong together, and are not torn apart."""
    own = {"width": encoder.dim, "rate_hz": encoder.rate_hz, "group": encoder.group}
    return _identity(encoder) | own


def _identity(component: Any) -> dict[str, Any]:
    kind = type(component)
    own: dict[str, Any] = {"class": f"{kind.__module__}:{kind.__qualname__}", "config": _config(component)}
    if isinstance(component, torch.nn.Module):
        own["weights"] = weights_hash(component)
    return own


def _config(component: Any) -> dict[str, Any]:
    """Arguments of a component, as JSON gives them back."""
    config = component.config if isinstance(component, Configured) else {}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in config.items()}


def weights_hash(module: torch.nn.Module) -> str:
    """Twelve letters that differ between weights.

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


def check_description(said: Any, where: str) -> None:
    """Make sure that a description that was read has the types of one that :func:`describe` made.

    Args:
        said: The description.
        where: Whose it is, for the error.

    Raises:
        DataError: It has others.
    """
    if not isinstance(said, Mapping):
        raise DataError(f"{where} describes itself as {str(said)[:80]}; expected an object; make it again")
    parts = {LATENTS: said.get("latents", {}), **_streams(said)}
    for what, part in parts.items():
        if not isinstance(part, Mapping):
            raise DataError(f"{where} describes its {what} as {str(part)[:80]}; expected an object; make it again")
        for name, value in part.items():
            kind = int | float if name in RATES else int if name in COUNTS else None
            if kind is None or (name == "rate_hz" and value is None):
                continue
            if not isinstance(value, kind) or isinstance(value, bool) or not 0 < value < MAX_NUMBER:
                shown = str(value)[:80]
                raise DataError(f"{where}: {name} of its {what} is {shown}; expected a number above 0; make it again")


def _streams(said: Mapping[str, Any]) -> Mapping[str, Any]:
    streams = said.get("streams", {})
    return streams if isinstance(streams, Mapping) else {"streams": streams}


def compare(said: Mapping[str, Any], wanted: Mapping[str, Any], where: str, what: str) -> None:
    """Make sure that two descriptions of latents, or of a stream, agree where both say something.

    Args:
        said: What was computed.
        wanted: What is wanted.
        where: Whose the first one is, for the error.
        what: What is described, such as ``"latents"``.

    Raises:
        DataError: They disagree.
    """
    for name in ("class", "sample_rate_hz", "hop", "channels", "width", "rate_hz", "group", "config", "weights"):
        if name in said and name in wanted and not _agree(said[name], wanted[name]):
            made, needed = (_short(name, value) for value in (said[name], wanted[name]))
            maker = "autoencoder" if what == "latents" else "encoder"
            raise DataError(
                f"the {what} of {where} were made by another {maker}: {name} {made}, expected {needed}; "
                "run prismaudio extract with the model that you train, into a new folder"
            )


def _agree(one: Any, other: Any) -> bool:
    """Whether two values are equal; arguments that only one of two versions has do not count."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return all(one[name] == other[name] for name in one.keys() & other.keys())
    return bool(one == other)


def _short(name: str, value: Any) -> str:
    text = str(value).rpartition(":")[2] if name == "class" else str(value)
    return text[:200]
