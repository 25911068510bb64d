"""The networks of ``prismaudio extract``: those of a model, or encoders, an autoencoder and a planner by name."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from prismaudio.cli.building import build, make_planner, on_device, part_of
from prismaudio.errors import PrismAudioError
from prismaudio.paths import expanded
from prismaudio.registry import discover
from prismaudio.types import LATENTS, is_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    import torch

    from prismaudio.data.extraction import Extractor
    from prismaudio.plan import Plan
    from prismaudio.types import Clip

NONE = "none"


def make_extractor(options: argparse.Namespace, device: str) -> Extractor:
    """Load the components that compute latents and features.

    Args:
        options: The options of ``prismaudio extract``.
        device: Device of the networks.

    Raises:
        PrismAudioError: A component has no such name, lacks weights, or does not take an argument.
    """
    import torch

    from prismaudio import __version__
    from prismaudio.data.extraction import Extractor
    from prismaudio.devices import find_device
    from prismaudio.encoders.base import by_stream
    from prismaudio.inference import Settings

    target = find_device(device)
    named: dict[str, Any] = {}
    for text in options.encoder:
        stream, encoder = _encoder(text)
        if stream in named:
            raise PrismAudioError(f"--encoder names the stream {stream} twice; expected one encoder of each stream")
        named[stream] = encoder
    parts = _parts(options, named) if options.model or not options.encoder else {}
    encoders = {**by_stream(parts), **named}
    if lacking := [name for name in getattr(parts.get("transformer"), "streams", ()) if name not in encoders]:
        sys.stderr.write(
            f"warning: the model has no encoder for {', '.join(lacking)}; these features are not computed\n"
        )
    own = parts and options.autoencoder is None
    autoencoder = parts["autoencoder"] if own else _autoencoder(options.autoencoder)
    for part in (autoencoder, *encoders.values()):
        if isinstance(part, torch.nn.Module):
            part.to(target).eval()
    return Extractor(
        autoencoder,
        encoders,
        parts.get("settings", Settings()).frame_spec,
        _plan_writer(options.planner, parts, target),
        target,
        getattr(torch, options.dtype),
        {"prismaudio": __version__, "torch": torch.__version__},
    )


def _parts(options: argparse.Namespace, named: Collection[str]) -> dict[str, Any]:
    """The components of the model; those that are not used, as the transformer, have no weights."""
    from prismaudio import pretrained
    from prismaudio.encoders.base import as_components

    found, load = pretrained.outlines(pretrained.find(options.model, options.revision))
    unused = {"transformer", *as_components(dict.fromkeys(named))}
    unused |= {"planner"} if options.planner != "" else set()
    unused |= {"autoencoder"} if options.autoencoder is not None else set()
    return {name: outline if name in unused else load[name]() for name, outline in found.items()}


def _encoder(text: str) -> tuple[str, Any]:
    """The stream and the encoder of ``STREAM=CLASS``."""
    stream, _, described = text.partition("=")
    if stream == LATENTS:
        raise PrismAudioError(f"--encoder {text!r}: latents are those of --autoencoder; name another stream")
    if not is_stream(stream) or not described:
        raise PrismAudioError(f"--encoder {text!r} is not STREAM=CLASS; expected for example video=VideoPrismEncoder")
    return stream, build("encoders", described, f"--encoder {stream}")


def _autoencoder(source: str | None) -> Any:
    """The autoencoder of a model or of a checkpoint file; None for features without latents."""
    if source in (None, NONE):
        return None
    if expanded(str(source)).is_file():
        from prismaudio.pretrained.importing import import_autoencoder

        return import_autoencoder(expanded(str(source)))
    return part_of(str(source), "autoencoder")


def _plan_writer(
    source: str | None, parts: Mapping[str, Any], device: torch.device
) -> Callable[[Clip, str], Plan] | None:
    """A function that writes the plan of a clip from a caption; None without ``--planner``.

    Args:
        source: A class, a model or its folder; empty for the planner of the model.
        parts: The components of the model, if there is one.
        device: Device of the planner.
    """
    from prismaudio.inference.planning import write_plan

    if source is None:
        return None
    if source:
        planners = [make_planner(source, device)]
    elif not parts:
        raise PrismAudioError("--planner without a name is that of the model; give its name, or --model")
    else:
        planners = [on_device(parts["planner"], device)] if "planner" in parts else []
    dimensions = discover().dimensions()
    return lambda clip, caption: write_plan(planners, clip, dimensions, None, caption.strip())
