"""A Lightning data module for the clips of a manifest."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from prismaudio.components import Dimension
from prismaudio.data.buckets import BucketSampler, batch_loader
from prismaudio.data.features import FeatureSet, find_files, from_entries, gather, look_over
from prismaudio.data.latents import LatentClips, crop_length
from prismaudio.data.manifest import SPLITS, ManifestEntry, read_manifest
from prismaudio.data.matching import TrainsOnFeatures, TrainsOnWholeClips, check_features
from prismaudio.data.media_clips import MediaClips, Reading, readable
from prismaudio.data.records import Record
from prismaudio.errors import DataError
from prismaudio.hyperparameters import RecordsArguments
from prismaudio.paths import expanded
from prismaudio.plan import CORE
from prismaudio.types import FrameSpec

NAMED = 3
"""Maximum number of skipped clips that a message names; further ones are counted."""
LOG = logging.getLogger("prismaudio.data")
Row = TypeVar("Row", ManifestEntry, Record)
Set = LatentClips | MediaClips


class ManifestDataModule(RecordsArguments, LightningDataModule):
    """Clips of a manifest, as precomputed latents and features or read from the media files.

    Features are read from ``features``, from the files that the manifest names, or from the manifest itself if it is a
    folder of features. Batches then contain padded clips of similar length, with masks; clips of at least ``max_s``
    are cropped to one length and share batches without padding. Without features the media
    files are read during training, which suits a few hundred clips; batches then contain clips of exactly ``max_s``.
    A planner that takes clips of any length, such as a language model, is trained on whole clips where ``max_s`` is
    None.

    Clips that cannot be used are skipped, counted and reported; they are not replaced by other clips.

    Args:
        manifest: A .csv, .tsv or .jsonl file, or a folder written by prismaudio extract.
        features: Folder with the features of the manifest's clips.
        batch_size: Clips per batch and process.
        max_s: Maximum length of a clip in seconds; longer ones are cropped at random. None for whole clips.
        validation: Share of the clips that is held out if the manifest has no column ``split``.
        bucket_frames: Maximum lengths of the buckets in latent frames; None to choose them.
        seed: Seed of the order of clips, of the crops and of the choice between captions.
        workers: Number of worker processes.
        verify: Read every value once before training, to find broken clips.
        max_broken: Share of the clips that may be skipped; more raise an error.
        fps: Frames per second of clips read from media files.
        frame_size: Height and width of their frames.
        sample_rate_hz: Sample rate of their audio.
        sections: Sections that plans in the manifest may have; None for those of the installed dimensions.
        prompts: Return clips and plans along with the features, as the rewards of Fast-GRPO need them. The manifest
            must name the media files, and ``max_s`` the length of the clips.
        keep_aspect_ratio: Whether frames keep their aspect ratio; the size is then the maximum of the shorter side.
        plan_column: The column of the manifest with the plans.
        validation_split: The split whose clips validation uses; ``test`` for ``prismaudio validate`` on test clips.
    """

    def __init__(
        self,
        manifest: str,
        features: str | None = None,
        batch_size: int = 8,
        max_s: float | None = None,
        validation: float = 0.05,
        bucket_frames: list[int] | None = None,
        seed: int = 0,
        workers: int = 2,
        verify: bool = True,  # noqa: FBT001, FBT002 - a recipe names it
        max_broken: float = 0.25,
        fps: float = 16.0,
        frame_size: int = 48,
        sample_rate_hz: int = 16_000,
        sections: Sequence[str] | None = None,
        prompts: bool = False,  # noqa: FBT001, FBT002
        keep_aspect_ratio: bool = False,  # noqa: FBT001, FBT002
        plan_column: str = "plan",
        validation_split: Literal["val", "test"] = "val",
    ) -> None:
        super().__init__()
        shares = 0 <= validation < 1 and 0 <= max_broken <= 1
        if batch_size < 1 or workers < 0 or not shares or (max_s is not None and not max_s > 0):
            raise ValueError(
                "expected batch_size of 1 or more, workers of 0 or more, validation from 0 to below 1, "
                "max_broken from 0 to 1, max_s above 0"
            )
        self.manifest = expanded(manifest)
        self.features = None if features is None else expanded(features)
        self.batch_size, self.max_s, self.validation, self.bucket_frames = batch_size, max_s, validation, bucket_frames
        self.seed, self.workers, self.verify, self.max_broken = seed, workers, verify, max_broken
        self.frame_spec = FrameSpec(fps, frame_size, keep_aspect_ratio)
        self.sample_rate_hz, self.sections, self.prompts = sample_rate_hz, sections, prompts
        self.plan_column, self.validation_split = plan_column, validation_split
        self.failures: dict[str, str] = {}
        self.sets: dict[str, Set] = {}

    def use_dimensions(self, dimensions: Sequence[Dimension]) -> None:
        """Allow plans a section for each of these dimensions, unless the recipe names the sections."""
        if self.sections is None:
            self.sections = [dimension.name for dimension in dimensions]

    # Validation --------------------------------------------------------------------------------------------------
    def setup(self, stage: str) -> None:
        """Read the manifest and validate the files that it names.

        Raises:
            DataError: The data cannot be trained on.
        """
        if self.sets:
            return
        task = None if self.trainer is None else self.trainer.lightning_module
        entries = (
            []
            if self.manifest.is_dir()
            else read_manifest(
                self.manifest, CORE if self.sections is None else self.sections, plan_column=self.plan_column
            )
        )
        if not entries and self.plan_column != "plan":
            raise DataError(
                f"{self.manifest} is a folder of features, which has no columns; plan_column is that of a manifest: "
                f"run prismaudio extract with --plan-column {self.plan_column}"
            )
        if not entries or self.features or any(entry.features or entry.latents for entry in entries):
            self.sets = self._of_features(entries, task)
        else:
            self.sets = self._of_media(entries)

    def _of_features(self, entries: Sequence[ManifestEntry], task: Any) -> dict[str, Set]:
        if entries:
            records, contents = from_entries(entries, self.features)
        else:
            records, contents = gather(find_files(self.manifest))
        found = look_over(records, contents, verify=self.verify)
        self._report(found.failures, len(records))
        rate_hz = check_features(found, task) if isinstance(task, TrainsOnFeatures) else found.latent_rate_hz
        max_frames = None
        if self.max_s is not None:
            if rate_hz is None:
                raise DataError(
                    f"the files of {self.manifest} do not state the duration of a latent frame; remove max_s"
                )
            max_frames = max(1, round(self.max_s * rate_hz))
            max_frames = crop_length([record.n_frames for record in found.records], max_frames)
        splits = {record.id: SPLITS.get(str(record.info.get("split") or ""), "") for record in found.records}
        parts = assign_splits(found.records, splits, self.validation)
        media = self._media_of(entries) if self.prompts else None
        return {
            name: LatentClips(FeatureSet(rows, found.streams, found.latents), max_frames, self.seed, media)
            for name, rows in parts.items()
        }

    def _media_of(self, entries: Sequence[ManifestEntry]) -> MediaClips:
        """The media clips of the manifest."""
        if not entries or not all(entry.video or entry.audio for entry in entries):
            raise DataError(
                f"prompts need media files, and {self.manifest} names none; pass the manifest that "
                "prismaudio extract read, and its output as features"
            )
        return MediaClips(entries, self._reading(), self.seed)

    def _reading(self) -> Reading:
        task: Any = None if self.trainer is None else self.trainer.lightning_module
        if self.max_s is None and not (isinstance(task, TrainsOnWholeClips) and task.takes_whole_clips):
            raise DataError(
                f"clips read from the media files of {self.manifest} need a length: set max_s, or run "
                "prismaudio extract and train on its output"
            )
        return Reading(self.max_s, self.frame_spec, self.sample_rate_hz)

    def _of_media(self, entries: Sequence[ManifestEntry]) -> dict[str, Set]:
        reading = self._reading()
        good, failures = readable(entries, reading) if self.verify else (list(entries), {})
        self._report(failures, len(entries))
        parts = assign_splits(good, {entry.id: entry.split for entry in good}, self.validation)
        return {name: MediaClips(rows, reading, self.seed) for name, rows in parts.items()}

    def _report(self, failures: Mapping[str, str], total: int) -> None:
        """Log the clips that are skipped.

        Raises:
            DataError: There are more than ``max_broken`` allows.
        """
        self.failures = dict(failures)
        if not failures:
            return
        named = "; ".join(f"{name}: {why}" for name, why in list(failures.items())[:NAMED])
        more = f"; and {len(failures) - NAMED} more" if len(failures) > NAMED else ""
        text = f"{len(failures)} of {total} clips of {self.manifest} cannot be used: {named}{more}"
        if len(failures) == total or len(failures) > self.max_broken * total:
            raise DataError(f"{text} (max_broken is {self.max_broken:g})")
        if self.trainer is None or self.trainer.is_global_zero:
            LOG.warning("skipped: %s", text)

    # Loaders -----------------------------------------------------------------------------------------------------
    def train_dataloader(self) -> DataLoader[Any]:
        """Training clips, shuffled; resumable from a checkpoint."""
        loader = self._loader("train", shuffle=True)
        sampler = loader.sampler
        if isinstance(sampler, BucketSampler) and (self.trainer is None or self.trainer.is_global_zero):
            share, batches = (100 * value for value in sampler.padding())
            LOG.info("%.1f %% of the latent frames of an epoch are padding, in %.0f %% of the batches", share, batches)
        return loader

    def val_dataloader(self) -> Any:
        """Held-out clips, or those of the test split if ``validation_split`` says so, in order."""
        is_optional = self.validation_split == "val"
        return [] if is_optional and "val" not in self.sets else self._loader(self.validation_split)

    def _loader(self, name: str, *, shuffle: bool = False) -> DataLoader[Any]:
        if name not in self.sets:
            raise DataError(f"the manifest {self.manifest} has no clips of the split {name!r}")
        clips = self.sets[name]
        lengths = clips.lengths if isinstance(clips, LatentClips) else [1] * len(clips)
        return batch_loader(
            clips,
            lengths,
            self.batch_size,
            self.seed,
            self.bucket_frames,
            shuffle=shuffle,
            trainer=self.trainer,
            workers=self.workers,
        )


def assign_splits(rows: Sequence[Row], splits: Mapping[str, str], share: float) -> dict[str, list[Row]]:
    """Group rows by split; if no row has one, hold out a share of them by a hash of their ids.

    Example:
        >>> rows = [ManifestEntry(str(i)) for i in range(10)]
        >>> [len(part) for part in assign_splits(rows, {}, 0.2).values()]
        [8, 2]
    """
    if any(splits.values()):
        found: dict[str, list[Row]] = {}
        for row in rows:
            found.setdefault(splits.get(row.id) or "train", []).append(row)
        return found
    n_held = round(share * len(rows)) or int(share > 0 and len(rows) > 1)
    order = sorted(rows, key=lambda row: hashlib.blake2b(row.id.encode()).digest())
    held = {row.id for row in order[:n_held]}
    parts = {
        "train": [row for row in rows if row.id not in held],
        "val": [row for row in rows if row.id in held],
    }
    return {name: part for name, part in parts.items() if part}
