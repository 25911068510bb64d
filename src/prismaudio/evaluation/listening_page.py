"""The page of a listening test and its media, which tell nothing about the systems."""

from __future__ import annotations

import hashlib
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from prismaudio.audio.level import limit_
from prismaudio.audio.loudness import SILENCE_LUFS, loudness_lufs
from prismaudio.errors import DataError
from prismaudio.evaluation.listening import FORMAT, NOISE, TRUTH
from prismaudio.media import probe, read_audio_track, write_video_with_audio
from prismaudio.media.files import replacing
from prismaudio.pages import page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from prismaudio.evaluation.listening import Key
    from prismaudio.progress import Reporter

GENERATOR = "prismaudio listen"
"""Marks pages, so that only these are overwritten."""
PAGE, MEDIA = "index.html", "media"
OWN_NAME = re.compile(r"[0-9a-f]{20}")
RATE_HZ = 48_000
MAX_GAIN_DB = 40.0
"""Sound that is fainter than this below the loudness of the test stays faint."""
NOISE_AMPLITUDE = 0.1


def write_media(
    key: Key,
    folder: Path,
    videos: Mapping[str, Path],
    audio: Mapping[str, Mapping[str, Path]],
    truths: Mapping[str, Path],
    reporter: Reporter,
) -> None:
    """Write the stimuli of a test, ``media/NAME.mp4``: the video of a clip with the sound of a system.

    Stimuli that are newer than their sources are kept.

    Args:
        key: The test.
        folder: The folder for listeners.
        videos: The video of each clip.
        audio: System → clip → file of audio.
        truths: The true sound of each clip.
        reporter: Reports progress and failures.
    """
    order = random.Random(key.secret).sample(sorted(key.stimuli), len(key.stimuli))  # times of files tell nothing
    (folder / MEDIA).mkdir(parents=True, exist_ok=True)
    for path in (folder / MEDIA).glob("*.mp4"):  # of a test that was replaced
        if path.stem not in key.stimuli and OWN_NAME.fullmatch(path.stem):
            path.unlink()
    for name in order:
        clip, system = key.stimuli[name]
        out = folder / MEDIA / f"{name}.mp4"
        source = None if system == NOISE else truths[clip] if system == TRUTH else audio[system][clip]
        try:
            sources = [path for path in (videos[clip], source) if path is not None]
            if out.is_file() and all(path.stat().st_mtime <= out.stat().st_mtime for path in sources):
                reporter.finish(f"{name}: already done")
                continue
            duration_s = probe(videos[clip]).duration_s
            sound = _noise(name, duration_s) if source is None else _sound(source, duration_s)
            write_video_with_audio(videos[clip], at_loudness(sound, key.loudness_lufs), RATE_HZ, out, for_browsers=True)
            reporter.finish(name)
        except Exception as error:  # noqa: BLE001 - one bad file must not stop the others
            reporter.fail(f"{clip} of {system}", error)


def source_digests(key: Key, audio: Mapping[str, Mapping[str, Path]], truths: Mapping[str, Path]) -> dict[str, str]:
    """Digest of the audio that each stimulus is made of, by its name; answers are about this audio alone."""
    found = {}
    for name, (clip, system) in key.stimuli.items():
        if system != NOISE:
            path = truths[clip] if system == TRUTH else audio[system][clip]
            with path.open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    return found


def _sound(source: Path, duration_s: float) -> Tensor:
    audio = read_audio_track(source, RATE_HZ, duration_s)
    if audio is None:
        raise DataError(f"{source} has no sound")
    return audio


def _noise(name: str, duration_s: float) -> Tensor:
    """White noise ``(2, samples)``, of which attention checks are made."""
    generator = torch.Generator().manual_seed(int(hashlib.sha256(name.encode()).hexdigest()[:12], 16))
    return NOISE_AMPLITUDE * torch.randn(2, round(duration_s * RATE_HZ), generator=generator).clamp(-4, 4)


def at_loudness(audio: Tensor, target_lufs: float | None) -> Tensor:
    """Audio ``(2, samples)`` at 48 kHz with a loudness, and peaks of at most -1 dB.

    Args:
        audio: The audio.
        target_lufs: The loudness; None to leave it as it is. Silence, and what is much fainter, is amplified by at
            most 40 dB.
    """
    audio = audio.clone()
    measured_lufs = float(loudness_lufs(audio[None], RATE_HZ))
    if target_lufs is not None and measured_lufs > SILENCE_LUFS:
        audio *= 10 ** (min(target_lufs - measured_lufs, MAX_GAIN_DB) / 20)
    return limit_(audio, RATE_HZ)


def write_page(key: Key, folder: Path, title: str, post: str = "") -> Path:
    """Write the page of a test.

    Args:
        key: The test.
        folder: The folder for listeners.
        title: Title of the page.
        post: Address to which the page sends answers, beside offering them as a file; empty for none.
    """
    data = {"format": FORMAT, "test": key.test, "title": title, "questions": key.questions, "forms": key.forms}
    template = Path(__file__).with_name("listen.html")
    text = page(template, GENERATOR, title, data | {"post": post}, "'self' file:", connect=post or "'none'")
    path = folder / PAGE
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
    return path
