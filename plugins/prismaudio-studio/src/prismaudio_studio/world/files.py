"""Write scenes to files: videos, audio and ground truth."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import torch

from prismaudio.media import ResultFiles, replacing, write_video, write_video_with_audio, write_wav
from prismaudio_studio.narration import narrate
from prismaudio_studio.world.audio import render_audio
from prismaudio_studio.world.video import render_video

if TYPE_CHECKING:
    from pathlib import Path

    from prismaudio_studio.world.bank import SoundBank
    from prismaudio_studio.world.scene import Scene

SAMPLE_RATE_HZ = 16_000


def ground_truth(scene: Scene, size_px: tuple[int, int], fps: float, bank: SoundBank | None = None) -> dict[str, Any]:
    """Contents of the ground-truth file of a clip.

    Args:
        scene: The scene of the clip.
        size_px: Height and width of the frames.
        fps: Frames per second.
        bank: Recordings that things sound like; those that were used are named.
    """
    truth = {
        "id": scene.id,
        "split": scene.split,
        "held_out": scene.held_out,
        "duration_s": scene.duration_s,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "size_px": list(size_px),
        "fps": fps,
        "events": [
            {"time_s": e.time_s, "class": e.what, "azimuth_deg": e.azimuth_deg, "level_db": e.level_db}
            for e in scene.events
        ],
        "sources": [
            {
                "class": s.what,
                "size": s.size,
                "onsets_s": list(s.onsets_s),
                "end_s": s.end_s,
                "azimuth_deg": list(s.azimuth_deg or ()),
            }
            for s in scene.story.sources
        ],
        "quality": scene.quality,
        "room": scene.room,
        "sections": dict(narrate(scene.story, random.Random(scene.key))),
    }
    if bank is not None:
        used = {thing.what: bank.recording(thing, held_out=scene.held_out) for thing in scene.things}
        truth["recordings"] = [
            {"class": what, "source": found.source, "author": found.author, "licence": found.licence}
            for what, found in used.items()
            if found is not None
        ]
    return truth


SUFFIXES = (".mp4", ".silent.mp4", ".wav")
"""Suffixes of the files of a clip, besides its ground truth."""


def clip_files(folder: Path, name: str) -> ResultFiles:
    """The files of a clip."""
    names = [name + suffix for suffix in SUFFIXES]
    return ResultFiles(
        folder / name, SUFFIXES, lambda data: names if data.get("id") == name and "events" in data else ()
    )


def is_written(folder: Path, truth: dict[str, Any]) -> bool:
    """Whether all files of a clip exist, with the same ground truth."""
    files = clip_files(folder, truth["id"])
    return files.read() == truth and all(files.path(suffix).is_file() for suffix in SUFFIXES)


def write_scene(
    scene: Scene,
    folder: Path,
    size_px: tuple[int, int],
    fps: float,
    *,
    bank: SoundBank | None = None,
    force: bool = False,
) -> bool:
    """Write a video with audio, the same video without audio, the audio and the ground truth, unless they exist.

    Args:
        scene: The scene to render.
        folder: Output folder. The ground truth is written last, so a clip that has it is complete.
        size_px: Height and width of the frames.
        fps: Frames per second.
        bank: Recordings that things sound like where it has any of their class; None for synthesis alone.
        force: Overwrite files of the same names that are not studio clips.

    Returns:
        Whether the files were written.

    Raises:
        MediaError: A file cannot be written, or exists and is not a studio clip.
    """
    truth = ground_truth(scene, size_px, fps, bank)
    if is_written(folder, truth):
        return False
    files = clip_files(folder, scene.id)
    files.check(force=force)
    frames = torch.from_numpy(render_video(scene, size_px, fps))
    audio = torch.from_numpy(render_audio(scene, SAMPLE_RATE_HZ, bank))
    with files.writing() as stage:
        video, silent, wav = (stage / files.path(suffix).name for suffix in SUFFIXES)
        write_video(frames, fps, silent)
        write_video_with_audio(silent, audio, SAMPLE_RATE_HZ, video)  # identical frames
        write_wav(audio, SAMPLE_RATE_HZ, wav)
        with replacing(stage / files.marker.name) as part:
            part.write_text(json.dumps(truth, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return True
