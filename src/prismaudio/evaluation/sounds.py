"""Spectrograms and onsets of the audio of an evaluation, kept in its folder and made anew where the audio changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from prismaudio.audio.onsets import detect_onsets
from prismaudio.audio.spectrogram import MAX_DB, MIN_DB, spectrogram_levels
from prismaudio.errors import PrismAudioError
from prismaudio.media import read_audio_track
from prismaudio.media.files import replacing
from prismaudio.untrusted import MAX_TABLE_BYTES, json_text, load_json, read_small

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

RATE_HZ = 32_000
"""Sample rate of the spectrograms: the same for all, so that they can be compared."""
MAX_S = 600.0
"""Maximum length of audio that is drawn."""
IMAGE_SUFFIX, IMAGE_QUALITY = ".webp", 70


class Sounds:
    """What the report draws of each file of audio: an image of its spectrogram, and the onsets that are detected.

    Args:
        folder: The folder for the images; ``sounds.jsonl`` in it has the onsets.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / "sounds.jsonl"
        self._kept: dict[tuple[str, str], dict[str, Any]] = {}
        if self._path.is_file():
            for line in read_small(self._path, MAX_TABLE_BYTES).splitlines():
                try:
                    row = load_json(line)
                    self._kept[row["source"], row["id"]] = row
                except (ValueError, LookupError, TypeError):  # an incomplete line is made again
                    continue

    def image(self, source: str, clip: str) -> Path:
        """The image of the audio of a clip: the left channel above the right one, time from left to right."""
        return self.folder / source / f"{clip}{IMAGE_SUFFIX}"

    def of(self, source: str, clip: str, audio: Path) -> dict[str, Any]:
        """The facts about the audio of a clip; what is kept of the same file is not made again.

        Args:
            source: Folder of the system within that of the images.
            clip: Id of the clip.
            audio: The file, which exists.

        Returns:
            ``duration_s`` and ``onsets_s``, or ``problem``, why there are none.
        """
        status = audio.stat()
        key = f"{status.st_size} {status.st_mtime_ns}"
        kept, image = self._kept.get((source, clip)), self.image(source, clip)
        if kept is None or kept.get("key") != key or not ("problem" in kept or image.is_file()):
            kept = {"source": source, "id": clip, "key": key, **_facts(audio, image)}
            self._kept[source, clip] = kept
            with self._path.open("ab") as file:
                file.write(json_text(kept))
        return kept


def _facts(audio: Path, image: Path) -> dict[str, Any]:
    """Draw the spectrogram and detect the onsets."""
    try:
        track = read_audio_track(audio, RATE_HZ)
        if track is None or not track.shape[-1]:
            return {"problem": "the file has no audio"}
        if (duration_s := track.shape[-1] / RATE_HZ) > MAX_S:
            return {"problem": f"it is longer than {MAX_S:g} s"}
        onsets_s = detect_onsets(track, RATE_HZ)
        draw(track, image)
    except PrismAudioError as error:
        return {"problem": str(error).replace(str(audio), audio.name)}
    return {"duration_s": round(duration_s, 3), "onsets_s": [round(time_s, 3) for time_s in onsets_s]}


def draw(audio: Tensor, path: Path) -> None:
    """Draw mel spectrograms of stereo audio ``(2, samples)`` at :data:`RATE_HZ`, without axes, one above the other."""
    from matplotlib.image import imsave

    levels = torch.nn.functional.max_pool2d(spectrogram_levels(audio, RATE_HZ), 2, ceil_mode=True)
    pixels = torch.cat([channel.flip(0) for channel in levels]).numpy()
    with replacing(path) as part:
        imsave(
            part, pixels, cmap="inferno", vmin=MIN_DB, vmax=MAX_DB, format=IMAGE_SUFFIX[1:],
            pil_kwargs={"quality": IMAGE_QUALITY},
        )  # fmt: skip
