"""Suites: the clips on which systems are compared."""

from __future__ import annotations

import csv
import io
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from prismaudio.checkpoints import Configured
from prismaudio.data.manifest import NAMED_FILES, SPLITS, SUFFIXES, ManifestEntry, check_whole, read_manifest
from prismaudio.errors import DataError, first_of, reason
from prismaudio.media.files import relative
from prismaudio.paths import AUDIO_SUFFIXES, VIDEO_SUFFIXES, expanded
from prismaudio.plan import CORE
from prismaudio.untrusted import MAX_TABLE_BYTES, read_small

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Suite(Configured, ABC):
    """Clips on which systems are compared, for ``prismaudio evaluate --suite NAME``.

    A clip is an entry of a manifest: its id, its video, its true audio (``audio``, or the sound of the video), its
    caption, its true plan if there is one, and other columns, which may divide the clips into groups.

    Attributes:
        group: Columns whose values divide the clips into groups, separated by commas, such as ``events,class``; empty
            for none.
        source: Where its media are to be had; empty if they are anybody's own.

    Example:
        >>> class TwoSuite(Suite):
        ...     "Two clips."
        ...     def clips(self, folder, sections):
        ...         return [ManifestEntry("a", Path("a.mp4")), ManifestEntry("b", Path("b.mp4"))]
        >>> [clip.id for clip in TwoSuite().clips(Path("out"), ())]
        ['a', 'b']
    """

    group: str = ""
    source: ClassVar[str] = ""

    @property
    def group_columns(self) -> tuple[str, ...]:
        """The columns of :attr:`group`."""
        return tuple(name for part in self.group.split(",") if (name := part.strip().lower()))

    @abstractmethod
    def clips(self, folder: Path, sections: Sequence[str]) -> list[ManifestEntry]:
        """The clips; what is missing is an error that says where to get it.

        Args:
            folder: A folder for media that the suite makes, the same at every call.
            sections: Sections that plans may have.

        Raises:
            DataError: Media are missing or cannot be read.
        """


class ManifestSuite(Suite):
    """Clips of a manifest, or the videos of a folder.

    Args:
        manifest: A ``.csv``, ``.tsv`` or ``.jsonl`` manifest, or a folder of videos.
        split: Only clips of this split: ``train``, ``val`` or ``test``; empty for all.
        group: Columns whose values divide the clips into groups, separated by commas.
        media: Folder of the media that the manifest names, for one without media of its own; empty for the paths of
            the manifest as they are.
        allow_missing: Leave out clips whose media are not in that folder.
    """

    def __init__(
        self, manifest: str, split: str = "", group: str = "", media: str = "", allow_missing: bool = False  # noqa: FBT001, FBT002
    ) -> None:  # fmt: skip
        if split and split not in SPLITS:
            raise ValueError(f"the split is {split!r}; expected {', '.join(SPLITS)}")
        self.manifest, self.split, self.group = expanded(manifest), SPLITS.get(split, ""), group
        self.media, self.allow_missing = expanded(media) if media else None, allow_missing

    def clips(self, folder: Path, sections: Sequence[str]) -> list[ManifestEntry]:
        """See :meth:`Suite.clips`."""
        if self.manifest.is_dir():
            found = sorted(path for path in self.manifest.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
            entries = [ManifestEntry(path.stem, path) for path in found if not path.name.startswith(".")]
            if not entries:
                raise DataError(f"no videos in {self.manifest}; expected files such as {self.manifest / 'clip.mp4'}")
        elif self.media is not None:
            entries = self._with_media(self.media, sections or CORE)
        else:
            entries = read_manifest(self.manifest, sections or CORE, some_may_lack=True)
        kept = [entry for entry in entries if not self.split or entry.split == self.split]
        if not kept:
            raise DataError(f"{self.manifest} has no clips of the split {self.split}")
        for entry in kept:
            check_whole(f"{self.manifest}, clip {entry.id}", entry.columns, "evaluate")
        for name in self.group_columns:
            if all(entry.columns.get(name) in (None, "") for entry in kept):
                raise DataError(f"{self.manifest} has no column {name!r} to group clips by")
        return kept

    def _with_media(self, folder: Path, sections: Sequence[str]) -> list[ManifestEntry]:
        """The clips whose media are in a folder.

        Raises:
            DataError: Some are not, and they may not be missing, or none is.
        """
        entries, lacking = read_with_media(self.manifest, sections, folder)
        if lacking and (not entries or not self.allow_missing):
            named = [
                f"{name} ({entry.columns['link']})" if entry.columns.get("link") else name
                for entry, name in lacking.values()
            ]
            raise DataError(
                f"{len(lacking)} of {len(entries) + len(lacking)} clips are not in {folder}: "
                f"{first_of(named, NAMED_FILES)}; prismaudio suite missing {self.manifest} --media {folder} lists all"
                + ("; leave out these with --suite.allow_missing true" if entries else "")
            )
        return entries


class FormSuite(ManifestSuite):
    """A manifest of a form: columns of which each clip has one of a few values, and by which clips are grouped.

    Attributes:
        values: The values of each column.
        further: Columns by which clips are grouped, too, of any values.
    """

    values: ClassVar[Mapping[str, tuple[str, ...]]]
    further: ClassVar[tuple[str, ...]] = ()

    def __init__(self, manifest: str, split: str = "", media: str = "", allow_missing: bool = False) -> None:  # noqa: FBT001, FBT002
        super().__init__(manifest, split, ",".join((*self.values, *self.further)), media, allow_missing)

    def clips(self, folder: Path, sections: Sequence[str]) -> list[ManifestEntry]:
        """See :meth:`Suite.clips`."""
        entries = super().clips(folder, sections)
        for name, values in self.values.items():
            if wrong := next((entry for entry in entries if entry.columns.get(name) not in values), None):
                raise DataError(
                    f"{self.manifest}: clip {wrong.id} has {wrong.columns.get(name)!r} in the column {name}; expected "
                    f"{' or '.join(values)}"
                )
        return entries


class AudioCanvasSuite(FormSuite):
    """Clips in the form of AudioCanvas: real videos with captions, each with one sound event or with several.

    The clips of the paper are not published; a manifest of this form, with the column ``events`` (``single`` or
    ``multi``), is read.

    Args:
        manifest: The manifest.
        split: See :class:`ManifestSuite`.
        media: See :class:`ManifestSuite`.
        allow_missing: See :class:`ManifestSuite`.
    """

    values: ClassVar = {"events": ("single", "multi")}


class FoleyBenchSuite(FormSuite):
    """Clips in the form of FoleyBench: videos with audio and caption, of which each sound is in sight.

    The data set is gated, so the names of its own columns could not be read; this takes a manifest with ``sound``
    (``discrete`` or ``rest``), ``sources`` (``single`` or ``multi``) and ``category``, that of the Universal Category
    System, besides the columns that every manifest has. Each of them groups the clips.

    Args:
        manifest: The manifest.
        split: See :class:`ManifestSuite`.
        media: See :class:`ManifestSuite`.
        allow_missing: See :class:`ManifestSuite`.

    Source:
        arXiv 2511.13219; https://huggingface.co/datasets/FoleyBench/foleybench, CC-BY-NC-SA.
    """

    source = "https://huggingface.co/datasets/FoleyBench/foleybench"
    values: ClassVar = {"sound": ("discrete", "rest"), "sources": ("single", "multi")}
    further = ("category",)


class VggSoundSuite(Suite):
    """The test clips of VGGSound: ten seconds of a video each, with its label as caption.

    The list is the data set's own CSV, without a header: id, start in seconds, label, ``train`` or ``test``. The videos
    are files of ten seconds, ``ID_SSSSSS.mp4`` with the start in six digits, as they are usually cut.

    Args:
        videos: The folder of the videos.
        list: The file ``vggsound.csv``.
        allow_missing: Leave out clips whose video is missing, because it was withdrawn.
    """

    source = "https://www.robots.ox.ac.uk/~vgg/data/vggsound/"

    def __init__(self, videos: str, list: str, allow_missing: bool = False) -> None:  # noqa: A002, FBT001, FBT002
        self.videos, self.list, self.allow_missing = expanded(videos), expanded(list), allow_missing

    def clips(self, folder: Path, sections: Sequence[str]) -> list[ManifestEntry]:
        """See :meth:`Suite.clips`."""
        expected = 'expected lines such as -0jeONf82dE,000021,"dog barking",test'
        try:
            text = read_small(self.list, MAX_TABLE_BYTES).decode("utf-8-sig")
            rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
        except (OSError, ValueError, csv.Error) as error:
            raise DataError(
                f"cannot read {self.list}: {reason(error)}; {expected}; get it from {self.source}"
            ) from error
        if bad := next((row for row in rows if len(row) < 4 or not row[1].strip().isdecimal()), None):
            raise DataError(f"{self.list}: the line {','.join(bad)[:80]!r} is not of VGGSound; {expected}")
        wanted = {f"{row[0]}_{int(row[1]):06d}": row[2].strip() for row in rows if row[3].strip() == "test"}
        if not wanted:
            raise DataError(f"{self.list} has no clips of the split test; {expected}")
        files = {path.stem: path for path in sorted(self.videos.glob("*")) if path.suffix.lower() in VIDEO_SUFFIXES}
        missing = [name for name in wanted if name not in files]
        if missing and (not self.allow_missing or len(missing) == len(wanted)):
            raise DataError(
                f"{len(missing)} of {len(wanted)} videos of VGGSound are not in {self.videos}: "
                f"{first_of(missing, NAMED_FILES)}; the list is at {self.source}, the videos at YouTube; leave out "
                "these with --suite.allow_missing true"
            )
        return [
            ManifestEntry(
                name, files[name], captions=(label,), split="test", columns={"caption": label, "label": label}
            )
            for name, label in wanted.items()
            if name in files
        ]


def read_with_media(
    manifest: Path, sections: Sequence[str], folder: Path
) -> tuple[list[ManifestEntry], dict[str, tuple[ManifestEntry, str]]]:
    """The clips of a manifest with their media in a folder, under the names of the manifest or with other suffixes.

    Args:
        manifest: The manifest.
        sections: Sections that plans may have.
        folder: The folder of the media.

    Returns:
        The clips that are there; and by id those that are not, each with the name of the missing file.

    Raises:
        DataError: There is no such folder, or the manifest cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; expected one with the media of {manifest}")
    entries: list[ManifestEntry] = []
    lacking: dict[str, tuple[ManifestEntry, str]] = {}
    for entry in read_manifest(manifest, sections, media=folder):
        named = {kind: path for kind in ("video", "audio") if (path := getattr(entry, kind)) is not None}
        named = named or {"video": folder / f"{entry.id}.mp4"}
        found = {kind: _present(path, kind) for kind, path in named.items()}
        if lost := next((kind for kind, path in found.items() if path is None), None):
            lacking[entry.id] = entry, relative(named[lost], folder)
        else:
            entries.append(replace(entry, video=found.get("video"), audio=found.get("audio")))
    return entries, lacking


def _present(path: Path, kind: str) -> Path | None:
    """A file, or that of the same name with another suffix of its kind; None if there is none."""
    suffixes = sorted(VIDEO_SUFFIXES if kind == "video" else AUDIO_SUFFIXES)
    others = (path.with_name(f"{path.stem}{suffix}") for suffix in suffixes)
    return next((file for file in (path, *others) if file.is_file()), None)


def is_own(suite: str) -> bool:
    """Whether a suite is a manifest or a folder of somebody's own, and not the name of a class."""
    return Path(suite).suffix.lower() in SUFFIXES or Path(suite).is_dir()
