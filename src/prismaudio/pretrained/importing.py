"""Import of published checkpoints as components of this package."""

from __future__ import annotations

import functools
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from prismaudio.autoencoders.oobleck import OobleckAutoencoder
from prismaudio.autoencoders.published import oobleck_arguments, oobleck_shapes, oobleck_weights
from prismaudio.checkpoints import Factory, MetaTensors, SkipInitialization, fresh, make_component
from prismaudio.errors import CheckpointError
from prismaudio.models.dit import DiffusionTransformer, published_streams
from prismaudio.models.published import dit_key, dit_weights, published_key, published_shaped
from prismaudio.weight_files import below, check_finite, check_held, listed, misfits, read_weights, shapes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor, nn

    Shapes = Mapping[str, tuple[int, ...]]

SAMPLER = {"class": "prismaudio.samplers.euler:EulerSampler", "arguments": {"steps": 24}}
"""Sampler of the published model, as ``config.json`` of a model folder describes it."""
SETTINGS = {
    "class": "prismaudio.inference.settings:Settings",
    "arguments": {
        "segment_s": None,
        "fps": 25.0,  # for synchronisation
        "frame_size": 288,  # for the video stream
        "guidance": 5.0,
        "keep_aspect_ratio": True,
    },
}
"""Its settings; a description, because their class is in an upper layer."""

_GROUP = re.compile(r"(?P<prefix>.*?)(?:model\.model\.(?!model\.)|conditioner\.conditioners\.|pretransform\.model\.)")
_AUTOENCODER, _ALONE = "pretransform.model.", "autoencoder."


@dataclass
class PublishedWeights:
    """Weights of a file by their published names.

    Args:
        transformer: ``model.model. …`` and ``conditioner.conditioners. …``.
        autoencoder: ``encoder. …`` and ``decoder. …``.
        unknown: Names of all other weights.
    """

    transformer: dict[str, Tensor] = field(default_factory=dict)
    autoencoder: dict[str, Tensor] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def import_published(path: Path, autoencoder: Path | None = None) -> dict[str, Any]:
    """Import the components of a published checkpoint, with its settings and its sampler.

    Args:
        path: ``prismaudio.ckpt``, a ``.safetensors`` file with the same names, or ``vae.ckpt`` alone.
        autoencoder: ``vae.ckpt``, which replaces the autoencoder in ``path``.

    Raises:
        CheckpointError: A file is not such a checkpoint, or its weights do not fit; the message lists them.
    """
    return {name: make() for name, make in published_factories(path, autoencoder).items()}


def published_factories(path: Path, autoencoder: Path | None = None) -> dict[str, Factory]:
    """Check a published checkpoint, and return a factory of each component.

    Names, shapes and constants are checked at once, the values of weights when their component is imported. Files are
    memory-mapped, so that the weights of a component are read once, when they are needed.

    Args:
        path: See :func:`import_published`.
        autoencoder: See :func:`import_published`.

    Raises:
        CheckpointError: See :func:`import_published`.
    """
    found, vae_path = split_components(path, read_weights(path)), autoencoder or path
    if not found.transformer and not found.autoencoder:
        raise CheckpointError(
            f"{path} is not a PrismAudio checkpoint: none of its {len(found.unknown)} weights has a name that "
            f"begins with model.model., {_AUTOENCODER} or {_ALONE}; found {listed(found.unknown[:3])} …"
        )
    if autoencoder is not None:
        found.autoencoder = split_components(autoencoder, read_weights(autoencoder)).autoencoder
        if not found.autoencoder:
            raise CheckpointError(
                f"{autoencoder} contains no autoencoder; expected vae.ckpt or weights of the same names"
            )
    transformer, problems = _transformer(found.transformer)
    codec, vae_problems = _autoencoder(found.autoencoder)
    if problems := [f"unknown {key}" for key in found.unknown] + problems + (vae_problems if vae_path is path else []):
        raise CheckpointError(f"{path} does not fit: {listed(problems)}")
    if vae_problems:
        raise CheckpointError(f"{vae_path} does not fit: {listed(vae_problems)}")
    check_held(found.transformer, path)
    check_held(found.autoencoder, vae_path)
    if transformer and codec:
        check_latent_channels(path, transformer["latent_channels"], vae_path, codec["latent_channels"])
    factories: dict[str, Factory] = {}
    if transformer:
        _convert_transformer(path, found)
        factories["transformer"] = _factory(path, DiffusionTransformer, transformer, _convert_transformer)
        factories["sampler"] = _plain("sampler", SAMPLER, "samplers")
    if codec:
        factories["autoencoder"] = _factory(vae_path, OobleckAutoencoder, codec, _convert_autoencoder)
    factories["settings"] = _plain("settings", SETTINGS, "settings")
    return factories  # the settings are also used with a new transformer


def _plain(place: str, entry: Mapping[str, Any], role: str) -> Factory:
    """Factory of a component without weights."""
    make = functools.partial(make_component, place, entry, role)
    return Factory(make, make)


def _factory(
    path: Path,
    kind: type[nn.Module],
    arguments: Mapping[str, Any],
    convert: Callable[[Path, PublishedWeights], Mapping[str, Tensor]],
) -> Factory:
    """Factory of a module in float32 whose weights are in a file."""

    def load() -> nn.Module:
        weights = convert(path, split_components(path, read_weights(path)))
        check_finite(weights, path)
        with SkipInitialization():
            module = kind(**fresh(arguments))
        module.load_state_dict(weights)
        return module.eval().requires_grad_(requires_grad=False)

    def outline() -> nn.Module:
        with torch.device("meta"):
            return kind(**fresh(arguments)).eval()

    return Factory(load, outline)


def _convert_transformer(path: Path, found: PublishedWeights) -> dict[str, Tensor]:
    """Weights of the transformer by our names; views, but for constants."""
    try:
        return dit_weights(found.transformer)
    except CheckpointError as error:  # a constant has another value
        raise CheckpointError(f"{path}: {error}") from error


def _convert_autoencoder(_: Path, found: PublishedWeights) -> dict[str, Tensor]:
    """Weights of the autoencoder by our names."""
    return oobleck_weights(found.autoencoder)


def import_autoencoder(path: Path) -> OobleckAutoencoder:
    """Import the autoencoder of a published checkpoint.

    Raises:
        CheckpointError: The file contains none, or cannot be imported.
    """
    factories = published_factories(path)
    if "autoencoder" not in factories:
        raise CheckpointError(f"{path} contains no autoencoder; expected vae.ckpt or weights of the same names")
    codec: OobleckAutoencoder = factories["autoencoder"]()
    return codec


def check_latent_channels(path: Path, expected: int, vae_path: Path, given: int) -> None:
    """Check that transformer and autoencoder have the same number of latent channels.

    Raises:
        CheckpointError: The numbers differ.
    """
    if expected != given:
        raise CheckpointError(
            f"the transformer of {path} expects latents of {expected} channels, but those of the autoencoder in "
            f"{vae_path} have {given}; use files of the same model"
        )


def split_components(path: Path, weights: Mapping[str, Tensor]) -> PublishedWeights:
    """Split the weights of a file by component, without a prefix that all names of the file may share."""
    if any(key.startswith(_ALONE) for key in weights):  # a training checkpoint, whose discriminators are not needed
        return PublishedWeights(autoencoder=below(weights, _ALONE))
    if all(key.startswith(("encoder.layers.", "decoder.layers.")) for key in weights):
        return PublishedWeights(autoencoder=dict(weights))
    prefixes = Counter(match["prefix"] for key in weights if (match := _GROUP.match(key)))
    prefix = prefixes.most_common(1)[0][0] if prefixes else ""
    named = {key.removeprefix(prefix): value for key, value in weights.items()}
    if len(named) < len(weights):
        raise CheckpointError(
            f"{path} contains weights of the same names with and without {prefix!r}; expected one model"
        )
    parts = ("model.model.", "conditioner.conditioners.")
    transformer = {key: value for key, value in named.items() if key.startswith(parts)}
    unknown = [key for key in named if not key.startswith((*parts, _AUTOENCODER))]
    return PublishedWeights(transformer, below(named, _AUTOENCODER), unknown)


def _transformer(official: Mapping[str, Tensor]) -> tuple[dict[str, Any] | None, list[str]]:
    """Constructor arguments of the transformer, and the weights that do not fit it."""
    if not official:
        return None, []
    given, problems = {}, []
    for key, value in official.items():
        try:
            if dit_key(key) is not None:
                given[key] = tuple(value.shape)
        except KeyError:
            problems.append(f"unknown {key}")
    arguments = transformer_arguments(given)
    try:
        with MetaTensors(len(official)):
            one_block = DiffusionTransformer(**fresh(arguments) | {"depth": 1})
    except ValueError as error:
        return None, [*problems, str(error)]
    config = arguments | {"depth": arguments.get("depth", 1)}
    expected: dict[str, tuple[int, ...]] = {}
    for key, value in one_block.state_dict().items():
        name, shape = published_key(key), tuple(published_shaped(key, value).shape)
        copies = config["depth"] if key.startswith("blocks.0.") else 1
        expected |= {name.replace(".layers.0.", f".layers.{n}."): shape for n in range(copies)}
    return config, misfits(given, expected) + problems


def transformer_arguments(official: Shapes) -> dict[str, Any]:
    """Infer constructor arguments of the transformer from the shapes of published weights.

    Args:
        official: Shapes by published name.
    """
    part, embedder = "model.model.transformer.", "conditioner.conditioners.{}_features.embedder.{}.weight"
    arguments: dict[str, Any] = {}
    matrices = {key: shape for key, shape in official.items() if len(shape) == 2 and min(shape) > 0}
    dim, channels = matrices.get(f"{part}project_in.weight") or matrices.get(f"{part}project_out.weight", (0, 0))[::-1]
    if dim:
        arguments |= {"dim": dim, "latent_channels": channels}
    depths = [int(match[1]) for key in official if (match := re.match(rf"{re.escape(part)}layers\.(\d{{1,9}})\.", key))]
    if depths:
        arguments["depth"] = min(max(depths) + 1, len(official))  # a name may contain any number
    num_heads = Counter(shape[0] for key, shape in official.items() if key.endswith("_attn.q_norm.weight") and shape)
    if dim and num_heads:  # the most frequent value: layers that differ are listed as misfits
        arguments["num_heads"] = dim // max(num_heads.most_common(1)[0][0], 1)
    sizes = {}
    for stream, default in published_streams(dim or 1024).items():
        first, second = (matrices.get(embedder.format(stream, layer)) for layer in (0, 2))
        sizes[stream] = (first[1] if first else default.dim, second[0] if second else default.token_dim)
    arguments["streams"] = published_streams(dim or 1024, sizes)
    context = matrices.get("model.model.to_cond_embed.2.weight")
    if context and dim and context[0] != dim:
        arguments["context_dim"] = context[0]
    return arguments


def _autoencoder(official: Mapping[str, Tensor]) -> tuple[dict[str, Any] | None, list[str]]:
    """Constructor arguments of the autoencoder, and the weights that do not fit it."""
    if not official:
        return None, []
    given = shapes_of(official)
    arguments = oobleck_arguments(given)
    try:
        with MetaTensors(len(official)):
            codec = OobleckAutoencoder(**arguments)
    except ValueError as error:
        return None, [str(error)]
    expected = oobleck_shapes(shapes_of(codec.state_dict()), given)
    return dict(codec.config), misfits(given, expected)
