"""Scenes written as files that anybody can measure: videos, sound and truth."""

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

    from prismaudio_studio.world.scene import Scene

SAMPLE_RATE_HZ = 16_000


def truth(scene: Scene, size_px: tuple[int, int], fps: float) -> dict[str, Any]:
    """What the truth file of a clip says.

    Args:
        scene: The clip.
        size_px: Height and width of its frame.
        fps: Its frames per second.
    """
    return {
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


SUFFIXES = (".mp4", ".silent.mp4", ".wav")
"""The files of a clip, besides its truth."""


def files_of(folder: Path, name: str) -> ResultFiles:
    """The files of a clip."""
    every = [name + suffix for suffix in SUFFIXES]
    return ResultFiles(
        folder / name, SUFFIXES, lambda told: every if told.get("id") == name and "events" in told else ()
    )


def is_written(folder: Path, told: dict[str, Any]) -> bool:
    """Whether all files of a clip are there and tell the same truth."""
    files = files_of(folder, told["id"])
    return files.read() == told and all(files.path(suffix).is_file() for suffix in SUFFIXES)


def write_scene(scene: Scene, folder: Path, size_px: tuple[int, int], fps: float, *, force: bool = False) -> bool:
    """Write a video with sound, the same video silent, the sound and the truth, unless they are there.

    Args:
        scene: What to render.
        folder: Where to. The truth comes last, so a clip that has one is complete.
        size_px: Height and width of the frame.
        fps: Frames per second.
        force: Write over files of these names that are no clip of ours.

    Returns:
        Whether anything had to be written.

    Raises:
        MediaError: A file cannot be written, or is somebody else's.
    """
    told = truth(scene, size_px, fps)
    if is_written(folder, told):
        return False
    files = files_of(folder, scene.id)
    files.check(force=force)
    frames = torch.from_numpy(render_video(scene, size_px, fps))
    audio = torch.from_numpy(render_audio(scene, SAMPLE_RATE_HZ))
    with files.writing() as stage:
        video, silent, sound = (stage / files.path(suffix).name for suffix in SUFFIXES)
        write_video(frames, fps, silent)
        write_video_with_audio(silent, audio, SAMPLE_RATE_HZ, video)  # the very same frame
        write_wav(audio, SAMPLE_RATE_HZ, sound)
        with replacing(stage / files.marker.name) as part:
            part.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return True
