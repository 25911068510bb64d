"""The loop of ``prismaudio extract``: read ahead, encode in batches, write shards, list failures."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prismaudio.data.read_ahead import batches_of_like_length, of_one_file, read_ahead
from prismaudio.errors import one_line, print_traceback
from prismaudio.media.threads import MediaThreads
from prismaudio.untrusted import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from prismaudio.data.extraction import Extracted, Extractor, LoadedClip
    from prismaudio.data.manifest import ManifestEntry
    from prismaudio.data.read_ahead import Outcome
    from prismaudio.data.writing import FeatureFolder
    from prismaudio.progress import Reporter


@dataclass(eq=False)
class ExtractRun:
    """Computes clips and writes them to a folder.

    Args:
        extractor: Computes latents and features.
        folder: Where they are written.
        settings: Options that they depend on besides the clip and the models.
        reporter: Shows the progress.
        failures: Reason of each failed clip, by id.
    """

    extractor: Extractor
    folder: FeatureFolder
    settings: str
    reporter: Reporter
    failures: dict[str, str] = field(default_factory=dict)

    def run(self, entries: Sequence[ManifestEntry], workers: int = 0, batch_size: int = 1) -> None:
        """Compute clips; on any exit, those that are computed are saved.

        Args:
            entries: The clips.
            workers: Threads that read clips ahead.
            batch_size: Clips of like length that are encoded together.
        """
        with (
            MediaThreads(workers) as threads,
            closing(read_ahead(of_one_file(entries), self.extractor.read, threads, workers + batch_size)) as outcomes,
        ):
            try:
                for batch in batches_of_like_length(self._loaded(outcomes), batch_size):
                    self._encode(batch)
            finally:
                self._show(self.folder.flush())

    def _loaded(self, outcomes: Iterable[Outcome[ManifestEntry, LoadedClip]]) -> Iterator[LoadedClip]:
        """The clips that can be read."""
        for entry, outcome in outcomes:
            if isinstance(outcome, Exception):
                self._fail(entry, outcome)
            else:
                yield outcome

    def _encode(self, batch: Sequence[LoadedClip]) -> None:
        """Encode a batch; if that fails, each of its clips alone, so that a bad one does not stop the others."""
        try:
            results = self.extractor.encode(batch)
        except Exception as error:  # noqa: BLE001 - one bad clip must not stop the others
            if len(batch) == 1:
                self._fail(batch[0].entry, error)
            else:
                for clip in batch:
                    self._encode([clip])
            return
        for clip, result in zip(batch, results, strict=True):
            self._keep(clip, result)

    def _keep(self, clip: LoadedClip, result: Extracted) -> None:
        self.reporter.count(video_s=clip.duration_s)
        self._show(self.folder.add(result, self.settings))

    def _show(self, path: Path | None) -> None:
        """Print the name of a finished shard, and the rate."""
        if path is not None:
            shown, left = f"[{self.reporter.done}/{self.reporter.total}] {path}", self.reporter.time_left()
            self.reporter.write(f"{shown}, {self.reporter.rate()}, {left} left")

    def _fail(self, entry: ManifestEntry, error: Exception) -> None:
        print_traceback(error)
        self.failures[entry.id] = escaped(one_line(error))  # a file name may not be UTF-8
        self.reporter.finish(f"skipped {entry.id}: {self.failures[entry.id]}")
