"""What a folder of latents and features contains: counts, shapes, lengths, statistics, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prismaudio.data.features import find_files, index_file, look_over, read_tensor
from prismaudio.data.records import Contents, Record
from prismaudio.data.writing import read_failures
from prismaudio.errors import DataError, first_of
from prismaudio.types import LATENTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


MAX_BINS = 40
"""Maximum number of bars of a histogram."""


@dataclass
class Stream:
    """Statistics of the latents or of one stream of features, over all clips.

    Args:
        lengths: Latent frames, or features, of each clip; of each text for a stream with several.
        dims: Channels of latents or dims of features that occur, and how often.
        dtypes: Data types that occur, and how often.
        not_finite: Clips with NaN or infinity.
        total: Sum of the finite values of each dim.
        squares: Sum of their squares.
        n_values: Number of finite values of each dim.
    """

    lengths: list[int] = field(default_factory=list)
    dims: Counter[int] = field(default_factory=Counter)
    dtypes: Counter[str] = field(default_factory=Counter)
    not_finite: list[str] = field(default_factory=list)
    total: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    squares: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    n_values: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))

    def add(self, clip: str, values: Tensor, dtype: str) -> None:
        """Count one tensor ``(time, dim)``."""
        n_features, dim = values.shape
        self.lengths.append(n_features)
        self.dims[dim] += 1
        self.dtypes[dtype] += 1
        finite = values.isfinite()
        if not bool(finite.all()):
            self.not_finite.append(clip)
        if not len(self.total):
            self.total, self.squares, self.n_values = (torch.zeros(dim, dtype=torch.float64) for _ in range(3))
        if len(self.total) == dim:
            kept = values.double().where(finite, 0.0)
            self.total += kept.sum(0)
            self.squares += kept.square().sum(0)
            self.n_values += finite.sum(0)

    @property
    def mean(self) -> Tensor:
        """Mean of each dim."""
        return self.total / self.n_values.clamp(min=1)

    @property
    def std(self) -> Tensor:
        """Standard deviation of each dim."""
        return (self.squares / self.n_values.clamp(min=1) - self.mean.square()).clamp(min=0).sqrt()

    def describe(self) -> dict[str, Any]:
        """The statistics as JSON types."""
        n_values = self.n_values.sum().clamp(min=1)
        mean = float(self.total.sum() / n_values)
        return {
            "n": len(self.lengths),
            "dim": sorted(self.dims),
            "dtype": sorted(self.dtypes),
            "length": {"min": min(self.lengths), "median": median(self.lengths), "max": max(self.lengths)},
            "mean": mean,
            "std": max(0.0, float(self.squares.sum() / n_values) - mean**2) ** 0.5,
            "not_finite": self.not_finite,
        }


@dataclass
class Inspection:
    """The contents of a folder.

    Args:
        folder: The folder.
        n_files: Number of its files.
        n_bytes: Their size.
        records: Its clips, by id.
        streams: Statistics by stream; those of the latents come first.
        repeated: Clips that several files have; the last one is used.
        damaged: Reason of each file that cannot be read, by name.
        unusable: Why clips cannot be trained on, by id.
        failures: Why clips could not be computed, by id.
        conflict: Why the files do not belong together; empty if they do.
    """

    folder: Path
    n_files: int
    n_bytes: int
    records: dict[str, Record] = field(default_factory=dict)
    streams: dict[str, Stream] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    conflict: str = ""

    @property
    def duration_s(self) -> float:
        """Sum of the durations that the files state, in seconds."""
        stated = (record.info.get("duration_s", 0.0) for record in self.records.values())
        return float(sum(value for value in stated if isinstance(value, int | float)))

    @property
    def is_sound(self) -> bool:
        """Whether every file can be read, belongs to the others, and has finite values only."""
        return not (self.damaged or self.conflict or any(stream.not_finite for stream in self.streams.values()))

    def describe(self) -> dict[str, Any]:
        """The contents as JSON types."""
        return {
            "folder": str(self.folder),
            "files": self.n_files,
            "bytes": self.n_bytes,
            "clips": len(self.records),
            "duration_s": self.duration_s,
            "streams": {name: stream.describe() for name, stream in self.streams.items()},
            "repeated": self.repeated,
            "damaged": self.damaged,
            "unusable": self.unusable,
            "failures": self.failures,
            "conflict": self.conflict,
        }

    def text(self) -> str:
        """The contents as lines of text."""
        size = f"{self.n_files} files, {self.n_bytes / 1e6:.1f} MB"
        lines = [f"{self.folder}: {size}, {len(self.records)} clips, {self.duration_s / 3600:.3f} hours"]
        for name, stream in self.streams.items():
            values = stream.describe()
            length = "/".join(f"{values['length'][key]:g}" for key in ("min", "median", "max"))
            dims, dtypes = " and ".join(map(str, values["dim"])), " and ".join(values["dtype"])
            lines.append(
                f"  {name}: {values['n']} of dim {dims}, {dtypes}, "
                f"length {length} (min/median/max), mean {values['mean']:.4g}, std {values['std']:.4g}, "
                f"{first_of(stream.not_finite, 5) or 'none'} with NaN or infinity"
            )
        if self.repeated:
            named = first_of(self.repeated, 5)
            lines.append(f"  {len(self.repeated)} clips in several files, the last one counts: {named}")
        if self.failures:
            lines.append(f"  {len(self.failures)} clips could not be computed: {first_of(list(self.failures), 5)}")
        lines += [f"  damaged: {why}" for why in self.damaged.values()]
        lines += [f"  {self.conflict}"] * bool(self.conflict)
        lines += [f"  not for training: {name}: {why}" for name, why in list(self.unusable.items())[:10]]
        lines += [f"  and {len(self.unusable) - 10} more"] * (len(self.unusable) > 10)
        return "\n".join(lines)


def inspect_folder(folder: Path, on_clip: Callable[[int, int], None] = lambda *_: None) -> Inspection:
    """Read every value of a folder of features once.

    Args:
        folder: A folder of shards, archives or ``.npz`` files.
        on_clip: Called with the number of clips that were read, and of all clips.

    Raises:
        DataError: It contains no files of features.
    """
    files = find_files(folder)
    found = Inspection(folder, len(files), sum(path.stat().st_size for path in files if path.exists()))
    found.failures = read_failures(folder)
    contents: list[Contents] = []
    counts: Counter[str] = Counter()
    for path in files:
        try:
            contents.append(index_file(path))
        except DataError as error:
            found.damaged[path.name] = str(error)
            continue
        counts.update(list(contents[-1].records))
        found.records |= contents[-1].records
    if not found.records and not found.damaged:
        raise DataError(f"{folder} has no features; expected a folder that prismaudio extract wrote")
    found.repeated = [name for name, count in counts.items() if count > 1]
    for number, (name, record) in enumerate(found.records.items(), 1):
        for key, part in record.parts.items():
            if len(part.shape) != 2:
                found.damaged[part.path.name] = f"the {key} of {name} have shape {part.shape}; expected two dimensions"
                continue
            try:
                values = read_tensor(part)
            except DataError as error:
                found.damaged[part.path.name] = str(error)
                continue
            stream = key.partition(".")[0]
            values = values.mT if stream == LATENTS else values
            found.streams.setdefault(stream, Stream()).add(name, values, part.dtype)
        on_clip(number, len(found.records))
    found.streams = dict(sorted(found.streams.items(), key=lambda item: item[0] != LATENTS))
    try:
        found.unusable = look_over(found.records, contents, verify=False).failures
    except DataError as error:
        found.conflict = str(error)
    return found


def inspection_figure(found: Inspection) -> Figure:
    """Plot for each stream a histogram of the lengths, and mean and standard deviation of each dim."""
    from matplotlib.figure import Figure

    figure = Figure((9.0, 2.4 * max(1, len(found.streams))), dpi=125, layout="constrained")
    axes = figure.subplots(max(1, len(found.streams)), 2, squeeze=False)
    for (left, right), (name, stream) in zip(axes, found.streams.items(), strict=False):
        _plot_stream(left, right, name, stream)
    return figure


def _plot_stream(left: Axes, right: Axes, name: str, stream: Stream) -> None:
    from matplotlib.ticker import MaxNLocator

    shortest, longest = min(stream.lengths), max(stream.lengths)
    step = 1 + (longest - shortest) // MAX_BINS
    edges = [length - 0.5 for length in range(shortest, longest + step + 1, step)]
    left.hist(stream.lengths, bins=edges, rwidth=0.9, color="#0072B2")
    left.set_title(name)
    left.set_xlabel("length (latent frames)" if name == LATENTS else "length (features)")
    left.set_ylabel("clips")
    for axis in (left.xaxis, left.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    if shortest == longest:
        left.set_xlim(shortest - 5, shortest + 5)
    dims = range(len(stream.mean))
    mean, std = stream.mean.numpy(), stream.std.numpy()
    right.fill_between(dims, mean - std, mean + std, color="#56B4E9", alpha=0.5, label="mean ± std", linewidth=0)
    right.plot(dims, mean, color="#0072B2", linewidth=0.8, label="mean")
    right.set_title(f"{name}: values by {'channel' if name == LATENTS else 'dim'}")
    right.set_xlabel("channel" if name == LATENTS else "dim")
    right.set_ylabel("value")
    right.legend(fontsize="small")
