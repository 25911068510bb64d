"""The files of one result: they come into being together, and never in the place of a file of somebody else."""

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
"""From the content of a JSON file to the names of the files that it describes; none if somebody else wrote it."""


@dataclass(frozen=True)
class ResultFiles:
    """Files with one name and different suffixes, and a JSON file that describes them.

    A file belongs to the result if the JSON names it. So that this holds at every moment, the files are written to a
    hidden folder beside their places, and moved when all of them are whole, the JSON last; what a killed process has
    moved is named by the JSON in the folder that it left.

    Args:
        stem: Their path without suffix.
        suffixes: All that such a result may have besides ``.json``.
        named: Names of the files that a JSON describes.
    """

    stem: Path
    suffixes: tuple[str, ...]
    named: Named

    def path(self, suffix: str) -> Path:
        """The file with a suffix."""
        return self.stem.with_name(self.stem.name + suffix)

    @property
    def marker(self) -> Path:
        """The JSON file."""
        return self.path(".json")

    def read(self) -> dict[str, Any] | None:
        """The content of the JSON file, if it is there and describes such a result."""
        return self._read(self.marker)

    def foreign(self) -> list[Path]:
        """What is there in the places of the files and does not belong to the result.

        Raises:
            MediaError: No file can be there: a name is too long, or a folder is a file.
        """
        there = [path for path in (*map(self.path, self.suffixes), self.marker) if self._is_there(path)]
        if not there:
            return []
        ours = set(self._left_behind()) | self._names(
            self.marker
        )  # in this order: the JSON moves from one to the other
        return [path for path in there if path.name not in ours or not path.is_file()]

    def check(self, *, force: bool = False) -> None:
        """See that the files may be written.

        Args:
            force: Write over files that do not belong to the result; over folders never.

        Raises:
            MediaError: They may not.
        """
        for path in self.foreign():
            if path.is_dir():
                raise MediaError(f"cannot write {path}: it is a folder; choose another folder with -o")
            if not force:
                raise MediaError(
                    f"{path} is there already, and no JSON beside it names it as a result of prismaudio; "
                    "choose another folder with -o, or say --force to write over it"
                )

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """A hidden folder for the files, which are moved to their places when the block ends: all of them, or none.

        Yields:
            The folder; the block writes the files and the JSON there.

        Raises:
            MediaError: They cannot be written or moved.
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
        except KeyboardInterrupt:  # half of them are in their places
            self._replace(stage, written, stale)
            raise
        except OSError:
            for name in written:
                if not (stage / name).exists():
                    self.stem.with_name(name).unlink(missing_ok=True)
            raise

    def _replace(self, stage: Path, written: Collection[str], stale: Collection[str]) -> None:
        """Move files, the JSON last, and remove those of an older result; can be called again after an interrupt."""
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
    def _is_there(path: Path) -> bool:
        try:
            path.lstat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise MediaError(f"cannot write {path}: {reason(error)}; choose another folder with -o") from error
        return True

    def _left_behind(self) -> Iterator[str]:
        """Names of files that a process was about to move when it was killed, or is moving now."""
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
