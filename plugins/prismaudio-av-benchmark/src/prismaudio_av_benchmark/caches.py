"""Feature caches of av-benchmark, written from audio and video files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prismaudio.errors import DataError, MediaError, first_of
from prismaudio.evaluation.av_benchmark import (
    IB_AUDIO,
    IB_VIDEO,
    PANN,
    PASST,
    PASST_LOGITS,
    VGGISH,
    read_cache,
    write_cache,
)
from prismaudio.media import probe, read_audio_track, read_frames_at
from prismaudio.media.files import replacing
from prismaudio.media.segments import survey
from prismaudio.untrusted import json_text, load_json, read_small
from prismaudio_av_benchmark.imagebind import FPS, load_imagebind
from prismaudio_av_benchmark.panns import load_panns
from prismaudio_av_benchmark.passt import load_passt
from prismaudio_av_benchmark.vggish import load_vggish

if TYPE_CHECKING:
    from prismaudio.progress import Reporter
    from prismaudio_av_benchmark.embedder import AudioEmbedder
    from prismaudio_av_benchmark.imagebind import ImageBind

LOADERS: dict[str, Callable[[str | None], AudioEmbedder]] = {
    "panns": load_panns,
    "vggish": load_vggish,
    "passt": load_passt,
    "imagebind": load_imagebind,
}
"""Functions that load the networks, by name."""
LARGEST = 4096
"""Maximum height or width of frames in pixels; larger ones are read smaller."""
EARLIER_S = 1e-3
"""How much before the middle of its 2 s a frame is taken."""
OPTIONS = "prismaudio.json"
"""File beside the caches with the options with which they were made."""
SHOWN = 3
"""Names of clips that an error lists; the rest are counted."""


@dataclass(frozen=True)
class Extraction:
    """Features of a network for some cache files.

    Args:
        network: Name of the network.
        files: Names of the cache files.
        features: Features of a media file by name of the cache file, computed by the network from a number of seconds.
    """

    network: str
    files: tuple[str, ...]
    features: Callable[[Any, Path, float], dict[str, Any]]

    def is_done(self, folder: Path, clips: Sequence[str], options: dict[str, Any]) -> bool:
        """Whether a folder has all of the cache files, with these clips.

        Raises:
            DataError: A file has clips that are not among these, and would be lost, or was made with other options.
        """
        done, before = True, read_options(folder)
        for name in self.files:
            held = set(read_cache(folder / name)) if (folder / name).exists() else set[str]()
            if others := sorted(held.difference(clips)):
                raise DataError(
                    f"{folder / name} holds clips that are not given ({first_of(others, SHOWN)}); choose "
                    "another folder with -o, or --force to replace it"
                )
            if held and before.get(name, options) != options:
                raise DataError(
                    f"{folder / name} was made with {before[name]}, not with {options}; choose another folder with "
                    "-o, or --force to replace it"
                )
            done = done and held == set(clips)
        return done

    def run(
        self, network: AudioEmbedder, files: Sequence[Path], length_s: float, folder: Path, reporter: Reporter
    ) -> None:
        """Compute the features of media files and write the cache files; files that cannot be read are left out.

        Args:
            network: The network.
            files: The media files.
            length_s: How much of each is used, in seconds.
            folder: The folder; existing cache files are replaced.
            reporter: It is told of progress and failures.

        Raises:
            DataError: No file can be read.
            MediaError: A cache file cannot be written.
        """
        found: dict[str, dict[str, Any]] = {name: {} for name in self.files}
        for path in files:
            try:
                for name, value in self.features(network, path, length_s).items():
                    found[name][path.stem] = value
                reporter.count()
            except (MediaError, DataError) as error:
                reporter.fail(path, error)
        if not found[self.files[0]]:
            raise DataError(f"no file can be used: {reporter.failures[0]}")
        for name, clips in found.items():
            write_cache(folder / name, clips)


def read_options(folder: Path) -> dict[str, Any]:
    """The options with which each cache file of a folder was made; files that others made are not listed."""
    path = folder / OPTIONS
    if not path.is_file():
        return {}
    try:
        return dict(load_json(read_small(path)))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} is damaged; remove it, or choose another folder with -o") from error


def keep_options(folder: Path, files: Sequence[str], options: dict[str, Any]) -> None:
    """Note the options with which cache files are made."""
    with replacing(folder / OPTIONS) as part:
        part.write_bytes(json_text(read_options(folder) | dict.fromkeys(files, options), indent=1))


def _embedded(network: AudioEmbedder, path: Path, length_s: float) -> dict[str, Tensor]:
    """The features of the audio of a file.

    Raises:
        DataError: The file has no audio.
        MediaError: It cannot be read.
    """
    rate_hz = survey(path).sample_rate_hz
    audio = None if rate_hz is None else read_audio_track(path, rate_hz)
    if audio is None or rate_hz is None:
        raise DataError(f"{path} has no audio track; expected audio, or a video with audio")
    return network.embed(audio, rate_hz, length_s)


def _panns(network: AudioEmbedder, path: Path, length_s: float) -> dict[str, Any]:
    return {PANN: {layer: value[0] for layer, value in _embedded(network, path, length_s).items()}}


def _vggish(network: AudioEmbedder, path: Path, length_s: float) -> dict[str, Any]:
    return {VGGISH: _embedded(network, path, length_s)["128"]}


def _passt(network: AudioEmbedder, path: Path, length_s: float) -> dict[str, Any]:
    found = _embedded(network, path, length_s)
    return {PASST: found["768"][0], PASST_LOGITS: found["logits"][0]}


def _imagebind(network: AudioEmbedder, path: Path, length_s: float) -> dict[str, Any]:
    return {IB_AUDIO: _embedded(network, path, length_s)["audio"][0]}


def _frames(network: ImageBind, path: Path, length_s: float) -> dict[str, Any]:
    count = max(1, min(int(FPS * length_s + 1e-6), round(FPS * probe(path).duration_s)))
    times_s = [(index + 0.5) / FPS - EARLIER_S for index in range(count)]
    frames, shown_s = read_frames_at(path, times_s, LARGEST)
    places = torch.searchsorted(torch.tensor(shown_s), torch.tensor(times_s), right=True) - 1
    return {IB_VIDEO: network.embed_frames(frames[places.clamp(min=0)])[0]}


OF_AUDIO = (
    Extraction("panns", (PANN,), _panns),
    Extraction("vggish", (VGGISH,), _vggish),
    Extraction("passt", (PASST, PASST_LOGITS), _passt),
    Extraction("imagebind", (IB_AUDIO,), _imagebind),
)
OF_FRAMES = Extraction("imagebind", (IB_VIDEO,), _frames)
