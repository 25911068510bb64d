"""Output files of one result, written atomically as a group and without overwriting unrelated files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Collection
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prismaudio.errors import MediaError, reason
from prismaudio.media.files import hidden_prefix
from prismaudio.untrusted import load_json, read_small

if TYPE_CHECKING:
    from collections.abc import Iterator

Named = Callable[[dict[str, Any]], Collection[str]]
"""Maps the content of a JSON file to the names of the files that it describes; empty for unrelated JSON files."""


@dataclass(frozen=True)
class ResultFiles:
    """Files with a common stem and different suffixes, and a JSON file that describes them.

    A file belongs to the result if the JSON lists it. To keep this true at every moment, the files are written to a
    hidden folder in the same place and moved when all of them are complete, the JSON last; files moved by a process
    that was killed are listed by the JSON in the folder that it left behind.

    Args:
        stem: Path of the files without suffix.
        suffixes: All suffixes that such a result may have, except ``.json``.
        named: Returns the names of the files that a JSON describes.
    """

    stem: Path
    suffixes: tuple[str, ...]
    named: Named

    def path(self, suffix: str) -> Path:
        """Return the path of the file with a suffix."""
        return self.stem.with_name(self.stem.name + suffix)

    @property
    def marker(self) -> Path:
        """The path of the JSON file."""
        return self.path(".json")

    def read(self) -> dict[str, Any] | None:
        """Read the JSON file; None if it is missing or does not describe such a result."""
        return self._read(self.marker)

    def foreign(self) -> list[Path]:
        """Return existing files at the output paths that do not belong to the result.

        Raises:
            MediaError: No file can exist there: a name is too long, or a folder is a file.
        """
        existing = [path for path in (*map(self.path, self.suffixes), self.marker) if self._exists(path)]
        if not existing:
            return []
        ours = set(self._left_behind())  # first, because the JSON is moved from there to its place
        ours |= self._names(self.marker)
        return [path for path in existing if path.name not in ours or not path.is_file()]

    def check(self, *, force: bool = False) -> None:
        """Check that the files may be written.

        Args:
            force: Allow overwriting files that do not belong to the result, but never folders.

        Raises:
            MediaError: They may not be written.
        """
        for path in self.foreign():
            if path.is_dir():
                raise MediaError(f"cannot write {path}: it is a folder; choose another folder with -o")
            if not force:
                raise MediaError(
                    f"{path} already exists, and no JSON next to it lists it as a result of prismaudio; "
                    "choose another folder with -o, or pass --force to overwrite it"
                )

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """Yield a hidden folder for the files; on success all of them are moved to their places, on failure none.

        Yields:
            The folder in which to write the files and the JSON.

        Raises:
            MediaError: The files cannot be written or moved.
        """
        folder = self.stem.parent
        stage = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stage = Path(tempfile.mkdtemp(prefix=hidden_prefix(self.stem.name), suffix=".part", dir=folder))
            yield stage
            self._move(stage)
        except MediaError as error:
            raise MediaError(str(error).replace(f"{stage}{os.sep}", f"{folder}{os.sep}")) from error
        except OSError as error:
            text = f"cannot write {self.stem}: {reason(error)}; choose another folder with -o"
            raise MediaError(text) from error
        finally:
            if stage is not None:
                shutil.rmtree(stage, ignore_errors=True)

    def _move(self, stage: Path) -> None:
        written = [path.name for path in stage.iterdir() if path.name != self.marker.name]
        stale = {path.name for path in map(self.path, self.suffixes)} & self._names(self.marker) - {*written}
        try:
            self._replace(stage, written, stale)
        except KeyboardInterrupt:  # only some of the files are moved
            self._replace(stage, written, stale)
            raise
        except OSError:
            for name in written:
                if not (stage / name).exists():
                    self.stem.with_name(name).unlink(missing_ok=True)
            raise

    def _replace(self, stage: Path, written: Collection[str], stale: Collection[str]) -> None:
        """Move files, the JSON last, and remove those of an older result; it is safe to repeat after an interrupt."""
        described = stage / self.marker.name
        if not described.exists():
            return
        self.marker.unlink(missing_ok=True)
        for name in stale:
            self.stem.with_name(name).unlink(missing_ok=True)
        for name in written:
            if (stage / name).exists():
                (stage / name).replace(self.stem.with_name(name))
        described.replace(self.marker)

    @staticmethod
    def _exists(path: Path) -> bool:
        try:
            path.lstat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise MediaError(f"cannot write {path}: {reason(error)}; choose another folder with -o") from error
        return True

    def _left_behind(self) -> Iterator[str]:
        """Yield names of files that a killed process was moving, or that another process is moving now."""
        prefix = hidden_prefix(self.stem.name)
        for entry in os.scandir(self.stem.parent):
            if entry.name.startswith(prefix) and entry.name.endswith(".part"):
                yield from self._names(Path(entry.path) / self.marker.name)

    def _names(self, marker: Path) -> set[str]:
        made = self._read(marker)
        return set() if made is None else {*self.named(made), self.marker.name}

    def _read(self, marker: Path) -> dict[str, Any] | None:
        try:
            made = load_json(read_small(marker))
        except (OSError, ValueError):
            return None
        return made if isinstance(made, dict) and self.named(made) else None
