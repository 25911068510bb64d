"""Golden numbers: reading them, weights that are made by a recipe, and a report of what differs."""

from __future__ import annotations

import gzip
import json
import math
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

if TYPE_CHECKING:
    from pathlib import Path

KINDS = {
    "dit": "out/velocity",
    "grpo_sde": "adv/reward",
    "grpo_rollout": "out/final_latent",
    "vae": "out/encoder_raw",
    "schedules": "inverse_lr/",
    "gcc_phat": "out/case",
    "metrics": "out/fd",
    "synchformer_tiny": "out/v0_",
    "synchformer_full": "out/head_logits",
    "synchformer_pre": "out/frame_index",
    "synchformer_visual": "out/sync_features",
    "crw_affinity": "out/aff_corner",
    "crw_embeddings": "out/emb_",
    "crw_chain": "out/crw_itd_ms",
    "audiobox_tiny": "out/score_",
    "audiobox_full": "out/raw_",
    "msclap": "out/prism_ms_clap",
    "videoprism": "out/frame_embeddings",
}
"""Kinds of golden files, each with the beginning of a name that only it holds, of those that come after it."""


class Golden(dict[str, Any]):
    """What a golden file holds, by name; whoever asks for what is not there is told what the file lacks.

    Args:
        items: Names and values.
        where: What comes before these names in the file.

    Example:
        >>> Golden({"in/x": 1}).below("in/")["y"]
        Traceback (most recent call last):
        ValueError: the golden file lacks in/y
    """

    def __init__(self, items: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), where: str = "") -> None:
        super().__init__(items)
        self.where = where

    def __missing__(self, name: str) -> Any:
        """Say that the file lacks it."""
        raise ValueError(f"the golden file lacks {self.where}{name}")

    def below(self, prefix: str) -> Golden:
        """What has a prefix, without it."""
        found = {name.removeprefix(prefix): value for name, value in self.items() if name.startswith(prefix)}
        return Golden(found, self.where + prefix)

    def weights(self) -> dict[str, Tensor]:
        """The weights that the file holds, by their published keys."""
        return {name: torch.as_tensor(value) for name, value in self.below("w/").items()}

    def options(self, name: str = "config") -> Golden:
        """The options that the file states as JSON under a name."""
        return json.loads(self[name], object_hook=lambda some: Golden(some, f"{name}: "))

    def numbered(self, pattern: str) -> list[tuple[str, ...]]:
        """What stands in the groups of a pattern in the names that fit it, in the file's order."""
        return [found.groups() for name in self if (found := re.fullmatch(pattern, name))]


def recipe_weight(key: str, shape: Sequence[int], seed: int) -> Tensor:
    """The weight that the recipe of golden files gives to a key of a published checkpoint.

    Args:
        key: The checkpoint's own key; its ending decides the distribution.
        shape: Shape of the weight.
        seed: Seed of the file.

    Example:
        >>> recipe_weight("bn1.running_var", (3,), seed=0).ge(1).all().item()
        True
    """
    rng = np.random.default_rng([seed, zlib.crc32(key.encode())])
    last = key.rpartition(".")[2]
    if last == "num_batches_tracked":
        return torch.zeros(tuple(shape), dtype=torch.int64)
    if last == "running_var":
        return torch.as_tensor(1 + 0.5 * rng.random(tuple(shape))).float()
    normal = rng.standard_normal(tuple(shape))
    if last == "running_mean":
        normal = 0.1 * normal
    elif last in ("weight", "in_proj_weight") and len(shape) >= 2:
        normal = normal / math.sqrt(math.prod(shape[1:]))
    elif last == "weight" and len(shape) == 1:
        normal = 1 + 0.1 * normal
    else:
        normal = normal * (0.05 if len(shape) <= 1 else 0.5)
    return torch.as_tensor(normal).float()


def recipe_weights(shapes: Mapping[str, Sequence[int]], seed: int) -> dict[str, Tensor]:
    """The weights of the recipe for all keys of a checkpoint."""
    return {key: recipe_weight(key, shape, seed) for key, shape in shapes.items()}


def published_shapes(manifest: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of a published checkpoint by their keys, from a list of them beside the tests."""
    tensors = json.loads(gzip.decompress(manifest.read_bytes()))["tensors"]
    return {key: tuple(entry["shape"]) for key, entry in tensors.items()}


def read_npz(path: Path) -> Golden:
    """Arrays of a golden file by name, nothing unpickled; a 0-d array is the Python value in it."""
    with np.load(path, allow_pickle=False) as file:
        return Golden((name, file[name].item() if file[name].ndim == 0 else file[name]) for name in file.files)


def read_tensors(path: Path) -> tuple[Golden, Golden]:
    """Metadata and tensors of a golden file."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        return Golden(file.metadata() or {}, "metadata "), Golden(tensors)


def every(length: int, shown: int) -> int:
    """Which share of a row a file shows: of ``length`` places every how many-th one, so that they are ``shown``.

    Example:
        >>> every(99, 25), every(150, 10)
        (4, 15)
    """
    return math.ceil(length / shown)


def kind_of(path: Path) -> str | None:
    """The kind of a golden file, told by what is in it, whatever its name; None for a file of no kind.

    Raises:
        ValueError: It cannot be read.
    """
    names = names_in(path)
    return next((kind for kind, start in KINDS.items() if any(name.startswith(start) for name in names)), None)


def names_in(path: Path) -> list[str]:
    """Names of what a golden file holds.

    Raises:
        ValueError: It cannot be read.
    """
    try:
        if path.suffix == ".npz":
            with ZipFile(path) as arrays:
                return arrays.namelist()
        with safe_open(path, "np") as tensors:
            return list(tensors.keys())
    except (OSError, BadZipFile, SafetensorError) as error:
        raise ValueError(f"{path} is no golden file: {error}; copy it again") from error


def golden_files(metafunc: Any, copies: Path, *kinds: str) -> None:
    """Make one test of each golden file, as the argument ``path``; of those beside the tests there must be some.

    Args:
        metafunc: What ``pytest_generate_tests`` is called with.
        copies: The folder that is looked through when ``--parity-dir`` is not given.
        kinds: Kinds of the files, of :data:`KINDS`.

    Raises:
        ValueError: There are none beside the tests.
    """
    given = metafunc.config.getoption("parity_dir")
    folder = given or copies
    files = [path for path in arrays_in(folder) if kind_of(path) in kinds]
    if not files and given is None:
        raise ValueError(f"{folder} holds no files of the kind {' or '.join(kinds)}")
    metafunc.parametrize("path", files, ids=[path.stem for path in files])


def arrays_in(folder: Path) -> list[Path]:
    """Files of arrays in a folder and below it, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix in (".npz", ".safetensors"))


def replayer_flaws(check: Callable[[Golden], Comparison], outline: Mapping[str, Any], path: Path) -> list[str]:
    """What is wrong when a replayer replays a file of another configuration that is made by it; see the tests.

    Args:
        check: The replayer.
        outline: The file; of the outputs only shapes count.
        path: Where it is written, with a name ending in ``.npz``.

    Returns:
        What differs from what was just computed, and outputs in which a difference is not noticed.
    """
    found = {name: value.numpy() for name, value in check(Golden(outline)).found.items()}
    np.savez(path, **{**outline, **found})
    written = read_npz(path)
    outputs = {name: np.asarray(value) for name, value in written.items() if name.startswith("out/")}
    noticed = {problem.split()[0] for problem in check(Golden({**written, **perturbed(outputs)})).problems()}
    return check(written).problems() + [f"a change of {name} is not noticed" for name in outputs.keys() - noticed]


def perturbed(outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs of which each has one number that is wrong."""
    changed = {}
    for name, value in outputs.items():
        changed[name] = value.astype(np.float64)
        changed[name].flat[-1] += 1
    return changed


class Comparison:
    """Compares computed tensors with golden ones, and sees that none of these is left out.

    Args:
        golden: Everything in a golden file, by name.

    Example:
        >>> comparison = Comparison({"out/a": np.ones(2), "out/b": np.ones(2), "in/x": np.ones(1)})
        >>> comparison.close("out/a", torch.tensor([1.0, 1.5]), 1e-5)
        >>> comparison.problems()
        ['out/a differs by 0.5, allowed 1e-05', 'out/b was not compared']
    """

    def __init__(self, golden: Mapping[str, Any]) -> None:
        self.golden = golden
        self.found: dict[str, Tensor] = {}
        """What was computed, by name."""
        self._problems: list[str] = []

    def close(self, name: str, value: Tensor | float, tolerance: float, *, relative: bool = False) -> None:
        """Compare a tensor with that of this name; the tolerance is of the largest difference.

        Args:
            name: Name in the golden file.
            value: What was computed.
            tolerance: Largest difference allowed.
            relative: Whether the tolerance is a share of the largest golden value.
        """
        self.found[name] = torch.as_tensor(value).detach().cpu()
        expected = torch.as_tensor(np.asarray(self.golden[name], dtype=np.float64))
        found = self.found[name].double()
        if expected.shape != found.shape:
            self._problems.append(f"{name} has shape {tuple(found.shape)}, expected {tuple(expected.shape)}")
            return
        difference = float((found - expected).abs().max()) if expected.numel() else 0.0
        if relative:
            difference /= float(expected.abs().max().clamp(min=1e-30))
        if not difference <= tolerance:
            self._problems.append(f"{name} differs by {difference:.3g}, allowed {tolerance:g}")

    def problems(self, prefix: str = "out/") -> list[str]:
        """What differs, and which names with a prefix were never compared."""
        left = [
            f"{name} was not compared" for name in self.golden if name.startswith(prefix) and name not in self.found
        ]
        return self._problems + left


def consensus(values: Tensor, tolerance: float) -> Tensor:
    """Mean ``(...)`` of those of the values ``(..., n)`` that most others are near to: the published RANSAC.

    1001 candidates lie evenly from the lowest value to the highest. The middle one of those that have the most values
    within the tolerance is taken, and the mean of these values is returned.

    Args:
        values: Values, for instance time differences in samples.
        tolerance: How far from a candidate a value may be; the published one is 0.05 samples.

    Example:
        >>> consensus(torch.tensor([[1.0, 5.0, 5.02, 9.0]]), 0.05)
        tensor([5.0100], dtype=torch.float64)
    """
    values = values.double()
    low, high = values.amin(-1, keepdim=True), values.amax(-1, keepdim=True)
    candidates = low + (high - low) * torch.linspace(0, 1, 1001, dtype=values.dtype)
    near = (values[..., None, :] - candidates[..., :, None]).abs() <= tolerance
    counts = near.sum(-1)
    best = counts == counts.amax(-1, keepdim=True)
    middle = (best.cumsum(-1) == best.sum(-1, keepdim=True) // 2 + 1).int().argmax(-1)
    chosen = near.gather(-2, middle[..., None, None].expand(*middle.shape, 1, values.shape[-1])).squeeze(-2)
    return (values * chosen).sum(-1) / chosen.sum(-1)
