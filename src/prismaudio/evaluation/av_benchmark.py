"""Feature caches of av-benchmark: read, written, and scored under the keys of its ``output_metrics.json``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prismaudio.devices import find_device
from prismaudio.errors import (
    CheckpointError,
    DataError,
    DuplicateNameError,
    PrismAudioError,
    first_of,
    print_traceback,
    reason,
    with_class,
)
from prismaudio.media import replacing
from prismaudio.metrics.features import (
    FeatureMetric,
    FrechetDistance,
    InceptionScore,
    KernelDistance,
    KlDivergence,
    MeanCosine,
    MeanOfRows,
)
from prismaudio.paths import expanded
from prismaudio.registry import discover
from prismaudio.untrusted import check_file
from prismaudio.weight_files import check_held, load_plain

Cache = dict[str, Any]
"""Features by name of a clip: a tensor, or in ``pann_features.pth`` tensors by layer."""
Offsets = Callable[[Tensor, Tensor], Tensor]
"""Absolute offset in seconds ``(batch,)`` of features of frames ``(batch, 14, 8, dim)`` and of audio
``(batch, 14, 6, dim)``."""

PANN, VGGISH, PASST, PASST_LOGITS = (
    f"{name}.pth" for name in ("pann_features", "vggish_features", "passt_features_embed", "passt_logits")
)
IB_VIDEO, IB_AUDIO, SYNC_VIDEO, SYNC_AUDIO = (
    f"{network}_{side}.pth" for network in ("imagebind", "synchformer") for side in ("video", "audio")
)
LAION_TEXT, LAION_AUDIO, MS_TEXT, MS_AUDIO = (
    f"clap_{network}_{side}.pth" for network in ("laion", "ms") for side in ("text", "audio")
)
FILES = (
    PANN, VGGISH, PASST, PASST_LOGITS, IB_VIDEO, IB_AUDIO, SYNC_VIDEO, SYNC_AUDIO, LAION_TEXT, LAION_AUDIO, MS_TEXT,
    MS_AUDIO,
)  # fmt: skip
"""The files of a cache folder; one of reference clips and one of generated clips hold some of them each."""
LAYERS = ("2048", "logits")
"""Layers of ``pann_features.pth``."""
WINDOW, FRAME_TOKENS, AUDIO_TOKENS = 14, 8, 6
"""Segments that Synchformer's head compares, and features of a segment."""
BATCH = 16
"""Clips whose offsets are computed at once."""
SHOWN = 3
"""Names of clips that a reason lists; the rest are counted."""
MAX_REASON = 600
"""Maximum length of a reason, in characters."""


@dataclass(frozen=True)
class CacheScores:
    """Scores of a folder of generated caches; each key is in ``values`` or in ``reasons``.

    Args:
        values: Values by key of ``output_metrics.json``, in its order; those that cannot be computed are not there, as
            in that file.
        reasons: Why there is no value, by key.
        warnings: What the reader of a value must know, by key: clips that only one side has, too few clips.
        clips: Number of generated clips that the value is computed from, by key.
        per_clip: Values by clip of the keys that are means over clips (KL, IB-Score, DeSync, CLAP scores), for
            :func:`~prismaudio.evaluation.intervals.mean_interval` and
            :func:`~prismaudio.evaluation.intervals.difference_interval`.
    """

    values: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)
    clips: dict[str, int] = field(default_factory=dict)
    per_clip: dict[str, dict[str, float]] = field(default_factory=dict)


# Scores --------------------------------------------------------------------------------------------------------------
def score_caches(
    reference: str | Path,
    generated: str | Path | Sequence[str | Path] | Mapping[str, str | Path],
    *,
    paired: bool = True,
    kernel: bool = False,
    offsets: Offsets | None = None,
    device: str = "cpu",
) -> dict[str, CacheScores]:
    """Compute the values of av-benchmark's ``output_metrics.json`` from its cache folders.

    A value whose files are missing, unreadable, of other clips, or not finite is left out with its reason; no other
    value is affected.

    Args:
        reference: Folder with the caches of the reference clips, and of frames and texts (``imagebind_video.pth``,
            ``synchformer_video.pth``, ``clap_*_text.pth``).
        generated: A folder with the caches of a system's audio, several of them, or folders by name. Without names,
            systems are named by their folders; a folder ``cache`` by the folder that it is in.
        paired: Whether generated clips belong to the reference clips of the same name. Otherwise only FD, inception
            scores and KAD are computed, as by ``--unpaired``.
        kernel: Whether kernel audio distances (``KAD-PANN``, ``KAD-PASST``) are computed, too; av-benchmark has none.
        offsets: Synchformer's head for ``DeSync``; None for that of the installed metric ``DeSync``, which is loaded
            only if the features are there.
        device: Device of that head, see :func:`prismaudio.devices.find_device`.

    Returns:
        Scores by name of the system, in the order given.

    Raises:
        DataError: A folder is missing or has none of the files of av-benchmark.
        DuplicateNameError: Two folders are the same, or have the same name.

    Source:
        av-benchmark (commit 050a5cdb). As there, FD-VGG and FD-PANN are of all clips of both sides and ISC-PANNS of
        all generated clips, the others of the clips that both sides have.

    ```python
    from prismaudio.evaluation.av_benchmark import score_caches

    scores = score_caches("gt-cache", ["mmaudio/cache", "prismaudio/cache"])
    print(scores["mmaudio"].values, scores["mmaudio"].reasons)
    ```
    """
    systems = _systems(generated)
    if not systems:
        raise DataError("no folders of generated caches are given; expected one or more")
    truth = CacheFolder(reference)
    head = lru_cache(maxsize=1)(lambda: _installed_offsets() if offsets is None else offsets)
    keys, on = (*KEYS, *KAD_KEYS) if kernel else KEYS, find_device(device)
    folders = {name: CacheFolder(folder) for name, folder in systems.items()}  # all of them are checked first
    return {name: _Scoring(truth, folder, head, on, paired=paired).scores(keys) for name, folder in folders.items()}


def _systems(generated: str | Path | Sequence[str | Path] | Mapping[str, str | Path]) -> dict[str, Path]:
    """Folders by name of the system."""
    if isinstance(generated, Mapping):
        return {name: expanded(folder) for name, folder in generated.items()}
    folders = [expanded(folder) for folder in ([generated] if isinstance(generated, (str, Path)) else generated)]
    systems: dict[str, Path] = {}
    for folder in folders:
        place = folder.absolute()
        name = place.parent.name if place.name == "cache" else place.name
        if name in systems:
            raise DuplicateNameError(
                f"two folders of generated caches are named {name}: {systems[name]} and {folder}; give each system "
                "once, and folders of different names"
            )
        systems[name] = folder
    return systems


class CacheFolder:
    """The cache files of a folder; each is read when it is first needed.

    Args:
        folder: The folder.

    Raises:
        DataError: It is no folder, or has none of :data:`FILES`.

    Attributes:
        path: The folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = expanded(folder)
        if not self.path.is_dir():
            raise DataError(f"{folder} is not a folder; expected a folder with caches of av-benchmark (*.pth)")
        if not any((self.path / name).exists() for name in FILES):
            raise DataError(f"{folder} has no caches of av-benchmark; expected some of {', '.join(FILES)}")
        self._caches: dict[str, Cache] = {}

    def read(self, name: str, layer: str | None = None) -> Cache:
        """A cache by clip; of ``pann_features.pth`` one layer.

        Raises:
            DataError: The file is missing or cannot be used.
        """
        if name not in self._caches:
            path = self.path / name
            if not path.exists():
                raise DataError(f"no such file: {path}")
            self._caches[name] = read_cache(path)
        cache = self._caches[name]
        return cache if layer is None else {clip: layers[layer] for clip, layers in cache.items()}


@dataclass(frozen=True)
class _Entry:
    """How the values of some keys are computed.

    Args:
        keys: The keys.
        metric: The class of the metric; None for offsets.
        reference: File of the reference; None if it is not needed.
        generated: File of the generated clips.
        layer: Layer of the two.
        paired: Whether clips are compared one by one.
        all_clips: Whether clips that only one side has count, too.
    """

    keys: tuple[str, ...]
    metric: type[FeatureMetric] | None
    reference: str | None
    generated: str
    layer: str | None = None
    paired: bool = False
    all_clips: bool = False


_ENTRIES = (
    _Entry(("FD-VGG",), FrechetDistance, VGGISH, VGGISH, all_clips=True),
    _Entry(("FD-PANN",), FrechetDistance, PANN, PANN, "2048", all_clips=True),
    _Entry(("FD-PASST",), FrechetDistance, PASST, PASST),
    _Entry(("KL-PANNS-softmax",), KlDivergence, PANN, PANN, "logits", paired=True),
    _Entry(("KL-PASST-softmax",), KlDivergence, PASST_LOGITS, PASST_LOGITS, paired=True),
    _Entry(("ISC-PANNS-mean", "ISC-PANNS-std"), InceptionScore, None, PANN, "logits", all_clips=True),
    _Entry(("ISC-PASST-mean", "ISC-PASST-std"), InceptionScore, PASST_LOGITS, PASST_LOGITS),
    _Entry(("IB-Score",), MeanCosine, IB_VIDEO, IB_AUDIO, paired=True),
    _Entry(("DeSync",), None, SYNC_VIDEO, SYNC_AUDIO, paired=True),
    _Entry(("LAION-CLAP-Score",), MeanCosine, LAION_TEXT, LAION_AUDIO, paired=True),
    _Entry(("MS-CLAP-Score",), MeanCosine, MS_TEXT, MS_AUDIO, paired=True),
    _Entry(("KAD-PANN",), KernelDistance, PANN, PANN, "2048", all_clips=True),
    _Entry(("KAD-PASST",), KernelDistance, PASST, PASST),
)
KEYS = tuple(key for entry in _ENTRIES for key in entry.keys if not key.startswith("KAD"))
"""The keys of ``output_metrics.json``, in its order."""
KAD_KEYS = ("KAD-PANN", "KAD-PASST")
"""Keys that av-benchmark does not have: kernel audio distances of the same features as those of FD."""


class _Scoring:
    """Computes the values of one system."""

    def __init__(
        self,
        truth: CacheFolder,
        generated: CacheFolder,
        head: Callable[[], Offsets],
        device: torch.device,
        *,
        paired: bool,
    ) -> None:
        self.truth, self.generated, self.head, self.device, self.paired = truth, generated, head, device, paired
        self.found = CacheScores()

    def scores(self, keys: Sequence[str]) -> CacheScores:
        """The values of some keys, or reasons."""
        for entry in _ENTRIES:
            if entry.keys[0] not in keys:
                continue
            try:
                self._score(entry)
            except (PrismAudioError, RuntimeError) as error:  # RuntimeError: of torch, such as no memory
                for key in entry.keys:
                    self.found.values.pop(key, None)
                    self.found.reasons[key] = with_class(error, MAX_REASON)
        return self.found

    def _score(self, entry: _Entry) -> None:
        """Add the values of an entry.

        Raises:
            PrismAudioError: They cannot be computed.
        """
        if entry.paired and not self.paired:
            raise DataError("it compares clips with reference clips of the same name, and these are not paired")
        true_file = entry.reference if self.paired or entry.metric is not InceptionScore else None
        generated = self.generated.read(entry.generated, entry.layer)
        reference = generated if true_file is None else self.truth.read(true_file, entry.layer)
        names, true_names, warning = list(generated), list(reference), ""
        if self.paired and true_file is not None:
            shared = [name for name in names if name in reference]
            warning = self._check_names(entry, names, true_names, shared)
            names, true_names = (names, true_names) if entry.all_clips else (shared, shared)
        per_clip: dict[str, float] = {}
        if entry.metric is None:
            per_clip = self._offsets_s(reference, generated, names)
            numbers = [sum(per_clip.values()) / len(per_clip)]
        else:
            rows = _rows(generated, names, self.generated.path / entry.generated)
            true_rows = rows if true_file is None else _rows(reference, true_names, self.truth.path / true_file)
            dim, true_dim = rows.shape[1], true_rows.shape[1]
            if dim != true_dim:
                raise DataError(
                    f"{self._named(entry)} have features of {true_dim} and {dim} dimensions; expected the same"
                )
            metric = FrechetDistance(dim) if entry.metric is FrechetDistance else entry.metric()
            metric.update(rows, true_rows)
            numbers = metric.compute().flatten().tolist()
            warning = "; ".join(filter(None, (warning, metric.caution())))
            if isinstance(metric, MeanOfRows):
                per_clip = dict(zip(names, metric.measure(rows, true_rows).tolist(), strict=True))
        if not all(math.isfinite(number) for number in numbers):
            raise DataError(f"{self._named(entry)} have {len(true_names)} and {len(names)} clips; expected two or more")
        for key, number in zip(entry.keys, numbers, strict=True):
            self.found.values[key], self.found.clips[key] = number, len(names)
            if warning:
                self.found.warnings[key] = warning
            if per_clip:
                self.found.per_clip[key] = per_clip

    def _named(self, entry: _Entry) -> str:
        return f"{self.truth.path / (entry.reference or entry.generated)} and {self.generated.path / entry.generated}"

    def _check_names(
        self, entry: _Entry, names: Sequence[str], true_names: Sequence[str], shared: Sequence[str]
    ) -> str:
        """A warning if only one side has some of the clips.

        Raises:
            DataError: No clip is on both sides.
        """
        if not shared:
            raise DataError(
                f"{self._named(entry)} have no clip in common, such as {true_names[0]!r} and {names[0]!r}; expected "
                "the same names on both sides"
            )
        both = set(shared)
        without = [name for name in true_names if name not in both], [name for name in names if name not in both]
        sides = [
            f"{len(some)} clips have {side} ({first_of(some, SHOWN)})"
            for some, side in zip(without, ("only a reference", "no reference"), strict=True)
            if some
        ]
        counted = "are compared as sets with the others" if entry.all_clips else "do not count"
        return f"{' and '.join(sides)}; they {counted}" if sides else ""

    def _offsets_s(self, frames: Cache, audio: Cache, names: Sequence[str]) -> dict[str, float]:
        """Mean absolute offset of the first and the last sequence of segments of each clip."""
        sides = (frames, self.truth.path / SYNC_VIDEO), (audio, self.generated.path / SYNC_AUDIO)
        for cache, path in sides:
            if short := [name for name in names if len(cache[name]) < WINDOW]:
                raise DataError(
                    f"{path}: {len(short)} of {len(names)} clips ({first_of(short, SHOWN)}) have fewer than the "
                    f"{WINDOW} segments (4.8 s) that Synchformer compares; remove these clips"
                )
        with _failures_are_reasons():
            head = self.head()
        found: dict[str, float] = {}
        for start in range(0, len(names), BATCH):
            some = names[start : start + BATCH]
            total = torch.zeros(len(some), dtype=torch.float64)
            for window in (slice(0, WINDOW), slice(-WINDOW, None)):
                pieces = [_rows({name: cache[name][window] for name in some}, some, path) for cache, path in sides]
                stacked = [piece.unflatten(0, (len(some), WINDOW, -1)).float().to(self.device) for piece in pieces]
                with _failures_are_reasons():
                    total += head(*stacked).detach().double().cpu() / 2
            found.update(zip(some, total.tolist(), strict=True))
        return found


def _rows(cache: Cache, names: Sequence[str], path: Path) -> Tensor:
    """Features ``(rows, dim)`` of some clips, one after another.

    Raises:
        DataError: They are not finite, or of different dimensions.
    """
    parts = [cache[name].reshape(-1, cache[name].shape[-1]) for name in names]
    if len(dims := {part.shape[1] for part in parts}) > 1:
        raise DataError(
            f"{path} has features of {first_of(sorted(map(str, dims)), SHOWN)} dimensions; expected the same"
        )
    rows = torch.cat(parts)
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
    if not bool(rows.isfinite().all()):
        lost = [name for name, part in zip(names, parts, strict=True) if not bool(part.isfinite().all())]
        raise DataError(
            f"{path}: NaN or infinity in the features of {len(lost)} of {len(names)} clips ({first_of(lost, SHOWN)}); "
            "extract them again, or remove these clips"
        )
    return rows


@contextmanager
def _failures_are_reasons() -> Iterator[None]:
    """Around calls of a plugin, whose failures may be of any kind."""
    try:
        yield
    except Exception as error:
        print_traceback(error)
        raise DataError(with_class(error, MAX_REASON)) from error


def _installed_offsets() -> Offsets:
    """Synchformer's head of the installed metric ``DeSync``.

    Raises:
        PrismAudioError: There is none, or its weights are missing.
    """
    offsets: Offsets | None = getattr(discover().load("metrics", "DeSync")(), "feature_offset_s", None)
    if offsets is None:
        raise DataError("the installed metric DeSync takes no cached features; update prismaudio-synchformer")
    return offsets


# Files ---------------------------------------------------------------------------------------------------------------
def read_cache(path: str | Path) -> Cache:
    """Read a cache file of av-benchmark; nothing in it is executed.

    Args:
        path: The file: a ``torch.save`` of a dictionary from names of clips to tensors, or to tensors by layer as in
            ``pann_features.pth``.

    Returns:
        Features by clip, memory-mapped where possible.

    Raises:
        DataError: The file cannot be read, is damaged, contains other objects, or does not have the form that
            av-benchmark gives a file of its name.
    """
    file = expanded(path)
    try:
        check_file(file)
        with file.open("rb") as opened:
            head = opened.read(2)
        if head[:1] not in (b"P", b"\x80"):
            raise DataError(
                f"{file} is {'not a torch.save file' if head else 'empty'}; expected a cache of av-benchmark"
            )
        found = load_plain(file, mmap=head == b"PK")
    except OSError as error:
        raise DataError(f"cannot read {file}: {reason(error)}") from error
    except CheckpointError as error:
        raise DataError(f"{file} {error}") from error
    return _checked(file, found)


def write_cache(path: str | Path, clips: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
    """Write a cache file that av-benchmark reads.

    Args:
        path: The file; the name is one of :data:`FILES` for av-benchmark. An existing one is replaced.
        clips: Features by name of a clip, or pairs of both: tensors, or tensors by layer for ``pann_features.pth``.

    Raises:
        DataError: They do not have the form that av-benchmark gives a file of this name.
        DuplicateNameError: Two clips have the same name.
        MediaError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_cache(Path(folder) / "clap_ms_audio.pth", {"dog": torch.tensor([3.0, 4.0])})
        ...     read_cache(Path(folder) / "clap_ms_audio.pth")
        {'dog': tensor([3., 4.])}
    """
    file, cache = expanded(path), dict[str, Any]()
    for name, value in clips.items() if isinstance(clips, Mapping) else clips:
        if name in cache:
            raise DuplicateNameError(f"two clips are named {name!r}; expected a name for each, as {file.name} has")
        cache[name] = (
            {layer: _stored(each) for layer, each in value.items()} if isinstance(value, Mapping) else _stored(value)
        )
    _checked(file, cache)
    with replacing(file, "choose another folder") as part:
        torch.save(cache, part)


def _stored(value: Any) -> Any:
    """A tensor that holds its own values only, without those of the batch that it is a row of."""
    return value.detach().cpu().clone(memory_format=torch.contiguous_format) if isinstance(value, Tensor) else value


def _checked(path: Path, found: Any) -> Cache:
    """The content of a cache file.

    Raises:
        DataError: It does not have the form that av-benchmark gives a file of its name.
    """
    layered = path.name == PANN
    what = f"tensors by layer ({', '.join(LAYERS)}) by clip" if layered else "tensors by clip"
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise DataError(f"{path} contains no dictionary of names; expected {what}")
    if not found:
        raise DataError(f"{path} has no clips; expected {what}")
    tensors: dict[str, Tensor] = {}
    for name, value in found.items():
        nested = isinstance(value, Mapping) and path.name not in _PLAIN
        if layered and nested and (missing := [layer for layer in LAYERS if layer not in value]):
            raise DataError(f"{path}: {name!r} has no layer {' or '.join(missing)}; expected {what}")
        for layer, tensor in value.items() if nested else [("", value)]:
            place = f"{path}: {name!r}" + f", layer {layer!r}" * nested
            if not isinstance(tensor, Tensor) or nested < layered:
                raise DataError(f"{place} is a {type(tensor).__name__}; expected {what}")
            if tensor.layout is not torch.strided or tensor.is_quantized or not tensor.is_floating_point():
                raise DataError(f"{place} is a tensor of {tensor.dtype}, {tensor.layout}; expected dense real numbers")
            if not tensor.numel() or not _has_form(path.name, tensor):
                raise DataError(f"{place} has the shape {tuple(tensor.shape)}; expected {_form(path.name)}")
            tensors[f"{name}/{layer}"] = tensor
    try:
        check_held(tensors, path)
    except CheckpointError as error:
        raise DataError(str(error)) from error
    return found


_PLAIN = frozenset(FILES) - {PANN}
"""Files without layers."""


def _form(name: str) -> str:
    """The shape of the features of a clip in a file, for messages."""
    if name in (SYNC_VIDEO, SYNC_AUDIO):
        return f"(segments, {FRAME_TOKENS if name == SYNC_VIDEO else AUDIO_TOKENS}, dim)"
    return "(frames, dim)" if name == VGGISH else "(dim,)"


def _has_form(name: str, tensor: Tensor) -> bool:
    """Whether the features of a clip have the shape of those in a file."""
    if name in (SYNC_VIDEO, SYNC_AUDIO):
        return tensor.ndim == 3 and tensor.shape[1] == (FRAME_TOKENS if name == SYNC_VIDEO else AUDIO_TOKENS)
    if name == VGGISH:
        return tensor.ndim in (1, 2)
    return tensor.ndim == 1 or (tensor.ndim == 2 and len(tensor) == 1) or name not in FILES
