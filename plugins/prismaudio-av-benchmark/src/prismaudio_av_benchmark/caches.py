"""Feature caches of av-benchmark, written from audio and video files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.errors import DataError, first_of
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
from prismaudio.media.segments import survey
from prismaudio_av_benchmark.imagebind import FPS, ImageBind, load_imagebind
from prismaudio_av_benchmark.panns import load_panns
from prismaudio_av_benchmark.passt import load_passt
from prismaudio_av_benchmark.vggish import load_vggish

if TYPE_CHECKING:
    from prismaudio_av_benchmark.embedder import AudioEmbedder

LOADERS: dict[str, Callable[[str | None], AudioEmbedder]] = {
    "panns": load_panns,
    "vggish": load_vggish,
    "passt": load_passt,
    "imagebind": load_imagebind,
}
"""Functions that load the networks, by name."""
OF_AUDIO = {"panns": (PANN,), "vggish": (VGGISH,), "passt": (PASST, PASST_LOGITS), "imagebind": (IB_AUDIO,)}
"""Files of the features of audio, by network."""
LARGEST = 4096
"""Maximum height or width of frames in pixels; larger ones are read smaller."""
EARLIER_S = 1e-3
"""How much before the middle of its 2 s a frame is taken."""


def audio_features(name: str, network: AudioEmbedder, path: Path, length_s: float) -> dict[str, Tensor | dict[str, Tensor]]:
    """Features of a file by name of the cache file.

    Args:
        name: Name of the network.
        network: The network.
        path: An audio file, or a video with audio.
        length_s: How much of the audio is embedded, in seconds; ImageBind embeds parts of all of it.

    Raises:
        DataError: The file has no audio.
        MediaError: It cannot be read.
    """
    rate_hz = survey(path).sample_rate_hz
    audio = None if rate_hz is None else read_audio_track(path, rate_hz)
    if audio is None or rate_hz is None:
        raise DataError(f"{path} has no audio track; expected audio, or a video with audio")
    found = network.embed(audio, rate_hz, length_s)
    if name == "panns":
        return {PANN: {layer: value[0] for layer, value in found.items()}}
    if name == "vggish":
        return {VGGISH: found["128"]}
    if name == "passt":
        return {PASST: found["768"][0], PASST_LOGITS: found["logits"][0]}
    return {IB_AUDIO: found["audio"][0]}


def frame_features(network: ImageBind, path: Path, length_s: float) -> dict[str, Tensor]:
    """Features of the frames of a video by name of the cache file.

    Args:
        network: The network.
        path: The video.
        length_s: How much of the video is embedded, in seconds.

    Raises:
        MediaError: It cannot be read.
    """
    count = max(1, min(int(FPS * length_s + 1e-6), round(FPS * probe(path).duration_s)))
    times_s = [(index + 0.5) / FPS - EARLIER_S for index in range(count)]
    frames, shown_s = read_frames_at(path, times_s, LARGEST)
    starts = torch.tensor(shown_s)
    places = [max(0, int((starts <= time_s + 1e-6).sum()) - 1) for time_s in times_s]
    return {IB_VIDEO: network.embed_frames(frames[places])[0]}


def has_caches(folder: Path, files: Sequence[str], clips: Sequence[str]) -> bool:
    """Whether a folder has all of some cache files, with these clips.

    Raises:
        DataError: A file is there with other clips.
    """
    for name in files:
        if (folder / name).exists() and (differing := set(read_cache(folder / name)) ^ set(clips)):
            raise DataError(
                f"{folder / name} exists with other clips ({first_of(sorted(differing), 3)} are on one side only); "
                "choose another folder with -o, or --force to replace it"
            )
    return all((folder / name).exists() for name in files)


def store(folder: Path, features: Mapping[str, Mapping[str, object]]) -> None:
    """Write features by file and clip to cache files.

    Args:
        folder: The folder, which is made.
        features: Features by clip, by name of the file; an existing file is replaced.

    Raises:
        MediaError: They cannot be written.
    """
    for name, clips in features.items():
        write_cache(folder / name, clips)
